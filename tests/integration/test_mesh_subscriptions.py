"""Subscriptions and their grants: who reads what, how that comes about, and how it ends."""

import shutil
import time
from dataclasses import replace
from threading import Event

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from mesh_access import COLUMNS, Plant, technical
from mesh_catalog import project_of
from mesh_world import STAMP, world

from atoll.core.config import StorageOptions
from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.mesh.filters.views import combined, from_json
from atoll.mesh.filters.visible import row_filter, visible
from atoll.mesh.model.access import (
    AssetGrantStatus,
    Subscription,
    SubscriptionGrant,
    SubscriptionTarget,
    Terms,
)
from atoll.mesh.model.catalog import (
    Asset,
    AssetFilter,
    Classification,
    DataProduct,
    DataProductItem,
    FilterStatus,
    Listing,
)
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import (
    AssociationKind,
    AssociationStatus,
    Environment,
    EnvironmentStatus,
)
from atoll.mesh.service import granting
from atoll.mesh.service.assets import changed_asset
from atoll.mesh.service.subscriptions import resumed, suspended

DAY_US = 86_400_000_000


@pytest.fixture
def plant(mesh, tmp_path):
    return Plant(mesh, tmp_path / "lake")


@pytest.fixture
def target(plant, mesh):
    """A target of the project that reads, outside of the mesh."""
    made = {"id": "environment-lab", "name": "lab", "project_id": plant.reader}
    places = {"storage_id": "association-lab", "workgroup_id": "association-queries", "prefix": "p"}
    own = {"project_id": plant.reader, "location": "s3://lab"}
    plant.keep(
        replace(plant.storage, id="association-lab", name="lab", **own),
        replace(
            plant.storage,
            id="association-queries",
            name="queries",
            kind=AssociationKind.WORKGROUP,
            project_id=plant.reader,
            location="",
        ),
        Environment(**made, **places, **STAMP),
    )
    given = {"project_id": plant.reader, "environment_id": made["id"], "name": "warehouse"}
    return mesh.ask("cy", "CreateSubscriptionTarget", **given)


def told(mesh, operation):
    return [one.asset_id for one in mesh.notes if one.operation == operation]


def statuses(plant, subscription):
    grant = plant.grant(subscription)
    return grant.status, [one.status for one in grant.assets]


def grants_of(plant, subscription, target):
    """Its grants: at the doors, and at a target outside."""
    found = plant.every(SubscriptionGrant, subscription_id=subscription.id)
    return sorted(found, key=lambda one: one.target_id == target.id)


def report(mesh, grant, *steps):
    """Report for whoever acts outside; returns the grant as it stands then."""
    for one in steps:
        grant = mesh.ask(
            "cy",
            "UpdateSubscriptionGrantStatus",
            subscription_grant_id=grant.id,
            asset_id=grant.assets[0].asset_id,
            status=AssetGrantStatus(one),
        )
    return grant


def revoke(mesh, subscription, who="bob"):
    given = {"subscription_id": subscription.id, "comment": "no longer"}
    return mesh.ask(who, "RevokeSubscription", **given)


def test_43_what_is_approved_is_granted_at_the_doors_by_itself(database, tmp_path):
    with world(database) as mesh:
        plant = Plant(mesh, tmp_path / "lake")
        asked = plant.ask(plant.public)
        found = plant.subscription(asked)
        assert (plant.reads("public"), statuses(plant, found)[0]) == (None, "PENDING")
        mesh.work()
        assert statuses(plant, found) == ("COMPLETED", ["GRANTED"])
        assert plant.reads("public") == found
        assert told(mesh, "GrantAccess") == ["asset-public"]


def test_43_a_data_product_is_one_subscription_to_all_its_assets(plant):
    found = plant.subscribe(plant.product)
    assert statuses(plant, found) == ("COMPLETED", ["GRANTED"] * 2)
    assert plant.reads("internal") == plant.reads("secret") == found
    assert plant.reads("public") is None
    own = plant.subscribe(plant.internal)
    assert plant.reads("internal") == own
    assert plant.reads("secret") == found


