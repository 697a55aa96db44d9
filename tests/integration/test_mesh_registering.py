"""Assets that people register: where from, what they begin as, how they follow their files."""

from contextlib import contextmanager

import lance
import pyarrow as pa
import pytest
from mesh_databases import database_of
from mesh_files import csv_bytes, lake, plant_table, write_parquet
from mesh_lakes import equipped, project_with, workers, write_workers
from mesh_world import ROOT, world
from vectordata import clustered, settings, small_collection
from vectordata import write_parquet as write_vectors

import atoll
from atoll.app.assets import Collections
from atoll.compute.processes import ProcessExecutor
from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from atoll.core.records import decoded
from atoll.mesh import personal
from atoll.mesh.model.catalog import Classification, PiiStatus
from atoll.mesh.model.organisation import AssociationKind, Designation
from atoll.mesh.service.listings import ListingAction
from atoll.mesh.service.products import ItemInput


@pytest.fixture
def mesh(mesh):
    return equipped(mesh)


@pytest.fixture
def place(tmp_path):
    return lake(tmp_path / "lake")


@pytest.fixture
def project(mesh, place):
    return project_with(mesh, "bob", str(place))[0]


def create(mesh, project, location, who="bob", **given):
    asked = {"project_id": project.id, "location": str(location), **given}
    return mesh.ask(who, "CreateAsset", **asked).asset


def refusal(mesh, project, location, who="bob", **given):
    asked = {"project_id": project.id, "location": str(location), **given}
    return mesh.refusal(who, "CreateAsset", **asked)


def refresh(mesh, asset, who="bob"):
    return mesh.ask(who, "RefreshAsset", asset_id=asset.id)


def join(mesh, project, who, designation):
    given = {"member_id": f"user-{who}", "designation": designation}
    mesh.ask("bob", "CreateProjectMembership", project_id=project.id, **given)


def flags(asset):
    return {one.name: one.pii.status for one in asset.columns if one.pii}


@pytest.mark.parametrize(
    ("path", "name", "asset_type", "rows"),
    [
        ("single/ai.parquet", "ai", "Table", 60),
        ("parts", "parts", "Table", 60),
        ("hive", "hive", "Table", 120),
        ("loose/a.csv", "a", "Table", 60),
        ("welds.lance", "welds", "Table", 60),
        ("img", "img", "FileSet", None),
    ],
)
def test_13_technical_metadata_of_each_format_become_an_asset(
    mesh, place, project, path, name, asset_type, rows
):
    made = create(mesh, project, place / path)
    assert (made.name, made.asset_type, made.technical.rows) == (name, asset_type, rows)
    assert made.external_identifier == made.technical.location == (place / path).as_uri()
    assert mesh.ask("bob", "GetAsset", asset_id=made.id) == made
    assert mesh.notes[-1].resource_id == made.id


def test_13_what_lies_there_is_of_its_own_type_or_of_one_that_a_project_has_made(
    mesh, place, project
):
    for name in ("View", "FileSet", "VectorCollection"):
        told = refusal(mesh, project, place / "parts", asset_type=name)
        assert isinstance(told, InvalidInput)
        assert f"is a Table, no {name};" in told.message
    assert create(mesh, project, place / "parts", asset_type="Table").asset_type == "Table"
    mesh.ask("ann", "CreateAssetType", project_id=project.id, name="MachineLog")
    made = create(mesh, project, place / "hive", asset_type="MachineLog")
    assert made.asset_type == "MachineLog"


def test_62_a_vector_collection_is_an_asset(mesh, tmp_path, place, project):
    reach = small_collection(place / "proteins", tmp_path)
    made = create(equipped(mesh, collections=Collections(reach)), project, place / "proteins")
    assert (made.asset_type, made.technical.rows) == ("VectorCollection", 100)
    assert made.technical.details["dim"] == 16
    assert refresh(mesh, made) == made


def test_39_what_begins_is_as_the_guardrails_say_and_less_takes_an_owner(mesh, place, project):
    join(mesh, project, "cy", Designation.CONTRIBUTOR)
    mesh.ask("ann", "SetGuardrails", domain_unit_id=ROOT, default_classification="INTERNAL")
    assert create(mesh, project, place / "parts").classification is Classification.INTERNAL
    public = {"classification": Classification.PUBLIC}
    assert isinstance(refusal(mesh, project, place / "hive", "cy", **public), Forbidden)
    confidential = {"classification": Classification.CONFIDENTIAL}
    more = create(mesh, project, place / "hive", "cy", **confidential)
    assert more.classification is Classification.CONFIDENTIAL
    less = create(mesh, project, place / "img", **public)
    assert less.classification is Classification.PUBLIC


