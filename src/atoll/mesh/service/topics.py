"""What people are told of: for each event of the audit that concerns somebody, whom and how.

Nobody calls a function to notify somebody: what was done is in the audit, and `telling` reads on in
it. Here stands which of it is told. Whoever may not look at what it is about is not told, and of
names only those of things that they may look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from atoll.mesh.model.access import (
    LIVE,
    CampaignStatus,
    Comment,
    Delegation,
    ReviewCampaign,
    ReviewItem,
    Subscription,
    SubscriptionGrant,
    SubscriptionGrantStatus,
    SubscriptionRequest,
    SubscriptionRequestStatus,
    SubscriptionStatus,
    Verdict,
)
from atoll.mesh.model.catalog import (
    Asset,
    AssetFilter,
    DataSourceRun,
    DataSourceRunStatus,
    FilterStatus,
    Listing,
    ListingStatus,
)
from atoll.mesh.model.describing import Proposal, ProposalStatus
from atoll.mesh.model.notices import NotificationType
from atoll.mesh.model.organisation import (
    Association,
    AssociationStatus,
    Designation,
    Domain,
    DomainUnit,
    Project,
    ProjectMembership,
)
from atoll.mesh.model.record import Record
from atoll.mesh.operations.calls import Call

R = TypeVar("R", bound=Record)
TASK, EVENT = NotificationType.TASK, NotificationType.EVENT
DAY_S = 86_400

# What is told of by an id that an event names, as it is now, each with what somebody said. Nothing
# where it is over: a task about it is done then.
About = Callable[[Call, str], Iterable[tuple[Record, str]]]
# Ids of the users and groups whom it concerns.
Concerned = Callable[[Call, Any], Iterable[str]]


@dataclass(frozen=True)
class Topic:
    """What is told of some operations.

    Attributes:
        name: by which people choose how they are told.
        type: whether there is something to do.
        of: the operations, as the audit names them.
        about: finds what it is about.
        concerns: finds who should know.
        title: one sentence; names stand for the words in braces, see `telling`.
        detail: of the event, what is told besides the title; empty: what somebody said.
        again_s: what was told and not looked at since is brought up to date, and told anew only
            after so long.
    """

    name: str
    type: NotificationType
    of: tuple[str, ...]
    about: About
    concerns: Concerned
    title: str
    detail: str = ""
    again_s: int = DAY_S


def _requests(*statuses: SubscriptionRequestStatus, said: str = "") -> About:
    return _found(SubscriptionRequest, lambda one: one.status in statuses, said)


def _subscriptions(*statuses: SubscriptionStatus) -> About:
    return _found(Subscription, lambda one: one.status in statuses)


def _found(kind: type[R], holds: Callable[[R], bool] = lambda one: True, said: str = "") -> About:
    def about(call: Call, id_: str) -> Iterator[tuple[Record, str]]:
        found = call.find(kind, id=id_)
        if found and holds(found):
            yield found, str(getattr(found, said)) if said else ""

    return about


def _commented(call: Call, comment_id: str) -> Iterator[tuple[Record, str]]:
    comment = call.find(Comment, id=comment_id)
    request = call.find(SubscriptionRequest, id=comment.request_id) if comment else None
    if comment and request:
        yield request, comment.text


def _revised(call: Call, id_: str) -> Iterator[tuple[Record, str]]:
    """Find a listing by its id, or by that of what it shows."""
    found = call.find(Listing, id=id_) or call.find(Listing, entity_id=id_)
    if found and found.status is ListingStatus.ACTIVE:
        yield found, ""


def _worse(call: Call, asset_id: str) -> Iterator[tuple[Record, str]]:
    """Find an asset, and what is listed with it that somebody reads."""
    if asset := call.find(Asset, id=asset_id):
        yield asset, ""
    held = call.each(Subscription, columns=asset_id, status=LIVE)
    for id_ in sorted({one.listing_id for one in held}):
        if listing := call.find(Listing, id=id_):
            yield listing, ""


def _to_review(call: Call, id_: str) -> Iterator[tuple[Record, str]]:
    """Find the projects whose owners have to decide in a review: all of a campaign's, or one."""
    undecided = [
        *call.each(ReviewItem, campaign_id=id_, verdict=Verdict.UNDECIDED),
        *call.each(ReviewItem, owning_project_id=id_, verdict=Verdict.UNDECIDED),
    ]
    campaigns = call.each(ReviewCampaign, id={one.campaign_id for one in undecided})
    open_ones = {one.id for one in campaigns if one.status is CampaignStatus.OPEN}
    for project_id in sorted(
        {one.owning_project_id for one in undecided if one.campaign_id in open_ones}
    ):
        if project := call.find(Project, id=project_id):
            yield project, ""


def _failed(run: DataSourceRun) -> bool:
    return run.status in (DataSourceRunStatus.FAILED, DataSourceRunStatus.PARTIALLY_SUCCEEDED)


