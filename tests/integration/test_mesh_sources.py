"""Data sources and their runs: what becomes of each asset, on a schedule, and after a kill."""

import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mesh_databases import database_of
from mesh_files import csv_bytes, lake, plant_table, write_parquet
from mesh_lakes import (
    activities,
    equipped,
    project_with,
    ran,
    workers,
    write_tables,
    write_workers,
)
from mesh_world import ROOT, world
from vectordata import clustered, names, small_collection, write_h5

import atoll
from atoll.app.assets import Collections
from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from atoll.mesh import personal
from atoll.mesh.harvest import Unreadable, harvest, listing
from atoll.mesh.model.catalog import (
    Asset,
    AssetRunStatus,
    Classification,
    DataSource,
    DataSourceRun,
    DataSourceRunActivity,
    DataSourceRunStatus,
    DataSourceStatus,
    ListingStatus,
)
from atoll.mesh.model.describing import EnabledStatus, RuleAction, RuleType
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import AssociationKind, Designation, PolicyType
from atoll.mesh.operations.registry import OPERATIONS
from atoll.mesh.plant import generate
from atoll.mesh.service import registering, runs
from atoll.mesh.service.forms import NewField
from atoll.mesh.service.listings import ListingAction
from atoll.mesh.service.requests import WantedListing
from atoll.mesh.store.database import opened
from atoll.mesh.store.writing import Store

CREATED, UPDATED = AssetRunStatus.SUCCEEDED_CREATED, AssetRunStatus.SUCCEEDED_UPDATED
PUBLISHING_FAILED, UNCHANGED = AssetRunStatus.PUBLISHING_FAILED, AssetRunStatus.UNCHANGED


@pytest.fixture
def mesh(mesh):
    return equipped(mesh)


@pytest.fixture
def place(tmp_path):
    write_tables(tmp_path / "lake", 3)
    return tmp_path / "lake"


@pytest.fixture
def project(mesh, place):
    return project_with(mesh, "bob", str(place))[0]


@pytest.fixture
def source(mesh, place, project):
    return made(mesh, project, place)


def made(mesh, project, location, who="bob", **given):
    asked = {"project_id": project.id, "location": str(location), "name": "files", **given}
    return mesh.ask(who, "CreateDataSource", **asked)


def statuses(mesh, run, who="bob"):
    return {name: one.status for name, one in activities(mesh, run, who).items()}


def assets(mesh, project, who="bob"):
    return mesh.ask(who, "ListAssets", project_id=project.id, limit=1000)["items"]


def test_14_a_run_brings_all_formats_into_the_inventory(database, tmp_path):
    with world(database) as mesh:
        place = lake(tmp_path / "lake")
        project, _ = project_with(equipped(mesh), "bob", str(place))
        run = ran(mesh, made(mesh, project, place))
        assert (run.status, run.error_message) == (DataSourceRunStatus.SUCCESS, "")
        names = ["a", "a", "b", "b", "hive", "img", "parts", "single", "welds"]
        assert sorted(one.name for one in assets(mesh, project)) == names
        assert run.statistics == {"SUCCEEDED_CREATED": 9}
        assert 0 < run.started_at <= run.stopped_at


def test_62_a_run_finds_collections_and_sees_when_they_grow(mesh, place, project, tmp_path):
    reach = small_collection(place / "proteins", tmp_path)
    equipped(mesh, collections=Collections(reach))
    source = made(mesh, project, place, include=["proteins"])
    assert statuses(mesh, ran(mesh, source)) == {"proteins": CREATED}
    [asset] = assets(mesh, project)
    assert (asset.asset_type, asset.technical.rows) == ("VectorCollection", 100)
    assert [one.name for one in asset.schema] == ["embedding", "id"]
    more = write_h5(tmp_path / "more.h5", clustered(20, 16, seed=1), names(20, 100))
    atoll.open(place / "proteins", settings=reach).add(more, workers=1)
    assert statuses(mesh, ran(mesh, source)) == {"proteins": UPDATED}
    assert assets(mesh, project)[0].technical.rows == 120


def test_14_each_asset_has_its_outcome(mesh, place, project, source):
    run = ran(mesh, source)
    assert statuses(mesh, run) == dict.fromkeys(["t000.csv", "t001.csv", "t002.csv"], CREATED)
    table = plant_table(9)
    (place / "t000.csv").write_bytes(csv_bytes(table.append_column("email", [["a@b.example"] * 9])))
    (place / "bad.csv").write_bytes(b"a,b\n1\n")
    (place / "t002.csv").unlink()
    run = ran(mesh, source)
    assert run.status is DataSourceRunStatus.PARTIALLY_SUCCEEDED
    told = activities(mesh, run)
    assert {name: one.status for name, one in told.items()} == {
        "t000.csv": UPDATED,
        "t001.csv": AssetRunStatus.UNCHANGED,
        "t002.csv": AssetRunStatus.FAILED,
        "bad.csv": AssetRunStatus.FAILED,
    }
    assert "added 'udi' int64" in told["t000.csv"].message
    assert "not as many fields" in told["bad.csv"].message
    assert "nothing at its location" in told["t002.csv"].message
    page = {"data_source_run_id": run.id, "status": AssetRunStatus.FAILED}
    assert len(mesh.ask("bob", "ListDataSourceRunActivities", **page)["items"]) == 2