def test_43_a_store_that_lets_nobody_in_is_tried_again_and_seen_meanwhile(plant, mesh):
    place = plant.folder / "public"
    place.rename(plant.folder / "elsewhere")
    found = plant.subscribe(plant.public)
    assert statuses(plant, found) == ("GRANT_FAILED", ["GRANT_FAILED"])
    plant.do_now("grant-again")
    [asset] = plant.grant(found).assets
    assert (asset.attempts, asset.failure_cause) == (2, "nothing lies where its data should be")
    assert len(told(mesh, "FailSubscriptionGrant")) == 1
    assert (plant.reads("public"), plant.has_access()) == (None, [])
    (plant.folder / "elsewhere").rename(place)
    plant.do_now("grant-again")
    assert statuses(plant, found) == ("COMPLETED", ["GRANTED"])


def test_43_a_store_that_does_not_answer_is_asked_once_and_not_named(plant, mesh, caplog):
    dead = StorageOptions("http://127.0.0.1:9", "r", "id", "key", allow_http=True)
    mesh.attendant.tools = replace(mesh.tools, credentials={"key": dead})
    plant.change(plant.storage, credentials="key")
    for name in ("internal", "secret"):
        plant.change(plant.find(Asset, f"asset-{name}"), external_identifier=f"s3://lake/{name}")
    found = plant.subscribe(plant.product)
    causes = {one.failure_cause for one in plant.grant(found).assets}
    assert causes == {"its storage does not answer, or cannot be reached"}
    assert len([one for one in caplog.messages if "cannot be granted" in one]) == 1


def test_43_a_storage_that_has_not_answered_is_asked_by_so_many_threads(plant, mesh, monkeypatch):
    over, asked = Event(), []
    monkeypatch.setattr(granting, "CHECK_S", 0.01)
    monkeypatch.setattr(granting, "check_location", lambda *_: asked.append(1) or over.wait(60))
    found = plant.subscribe(plant.public)
    for _ in range(granting.MOST_UNANSWERED + 2):
        plant.do_now("grant-again")
    assert len(asked) == granting.MOST_UNANSWERED
    over.set()
    while mesh.tools.unanswered:
        time.sleep(0.01)
    monkeypatch.setattr(granting, "CHECK_S", 30)
    plant.do_now("grant-again")
    assert statuses(plant, found) == ("COMPLETED", ["GRANTED"])


def test_43_after_many_attempts_somebody_must_ask_for_another(plant, mesh, monkeypatch):
    monkeypatch.setattr("atoll.mesh.service.granting.MAX_ATTEMPTS", 1)
    shutil.rmtree(plant.folder / "public")
    found = plant.subscribe(plant.public)
    assert plant.every(Job, kind="grant-again") == []
    given = {"subscription_grant_id": plant.grant(found).id}
    assert mesh.ask("dee", "RetrySubscriptionGrant", **given).status == "PENDING"
    (plant.folder / "public").mkdir()
    (plant.folder / "public" / "a").touch()
    mesh.work()
    assert statuses(plant, found)[0] == "COMPLETED"
    assert isinstance(mesh.refusal("dee", "RetrySubscriptionGrant", **given), Conflict)


def test_43_what_the_catalog_holds_against_a_grant_is_told_without_naming_columns(plant, mesh):
    filter_id = plant.filter("lines", "secret", {})
    asked = plant.ask(plant.secret, filter_ids=(filter_id,))
    plant.accept(asked)
    asset = plant.find(Asset, "asset-secret")
    plant.change(asset, technical=technical("x", {"line": "int64"}))
    mesh.work()
    [one] = plant.grant(plant.subscription(asked)).assets
    assert one.status == "GRANT_FAILED"
    assert "torque" not in one.failure_cause
    assert plant.every(Job, kind="grant-again") == []


def test_43_other_filters_make_good_what_failed_for_the_old_ones(plant, mesh):
    bad, good = (plant.filter(name, "secret", {}) for name in ("bad", "good"))
    asked = plant.ask(plant.secret, filter_ids=(bad,))
    plant.accept(asked)
    plant.change(plant.find(AssetFilter, bad), status=FilterStatus.INVALID)
    mesh.work()
    found = plant.subscription(asked)
    assert statuses(plant, found)[0] == "GRANT_FAILED"
    given = {"subscription_id": found.id, "filter_ids": (good,)}
    mesh.ask("bob", "UpdateSubscriptionTerms", **given)
    mesh.work()
    assert statuses(plant, found)[0] == "COMPLETED"


