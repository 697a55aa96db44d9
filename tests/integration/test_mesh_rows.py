"""The first rows of what is listed: who reads them, which rules keep them back, what is shown."""

import shutil
from dataclasses import replace

import lance
import pyarrow as pa
import pytest
from mesh_files import lake, plant_table, write_parquet
from mesh_lakes import equipped, project_with, write_workers
from mesh_world import ROOT
from vectordata import small_collection

from atoll.app.assets import Collections
from atoll.compute.inline import InlineExecutor
from atoll.compute.port import Outcome, always_lost
from atoll.compute.processes import ProcessExecutor
from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from atoll.mesh import firstrows
from atoll.mesh.model.access import Subscription, Terms
from atoll.mesh.model.catalog import Classification
from atoll.mesh.model.organisation import Association, AssociationStatus, Designation
from atoll.mesh.model.record import Replay
from atoll.mesh.service.listings import ListingAction
from atoll.mesh.service.products import ItemInput
from atoll.mesh.service.requests import WantedListing

PUBLIC, INTERNAL = Classification.PUBLIC, Classification.INTERNAL


class Market:
    """Bob's project lists what lies in his lake; another reads, with Dee; Eve is its viewer."""

    def __init__(self, mesh, place):
        self.mesh, self.place = mesh, place
        self.owner = project_with(mesh, "bob", str(place))[0]
        self.reader = mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="forecasts")
        mesh.person("eve")
        mesh.person("fay")
        for who, designation in (("dee", Designation.CONSUMER), ("eve", Designation.VIEWER)):
            given = {"member_id": f"user-{who}", "designation": designation}
            mesh.ask("ann", "CreateProjectMembership", project_id=self.reader.id, **given)

    def lists(self, path, classification=INTERNAL, refuses=()):
        """Register and publish a table; `refuses` are columns that are found not to be personal."""
        given = {"location": str(self.place / path), "classification": classification}
        asset = self.mesh.ask("bob", "CreateAsset", project_id=self.owner.id, **given).asset
        if refuses:
            given = {"asset_id": asset.id, "columns": refuses, "is_personal": False}
            self.mesh.ask("bob", "DecidePii", **given)
        return self.publishes(asset.id)

    def publishes(self, asset_id, who="bob"):
        given = {"asset_id": asset_id, "action": ListingAction.PUBLISH}
        return self.mesh.ask(who, "CreateListingChangeSet", **given)

    def subscribes(self, listing, who="dee", project=None, **terms):
        wanted = (WantedListing(listing_id=listing.id, **terms),)
        given = {"request_reason": "to look", "project_id": (project or self.reader).id}
        made = self.mesh.ask(who, "CreateSubscriptionRequests", listings=wanted, **given)
        self.mesh.work()
        [found] = self.kept(Subscription, request_id=made.requests[0].id)
        return found

    def reads(self, listing, who="dee", **given):
        given = {"project_id": self.reader.id, **given}
        return self.mesh.ask(who, "ReadRows", listing_id=listing.id, **given)

    def refusal(self, listing, who="dee", **given):
        given = {"project_id": self.reader.id, **given}
        return self.mesh.refusal(who, "ReadRows", listing_id=listing.id, **given)

    def kept(self, kind, **keys):
        with self.mesh.store.reading() as reader:
            return list(reader.all(kind, **keys))

    def change(self, record, **values):
        """Change a record behind everybody's back."""
        changed = replace(record, version=record.version + 1, **values)
        return self.mesh.store.write(lambda changes: changes.put(changed))


@pytest.fixture
def place(tmp_path):
    return lake(tmp_path / "lake")


@pytest.fixture
def mesh(mesh):
    return equipped(mesh)


@pytest.fixture
def market(mesh, place):
    return Market(mesh, place)


@pytest.fixture
def single(market):
    return market.lists("single/ai.parquet")


def names_of(rows):
    return [one.name for one in rows.columns]