def test_14_pages_of_activities_hold_each_once(mesh, source):
    run = ran(mesh, source)
    found, cursor = [], ""
    while not found or cursor:
        asked = {"data_source_run_id": run.id, "limit": 2, "cursor": cursor}
        page = mesh.ask("bob", "ListDataSourceRunActivities", **asked)
        found, cursor = found + [one.location for one in page["items"]], page["next"]
    assert len(found) == len(set(found)) == 3


def test_14_what_is_archived_or_another_sources_is_passed_over(mesh, place, project, source):
    ran(mesh, source)
    [first, *_] = [one for one in assets(mesh, project) if one.name == "t000"]
    mesh.store.write(
        lambda changes: changes.put(replace(first, version=first.version + 1, is_archived=True))
    )
    (place / "t000.csv").write_bytes(csv_bytes(plant_table()))
    other = made(mesh, project, place, name="other")
    assert statuses(mesh, ran(mesh, other)) == {
        "t000.csv": AssetRunStatus.SKIPPED_ARCHIVED,
        "t001.csv": AssetRunStatus.SKIPPED_ALREADY_IMPORTED,
        "t002.csv": AssetRunStatus.SKIPPED_ALREADY_IMPORTED,
    }


def test_14_what_another_project_registered_is_passed_over_and_not_named(
    mesh, place, project, source
):
    ran(mesh, source)
    [storage] = mesh.ask("ann", "ListAssociations", project_id=project.id)["items"]
    mesh.ask("ann", "RemoveAssociation", association_id=storage.id)
    mine, _ = project_with(mesh, "cy", str(place), "cy")
    run = ran(mesh, made(mesh, mine, place, "cy"), "cy")
    told = activities(mesh, run, "cy").values()
    assert {one.status for one in told} == {AssetRunStatus.SKIPPED_ALREADY_IMPORTED}
    assert {(one.asset_id, one.message) for one in told} == {("", "it is registered already")}


def environment(mesh, project, storage, who="cy", do="ask"):
    """Somebody's place to work on a storage, perhaps another's."""
    grant = {"policy_type": PolicyType.CREATE_ENVIRONMENT, "principal_id": f"user-{who}"}
    mesh.ask("ann", "AddPolicyGrant", domain_unit_id=ROOT, **grant)
    given = {"name": "queries", "kind": AssociationKind.WORKGROUP}
    workgroup = mesh.ask(who, "Associate", project_id=project.id, **given)
    mesh.ask("ann", "AcceptAssociation", association_id=workgroup.id)
    given = {"storage_id": storage.id, "workgroup_id": workgroup.id, "name": "lab"}
    return getattr(mesh, do)(who, "CreateEnvironment", project_id=project.id, **given)


def test_18_each_step_of_a_producers_way_is_an_event_of_its_project(mesh, place, project):
    source = made(mesh, project, place / "t000.csv")
    ran(mesh, source)
    [found] = assets(mesh, project)
    asset = {"asset_id": found.id}
    score = {"timestamp": source.created_at, "score": 92.0}
    mesh.ask("bob", "PostTimeSeriesDataPoints", **score, **asset)
    mesh.ask("bob", "UpdateAsset", description="torque of each weld", **asset)
    listing = mesh.ask("bob", "CreateListingChangeSet", action=ListingAction.PUBLISH, **asset)
    other = mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="forecasts")
    wanted = {"listings": (WantedListing(listing_id=listing.id),), "request_reason": "to forecast"}
    asked = mesh.ask("ann", "CreateSubscriptionRequests", project_id=other.id, **wanted).requests[0]
    mesh.ask("bob", "AcceptSubscriptionRequest", subscription_request_id=asked.id)
    write_tables(place, 1, rows=7)
    ran(mesh, source)
    mesh.ask("bob", "CreateListingChangeSet", action=ListingAction.PUBLISH, **asset)
    page = mesh.ask("bob", "ListProjectEvents", project_id=project.id, limit=1000)["items"]
    told = [one.operation for one in page]
    begun = ["StartDataSourceRun", "BeginDataSourceRun"]
    assert told == [
        *("Associate", "AcceptAssociation", "CreateDataSource"),
        *(*begun, "CreateAsset", "EndDataSourceRun"),
        *("PostTimeSeriesDataPoints", "UpdateAsset", "CreateListingChangeSet"),
        "AcceptSubscriptionRequest",
        *(*begun, "RefreshAsset", "EndDataSourceRun", "CreateListingChangeSet"),
    ]


@pytest.fixture
def laboratory(mesh, place, project):
    """Cy's environment on Bob's storage, with a table of Cy's."""
    mine, _ = project_with(mesh, "cy", str(place.parent / "lab"), "lab")
    [storage] = mesh.ask("ann", "ListAssociations", project_id=project.id)["items"]
    member = {"member_id": "user-cy", "designation": Designation.VIEWER}
    mesh.ask("bob", "CreateProjectMembership", project_id=project.id, **member)
    lab = environment(mesh, mine, storage)
    write_parquet(Path(urlsplit(lab.prefix).path) / "mine" / "1.parquet", workers())
    return lab