@pytest.mark.parametrize(
    "location",
    [
        "{lake}/../other/t.csv",
        "{lake}/nothing",
        "{other}/t.csv",
        "file://{lake}/%2e%2e/other/t.csv",
        "{lake}/link/t.csv",
        "{lake}-more/t.csv",
        "{lake}/loop/x",
        "s3://plant/lake/t.csv",
        "memory://lake/t.csv",
        "http://plant/lake/t.csv",
        "s3://key:secret@plant/lake",
        "file://elsewhere{lake}/parts",
        "/etc/passwd",
        "t.csv",
        " ",
    ],
)
def test_a_place_that_is_not_the_projects_is_refused_like_one_where_nothing_is(
    mesh, tmp_path, place, project, location
):
    """Threat 7."""
    for other in (tmp_path / "other", tmp_path / "lake-more"):
        other.mkdir()
        (other / "t.csv").write_bytes(csv_bytes(plant_table()))
    (place / "link").symlink_to(tmp_path / "other")
    (place / "loop").symlink_to(place / "loop")
    told = refusal(mesh, project, location.format(lake=place, other=tmp_path / "other"))
    nothing = refusal(mesh, project, place / "nothing at all")
    assert (type(told), told.message, told.details) == (NotFound, nothing.message, {})
    assert "secret" not in told.message
    assert [one.outcome for one in mesh.notes[-2:]] == ["DENIED", "DENIED"]


@pytest.mark.parametrize("state", ["pending", "removed", "another project's", "a workgroup's"])
def test_only_an_accepted_storage_of_the_project_itself_will_do(
    mesh, tmp_path, place, project, state
):
    """Threat 7."""
    mine, storage = project_with(mesh, "cy", str(tmp_path / "cy"), "cy")
    if state == "another project's":
        told = refusal(mesh, mine, place / "parts", "cy")
    elif state == "removed":
        write_workers(tmp_path / "cy")
        mesh.ask("ann", "RemoveAssociation", association_id=storage.id)
        told = refusal(mesh, mine, tmp_path / "cy" / "workers", "cy")
    elif state == "pending":
        write_workers(tmp_path / "new")
        given = {
            "kind": AssociationKind.STORAGE,
            "location": str(tmp_path / "new"),
            "name": "new",
        }
        mesh.ask("cy", "Associate", project_id=mine.id, **given)
        told = refusal(mesh, mine, tmp_path / "new" / "workers", "cy")
    else:
        given = {"kind": AssociationKind.WORKGROUP, "name": "small"}
        group = mesh.ask("cy", "Associate", project_id=mine.id, **given)
        mesh.ask("ann", "AcceptAssociation", association_id=group.id)
        told = refusal(mesh, mine, place / "parts", "cy")
    assert isinstance(told, NotFound)


def test_a_folder_that_becomes_a_link_leads_nowhere(mesh, tmp_path, place, project):
    """Threat 7."""
    made = create(mesh, project, place / "parts")
    (place / "parts").rename(tmp_path / "away")
    (place / "parts").symlink_to(tmp_path / "away")
    told = mesh.refusal("bob", "RefreshAsset", asset_id=made.id)
    assert isinstance(told, Conflict)
    assert "away" not in told.message


def test_a_storage_that_becomes_a_link_leads_nowhere(mesh, tmp_path, place, project):
    """Threat 7."""
    place.rename(tmp_path / "away")
    place.symlink_to(tmp_path / "away")
    assert isinstance(refusal(mesh, project, place / "parts"), NotFound)


def test_there_must_be_exactly_one_asset_there(mesh, place, project):
    told = refusal(mesh, project, place)
    assert isinstance(told, InvalidInput)
    assert "assets lie there" in told.message
    assert "assets lie there" in refusal(mesh, project, place / "mixed").message
    (place / "loose" / "bad.csv").write_bytes(b"a,b\n1\n")
    assert "it cannot be read" in refusal(mesh, project, place / "loose" / "bad.csv").message