@pytest.mark.parametrize(
    ("path", "rows", "columns"),
    [
        ("single/ai.parquet", 60, []),
        ("parts", 60, []),
        ("hive", 120, ["year", "line"]),
        ("loose/a.csv", 60, []),
        ("loose/b.csv", 60, []),
        ("welds.lance", 60, []),
    ],
)
def test_49_the_first_rows_of_each_format_are_read(market, path, rows, columns):
    listing = market.lists(path, PUBLIC)
    found = market.reads(listing, "fay", project_id=None, limit=1000)
    assert names_of(found) == [*plant_table(1).column_names, *columns]
    assert (len(found.rows), found.is_cut) == (rows, False)
    first = dict(zip(names_of(found), found.rows[0], strict=True))
    assert (first["udi"], first["product"], first["at"][:10]) == (1, "L14860", "2023-11-14")
    few = market.reads(listing, "fay", project_id=None, columns=("type", "udi"), limit=7)
    assert [one[1] for one in few.rows] == list(range(1, 8))
    assert (names_of(few), few.is_cut) == (["type", "udi"], True)


def test_49_partitions_stand_in_folder_names_and_are_read_alone(market):
    listing = market.lists("hive", PUBLIC)
    found = market.reads(listing, project_id=None, columns=("line",), limit=1000)
    assert [found.rows[at] for at in (0, 59, 60, 119)] == [["A"], ["A"], ["B=1"], ["B=1"]]


@pytest.fixture
def proteins(mesh, market, tmp_path):
    """The place of a vector collection, which the mesh can read."""
    reach = small_collection(market.place / "proteins", tmp_path)
    equipped(mesh, collections=Collections(reach))
    return "proteins"


def test_49_rows_of_a_vector_collection_are_read(market, proteins):
    listing = market.lists(proteins, PUBLIC)
    found = market.reads(listing, project_id=None, columns=("id", "embedding"), limit=80)
    assert (len({one[0] for one in found.rows}), found.is_cut) == (80, True)
    assert [len(one[1]) for one in found.rows] == [16] * 80
    assert names_of(market.reads(listing, project_id=None, limit=1)) == ["embedding", "id"]


def test_49_a_collection_whose_table_is_made_of_another_s_files_is_not_read(
    market, proteins, tmp_path
):
    listing = market.lists(proteins, PUBLIC)
    shutil.copytree(market.place / proteins, tmp_path / "secret")
    for table in (market.place / proteins).glob("*.lance"):
        secret = lance.dataset(str(tmp_path / "secret" / table.name))
        shutil.rmtree(table)
        secret.shallow_clone(str(table), secret.version)
    assert isinstance(market.refusal(listing, project_id=None), Conflict)


VECTORS = pytest.mark.parametrize(
    ("path", "key", "shown"),
    [("proteins", "id", ["embedding", "id"]), ("welds.lance", "udi", plant_table(1).column_names)],
)


@VECTORS
def test_62_a_lance_table_and_a_vector_collection_are_subscribed_to_and_read(
    market, proteins, path, key, shown
):
    listing = market.lists(path)
    assert "no subscription" in market.refusal(listing).message
    held = market.subscribes(listing)
    found = market.reads(listing, limit=3)
    assert (names_of(found), len(found.rows)) == (shown, 3)
    assert names_of(market.reads(listing, columns=(key,))) == [key]
    assert isinstance(market.refusal(listing, columns=("bucket",)), InvalidInput)
    assert isinstance(market.refusal(listing, "fay"), NotFound)
    market.mesh.ask("bob", "RevokeSubscription", subscription_id=held.id)
    assert "REVOKED" in market.refusal(listing).message


@VECTORS
def test_62_a_filter_of_a_lance_table_or_a_vector_collection_is_given_and_not_gone_around(
    mesh, market, proteins, path, key, shown
):
    listing = market.lists(path)
    value = {"columnName": key, "value": "p00001" if key == "id" else "1"}
    configuration = {
        "columnConfiguration": {"includedColumnNames": [key]},
        "rowConfiguration": {"rowFilter": {"expression": {"equalTo": value}}},
    }
    given = {"asset_id": listing.entity_id, "name": "one", "configuration": configuration}
    made = mesh.ask("bob", "CreateAssetFilter", **given)
    [told] = mesh.ask("dee", "ListListingFilters", listing_id=listing.id)["items"]
    assert (told.id, told.columns, told.has_row_filter) == (made.id, (key,), True)
    held = market.subscribes(listing, filter_ids=(made.id,))
    assert held.terms.filter_ids == (made.id,)
    for columns in ((), (key,), tuple(shown)):
        assert "gateway" in market.refusal(listing, columns=columns).message
    given = {"asset_id": listing.entity_id, "name": "none"}
    nothing = {"columnConfiguration": {"includedColumnNames": ["bucket"]}}
    refused = mesh.refusal("bob", "CreateAssetFilter", configuration=nothing, **given)
    assert isinstance(refused, InvalidInput)