def test_3_what_lies_in_an_environment_is_its_projects_to_register(
    mesh, place, project, laboratory
):
    asked = {"project_id": project.id, "location": f"{laboratory.prefix}/mine"}
    for name, more in (("CreateAsset", {}), ("CreateDataSource", {"name": "theirs"})):
        assert isinstance(mesh.refusal("bob", name, **asked, **more), NotFound)
    asked["location"] = laboratory.prefix.rsplit("/", 1)[0]  # all around it
    assert isinstance(mesh.refusal("bob", "CreateAsset", **asked), Conflict)
    ran(mesh, made(mesh, project, place))
    assert {one.name for one in assets(mesh, project)} == {"t000", "t001", "t002"}
    given = {"project_id": laboratory.project_id, "location": f"{laboratory.prefix}/mine"}
    mine = mesh.ask("cy", "CreateAsset", **given).asset
    assert mine.association_id == laboratory.storage_id
    told = mesh.refusal("cy", "DeleteEnvironment", environment_id=laboratory.id)
    assert isinstance(told, Conflict)


def test_3_an_environment_is_looked_through_while_its_storage_belongs_to_the_domain(
    mesh, laboratory
):
    given = {"project_id": laboratory.project_id, "location": laboratory.prefix, "name": "mine"}
    source = mesh.ask("cy", "CreateDataSource", **given)
    assert set(statuses(mesh, ran(mesh, source, "cy"), "cy").values()) == {CREATED}
    mesh.ask("ann", "RemoveAssociation", association_id=laboratory.storage_id)
    run = ran(mesh, source, "cy")
    assert run.status is DataSourceRunStatus.FAILED
    assert "'lab' is INACCESSIBLE" in run.error_message
    assert "left the domain; use another environment" in run.error_message


def associated_again(mesh, project, storage_id, who="bob"):
    """A storage, withdrawn and offered anew; its environments are on the one before."""
    before = mesh.ask(who, "WithdrawAssociation", association_id=storage_id)
    given = {"kind": before.kind, "location": before.location, "name": "again"}
    again = mesh.ask(who, "Associate", project_id=project.id, **given)
    return mesh.ask("ann", "AcceptAssociation", association_id=again.id)


def test_3_an_environment_is_not_taken_by_associating_its_storage_again(
    mesh, place, project, laboratory
):
    given = {"project_id": laboratory.project_id, "location": f"{laboratory.prefix}/mine"}
    mine = mesh.ask("cy", "CreateAsset", **given).asset
    associated_again(mesh, project, laboratory.storage_id)
    for location, error in (
        (laboratory.prefix, NotFound),
        (f"{laboratory.prefix}/mine", NotFound),
        (laboratory.prefix.rsplit("/", 1)[0], Conflict),
    ):
        asked = {"project_id": project.id, "location": location}
        assert isinstance(mesh.refusal("bob", "CreateAsset", **asked), error)
    ran(mesh, made(mesh, project, place))
    assert {one.name for one in assets(mesh, project)} == {"t000", "t001", "t002"}
    gone = {"environment_id": laboratory.id}
    assert "holds assets" in mesh.refusal("cy", "DeleteEnvironment", **gone).message
    mesh.ask("cy", "DeleteAsset", asset_id=mine.id)
    mesh.ask("cy", "DeleteEnvironment", **gone)
    asked = {"project_id": project.id, "location": f"{laboratory.prefix}/mine"}
    assert mesh.ask("bob", "CreateAsset", **asked).asset.name == "mine"


def test_17_files_of_anothers_asset_are_no_other_asset_and_theirs_is_not_named(
    mesh, place, project, laboratory
):
    given = {"project_id": laboratory.project_id, "location": f"{laboratory.prefix}/mine"}
    mesh.ask("cy", "CreateAsset", **given)
    asked = {"project_id": project.id, "location": f"{laboratory.prefix}/mine/1.parquet"}
    mesh.ask("ann", "RemoveAssociation", association_id=laboratory.storage_id)
    mesh.store.write(lambda changes: changes.remove(laboratory))
    given = {"kind": AssociationKind.STORAGE, "location": str(place), "name": "again"}
    again = mesh.ask("bob", "Associate", project_id=project.id, **given)
    mesh.ask("ann", "AcceptAssociation", association_id=again.id)
    told = mesh.refusal("bob", "CreateAsset", **asked)
    assert isinstance(told, Conflict)
    assert "an asset of another project and this one" in told.message


def test_3_nothing_new_is_registered_in_an_environment_that_is_suspended(
    mesh, place, project, laboratory
):
    asked = {"project_id": laboratory.project_id, "location": f"{laboratory.prefix}/mine"}
    source = mesh.ask("cy", "CreateDataSource", name="mine", **asked)
    suspend = {"environment_id": laboratory.id, "is_suspended": True}
    mesh.ask("cy", "UpdateEnvironment", **suspend)
    told = mesh.refusal("cy", "CreateAsset", **asked)
    assert isinstance(told, Conflict)
    assert "'lab' is SUSPENDED" in told.message
    assert "let it go on, or use another" in told.message
    assert "'lab' is SUSPENDED" in ran(mesh, source, "cy").error_message
    theirs = {"project_id": project.id, "location": f"{laboratory.prefix}/mine"}
    told = mesh.refusal("bob", "CreateAsset", **theirs)  # it still is Cy's
    assert isinstance(told, NotFound)
    assert "lab" not in told.message.replace(laboratory.prefix, "")
    mesh.ask("cy", "UpdateEnvironment", **suspend | {"is_suspended": False})
    assert set(statuses(mesh, ran(mesh, source, "cy"), "cy").values()) == {CREATED}