def test_44_projects_read_one_stored_table_each_through_a_filter_of_its_own(plant, mesh):
    stored = {"line": ["A", "A", "B"], "torque": [1.5, 2.5, 3.5], "worker": ["Ana", "Rui", "Eva"]}
    pq.write_table(pa.table(stored), plant.folder / "public" / "part.parquet")
    before = files(plant.folder)
    wanted = {"planning": (["line"], "A"), "quality": (["line", "torque"], "B")}
    wanted["logistics"] = (["torque", "worker"], "A")
    readers = {}
    for name, (columns, line) in wanted.items():
        plant.reader = project_of(mesh, "cy", name).id
        given = {"name": name, "configuration": configuration(columns, line)}
        made = mesh.ask("bob", "CreateAssetFilter", asset_id="asset-public", **given)
        plant.subscribe(plant.public, filter_ids=(made.id,))
        readers[name] = plant.reader
    read = {name: seen(plant, one, "public") for name, one in readers.items()}
    assert read["planning"] == {"line": ["A", "A"]}
    assert read["quality"] == {"line": ["B"], "torque": [3.5]}
    assert read["logistics"]["torque"] == [1.5, 2.5]
    assert len({*read["logistics"]["worker"]} - {*stored["worker"]}) == 2
    assert files(plant.folder) == before


def configuration(columns, line):
    """Those columns of that line, workers hashed."""
    masks = {"columnMasks": {"worker": {"kind": "hash"}}} if "worker" in columns else {}
    of_line = {"expression": {"equalTo": {"columnName": "line", "value": line}}}
    return {
        "columnConfiguration": {"includedColumnNames": columns},
        "rowConfiguration": {"rowFilter": of_line},
        **masks,
    }


def seen(plant, reader, table):
    """What a project sees of the stored table, by the filters of its subscription."""
    asset = plant.find(Asset, f"asset-{table}")
    stored = ds.dataset(asset.external_identifier.removeprefix("file://"))
    ids = plant.reads(table, reader).terms.filter_ids
    filters = [from_json(plant.find(AssetFilter, one).definition) for one in ids]
    view = combined(filters, stored.schema)
    columns, rows = view.columns_read(stored.schema), row_filter(view, stored.schema)
    scan = stored.scanner(columns=columns, filter=rows).to_reader()
    return visible(scan, view, b"k" * 32).read_all().to_pydict()