def test_49_54_a_subscription_is_read_by_its_consumers_and_by_nobody_else(market, single):
    assert isinstance(market.refusal(single), Forbidden)
    held = market.subscribes(single)
    assert len(market.reads(single, limit=5).rows) == 5
    assert isinstance(market.refusal(single, "eve"), Forbidden)
    assert isinstance(market.refusal(single, "fay"), NotFound)
    assert isinstance(market.refusal(single, "bob"), NotFound)
    assert "INTERNAL" in market.refusal(single, project_id=None).message
    [mine] = market.mesh.ask("dee", "ListMyData", project_id=market.reader.id)["items"]
    assert mine.last_used_at == market.kept(Subscription, id=held.id)[0].last_used_at > 0


def test_2_one_project_publishes_and_reads_what_another_publishes(mesh, market, single, tmp_path):
    write_parquet(tmp_path / "lab" / "trials" / "1.parquet", plant_table(5, seed=1))
    lab, _ = project_with(mesh, "cy", str(tmp_path / "lab"), "lab")
    given = {"project_id": lab.id, "location": str(tmp_path / "lab" / "trials")}
    asset = mesh.ask("cy", "CreateAsset", classification=INTERNAL, **given).asset
    trials = market.publishes(asset.id, "cy")
    for who, project, listing in (("bob", market.owner, trials), ("cy", lab, single)):
        market.subscribes(listing, who, project)
        rows = market.reads(listing, who, project_id=project.id, limit=2).rows
        [mine] = mesh.ask(who, "ListMyData", project_id=project.id)["items"]
        assert (len(rows), mine.listing_id) == (2, listing.id)


def test_49_owners_read_their_own(market, single):
    assert market.reads(single, "bob", project_id=market.owner.id).rows
    assert isinstance(market.refusal(single, "dee", project_id=market.owner.id), NotFound)


@pytest.mark.parametrize("scope", ["read", "ReadRows"])
def test_8_a_token_that_only_reads_reads_rows(market, single, scope):
    market.subscribes(single)
    assert market.reads(single, by=frozenset({scope}), limit=1).rows
    asked = {"project_id": market.reader.id, "request_reason": "more", "listings": ()}
    told = market.mesh.refusal("dee", "CreateSubscriptionRequests", by=frozenset({scope}), **asked)
    assert isinstance(told, Forbidden if scope == "read" else NotFound)


def test_48_reading_is_audited_with_what_was_read(mesh, market, single):
    held = market.subscribes(single)
    market.reads(single, columns=("udi",), limit=3)
    told = mesh.notes[-1]
    assert (told.operation, told.asset_id) == ("ReadRows", single.entity_id)
    assert (told.project, told.principal) == (market.reader.id, "user-dee")
    assert f'"subscription":"{held.id}"' in told.details
    assert '"bytes":9' in told.details
    assert '"rows":3' in told.details
    assert "udi" in told.details
    market.refusal(single, "eve")
    assert (mesh.notes[-1].operation, mesh.notes[-1].outcome) == ("ReadRows", "DENIED")


def test_54_each_use_of_a_subscription_makes_no_version_of_it(market, single):
    held = market.subscribes(single)
    for _ in range(3):
        market.reads(single, limit=1)
    assert market.kept(Subscription, id=held.id)[0].version == held.version + 1


def test_39_confidential_data_are_not_read_even_by_their_owners(mesh, market, single):
    market.subscribes(single)
    given = {"asset_id": single.entity_id, "classification": Classification.CONFIDENTIAL}
    mesh.ask("bob", "ClassifyAsset", **given)
    assert "CONFIDENTIAL" in market.refusal(single).message
    owns = {"project_id": market.owner.id}
    assert "CONFIDENTIAL" in market.refusal(single, "bob", **owns).message


def test_40_a_table_with_a_personal_column_is_not_read_at_all(mesh, market, place):
    write_workers(place)
    listing = market.lists("workers", PUBLIC)
    given = {"project_id": None, "columns": ("shift",)}
    assert "personal" in market.refusal(listing, **given).message
    everything = ("worker_name", "email")
    given_ = {"asset_id": listing.entity_id, "columns": everything, "is_personal": False}
    mesh.ask("bob", "DecidePii", **given_)
    assert "personal" in market.refusal(listing, **given).message
    assert market.reads(market.publishes(listing.entity_id), **given).rows