def test_3_nor_by_a_run_through_the_whole_storage(mesh, place, project):
    [storage] = mesh.ask("ann", "ListAssociations", project_id=project.id)["items"]
    lab = environment(mesh, project, storage, who="bob")
    write_parquet(Path(urlsplit(lab.prefix).path) / "mine" / "1.parquet", workers())
    mesh.ask("bob", "UpdateEnvironment", environment_id=lab.id, is_suspended=True)
    source = made(mesh, project, place)
    told = activities(mesh, ran(mesh, source))["mine"]
    assert (told.status, "is SUSPENDED" in told.message) == (AssetRunStatus.FAILED, True)
    associated_again(mesh, project, storage.id)  # nothing is left of the environment but its name
    assert "another association" in ran(mesh, source).error_message
    mesh.ask("bob", "UpdateDataSource", data_source_id=source.id, location=str(place))
    assert activities(mesh, ran(mesh, source))["mine"].status is CREATED


@pytest.mark.parametrize("by", ["CreateAsset", "run"])
def test_3_an_environment_that_is_made_while_files_are_read_holds(mesh, place, monkeypatch, by):
    module = registering if by == "CreateAsset" else runs
    project, storage = project_with(mesh, "cy", str(place / "cy"), "cy's")
    mine = mesh.ask("cy", "CreateProject", domain_unit_id=ROOT, name="lab")
    folder = place / "cy" / mine.id
    for name in ("1", "2"):
        write_parquet(folder / f"{name}.parquet", workers())

    def slow(*args, **options):
        found = harvest(*args, **options)
        environment(mesh, mine, storage)
        return found

    monkeypatch.setattr(module, "harvest", slow)
    if by == "CreateAsset":
        asked = {"project_id": project.id, "location": str(folder)}
        told = mesh.refusal("cy", "CreateAsset", **asked).message
    else:
        source = made(mesh, project, place / "cy", "cy")
        told = activities(mesh, ran(mesh, source, "cy"), "cy")[mine.id].message
    assert "other projects work" in told
    assert assets(mesh, project, "cy") == []


def test_14_what_lies_in_anothers_environment_spoils_no_run(
    mesh, place, project, laboratory, monkeypatch
):
    theirs = Path(urlsplit(laboratory.prefix).path)
    (theirs / "manual.pdf").write_bytes(b"%PDF")
    for number in range(10):
        (theirs / f"{number}.bin").write_bytes(b"theirs")
    monkeypatch.setattr(listing, "MAX_FILES", 5)
    run = ran(mesh, made(mesh, project, place))
    assert (run.status, run.error_message) == (DataSourceRunStatus.SUCCESS, "")
    assert {one.name for one in assets(mesh, project)} == {"t000", "t001", "t002"}


def test_14_an_asset_that_became_a_link_tells_nothing_of_where_it_leads(
    mesh, place, project, laboratory
):
    at = f"{laboratory.prefix}/mine"
    mine = mesh.ask("cy", "CreateAsset", project_id=laboratory.project_id, location=at).asset
    folder = Path(urlsplit(at).path)
    shutil.rmtree(folder)
    folder.symlink_to(place)
    told = mesh.refusal("cy", "RefreshAsset", asset_id=mine.id)
    assert isinstance(told, Conflict)
    assert "t000" not in str(told) + str(told.details)


@pytest.mark.parametrize("is_again", [False, True])
def test_3_no_environment_is_made_below_an_asset(mesh, tmp_path, is_again):
    place = tmp_path / "one"
    write_parquet(place / "1.parquet", workers())
    mine, storage = project_with(mesh, "cy", str(place), "one")
    mesh.ask("cy", "CreateAsset", project_id=mine.id, location=str(place))
    if is_again:
        storage = associated_again(mesh, mine, storage.id, "cy")
    told = environment(mesh, mine, storage, do="refusal")
    assert isinstance(told, Conflict)
    assert "holds all that lies there" in told.message


def test_14_the_same_project_takes_its_assets_along_to_a_new_association(
    mesh, place, project, source
):
    ran(mesh, source)
    [storage] = mesh.ask("ann", "ListAssociations", project_id=project.id)["items"]
    mesh.ask("ann", "RemoveAssociation", association_id=storage.id)
    run = ran(mesh, source)
    assert run.status is DataSourceRunStatus.FAILED
    assert "does not belong to the domain any more" in run.error_message
    given = {"kind": storage.kind, "location": str(place), "name": "again"}
    again = mesh.ask("bob", "Associate", project_id=project.id, **given)
    mesh.ask("ann", "AcceptAssociation", association_id=again.id)
    mesh.ask("bob", "UpdateDataSource", data_source_id=source.id, location=str(place))
    assert set(statuses(mesh, ran(mesh, source)).values()) == {UPDATED}
    assert {one.association_id for one in assets(mesh, project)} == {again.id}


