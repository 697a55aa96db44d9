"""One record of each kind, for what is asked of all kinds alike."""

from mesh_world import STAMP

from atoll.mesh.model.access import (
    Comment,
    Delegation,
    Guardrails,
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
    Classification,
    DataProduct,
    DataSource,
    DataSourceRun,
    EntityType,
    Listing,
    RunType,
)
from atoll.mesh.model.describing import (
    FormType,
    Glossary,
    GlossaryTerm,
    Proposal,
    Rule,
    RuleAction,
    RuleType,
)
from atoll.mesh.model.notices import Notification, NotificationType

# Both a project that reads and one whose data are read have a say in these.
SHARED = (SubscriptionRequest, Subscription, SubscriptionGrant, Comment)


def samples(project_id, unit_id, user_id):
    """Records of a project, of its unit and of a user."""
    own = {"owning_project_id": project_id, **STAMP}
    glossary = Glossary(id="glossary-sample", name="sample", **own)
    return [
        glossary,
        GlossaryTerm(id="term-sample", name="sample", glossary_id=glossary.id, **STAMP),
        FormType(id="form-sample", name="sample", **own),
        AssetType(id="assettype-sample", name="sample", **own),
        Rule(
            id="rule-sample",
            name="sample",
            domain_unit_id=unit_id,
            rule_type=RuleType.METADATA_FORM_ENFORCEMENT,
            action=RuleAction.CREATE_LISTING_CHANGE_SET,
            **STAMP,
        ),
        Guardrails(id=unit_id, **STAMP),
        Proposal(
            id="proposal-sample",
            subject_kind="asset",
            subject_id="asset-sample",
            path="name",
            before='"a"',
            after='"b"',
            **own,
        ),
        _asset(own),
        DataProduct(id="product-sample", name="sample", **own),
        _listing(own, "sample"),
        AssetFilter(id="filter-sample", asset_id="asset-sample", name="sample", **own),
        DataSource(
            id="source-sample",
            name="sample",
            project_id=project_id,
            association_id="association-sample",
            location="s3://plant/sample",
            **STAMP,
        ),
        DataSourceRun(
            id="run-sample",
            data_source_id="source-sample",
            project_id=project_id,
            type=RunType.PRIORITIZED,
            **STAMP,
        ),
        SubscriptionTarget(id="target-sample", name="sample", project_id=project_id, **STAMP),
        Delegation(
            id="delegation-sample", project_id=project_id, principal_id="user-nobody", **STAMP
        ),
        ReviewCampaign(
            id="campaign-sample", name="sample", domain_unit_id=unit_id, due_at=2, **STAMP
        ),
        ReviewItem(
            id="reviewitem-sample",
            campaign_id="campaign-sample",
            subscription_id="subscription-sample",
            **own,
        ),
        Notification(
            id="notification-sample",
            recipient_id=user_id,
            type=NotificationType.EVENT,
            topic="SAMPLE",
            subject_kind="asset",
            subject_id="asset-sample",
            event=1,
            title="sample",
            **STAMP,
        ),
    ]


def shared(project_id, owning_project_id, name):
    """Records between a project that reads and one whose data are read."""
    both = {"project_id": project_id, "owning_project_id": owning_project_id, **STAMP}
    of = {"listing_id": f"listing-{name}", "entity_id": f"asset-{name}"}
    request = SubscriptionRequest(
        id=f"request-{name}",
        basket="basket",
        listing_version=1,
        classification=Classification.CONFIDENTIAL,
        request_reason="to see",
        expires_at=2,
        **of,
        **both,
    )
    subscription = Subscription(
        id=f"subscription-{name}",
        request_id=request.id,
        columns={},
        approved_by="policy",
        **of,
        **both,
    )
    return [
        request,
        subscription,
        SubscriptionGrant(
            id=f"grant-{name}",
            subscription_id=subscription.id,
            target_id=f"target-{name}",
            assets=(),
            **both,
        ),
        Comment(id=f"comment-{name}", request_id=request.id, text="well", **STAMP),
    ]


def _asset(own):
    return Asset(
        id="asset-sample",
        name="sample",
        asset_type="Table",
        external_identifier="s3://plant/sample",
        association_id="association-sample",
        **own,
    )


def _listing(own, name):
    return Listing(
        id=f"listing-{name}",
        name=name,
        entity_type=EntityType.ASSET,
        entity_id=f"asset-{name}",
        entity_revision=1,
        classification=Classification.CONFIDENTIAL,
        **own,
    )