def test_40_a_column_that_is_flagged_in_a_draft_keeps_the_published_table_back(
    mesh, market, single
):
    market.subscribes(single)
    given = {"asset_id": single.entity_id, "columns": ("product",), "kind": "person_name"}
    mesh.ask("bob", "FlagPii", **given)
    assert "personal" in market.refusal(single, columns=("udi",)).message


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        (Terms(filter_ids=("filter-none",)), "does not hold"),
        (Terms(unmasked=("product",)), "unmasked"),
        (Terms(expires_at=1), "does not hold"),
    ],
)
def test_42_whoever_reads_a_part_or_no_longer_reads_nothing(market, single, terms, told):
    market.change(market.subscribes(single), terms=terms)
    refused = market.refusal(single)
    assert isinstance(refused, Forbidden)
    assert told in refused.message


def test_42_a_filter_takes_the_gateway(mesh, market, single):
    columns = {"columnConfiguration": {"includedColumnNames": ["udi"]}}
    given = {"name": "ids", "configuration": columns}
    made = mesh.ask("bob", "CreateAssetFilter", asset_id=single.entity_id, **given)
    market.subscribes(single, filter_ids=(made.id,))
    assert "filters" in market.refusal(single).message


def test_46_rows_are_kept_for_no_idempotency_key(mesh, market, single):
    held = market.subscribes(single)
    rows = market.reads(single, key="again").rows
    assert market.reads(single, key="again").rows == rows
    assert len([one for one in mesh.notes if one.operation == "ReadRows"]) == 2
    mesh.ask("bob", "RevokeSubscription", subscription_id=held.id)
    assert isinstance(market.refusal(single, key="again"), Forbidden)
    assert market.kept(Replay) == []


@pytest.mark.parametrize("status", ["SUSPENDED", "REVOKED", "CANCELLED", "EXPIRED"])
def test_46_a_subscription_that_stands_otherwise_is_not_read_by(market, single, status):
    market.change(market.subscribes(single), status=status)
    assert status in market.refusal(single).message


def test_9_what_lies_in_a_removed_storage_is_not_read(market, single):
    market.subscribes(single)
    [storage] = market.kept(Association, project_id=market.owner.id)
    market.change(storage, status=AssociationStatus.REMOVED)
    assert isinstance(market.refusal(single), Forbidden)
    owns = {"project_id": market.owner.id}
    assert "storage" in market.refusal(single, "bob", **owns).message


def test_39_an_unpublished_table_is_public_no_longer(mesh, market):
    listing = market.lists("parts", PUBLIC)
    given = {"asset_id": listing.entity_id, "action": ListingAction.UNPUBLISH}
    mesh.ask("bob", "CreateListingChangeSet", **given)
    assert isinstance(market.refusal(listing, "dee", project_id=None), NotFound)
    assert "INACTIVE" in market.refusal(listing, "bob", project_id=None).message


def test_46_who_subscribed_reads_what_is_not_listed_any_more_and_nobody_else_knows_of_it(
    mesh, market, single
):
    held = market.subscribes(single)
    given = {"asset_id": single.entity_id, "action": ListingAction.UNPUBLISH}
    mesh.ask("bob", "CreateListingChangeSet", **given)
    assert market.reads(single).rows
    about = {"listing_id": single.id}
    assert mesh.ask("eve", "GetListing", **about).status == "INACTIVE"
    assert [one.id for one in mesh.ask("dee", "ListListings")["items"]] == [single.id]
    assert isinstance(mesh.refusal("cy", "GetListing", **about), NotFound)
    assert isinstance(market.refusal(single, "eve"), Forbidden)
    mesh.ask("dee", "CancelSubscription", subscription_id=held.id)
    assert isinstance(market.refusal(single), NotFound)