def test_14_what_may_not_be_read_is_told_apart(mesh, place, source, monkeypatch):
    refused = Unreadable(f"{place.as_uri()}/t000.csv", "forbidden", "keys do not allow it")
    monkeypatch.setattr(runs, "harvest", lambda *_, **__: [refused])
    run = ran(mesh, source)
    assert statuses(mesh, run) == {"t000.csv": AssetRunStatus.SKIPPED_NO_ACCESS}
    assert run.status is DataSourceRunStatus.FAILED


def test_14_a_place_that_is_gone_fails_the_run_with_the_reason(mesh, tmp_path, place, source):
    place.rename(tmp_path / "away")
    run = ran(mesh, source)
    assert run.status is DataSourceRunStatus.FAILED
    assert "does not exist" in run.error_message or "is not there" in run.error_message
    again = mesh.ask("bob", "GetDataSource", data_source_id=source.id)
    assert again.status is DataSourceStatus.READY


def test_a_place_that_becomes_a_link_tells_nothing_of_where_it_leads(
    mesh, tmp_path, place, project
):
    """Threat 7."""
    write_tables(place / "sub", 1)
    source = made(mesh, project, place / "sub")
    write_tables(tmp_path / "secret", 2)
    (place / "sub").rename(tmp_path / "away")
    (place / "sub").symlink_to(tmp_path / "secret")
    run = ran(mesh, source)
    assert (run.status, run.statistics) == (DataSourceRunStatus.FAILED, {})
    assert "secret" not in run.error_message
    assert assets(mesh, project) == []


def test_17_where_assets_overlap_the_run_says_so(mesh, tmp_path, place, project, source):
    for name, table in (("a", plant_table()), ("b", plant_table().drop_columns(["at"]))):
        write_parquet(place / "mixed" / f"{name}.parquet", table)
    ran(mesh, source)
    write_parquet(place / "mixed" / "b.parquet", plant_table())
    told = activities(mesh, ran(mesh, source))["mixed"]
    assert told.status is AssetRunStatus.FAILED
    assert "same files" in told.message


def test_17_a_copy_is_named_as_far_as_each_member_may_know_of_it(mesh, tmp_path, place, project):
    write_parquet(place / "one" / "1.parquet", plant_table())
    ran(mesh, made(mesh, project, place / "one"))
    write_parquet(place / "two" / "1.parquet", plant_table())
    run = ran(mesh, made(mesh, project, place / "two", name="two"))
    [told] = activities(mesh, run).values()
    assert "it seems to hold the same as '1' (asset-" in told.message
    # Ann, who owns the root, may know of it; other members of the project may not.
    mine, _ = project_with(mesh, "ann", str(tmp_path / "ann"), "ann")
    write_parquet(tmp_path / "ann" / "own" / "1.parquet", plant_table())
    run = ran(mesh, made(mesh, mine, tmp_path / "ann", "ann"), "ann")
    assert [one.message for one in activities(mesh, run, "ann").values()] == [""]


def test_40_new_columns_are_looked_through_for_personal_data_at_once(mesh, place, project, source):
    write_workers(place, workers().drop_columns(["email"]))
    ran(mesh, source)
    write_workers(place)
    ran(mesh, source)
    [found] = [one for one in assets(mesh, project) if one.name == "workers"]
    assert found.personal == {"worker_name", "email"}


def test_40_what_a_plant_has_of_persons_is_proposed_and_little_else(mesh, tmp_path):
    tables = {one.path: one for one in generate(tmp_path / "plant", seed=7, scale=0.02)}
    project, _ = project_with(mesh, "bob", str(tmp_path / "plant"))
    ran(mesh, made(mesh, project, tmp_path / "plant", exclude=("manifest.json",)))
    root = f"{(tmp_path / 'plant').as_uri()}/"
    found = {one.external_identifier.removeprefix(root): one for one in assets(mesh, project)}
    true = {(path, name) for path, one in tables.items() for name in one.personal}
    proposed = {(path, name) for path, one in found.items() for name in one.personal}
    assert found.keys() == tables.keys()
    # Suppliers are firms, but for a few.
    assert true - proposed <= {("sap/suppliers.csv", "NAME1")}
    assert proposed <= true


def test_40_nobody_keeps_the_detector_away(mesh, place, project):
    """Else a contributor could have personal data listed, and given away by policy."""
    for name in ("CreateDataSource", "UpdateDataSource"):
        assert "recommendation" not in OPERATIONS[name].ask.__struct_fields__
    given = {"member_id": "user-cy", "designation": Designation.CONTRIBUTOR}
    mesh.ask("bob", "CreateProjectMembership", project_id=project.id, **given)
    write_workers(place, workers().rename_columns(["c1", "c2", "c3"]))
    ran(mesh, made(mesh, project, place / "workers", "cy", publish_on_import=True), "cy")
    assert [one.personal for one in assets(mesh, project)] == [{"c1", "c2"}]
    [listing] = mesh.ask("cy", "ListListings", owning_project_id=project.id)["items"]
    assert listing.has_pii