def test_17_the_same_place_is_registered_once_and_nobody_is_told_by_whom(
    mesh, tmp_path, place, project
):
    create(mesh, project, place / "parts")
    assert isinstance(refusal(mesh, project, place / "parts"), Conflict)
    [storage] = mesh.ask("ann", "ListAssociations", project_id=project.id)["items"]
    mesh.ask("ann", "RemoveAssociation", association_id=storage.id)
    mine, _ = project_with(mesh, "cy", str(place), "cy")
    told = refusal(mesh, mine, place / "parts", "cy")
    assert isinstance(told, Conflict)
    assert project.id not in f"{told.message}{told.details}"


def test_the_same_call_again_is_answered_alike_though_files_changed(mesh, place, project):
    asked = {"project_id": project.id, "location": str(place / "parts"), "key": "k"}
    made = mesh.ask("bob", "CreateAsset", **asked)
    write_parquet(place / "parts" / "3.parquet", plant_table(5))
    again = mesh.ask("bob", "CreateAsset", **asked)
    assert decoded(bytes(again), type(made)) == made


@pytest.mark.parametrize("inner_first", [True, False])
def test_17_no_asset_lies_inside_another(mesh, place, project, inner_first):
    places = [place / "parts" / "0.parquet", place / "parts"]
    first, second = places if inner_first else places[::-1]
    create(mesh, project, first)
    told = refusal(mesh, project, second)
    assert isinstance(told, Conflict)
    assert "same files" in told.message


def test_17_a_copy_is_named_to_whoever_may_know_of_it(mesh, tmp_path, place, project):
    first = create(mesh, project, place / "parts")
    write_parquet(place / "copy" / "all.parquet", plant_table())
    given = {"project_id": project.id, "location": str(place / "copy")}
    told = mesh.ask("bob", "CreateAsset", **given)
    assert told.copies == [f"'parts' ({first.id})"]
    mine, _ = project_with(mesh, "cy", str(tmp_path / "cy"), "cy")
    write_parquet(tmp_path / "cy" / "own" / "all.parquet", plant_table())
    given = {"project_id": mine.id, "location": str(tmp_path / "cy" / "own")}
    assert mesh.ask("cy", "CreateAsset", **given).copies == []


def test_40_columns_with_personal_data_are_proposed_by_their_values(mesh, place, project):
    table = workers().rename_columns(["c1", "c2", "c3"])
    write_workers(place, table)
    made = create(mesh, project, place / "workers")
    assert flags(made) == dict.fromkeys(["c1", "c2"], PiiStatus.PROPOSED)
    assert made.personal == {"c1", "c2"}
    assert not any("@" in one.pii.evidence for one in made.columns)


@pytest.mark.parametrize("format_", ["csv", "lance"])
def test_40_values_are_looked_at_in_each_format(mesh, place, project, format_):
    table = workers().rename_columns(["c1", "c2", "c3"])
    path = place / f"w.{format_}"
    if format_ == "lance":
        lance.write_dataset(table, str(path))
    else:
        path.write_bytes(csv_bytes(table, ";"))
    assert create(mesh, project, path).personal == {"c1", "c2"}


def test_40_where_rows_cannot_be_read_names_speak_and_that_is_told(mesh, place, project):
    path = write_workers(place)
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    given = {"project_id": project.id, "location": str(place / "workers")}
    told = mesh.ask("bob", "CreateAsset", **given)
    assert "by the names of columns alone" in told.remark
    assert told.asset.personal == {"worker_name", "email"}


@pytest.fixture
def out_of_reach(monkeypatch):
    """Nobody can look at values, as long as it is used."""

    @contextmanager
    def used():
        with monkeypatch.context() as patch:
            patch.setattr(personal, "sample_of", unanswered)
            yield

    return used


def unanswered(*_):
    raise Unavailable("the store does not answer; try again")


def publish(mesh, asset, **given):
    given = {"asset_id": asset.id, "action": ListingAction.PUBLISH, **given}
    return mesh.ask("bob", "CreateListingChangeSet", **given)


def unpublished(mesh, asset, **given):
    given = {"asset_id": asset.id, "action": ListingAction.PUBLISH, **given}
    told = mesh.refusal("bob", "CreateListingChangeSet", **given)
    assert isinstance(told, Conflict)
    return told.message


def nameless(rows=40):
    return workers(rows).rename_columns(["c1", "c2", "c3"])