def test_42_a_column_that_came_later_is_not_shown(mesh, market, place, single):
    held = market.subscribes(single)
    table = plant_table().append_column("wage", pa.array(range(60)))
    write_parquet(place / "single" / "ai.parquet", table)
    assert isinstance(market.refusal(single), Conflict)
    mesh.ask("bob", "RefreshAsset", asset_id=single.entity_id)
    assert isinstance(market.refusal(single), Conflict)
    again = market.publishes(single.entity_id)
    assert names_of(market.reads(again)) == list(held.columns[single.entity_id])
    assert isinstance(market.refusal(again, columns=("wage",)), InvalidInput)
    assert "wage" in names_of(market.reads(again, "bob", project_id=market.owner.id))


def test_49_a_data_product_is_read_by_its_assets(mesh, market, single):
    given = {"name": "kit", "items": (ItemInput(asset_id=single.entity_id),)}
    made = mesh.ask("bob", "CreateDataProduct", project_id=market.owner.id, **given)
    given = {"data_product_id": made.id, "action": ListingAction.PUBLISH}
    listing = mesh.ask("bob", "CreateDataProductListingChangeSet", **given)
    market.subscribes(listing)
    assert isinstance(market.refusal(listing), InvalidInput)
    assert market.reads(single).rows


@pytest.mark.parametrize("asked", ["nothing", "udi.x", "Udi", ""])
def test_49_a_column_that_is_not_there_is_said_so(market, single, asked):
    market.subscribes(single)
    assert isinstance(market.refusal(single, columns=(asked,)), InvalidInput)


@pytest.mark.parametrize("path", ["parts", "welds.lance", "proteins"])
def test_49_what_lies_elsewhere_now_is_not_read_and_no_place_is_told(
    market, proteins, place, tmp_path, path
):
    listing = market.lists(path, PUBLIC)
    (place / path).rename(tmp_path / "other")
    (place / path).symlink_to(tmp_path / "other")
    told = market.refusal(listing, project_id=None)
    (place / path).unlink()
    gone = market.refusal(listing, project_id=None)
    for one in (told, gone):
        assert isinstance(one, Conflict)
        assert str(tmp_path) not in str(one) + str(one.details)


def test_49_a_damaged_file_is_a_conflict(market, place):
    listing = market.lists("single/ai.parquet", PUBLIC)
    whole = (place / "single" / "ai.parquet").read_bytes()
    (place / "single" / "ai.parquet").write_bytes(whole[:400] + b"x" * 600 + whole[1000:])
    assert isinstance(market.refusal(listing, project_id=None), Conflict)


def test_49_what_changes_while_rows_are_read_is_noticed(mesh, market, single, monkeypatch):
    held = market.subscribes(single)

    def revoked(*given):
        mesh.ask("bob", "RevokeSubscription", subscription_id=held.id)
        return read(*given)

    read = firstrows.read
    monkeypatch.setattr(firstrows, "read", revoked)
    assert isinstance(market.refusal(single), Forbidden)


def test_49_a_table_that_grew_meanwhile_is_read(market, place):
    listing = market.lists("parts", PUBLIC)
    write_parquet(place / "parts" / "9.parquet", plant_table())
    assert len(market.reads(listing, project_id=None, limit=1000).rows) == 120


class Lossy(InlineExecutor):
    """Loses whoever works."""

    def __init__(self, error):
        self.error = error

    def map(self, task, items, *, name=str, on_done=None):
        return [Outcome(None, self.error, 3)]


@pytest.mark.parametrize("error", [always_lost("rows", "SIGKILL"), MemoryError()])
def test_49_a_reader_that_dies_is_an_error_of_the_one_shape(mesh, market, single, error):
    market.subscribes(single)
    equipped(mesh, executor=Lossy(error))
    told = market.refusal(single)
    assert isinstance(told, Unavailable)
    assert "too much memory" in told.message


@pytest.mark.parametrize("path", ["single/ai.parquet", "welds.lance"])
def test_49_rows_come_from_another_process_within_its_bounds(mesh, market, path):
    listing = market.lists(path, PUBLIC)
    equipped(mesh, executor=ProcessExecutor(1))
    assert len(market.reads(listing, project_id=None, limit=5).rows) == 5


def test_49_readers_wait_for_each_other_but_not_for_ever(mesh, market, single, monkeypatch):
    market.subscribes(single)
    monkeypatch.setattr("atoll.mesh.service.rows.WAIT_SECONDS", 0.01)
    while mesh.tools.scans.acquire(blocking=False):
        pass
    assert isinstance(market.refusal(single), Unavailable)
    mesh.tools.scans.release()
    assert market.reads(single).rows