def _has_failed(grant: SubscriptionGrant) -> bool:
    return grant.status in (
        SubscriptionGrantStatus.GRANT_FAILED,
        SubscriptionGrantStatus.REVOKE_FAILED,
        SubscriptionGrantStatus.GRANT_AND_REVOKE_FAILED,
        SubscriptionGrantStatus.INACCESSIBLE,
    )


def _members(project_id: str, *designations: Designation) -> Concerned:
    def concerned(call: Call, record: Any) -> Iterator[str]:
        id_ = getattr(record, project_id)
        for one in call.each(ProjectMembership, project_id=id_):
            if one.designation in designations:
                yield one.member_id

    return concerned


def _approvers(call: Call, record: Any) -> Iterator[str]:
    """Find who decides on requests for a project's data: its owners, and those whom they let."""
    yield from _OWNERS_OF_DATA(call, record)
    yield from _delegates(call, record.owning_project_id)


def _reviewers(call: Call, project: Project) -> Iterator[str]:
    yield from _members("id", Designation.OWNER)(call, project)
    yield from _delegates(call, project.id)


def _both(call: Call, record: Any) -> Iterator[str]:
    """Find who reads data, and who owns them."""
    yield from _READERS(call, record)
    yield from _OWNERS_OF_DATA(call, record)


def _delegates(call: Call, project_id: str) -> Iterator[str]:
    # Whether the time is over is seen by what they may look at.
    return (one.principal_id for one in call.each(Delegation, project_id=project_id))


def _asking_and_deciding(call: Call, record: Any) -> Iterator[str]:
    yield record.created_by
    yield from _approvers(call, record)


def _readers_of(call: Call, listing: Listing) -> Iterator[str]:
    return _readers_by(call, call.each(Subscription, listing_id=listing.id, status=LIVE))


def _readers_by(call: Call, held: Iterable[Subscription]) -> Iterator[str]:
    for one in {held.project_id: held for held in held}.values():
        yield from _READERS(call, one)


def _told_of_drops(call: Call, record: Asset | Listing) -> Iterable[str]:
    """Find who owns an asset, or who reads what is listed without a score to be warned at."""
    if isinstance(record, Asset):
        return _OWNERS_OF_DATA(call, record)
    held = call.each(Subscription, listing_id=record.id, status=LIVE)
    return _readers_by(call, (one for one in held if not one.terms.min_score))


def _governors(call: Call, _record: Record) -> Iterable[str]:
    root = call.find(DomainUnit, parent_domain_unit_id="")
    return root.owners if root else ()


def _author(_call: Call, record: Any) -> list[str]:
    return [record.created_by]


_READERS = _members("project_id", Designation.OWNER, Designation.CONSUMER)
_OWNERS = _members("project_id", Designation.OWNER)
_OWNERS_OF_DATA = _members("owning_project_id", Designation.OWNER)
_PENDING = SubscriptionRequestStatus.PENDING