def test_40_what_nobody_could_look_at_is_published_once_somebody_has(
    mesh, place, project, out_of_reach
):
    write_workers(place, nameless())
    with out_of_reach():
        made = create(mesh, project, place / "workers")
        assert "store does not answer" in made.unexamined
        assert refresh(mesh, made) == made
    assert "store does not answer; try again; refresh it" in unpublished(mesh, made)
    seen = refresh(mesh, made)
    assert (seen.version, seen.unexamined, seen.personal) == (2, "", {"c1", "c2"})
    assert "refresh it" in unpublished(mesh, made, revision=1)
    assert publish(mesh, seen).has_pii


def test_40_failures_in_other_words_are_no_revisions(mesh, place, project, monkeypatch):
    write_workers(place, nameless())
    words = iter(["it took 1 s", "it took 2 s"])

    def slow(*_):
        raise Unavailable(next(words))

    monkeypatch.setattr(personal, "sample_of", slow)
    made = create(mesh, project, place / "workers")
    assert refresh(mesh, made) == made
    assert "took 1 s" in made.unexamined


def test_40_flags_settle_what_nobody_can_look_at(mesh, place, project, out_of_reach):
    write_workers(place, nameless())
    with out_of_reach():
        made = create(mesh, project, place / "workers")
    mesh.ask("bob", "FlagPii", asset_id=made.id, columns=("c1", "c2"), kind="email")
    told = unpublished(mesh, made)
    assert ("'c3'" in told, "'c1'" in told) == (True, False)
    mesh.ask("bob", "FlagPii", asset_id=made.id, columns=("c3",), kind="email")
    assert decide(mesh, made, "c3", is_personal=False).personal == {"c1", "c2"}
    assert publish(mesh, made).has_pii


def test_40_no_data_product_shows_what_nobody_could_look_at(mesh, place, project, out_of_reach):
    write_workers(place, nameless())
    with out_of_reach():
        made = create(mesh, project, place / "workers")
    items = (ItemInput(asset_id=made.id, revision=1),)
    given = {"project_id": project.id, "name": "people", "items": items}
    product = mesh.ask("bob", "CreateDataProduct", **given)
    given = {"data_product_id": product.id, "action": ListingAction.PUBLISH}
    told = mesh.refusal("bob", "CreateDataProductListingChangeSet", **given)
    assert "store does not answer" in told.message


def test_40_what_is_listed_stays_so_and_is_looked_at_again(mesh, place, project, out_of_reach):
    table = nameless()
    write_workers(place, table.set_column(1, "c2", [["a"] * 40]).drop_columns(["c1"]))
    made = create(mesh, project, place / "workers")
    listing = publish(mesh, made)
    write_workers(place, table.drop_columns(["c1"]))
    with out_of_reach():
        assert refresh(mesh, made).personal == frozenset()
    assert "refresh it" in unpublished(mesh, made)
    assert refresh(mesh, made).personal == {"c2"}
    assert mesh.ask("bob", "GetListing", listing_id=listing.id).has_pii


@pytest.mark.parametrize("format_", ["parquet", "csv", "lance"])
def test_40_rows_that_come_later_are_looked_at(mesh, place, project, format_):
    def write(table):
        path = place / "people" / f"1.{format_}"
        if format_ == "lance":
            lance.write_dataset(table, str(path), mode="overwrite")
        elif format_ == "csv":
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(csv_bytes(table))
        else:
            write_parquet(path, table)
        return path

    path = write(nameless().slice(0, 0))
    made = create(mesh, project, path)
    assert made.personal == frozenset()
    write(nameless())
    assert refresh(mesh, made).personal == {"c1", "c2"}


def test_40_names_of_folders_are_looked_at(mesh, place, project):
    for number in range(40):
        folder = place / "people" / f"c1=anna.schmidt{number}%40example.com"
        write_parquet(folder / "1.parquet", plant_table(2))
    made = create(mesh, project, place / "people")
    assert made.personal == {"c1"}


def test_62_what_a_collection_has_beside_its_vectors_is_looked_at(mesh, tmp_path, place, project):
    reach = settings(tmp_path)
    emails = [f"anna.schmidt{number}@example.com" for number in range(100)]
    source = write_vectors(tmp_path / "people.parquet", clustered(100, 16), c1=emails)
    options = {"settings": reach, "workers": 1, "bucket_rows": 60, "calibrate": False}
    atoll.create(place / "people", source, **options)
    equipped(mesh, executor=ProcessExecutor(1), collections=Collections(reach))
    made = create(mesh, project, place / "people")
    assert (made.unexamined, made.personal) == ("", {"c1"})


