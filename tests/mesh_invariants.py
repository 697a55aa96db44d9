"""What holds of all records together, whatever was done and whenever the server died."""

from collections import Counter

import sqlalchemy as sa

from atoll.core.records import decoded
from atoll.mesh.audit.access import who
from atoll.mesh.audit.verify import verify
from atoll.mesh.model.access import (
    LIVE,
    AssetGrantStatus,
    Comment,
    Delegation,
    ReviewCampaign,
    ReviewItem,
    Subscription,
    SubscriptionGrant,
    SubscriptionRequest,
    SubscriptionTarget,
)
from atoll.mesh.model.catalog import (
    Asset,
    AssetFilter,
    AssetType,
    DataProduct,
    DataSource,
    DataSourceRun,
    DataSourceRunActivity,
    EntityType,
    Listing,
)
from atoll.mesh.model.describing import FormType, Glossary, GlossaryTerm, Rule
from atoll.mesh.model.organisation import (
    Association,
    Domain,
    DomainUnit,
    Environment,
    Project,
    ProjectMembership,
)
from atoll.mesh.operations.calls import project_of
from atoll.mesh.store.tables import (
    CHANGES,
    FOLLOWED,
    KEEPING_HISTORY,
    PAST,
    TABLES,
    VALUES,
)
from atoll.mesh.store.writing import _columns

# Fields with the id of something that is there for as long as what names it.
_NAMED = {
    DomainUnit: {"parent_domain_unit_id": DomainUnit},
    Project: {"domain_unit_id": DomainUnit},
    ProjectMembership: {"project_id": Project},
    Association: {},
    Environment: {"project_id": Project, "storage_id": Association, "workgroup_id": Association},
    Rule: {"domain_unit_id": DomainUnit},
    GlossaryTerm: {"glossary_id": Glossary},
    AssetFilter: {"asset_id": Asset},
    DataSource: {"project_id": Project, "association_id": Association},
    DataSourceRun: {"data_source_id": DataSource},
    DataSourceRunActivity: {"run_id": DataSourceRun},
    Subscription: {"request_id": SubscriptionRequest},
    SubscriptionGrant: {"subscription_id": Subscription},
    SubscriptionTarget: {"project_id": Project},
    Comment: {"request_id": SubscriptionRequest},
    Delegation: {"project_id": Project},
    ReviewItem: {"campaign_id": ReviewCampaign, "subscription_id": Subscription},
}
# What somebody makes by an operation of its own, and only operations change.
_BY_HAND = (Glossary, GlossaryTerm, FormType, AssetType, Rule, DomainUnit, Project)


def assert_whole(reader, keys):
    """See that nothing is half-done: records, what is kept beside them, and the audit."""
    connection = reader._connection
    for kind, table in TABLES.items():
        records = [decoded(one.body, kind) for one in connection.execute(sa.select(table.c.body))]
        _assert_kept_whole(connection, kind, records)
        _assert_named_are_there(reader, kind, records)
    for listing in reader.all(Listing):
        kind = Asset if listing.entity_type is EntityType.ASSET else DataProduct
        assert reader.find(kind, listing.entity_id)
        _assert_shows(
            reader, listing, reader.past(kind, listing.entity_id, listing.entity_revision)
        )
    for held in reader.all(Subscription):
        assert held.status not in LIVE or reader.find(Listing, held.listing_id)
    accepted = [one.id for one in reader.all(SubscriptionRequest, status="ACCEPTED")]
    held = [one.request_id for one in reader.all(Subscription)]
    assert Counter(accepted) == Counter(held)
    events = list(reader.events())
    verdict = verify(events, keys)
    assert verdict.problem is None
    assert verdict.head == reader.event_head()
    _assert_told(reader, events)


def _assert_shows(reader, listing, shown):
    """Compare what a listing has copied, to be found by, with the revision that it shows."""
    items = () if isinstance(shown, Asset) else shown.items
    assert listing.asset_ids == tuple(one.asset_id for one in items)
    parts = [shown, *(reader.past(Asset, one.asset_id, one.revision) for one in items)]
    assert set(listing.all_terms) == {term for one in parts for term in one.all_terms}


def _assert_kept_whole(connection, kind, records):
    """Compare columns, tables of values, history and numbers of changes with the records."""
    table, ids = TABLES[kind], {one.id for one in records}
    rows = {row.id: row._asdict() for row in connection.execute(table.select())}
    assert ids == set(rows)
    for one in records:
        assert rows[one.id] == {"id": one.id, **_columns(one), "body": rows[one.id]["body"]}
    for key, several in VALUES[kind].items():
        found = Counter((row.value, row.id) for row in connection.execute(several.select()))
        assert found == Counter(
            (value, one.id) for one in records for value in set(getattr(one, key))
        )
    if kind in KEEPING_HISTORY:
        for one in records:
            past = PAST.select().where(PAST.c.id == one.id).order_by(PAST.c.version)
            versions = [(row.version, row.body) for row in connection.execute(past)]
            assert [number for number, _ in versions] == list(range(1, one.version + 1))
            assert decoded(versions[-1][1], kind) == one
    if kind in FOLLOWED:
        asked = sa.select(CHANGES.c.id).where(CHANGES.c.kind == kind.KIND)
        assert ids <= set(connection.execute(asked).scalars())


def _assert_named_are_there(reader, kind, records):
    for field, named in _NAMED.get(kind, {}).items():
        for one in records:
            id_ = getattr(one, field)
            assert not id_ or reader.find(named, id_), (one.id, field, id_)
    for one in records:
        owner = getattr(one, "owning_project_id", "")
        if kind not in (ReviewItem, SubscriptionRequest, Subscription, SubscriptionGrant):
            assert not owner or reader.find(Project, owner), (one.id, project_of(one))


def _assert_told(reader, events):
    """See that the audit tells of the access that there is, and of every change by hand."""
    live = {one.id for one in reader.all(Subscription) if one.status in LIVE}
    approved = {one.id for one in reader.all(Subscription, status="APPROVED")}
    granted = {
        (one.asset_id, grant.subscription_id)
        for grant in reader.all(SubscriptionGrant)
        for one in grant.assets
        if one.status is AssetGrantStatus.GRANTED and grant.subscription_id in approved
    }
    told = {(one.asset_id, one.subscription) for one in who(events, events[-1].at)}
    assert told == granted
    assert approved <= live
    times = Counter(one.resource_id for one in events if one.outcome == "ALLOWED")
    [domain] = reader.all(Domain)
    for kind in _BY_HAND:
        for one in reader.all(kind):
            came_with_atoll = one.created_at == domain.created_at
            assert came_with_atoll or one.version <= times[one.id], one.id