_ALL = (
    # Asking for data.
    Topic(
        "SUBSCRIPTION_REQUEST_CREATED",
        TASK,
        ("CreateSubscriptionRequests",),
        _requests(_PENDING, said="request_reason"),
        _approvers,
        "{who} asks for {listing} on behalf of {project}",
    ),
    Topic(
        "SUBSCRIPTION_REQUEST_REMINDER",
        TASK,
        ("RemindReviewers",),
        _requests(_PENDING, said="request_reason"),
        _approvers,
        "A request of {project} for {listing} still waits for you",
        again_s=0,
    ),
    Topic(
        "SUBSCRIPTION_REQUEST_ACCEPTED",
        EVENT,
        ("AcceptSubscriptionRequest",),
        _requests(SubscriptionRequestStatus.ACCEPTED, said="decision_comment"),
        _author,
        "Your request for {listing} was accepted",
    ),
    Topic(
        "SUBSCRIPTION_REQUEST_REJECTED",
        EVENT,
        ("RejectSubscriptionRequest", "ExpireSubscriptionRequest"),
        _requests(SubscriptionRequestStatus.REJECTED, said="decision_comment"),
        _author,
        "Your request for {listing} was rejected",
    ),
    Topic(
        "SUBSCRIPTION_REQUEST_COMMENT",
        EVENT,
        ("CreateComment",),
        _commented,
        _asking_and_deciding,
        "{who} has said something on a request for {listing}",
    ),
    # Having access.
    Topic(
        "SUBSCRIPTION_GRANT_FAILED",
        EVENT,
        ("FailSubscriptionGrant", "SettleSubscriptionGrant", "UpdateSubscriptionGrantStatus"),
        _found(SubscriptionGrant, _has_failed),
        _both,
        "What was granted to {project} is {status}",
    ),
    Topic(
        "SUBSCRIPTION_ENDED",
        EVENT,
        ("RevokeSubscription", "CancelSubscription", "ExpireSubscription", "EndAccess"),
        _found(Subscription, lambda one: one.status not in LIVE, "comment"),
        _both,
        "The access of {project} to {listing} has ended: it is {status}",
    ),
    Topic(
        "SUBSCRIPTION_SUSPENDED",
        EVENT,
        ("SuspendAccess",),
        _found(Subscription, lambda one: one.status is SubscriptionStatus.SUSPENDED, "comment"),
        _READERS,
        "The access of {project} to {listing} is suspended",
    ),
    Topic(
        "SUBSCRIPTION_RESUMED",
        EVENT,
        ("ResumeAccess",),
        _subscriptions(SubscriptionStatus.APPROVED),
        _READERS,
        "The access of {project} to {listing} is no longer suspended",
    ),
    Topic(
        "SUBSCRIPTION_FLAGGED",
        TASK,
        ("FlagSubscription",),
        _found(Subscription, lambda one: one.is_flagged and one.status in LIVE),
        _approvers,
        "{listing} was reclassified: should {project} still have access?",
    ),
    Topic(
        "ACCESS_REVIEW",
        TASK,
        ("CreateReviewCampaign",),
        _to_review,
        _reviewers,
        "Access to the data of {name} is to be reviewed",
    ),
    # The data themselves.
    Topic(
        "QUALITY_BELOW_THRESHOLD",
        EVENT,
        ("QualityBelowThreshold",),
        _subscriptions(*LIVE),
        _both,
        "The quality of {listing} is lower than {project} asks for",
        detail="why",
    ),
    Topic(
        "QUALITY_DROPPED",
        EVENT,
        ("QualityDropped",),
        _worse,
        _told_of_drops,
        "The quality of data in {name} has dropped",
        detail="why",
    ),
    Topic(
        "LISTING_REVISED",
        EVENT,
        ("CreateListingChangeSet", "CreateDataProductListingChangeSet"),
        _revised,
        _readers_of,
        "{name} was published anew",
    ),
    Topic(
        "ASSET_FILTER_INVALID",
        EVENT,
        ("InvalidateAssetFilter",),
        _found(AssetFilter, lambda one: one.status is FilterStatus.INVALID, "error_message"),
        _OWNERS_OF_DATA,
        "The filter {name} of {asset} does not fit any more: nothing is read through it",
    ),
    Topic(
        "SUBSCRIPTION_FILTER_INVALID",
        EVENT,
        ("InvalidateAssetFilter",),
        _subscriptions(*LIVE),
        _READERS,
        "{listing} has changed, and {project} reads nothing until a filter of it is mended",
    ),
    Topic(
        "DATA_SOURCE_RUN_FAILED",
        EVENT,
        ("EndDataSourceRun",),
        _found(DataSourceRun, _failed, "error_message"),
        _members("project_id", Designation.OWNER, Designation.CONTRIBUTOR),
        "A run of the data source {source} has ended {status}",
    ),
    # Working together.
    Topic(
        "PROPOSAL_CREATED",
        TASK,
        ("CreateProposal",),
        _found(Proposal, lambda one: one.status is ProposalStatus.PENDING, "reason"),
        _members("owning_project_id", Designation.OWNER, Designation.STEWARD),
        "{who} proposes to change something of {producer}",
    ),
    Topic(
        "PROPOSAL_DECIDED",
        EVENT,
        ("AcceptProposal", "RejectProposal", "AcceptProposals", "RejectProposals"),
        _found(Proposal, lambda one: one.status is not ProposalStatus.PENDING, "comment"),
        _author,
        "What you proposed is {status}",
    ),
    Topic(
        "MEMBERSHIP_CHANGED",
        EVENT,
        ("CreateProjectMembership", "AppointProjectOwner"),
        _found(ProjectMembership),
        lambda _, one: [one.member_id],
        "You are {designation} of {project}",
    ),
    Topic(
        "ASSOCIATION_OFFERED",
        TASK,
        ("Associate",),
        _found(Association, lambda one: one.status is AssociationStatus.PENDING),
        _governors,
        "{project} offers {name} to the domain",
    ),
    Topic(
        "ASSOCIATION_ACCEPTED",
        EVENT,
        ("AcceptAssociation",),
        _found(Association, lambda one: one.status is AssociationStatus.ACCEPTED),
        _OWNERS,
        "{name} belongs to the domain now",
    ),
    Topic(
        "ASSOCIATION_REMOVED",
        EVENT,
        ("RemoveAssociation",),
        _found(Association, lambda one: one.status is AssociationStatus.REMOVED),
        _OWNERS,
        "{name} belongs to the domain no longer",
    ),
    # The audit itself.
    Topic(
        "AUDIT_CONTRADICTED",
        EVENT,
        ("ContradictAnchor",),
        _found(Domain),
        _governors,
        "The audit of {name} is not the one that was anchored",
        detail="why",
    ),
)
TOPICS = {one.name: one for one in _ALL}