def files(folder):
    """All files, and what is in them."""
    return {one: one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_45_the_audit_tells_who_has_access_to_what_by_whom_and_what_for(plant):
    line = plant.filter("a", "secret", {})
    plant.subscribe(plant.secret, filter_ids=(line,), reason="to stop less")
    plant.subscribe(plant.public)
    found = [(one.project, one.asset_id, one.filters, one.granted_by) for one in plant.has_access()]
    assert found == [
        (plant.reader, "asset-public", (), "policy"),
        (plant.reader, "asset-secret", (line,), "user-bob"),
    ]
    assert [one.why for one in plant.has_access()] == ["to forecast", "to stop less"]


def test_45_who_reads_is_told_the_name_that_is_published(plant, mesh):
    plant.subscribe(plant.product)
    mesh.ask("bob", "UpdateAsset", asset_id="asset-secret", name="for the lawyers")
    told = mesh.ask("cy", "ListProjectAccess", project_id=plant.reader).access
    assert {one.asset for one in told} == {"internal", "secret"}
    told = mesh.ask("bob", "ListAssetAccess", asset_id="asset-secret").access
    assert [one.asset for one in told] == ["for the lawyers"]


def test_48_decisions_are_among_the_events_of_the_project_whose_data_they_are_about(plant, mesh):
    held = plant.subscribe(plant.secret)
    revoke(mesh, held, "bob")
    page = mesh.ask("bob", "ListProjectEvents", project_id=plant.owner)["items"]
    told = ["AcceptSubscriptionRequest", "RevokeSubscription"]
    assert [one.operation for one in page][-2:] == told
    page = mesh.ask("cy", "ListProjectEvents", project_id=plant.reader)["items"]
    assert {one.operation for one in page} & {*told, "CreateSubscriptionRequests"} == {
        "CreateSubscriptionRequests"
    }


@pytest.mark.parametrize("who", ["bob", "ann"])
def test_46_approvers_and_those_who_govern_revoke_and_it_holds_at_once(plant, mesh, who):
    found = plant.subscribe(plant.product)
    ended = revoke(mesh, found, who)
    assert (ended.status, ended.ended_by, ended.comment) == ("REVOKED", f"user-{who}", "no longer")
    assert (plant.reads("internal"), plant.has_access()) == (None, [])
    assert statuses(plant, found)[0] == "PENDING"
    mesh.work()
    assert statuses(plant, found) == ("COMPLETED", ["REVOKED"] * 2)
    assert isinstance(mesh.refusal("bob", "RevokeSubscription", subscription_id=found.id), Conflict)


def test_46_who_reads_gives_back_and_takes_nothing_from_others(plant, mesh):
    found = plant.subscribe(plant.public)
    given = {"subscription_id": found.id}
    for who in ("cy", "dee"):
        assert isinstance(mesh.refusal(who, "RevokeSubscription", **given), Forbidden)
    assert isinstance(mesh.refusal("bob", "CancelSubscription", **given), Forbidden)
    assert mesh.ask("dee", "CancelSubscription", **given).status == "CANCELLED"
    assert plant.has_access() == []


def test_46_what_is_revoked_before_it_was_granted_never_was_access(plant, mesh):
    found = plant.subscription(plant.ask(plant.public))
    revoke(mesh, found)
    mesh.work()
    assert statuses(plant, found) == ("COMPLETED", ["REVOKED"])
    assert told(mesh, "GrantAccess") == told(mesh, "EndAccess") == []


def test_46_access_ends_with_the_association_of_its_storage(plant, mesh):
    found = plant.subscribe(plant.product)
    mesh.ask("ann", "RemoveAssociation", association_id=plant.storage.id)
    assert statuses(plant, found) == ("INACCESSIBLE", ["REVOKE_PENDING"] * 2)
    assert (plant.reads("internal"), plant.has_access()) == (None, [])
    mesh.work()
    assert statuses(plant, found) == ("INACCESSIBLE", ["REVOKED"] * 2)
    given = {"subscription_grant_id": plant.grant(found).id}
    assert isinstance(mesh.refusal("cy", "RetrySubscriptionGrant", **given), Conflict)
    assert revoke(mesh, found).status == "REVOKED"
    assert statuses(plant, found)[0] == "COMPLETED"


@pytest.mark.parametrize("gone", ["association-lab", "association-queries"])
def test_9_43_what_is_granted_in_an_environment_ends_with_its_storage_or_workgroup(
    plant, mesh, target, gone
):
    found = plant.subscribe(plant.public)
    doors, outside = grants_of(plant, found, target)
    report(mesh, outside, "GRANT_IN_PROGRESS", "GRANTED")
    mesh.ask("ann", "RemoveAssociation", association_id=gone)
    lost = plant.find(SubscriptionGrant, outside.id)
    assert (lost.status, lost.assets[0].status) == ("INACCESSIBLE", "REVOKE_PENDING")
    assert plant.find(SubscriptionGrant, doors.id) == doors
    assert (plant.reads("public"), len(plant.has_access())) == (found, 1)
    assert report(mesh, outside, "REVOKE_IN_PROGRESS", "REVOKED").status == "INACCESSIBLE"
    given = {"subscription_grant_id": outside.id}
    assert isinstance(mesh.refusal("cy", "RetrySubscriptionGrant", **given), Conflict)
    later = plant.subscribe(plant.internal)
    assert [one.target_id for one in plant.every(SubscriptionGrant, subscription_id=later.id)] == [
        doors.target_id
    ]


@pytest.mark.parametrize("status", ["SUSPENDED", "INACCESSIBLE"])
def test_9_43_a_target_is_made_in_an_environment_that_is_in_use(plant, mesh, target, status):
    lab = plant.find(Environment, target.environment_id)
    plant.change(lab, status=EnvironmentStatus(status))
    given = {"project_id": plant.reader, "environment_id": lab.id, "name": "second"}
    told = mesh.refusal("cy", "CreateSubscriptionTarget", **given)
    assert isinstance(told, Conflict)
    assert f"'lab' is {status}" in told.message


def test_9_43_a_suspended_environment_keeps_its_targets_and_what_is_granted(plant, mesh, target):
    before = plant.subscribe(plant.public)
    given = {"environment_id": target.environment_id, "is_suspended": True}
    mesh.ask("cy", "UpdateEnvironment", **given)
    after = plant.subscribe(plant.internal)
    for one in (before, after):
        assert grants_of(plant, one, target)[1].status == "PENDING"


def test_9_46_access_ends_with_the_storage_on_which_another_projects_environment_is(plant, mesh):
    lab = {"id": "environment-lab", "name": "lab", "project_id": plant.owner}
    place = {"storage_id": "association-other", "workgroup_id": "w", "prefix": "p"}
    other = project_of(mesh, "dee", "paint shop").id
    own = {"name": "theirs", "project_id": other, "location": "s3://theirs"}
    plant.keep(
        replace(plant.storage, id="association-other", **own), Environment(**lab, **place, **STAMP)
    )
    plant.change(plant.find(Asset, "asset-public"), association_id="association-other")
    found = plant.subscribe(plant.public)
    mesh.ask("dee", "WithdrawAssociation", association_id="association-other")
    assert statuses(plant, found) == ("INACCESSIBLE", ["REVOKE_PENDING"])
    assert (plant.reads("public"), plant.has_access()) == (None, [])


def test_46_what_lies_in_an_accepted_storage_again_can_be_granted_again(plant, mesh):
    found = plant.subscribe(plant.public)
    mesh.ask("ann", "RemoveAssociation", association_id=plant.storage.id)
    mesh.work()
    again = replace(plant.storage, id="association-2", name="lake 2")
    plant.keep(again)
    plant.change(plant.find(Asset, "asset-public"), association_id="association-2")
    mesh.ask("cy", "RetrySubscriptionGrant", subscription_grant_id=plant.grant(found).id)
    mesh.work()
    assert statuses(plant, found) == ("COMPLETED", ["GRANTED"])
    assert plant.reads("public") == found
    assert len(plant.has_access()) == 1


def test_31_a_suspended_subscription_reads_nothing_until_it_is_resumed(plant, mesh):
    found = plant.subscribe(plant.public)
    stopped = plant.act(Subscription, found.id, suspended, "its quality is 50")
    assert (stopped.status, stopped.comment) == ("SUSPENDED", "its quality is 50")
    assert (plant.reads("public"), plant.has_access()) == (None, [])
    assert statuses(plant, found) == ("COMPLETED", ["GRANTED"])
    going = plant.act(Subscription, found.id, resumed)
    assert plant.reads("public") == going
    assert len(plant.has_access()) == 1
    with pytest.raises(Conflict):
        plant.act(Subscription, found.id, resumed)


def test_31_what_is_granted_while_it_is_suspended_is_no_access_yet(plant, mesh):
    found = plant.subscription(plant.ask(plant.public))
    plant.act(Subscription, found.id, suspended, "bad")
    mesh.work()
    assert (plant.reads("public"), plant.has_access()) == (None, [])
    plant.act(Subscription, found.id, resumed)
    assert len(plant.has_access()) == 1


def test_41_access_ends_when_its_time_is_over_by_the_clock_and_by_a_job(plant, mesh):
    end = time.time_ns() // 1000 + DAY_US
    found = plant.subscribe(plant.public, expires_at=end)
    assert [one.until for one in plant.has_access()] == [end]
    assert plant.has_access(end) == []
    plant.do_now("expire-subscription")
    assert plant.reads("public") == found
    over = plant.change(found, terms=Terms(expires_at=1))
    assert plant.reads("public") is None
    plant.do_now("expire-subscription")
    assert plant.find(Subscription, over.id).status == "EXPIRED"
    assert plant.has_access() == []


def test_42_terms_are_changed_by_the_reviewer_and_access_is_as_old_as_before(plant, mesh):
    line = plant.filter("a", "public", {})
    found = plant.subscribe(plant.public)
    end = time.time_ns() // 1000 + DAY_US
    given = {"subscription_id": found.id, "filter_ids": (line,), "expires_at": end}
    assert isinstance(mesh.refusal("cy", "UpdateSubscriptionTerms", **given), Forbidden)
    mesh.ask("bob", "UpdateSubscriptionTerms", **given)
    [access] = plant.has_access()
    assert (access.filters, access.until, access.granted_by) == ((line,), end, "policy")
    assert plant.reads("public").terms.filter_ids == (line,)
    revoke(mesh, found)
    assert isinstance(mesh.refusal("bob", "UpdateSubscriptionTerms", **given), Conflict)


def test_42_a_filter_of_what_the_product_shows_no_more_is_neither_dropped_nor_in_the_way(
    plant, mesh
):
    shown, gone = (plant.filter("line", one, {}) for one in ("internal", "secret"))
    held = plant.subscribe(plant.product, filter_ids=(shown, gone))
    product = plant.find(DataProduct, "product-kit")
    changed = plant.change(product, items=product.items[:1])
    plant.change(plant.find(Listing, plant.product), entity_revision=changed.version)
    given = {"subscription_id": held.id}
    for ids in ((shown,), ()):
        told = mesh.refusal("bob", "UpdateSubscriptionTerms", filter_ids=ids, **given)
        assert isinstance(told, InvalidInput)
    end = time.time_ns() // 1000 + DAY_US
    plant.change(plant.find(AssetFilter, shown), status=FilterStatus.INVALID)
    ended = mesh.ask("bob", "UpdateSubscriptionTerms", expires_at=end, **given)
    assert (ended.terms.filter_ids, ended.terms.expires_at) == ((shown, gone), end)
    whole = mesh.ask("bob", "UpdateSubscriptionTerms", filter_ids=(gone,), **given)
    assert whole.terms.filter_ids == (gone,)  # what is shown may be given as a whole


def test_40_nobody_unmasks_by_changing_terms(plant, mesh):
    given = {"subscription_id": plant.subscribe(plant.secret, unmasked=("worker",)).id}
    assert mesh.ask("bob", "UpdateSubscriptionTerms", **given).terms.unmasked == ("worker",)
    less = mesh.ask("bob", "UpdateSubscriptionTerms", unmasked=(), **given)
    assert less.terms.unmasked == ()
    told = mesh.refusal("bob", "UpdateSubscriptionTerms", unmasked=("worker",), **given)
    assert isinstance(told, InvalidInput)


def test_40_a_column_that_is_new_is_not_unmasked_by_the_name_of_another(plant, mesh):
    narrow = technical("x", {"line": "string"})
    bare = plant.change(plant.find(Asset, "asset-internal"), technical=narrow, columns=())
    republish(plant, bare)
    held = plant.subscribe(plant.product, unmasked=("worker",))
    told = {one.asset_id: one.unmasked for one in plant.has_access()}
    assert told == {"asset-internal": (), "asset-secret": ("worker",)}
    personal = plant.find(Asset, "asset-secret").columns
    republish(plant, plant.change(bare, technical=technical("x"), columns=personal))
    assert plant.reads("internal").unmasked_of("asset-internal") == ()
    assert plant.reads("secret").unmasked_of("asset-secret") == ("worker",)
    given = {"subscription_id": held.id, "takes_current_columns": True}
    assert isinstance(mesh.refusal("bob", "UpdateSubscriptionTerms", **given), InvalidInput)
    less = mesh.ask("bob", "UpdateSubscriptionTerms", unmasked=(), **given)
    assert less.columns["asset-internal"] == tuple(COLUMNS)


def test_42_a_whole_table_shows_the_columns_that_were_published_until_a_reviewer_takes_new_ones(
    plant, mesh
):
    found = plant.subscribe(plant.public)
    wider = {**COLUMNS, "salary": "double"}
    changed = plant.change(plant.find(Asset, "asset-public"), technical=technical("x", wider))
    assert plant.reads("public").columns == {"asset-public": tuple(COLUMNS)}
    given = {"subscription_id": found.id, "takes_current_columns": True}
    assert mesh.ask("bob", "UpdateSubscriptionTerms", **given).columns == found.columns
    plant.change(plant.find(Listing, plant.public), entity_revision=changed.version)
    renewed = mesh.ask("bob", "UpdateSubscriptionTerms", **given)
    assert renewed.columns == {"asset-public": tuple(wider)}


@pytest.mark.parametrize("is_gone", [True, False])
def test_42_without_each_of_its_filters_nothing_is_read(plant, mesh, is_gone):
    kept, lost = (plant.filter(name, "secret", {}) for name in ("kept", "lost"))
    plant.subscribe(plant.product, filter_ids=(kept, lost))
    assert plant.reads("secret")
    gone = plant.find(AssetFilter, lost)
    if is_gone:
        mesh.store.write(lambda changes: changes.remove(gone))
    else:
        plant.change(gone, status=FilterStatus.INVALID)
    assert plant.reads("secret") is None
    assert (plant.reads("internal") is None) is is_gone


def test_46_nothing_is_read_of_what_is_gone(plant, mesh):
    plant.subscribe(plant.public)
    for status in (AssociationStatus.REMOVED, AssociationStatus.ACCEPTED):
        plant.storage = plant.change(plant.storage, status=status)
        assert (plant.reads("public") is None) is (status is AssociationStatus.REMOVED)
    asset = plant.find(Asset, "asset-public")
    mesh.store.write(lambda changes: changes.remove(asset))
    assert plant.reads("public") is None


def test_46_who_reads_what_a_data_product_had_once_is_not_forgotten(plant, mesh):
    held = plant.subscribe(plant.product)
    republish(plant)
    asked = {"asset_id": "asset-internal"}
    mesh.ask("bob", "CreateListingChangeSet", action="UNPUBLISH", **asked)
    for name in ("ArchiveAsset", "DeleteAsset"):
        assert isinstance(mesh.refusal("bob", name, **asked), Conflict)
    mesh.ask("bob", "ClassifyAsset", classification=Classification.CONFIDENTIAL, **asked)
    assert plant.find(Subscription, held.id).is_flagged
    mesh.ask("bob", "RevokeSubscription", subscription_id=held.id)
    mesh.ask("bob", "DeleteAsset", **asked)


def test_46_what_a_data_product_is_asked_for_with_is_not_removed(plant, mesh):
    plant.ask(plant.product)
    mesh.ask(
        "bob",
        "CreateDataProductListingChangeSet",
        action="UNPUBLISH",
        data_product_id="product-kit",
    )
    plant.change(plant.find(DataProduct, "product-kit"), items=())
    asked = {"asset_id": "asset-internal"}
    mesh.ask("bob", "CreateListingChangeSet", action="UNPUBLISH", **asked)
    told = mesh.refusal("bob", "DeleteAsset", **asked)
    assert "is in the data product" in told.message


def test_both_sides_see_access_and_others_do_not_know_of_it(plant, mesh):
    found = plant.subscribe(plant.public)
    grant = plant.grant(found)
    mesh.person("eve")
    for who, kind, id_ in (
        (who, *one)
        for who in ("bob", "cy", "dee", "ann")
        for one in (("Subscription", found.id), ("SubscriptionGrant", grant.id))
    ):
        name = "subscription_id" if kind == "Subscription" else "subscription_grant_id"
        assert mesh.ask(who, f"Get{kind}", **{name: id_}).id == id_
        assert isinstance(mesh.refusal("eve", f"Get{kind}", **{name: id_}), NotFound)
        for key in ("project_id", "owning_project_id"):
            given = {key: getattr(found, key)}
            assert [one.id for one in mesh.ask(who, f"List{kind}s", **given)["items"]] == [id_]
            assert mesh.ask("eve", f"List{kind}s", **given)["items"] == []


def test_43_somebody_outside_reports_step_by_step_what_was_done_at_a_target(plant, mesh, target):
    found = plant.subscribe(plant.public)
    [grant] = plant.every(SubscriptionGrant, target_id=target.id)
    skipping = {"subscription_grant_id": grant.id, "asset_id": "asset-public"}
    skipping["status"] = AssetGrantStatus.GRANTED
    for who, refusal in (("cy", Conflict), ("dee", Forbidden)):
        refused = mesh.refusal(who, "UpdateSubscriptionGrantStatus", **skipping)
        assert isinstance(refused, refusal)
    for step, status in (
        ("GRANT_IN_PROGRESS", "IN_PROGRESS"),
        ("GRANT_FAILED", "GRANT_FAILED"),
        ("GRANT_IN_PROGRESS", "IN_PROGRESS"),
        ("GRANTED", "COMPLETED"),
    ):
        assert report(mesh, grant, step).status == status
    assert told(mesh, "GrantAccess") == ["asset-public"]  # it had it at the doors already
    revoke(mesh, found)
    assert report(mesh, grant, "REVOKE_IN_PROGRESS").status == "IN_PROGRESS"
    assert report(mesh, grant, "REVOKED").status == "COMPLETED"


def test_43_the_mesh_does_its_own_grants_and_outside_nobody_says_what_is_for_it_to_say(
    plant, mesh, target
):
    doors, outside = grants_of(plant, plant.subscribe(plant.public), target)
    given = {"asset_id": "asset-public", "status": AssetGrantStatus.REVOKE_PENDING}
    name = "UpdateSubscriptionGrantStatus"
    assert isinstance(mesh.refusal("cy", name, subscription_grant_id=doors.id, **given), Conflict)
    given["subscription_grant_id"] = outside.id
    assert isinstance(mesh.refusal("cy", name, **given), InvalidInput)
    given["asset_id"] = "asset-secret"
    assert isinstance(mesh.refusal("cy", name, **given), InvalidInput)


def test_43_a_new_target_is_for_what_the_project_has_already_and_goes_with_what_was_there(
    plant, mesh, request
):
    found = plant.subscribe(plant.public)
    target = request.getfixturevalue("target")
    [grant] = plant.every(SubscriptionGrant, target_id=target.id)
    assert grant.status == "PENDING"
    mesh.ask("cy", "DeleteSubscriptionTarget", subscription_target_id=target.id)
    [grant] = plant.every(SubscriptionGrant, target_id=target.id)
    assert (grant.status, grant.assets[0].status) == ("INACCESSIBLE", "REVOKE_PENDING")
    assert plant.reads("public") == found
    assert len(plant.has_access()) == 1


def test_43_a_target_is_for_some_types_of_assets_only(plant, mesh, target):
    given = {"subscription_target_id": target.id, "asset_types": ("View",)}
    assert mesh.ask("cy", "UpdateSubscriptionTarget", **given).asset_types == ("View",)
    given["asset_types"] = ("Nothing",)
    assert isinstance(mesh.refusal("cy", "UpdateSubscriptionTarget", **given), InvalidInput)
    plant.subscribe(plant.public)
    assert plant.every(SubscriptionGrant, target_id=target.id) == []


def test_43_a_target_lies_in_an_environment_of_its_project_and_the_doors_stay(plant, mesh, target):
    given = {"project_id": plant.reader, "name": "other", "environment_id": "environment-none"}
    assert isinstance(mesh.refusal("cy", "CreateSubscriptionTarget", **given), NotFound)
    mine = project_of(mesh, "cy", "another")
    given |= {"project_id": mine.id, "environment_id": target.environment_id}
    assert isinstance(mesh.refusal("cy", "CreateSubscriptionTarget", **given), NotFound)
    given |= {"project_id": plant.reader}
    for name in ("warehouse", "doors"):
        refused = mesh.refusal("cy", "CreateSubscriptionTarget", **given | {"name": name})
        assert isinstance(refused, Conflict)
    plant.subscribe(plant.public)
    [doors] = plant.every(SubscriptionTarget, name="doors")
    given = {"subscription_target_id": doors.id}
    for name in ("UpdateSubscriptionTarget", "DeleteSubscriptionTarget"):
        assert isinstance(mesh.refusal("cy", name, **given), Conflict)
    assert isinstance(mesh.refusal("dee", "DeleteSubscriptionTarget", **given), Forbidden)
    given = {"environment_id": target.environment_id}
    assert isinstance(mesh.refusal("cy", "DeleteEnvironment", **given), Conflict)


def republish(plant, *assets):
    """Publish the data product anew, of these revisions of assets and "secret" alone."""
    items = [DataProductItem(one.id, one.version) for one in assets]
    product, listing = plant.find(DataProduct, "product-kit"), plant.find(Listing, plant.product)
    items = (*items, DataProductItem("asset-secret", 1))
    changed = plant.change(product, items=items)
    plant.change(listing, entity_revision=changed.version, asset_ids=changed.asset_ids)


def test_40_a_column_that_went_and_comes_back_is_masked_again(plant):
    held = plant.subscribe(plant.secret, unmasked=("worker",))
    assert plant.reads("secret").terms.unmasked == ("worker",)
    place = plant.find(Asset, "asset-secret").external_identifier
    without = {key: value for key, value in COLUMNS.items() if key != "worker"}
    for columns in (without, COLUMNS):
        plant.act(Asset, "asset-secret", changed_to, technical(place, columns))
        assert plant.reads("secret").terms.unmasked == ()
    assert told(plant.mesh, "ChangeAccess") == ["asset-secret"]
    assert plant.find(Subscription, held.id).terms.unmasked == ()


def changed_to(call, asset, found):
    return changed_asset(call, asset, technical=found)