def test_13_a_changed_schema_makes_a_revision_whose_difference_the_audit_tells(
    mesh, place, project
):
    made = create(mesh, project, place / "single" / "ai.parquet")
    table = (
        plant_table().drop_columns(["at"]).append_column("email", pa.array(["a@b.example"] * 60))
    )
    write_parquet(place / "single" / "ai.parquet", table)
    changed = refresh(mesh, made)
    assert (changed.version, changed.personal) == (2, {"email"})
    assert "added 'email' string; removed 'at' timestamp" in mesh.notes[-1].details
    assert mesh.ask("bob", "GetAsset", asset_id=made.id, revision=1) == made


def test_13_files_that_did_not_change_make_no_revision(mesh, place, project):
    made = create(mesh, project, place / "parts")
    assert refresh(mesh, made) == made


def test_13_other_contents_make_a_revision(mesh, place, project):
    made = create(mesh, project, place / "parts")
    write_parquet(place / "parts" / "3.parquet", plant_table(5))
    assert refresh(mesh, made).technical.rows == 65


def decide(mesh, asset, column, *, is_personal):
    given = {"columns": (column,), "is_personal": is_personal}
    return mesh.ask("bob", "DecidePii", asset_id=asset.id, **given)


def test_40_what_an_owner_refused_stays_refused_until_the_type_changes(mesh, place, project):
    write_workers(place)
    made = create(mesh, project, place / "workers")
    decide(mesh, made, "email", is_personal=False)
    write_workers(place, workers(41))
    assert flags(refresh(mesh, made))["email"] is PiiStatus.REFUSED
    again = workers().set_column(1, "email", [[f"{one}@x.example".encode() for one in range(40)]])
    write_workers(place, again.set_column(1, "email", again["email"].cast(pa.large_string())))
    assert flags(refresh(mesh, made))["email"] is PiiStatus.PROPOSED


def test_40_a_flag_outlives_a_load_without_its_column(mesh, place, project):
    """Else a contributor could drop a column, bring it back, and have it read unmasked."""
    table = workers().rename_columns(["c1", "c2", "c3"])
    write_workers(place, table)
    made = create(mesh, project, place / "workers")
    mesh.ask("bob", "FlagPii", asset_id=made.id, columns=("c3",), kind="employee_number")
    write_workers(place, table.drop_columns(["c3"]))
    assert refresh(mesh, made).personal == {"c1", "c2"}
    write_workers(place, table)
    assert refresh(mesh, made).personal == {"c1", "c2", "c3"}


def test_what_the_server_has_no_credentials_for_is_told_by_name(mesh, tmp_path):
    project, _ = project_with(mesh, "cy", "s3://plant/cy", "cy", credentials="lake")
    told = refusal(mesh, project, "s3://plant/cy/t.csv", "cy")
    assert isinstance(told, Unavailable)
    assert "'lake'" in told.message


def test_what_is_not_there_any_more_and_what_is_archived_is_not_read_again(mesh, place, project):
    made = create(mesh, project, place / "parts")
    mesh.ask("bob", "ArchiveAsset", asset_id=made.id)
    assert isinstance(mesh.refusal("bob", "RefreshAsset", asset_id=made.id), Conflict)
    mesh.ask("bob", "RestoreAsset", asset_id=made.id)
    for one in (place / "parts").iterdir():
        one.unlink()
    assert (
        "nothing at the asset's location"
        in mesh.refusal("bob", "RefreshAsset", asset_id=made.id).message
    )


def test_files_are_read_in_another_process(tmp_path):
    with world(database_of(tmp_path)) as mesh:
        write_workers(tmp_path / "lake")
        project, _ = project_with(mesh, "bob", str(tmp_path / "lake"))
        asset = create(mesh, project, tmp_path / "lake" / "workers")
        assert asset.personal == {"worker_name", "email"}


def test_who_may_not_look_has_never_heard_of_it(mesh, place, project):
    made = create(mesh, project, place / "parts")
    project_with(mesh, "cy", "s3://plant/cy", "cy")
    assert isinstance(mesh.refusal("cy", "RefreshAsset", asset_id=made.id), NotFound)
    told = refusal(mesh, project, place / "hive", "cy")
    assert isinstance(told, NotFound)
    join(mesh, project, "cy", Designation.VIEWER)
    assert isinstance(mesh.refusal("cy", "RefreshAsset", asset_id=made.id), Forbidden)