def test_40_what_nobody_could_look_at_is_listed_by_the_run_that_could(
    mesh, place, project, monkeypatch
):
    write_workers(place, workers().rename_columns(["c1", "c2", "c3"]))
    source = made(mesh, project, place, include=("workers",), publish_on_import=True)
    with monkeypatch.context() as patch:
        patch.setattr(personal, "sample_of", unanswered)
        told = [activities(mesh, ran(mesh, source))["workers"] for _ in range(2)]
    assert [one.status for one in told] == [PUBLISHING_FAILED, UNCHANGED]
    assert all(one.message.count("store does not answer") == 1 for one in told)
    assert mesh.ask("bob", "ListListings", owning_project_id=project.id)["items"] == []
    told = activities(mesh, ran(mesh, source))["workers"]
    assert (told.status, told.message) == (UPDATED, "its schema is as it was")
    [asset] = assets(mesh, project)
    assert (asset.unexamined, asset.personal) == ("", {"c1", "c2"})
    [listing] = mesh.ask("bob", "ListListings", owning_project_id=project.id)["items"]
    assert listing.has_pii
    assert statuses(mesh, ran(mesh, source)) == {"workers": UNCHANGED}


def test_40_a_later_look_lists_nothing_that_people_took_from_the_list(
    mesh, place, project, monkeypatch
):
    source = made(mesh, project, place, include=("t000.csv",), publish_on_import=True)
    ran(mesh, source)
    [asset] = assets(mesh, project)
    given = {"asset_id": asset.id, "action": ListingAction.UNPUBLISH}
    mesh.ask("bob", "CreateListingChangeSet", **given)
    (place / "t000.csv").write_bytes(csv_bytes(plant_table(7)))
    with monkeypatch.context() as patch:
        patch.setattr(personal, "sample_of", unanswered)
        assert "does not answer" in activities(mesh, ran(mesh, source))["t000.csv"].message
    assert statuses(mesh, ran(mesh, source)) == {"t000.csv": UPDATED}
    [listing] = mesh.ask("bob", "ListListings", owning_project_id=project.id)["items"]
    assert listing.status is ListingStatus.INACTIVE


def test_40_what_is_deleted_during_a_run_comes_back_as_not_looked_at(
    mesh, place, project, monkeypatch
):
    """The run took it for known, and looked at nothing."""
    write_workers(place, workers().rename_columns(["c1", "c2", "c3"]))
    source = made(mesh, project, place, include=("workers",))
    ran(mesh, source)

    def slow(*args):
        [asset] = assets(mesh, project)
        mesh.ask("bob", "DeleteAsset", asset_id=asset.id)
        return personal.look_through(*args)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "look_through", slow)
        assert statuses(mesh, ran(mesh, source)) == {"workers": CREATED}
    [asset] = assets(mesh, project)
    assert "changed meanwhile" in asset.unexamined
    ran(mesh, source)
    assert assets(mesh, project)[0].personal == {"c1", "c2"}


def unanswered(*_):
    raise Unavailable("the store does not answer; try again")


def test_47_new_assets_are_as_the_guardrails_say_with_nothing_to_set(mesh, project, source):
    mesh.ask("ann", "SetGuardrails", domain_unit_id=ROOT, default_classification="INTERNAL")
    ran(mesh, source)
    assert {one.classification for one in assets(mesh, project)} == {Classification.INTERNAL}


def test_39_less_than_the_guardrails_say_takes_an_owner(mesh, place, project, source):
    given = {"member_id": "user-cy", "designation": Designation.CONTRIBUTOR}
    mesh.ask("bob", "CreateProjectMembership", project_id=project.id, **given)
    public = {"classification": Classification.PUBLIC}
    told = mesh.refusal("cy", "UpdateDataSource", data_source_id=source.id, **public)
    assert isinstance(told, Forbidden)
    asked = {"project_id": project.id, "location": str(place), "name": "x", **public}
    assert isinstance(mesh.refusal("cy", "CreateDataSource", **asked), Forbidden)
    mesh.ask("bob", "UpdateDataSource", data_source_id=source.id, **public)


def guarded(mesh, classification):
    mesh.ask("ann", "SetGuardrails", domain_unit_id=ROOT, default_classification=classification)


def test_47_stricter_guardrails_reach_sources_that_there_are(mesh, place, project):
    guarded(mesh, "INTERNAL")
    source = made(mesh, project, place, classification=Classification.INTERNAL)
    guarded(mesh, "CONFIDENTIAL")
    ran(mesh, source)
    assert {one.classification for one in assets(mesh, project)} == {Classification.CONFIDENTIAL}


def test_47_an_owner_says_less_than_guardrails_that_there_are_and_no_later_ones(
    mesh, place, project
):
    public = {"classification": Classification.PUBLIC}
    guarded(mesh, "INTERNAL")
    source = made(mesh, project, place, include=("t000*",), **public)
    ran(mesh, source)
    assert {one.classification for one in assets(mesh, project)} == {Classification.PUBLIC}
    guarded(mesh, "CONFIDENTIAL")
    found = begun_with(mesh, project, source, include=("t001*",))
    assert found == Classification.CONFIDENTIAL
    # Said again, it is said of the new ones.
    assert begun_with(mesh, project, source, include=("t002*",), **public) == Classification.PUBLIC


def begun_with(mesh, project, source, **changes):
    """Let a source find one more asset; returns how far that may go."""
    known = {one.id for one in assets(mesh, project)}
    mesh.ask("bob", "UpdateDataSource", data_source_id=source.id, **changes)
    ran(mesh, source)
    [one] = [one for one in assets(mesh, project) if one.id not in known]
    return one.classification


def test_19_a_term_that_was_disabled_meanwhile_is_not_newly_used(mesh, place, project):
    glossary = mesh.ask("ann", "CreateGlossary", project_id=project.id, name="words")
    terms = [
        mesh.ask("bob", "CreateGlossaryTerm", glossary_id=glossary.id, name=name).id
        for name in ("weld", "press")
    ]
    source = made(mesh, project, place, glossary_terms=tuple(terms))
    status = {"status": EnabledStatus.DISABLED}
    mesh.ask("bob", "UpdateGlossaryTerm", glossary_term_id=terms[0], **status)
    ran(mesh, source)
    assert {one.glossary_terms for one in assets(mesh, project)} == {(terms[1],)}


def test_15_new_assets_are_listed_at_once_where_the_source_says_so(mesh, place, project):
    run = ran(mesh, made(mesh, project, place, publish_on_import=True))
    assert set(statuses(mesh, run).values()) == {CREATED}
    listed = mesh.ask("bob", "ListListings", owning_project_id=project.id)["items"]
    assert [one.status for one in listed] == [ListingStatus.ACTIVE] * 3


def test_20_what_keeps_a_new_asset_from_being_listed_is_told(mesh, place, project):
    given = {"name": "Line", "fields": (NewField(name="line", is_required=True),)}
    mesh.ask("ann", "CreateFormType", project_id=project.id, **given)
    given = {
        "name": "lines",
        "rule_type": RuleType.METADATA_FORM_ENFORCEMENT,
        "action": RuleAction.CREATE_LISTING_CHANGE_SET,
        "form_types": ("Line",),
    }
    mesh.ask("ann", "CreateRule", domain_unit_id=ROOT, **given)
    run = ran(mesh, made(mesh, project, place, publish_on_import=True))
    assert run.status is DataSourceRunStatus.PARTIALLY_SUCCEEDED
    told = activities(mesh, run)["t000.csv"]
    assert told.status is AssetRunStatus.PUBLISHING_FAILED
    assert "Line" in told.message
    assert len(assets(mesh, project)) == 3


def test_14_only_one_run_of_a_source_goes_at_a_time(mesh, source):
    run = mesh.ask("bob", "StartDataSourceRun", data_source_id=source.id)
    assert run.status is DataSourceRunStatus.REQUESTED
    told = mesh.refusal("bob", "StartDataSourceRun", data_source_id=source.id)
    assert (type(told), told.details) == (Conflict, {"run": run.id})
    told = mesh.refusal("bob", "DeleteDataSource", data_source_id=source.id)
    assert isinstance(told, Conflict)
    mesh.work()
    mesh.ask("bob", "StartDataSourceRun", data_source_id=source.id)


def test_14_a_disabled_source_is_not_run(mesh, source):
    disabled = {"enable_setting": EnabledStatus.DISABLED}
    mesh.ask("bob", "UpdateDataSource", data_source_id=source.id, **disabled)
    told = mesh.refusal("bob", "StartDataSourceRun", data_source_id=source.id)
    assert isinstance(told, Conflict)


@pytest.mark.parametrize(
    "given",
    [
        {"every_s": 59},
        {"include": ("x",) * 60, "exclude": ("y",) * 60},
        {"glossary_terms": ("term-nothing",)},
    ],
    ids=["too often", "too many patterns", "a term that is none"],
)
def test_14_a_source_that_makes_no_sense_is_refused(mesh, place, project, source, given):
    asked = {"project_id": project.id, "location": str(place), "name": "x", **given}
    assert isinstance(mesh.refusal("bob", "CreateDataSource", **asked), InvalidInput)
    told = mesh.refusal("bob", "UpdateDataSource", data_source_id=source.id, **given)
    assert isinstance(told, InvalidInput)


def test_14_names_of_sources_are_a_projects_own_and_places_only_its_own(
    mesh, tmp_path, place, project, source
):
    asked = {"project_id": project.id, "location": str(place), "name": "files"}
    assert isinstance(mesh.refusal("bob", "CreateDataSource", **asked), Conflict)
    mine, _ = project_with(mesh, "cy", str(tmp_path / "cy"), "cy")
    asked |= {"project_id": mine.id}
    assert isinstance(mesh.refusal("cy", "CreateDataSource", **asked), NotFound)
    other = made(mesh, mine, tmp_path / "cy", "cy")
    asked = {"data_source_id": other.id, "location": str(place)}
    assert isinstance(mesh.refusal("cy", "UpdateDataSource", **asked), NotFound)
    assert isinstance(mesh.refusal("cy", "GetDataSource", data_source_id=source.id), NotFound)


def test_14_patterns_say_what_is_wanted(mesh, place, project):
    source = made(mesh, project, place, include=("t00*",), exclude=("*1.csv",))
    assert sorted(statuses(mesh, ran(mesh, source))) == ["t000.csv", "t002.csv"]
    mesh.ask("bob", "UpdateDataSource", data_source_id=source.id, include=("t000.csv",))
    (place / "t002.csv").unlink()
    assert sorted(statuses(mesh, ran(mesh, source))) == ["t000.csv"]


def job_of(mesh, kind):
    with mesh.store.reading() as reader:
        return reader.one(Job, kind=kind)


def advance(mesh, kind):
    """Make a job due."""
    found = job_of(mesh, kind)
    due = replace(found, version=found.version + 1, due_at=1)
    mesh.store.write(lambda changes: changes.put(due))


def test_14_a_schedule_begins_runs_one_after_another(mesh, place, project):
    source = made(mesh, project, place, every_s=3600)
    first = job_of(mesh, runs.START).due_at
    for _ in range(2):
        advance(mesh, runs.START)
        mesh.work()
    found = mesh.ask("bob", "ListDataSourceRuns", data_source_id=source.id)["items"]
    assert [(one.type, one.status) for one in found] == [("SCHEDULED", "SUCCESS")] * 2
    assert job_of(mesh, runs.START).due_at > first
    assert len(assets(mesh, project)) == 3


def test_14_a_schedule_waits_for_a_run_that_is_going_and_ends_with_its_source(mesh, place, project):
    source = made(mesh, project, place, every_s=3600)
    mesh.ask("bob", "StartDataSourceRun", data_source_id=source.id)
    advance(mesh, runs.START)
    mesh.work(runs.START)
    assert len(mesh.ask("bob", "ListDataSourceRuns", data_source_id=source.id)["items"]) == 1
    mesh.work()
    mesh.ask("bob", "UpdateDataSource", data_source_id=source.id, every_s=0)
    advance(mesh, runs.START)
    mesh.work()
    assert job_of(mesh, runs.START) is None


def test_14_old_runs_are_forgotten_and_a_deleted_source_leaves_assets_only(
    mesh, project, source, monkeypatch
):
    monkeypatch.setattr(runs, "KEPT_RUNS", 2)
    kept = [ran(mesh, source).id for _ in range(4)][2:]
    mesh.work()
    found = mesh.ask("bob", "ListDataSourceRuns", data_source_id=source.id)["items"]
    assert {one.id for one in found} == set(kept)
    mesh.ask("bob", "DeleteDataSource", data_source_id=source.id)
    mesh.work()
    with mesh.store.reading() as reader:
        kinds = (DataSource, DataSourceRun, DataSourceRunActivity, Job)
        assert [reader.count(kind) for kind in kinds] == [0, 0, 0, 0]
    assert len(assets(mesh, project)) == 3


def test_14_a_place_that_changes_in_the_middle_of_a_run_ends_it(
    mesh, tmp_path, place, project, source, monkeypatch
):
    location = str(tmp_path / "new")
    given = {"kind": AssociationKind.STORAGE, "location": location, "name": "new"}
    storage = mesh.ask("bob", "Associate", project_id=project.id, **given)
    mesh.ask("ann", "AcceptAssociation", association_id=storage.id)
    harvest = runs.harvest

    def moved(*args, **options):
        mesh.ask("bob", "UpdateDataSource", data_source_id=source.id, location=location)
        return harvest(*args, **options)

    monkeypatch.setattr(runs, "harvest", moved)
    run = ran(mesh, source)
    assert run.status is DataSourceRunStatus.FAILED
    assert assets(mesh, project) == []


@contextmanager
def servant(url, home, stop=0):
    """A server process; yields what it says."""
    script = Path(__file__).parents[1] / "mesh_servants.py"
    command = [sys.executable, str(script), url, str(home), str(stop)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("commits", [3, 5, 8])
def test_14_a_run_that_was_killed_is_taken_up_to_the_same_end(tmp_path, commits):
    """The first commits take over, take the job, begin the run; then come ten assets with each."""
    write_tables(tmp_path / "lake", 45)
    url, home = database_of(tmp_path), tmp_path / "home"
    home.mkdir()
    with world(url, home) as mesh:
        project, _ = project_with(mesh, "bob", str(tmp_path / "lake"))
        source = made(mesh, project, tmp_path / "lake")
        run = mesh.ask("bob", "StartDataSourceRun", data_source_id=source.id)
    with servant(url, home, commits) as said:
        assert [said.readline() for _ in range(commits)][-1] == f"{commits}\n"
    with world_again(url) as store, store.reading() as reader:
        before = reader.count(Asset)
        assert before == reader.count(DataSourceRunActivity) == min(45, (commits - 3) * 10)
        assert reader.find(DataSourceRun, run.id).status is DataSourceRunStatus.RUNNING
    with servant(url, home) as said, world_again(url) as store:
        for _ in said:
            with store.reading() as reader:
                if reader.one(Job, kind=runs.RUN) is None:
                    break
    with world_again(url) as store, store.reading() as reader:
        found = reader.find(DataSourceRun, run.id)
        assert (found.status, found.statistics) == ("SUCCESS", {"SUCCEEDED_CREATED": 45})
        assert reader.count(Asset) == reader.count(DataSourceRunActivity) == 45
        assert {one.version for one in reader.all(Asset)} == {1}


@contextmanager
def world_again(url):
    store = Store(opened(url), lambda connection, notes: None)
    try:
        yield store
    finally:
        store.close()
