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
    DomainUnit,
    Project,
    ProjectMembership,
)
from atoll.mesh.model.record import Record
from atoll.mesh.operations.calls import Call

R = TypeVar("R", bound=Record)
TASK, EVENT = NotificationType.TASK, NotificationType.EVENT
DAY_S = 86_400
LIVE = (SubscriptionStatus.APPROVED, SubscriptionStatus.SUSPENDED)

# What is told of by the id that an event names, as it is now, each with what somebody said. Nothing
# where it is over: a task about it is done then.
About = Callable[[Call, str], Iterable[tuple[Record, str]]]
# Ids of the users and groups whom it concerns.
Concerned = Callable[[Call, Any], Iterable[str]]


@dataclass(frozen=True)
class Topic:
    """What is told of one kind of event.

    Attributes:
        name: by which people choose how they are told.
        type: whether there is something to do.
        about: finds what it is about.
        concerns: finds who should know.
        title: one sentence; names stand for the words in braces, see `telling`.
        again_s: what was told and not looked at since is brought up to date, and told anew only
            after so long.
    """

    name: str
    type: NotificationType
    about: About
    concerns: Concerned
    title: str
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


def _delegates(call: Call, project_id: str) -> Iterator[str]:
    # Whether the time is over is seen by what they may look at.
    return (one.principal_id for one in call.each(Delegation, project_id=project_id))


def _both_sides(call: Call, record: Any) -> Iterator[str]:
    yield record.created_by
    yield from _approvers(call, record)


def _readers_of(call: Call, listing: Listing) -> Iterator[str]:
    held = call.each(Subscription, listing_id=listing.id, status=LIVE)
    for one in {held.project_id: held for held in held}.values():
        yield from _READERS(call, one)


def _governors(call: Call, _record: Record) -> Iterable[str]:
    root = call.find(DomainUnit, parent_domain_unit_id="")
    return root.owners if root else ()


def _author(_call: Call, record: Any) -> list[str]:
    return [record.created_by]


_READERS = _members("project_id", Designation.OWNER, Designation.CONSUMER)
_OWNERS = _members("project_id", Designation.OWNER)
_OWNERS_OF_DATA = _members("owning_project_id", Designation.OWNER)
_PENDING = SubscriptionRequestStatus.PENDING
_ENDED = Topic(
    "SUBSCRIPTION_ENDED",
    EVENT,
    _subscriptions(
        SubscriptionStatus.REVOKED, SubscriptionStatus.CANCELLED, SubscriptionStatus.EXPIRED
    ),
    lambda call, one: [*_READERS(call, one), *_OWNERS_OF_DATA(call, one)],
    "The access of {project} to {listing} has ended: it is {status}",
)
_ACCEPTED = Topic(
    "SUBSCRIPTION_REQUEST_ACCEPTED",
    EVENT,
    _requests(SubscriptionRequestStatus.ACCEPTED, said="decision_comment"),
    _author,
    "Your request for {listing} was accepted",
)
_REJECTED = Topic(
    "SUBSCRIPTION_REQUEST_REJECTED",
    EVENT,
    _requests(SubscriptionRequestStatus.REJECTED, said="decision_comment"),
    _author,
    "Your request for {listing} was rejected",
)
_RUN_FAILED = Topic(
    "DATA_SOURCE_RUN_FAILED",
    EVENT,
    _found(DataSourceRun, _failed, "error_message"),
    _members("project_id", Designation.OWNER, Designation.CONTRIBUTOR),
    "A run of the data source {source} has ended {status}",
)
_GRANT_FAILED = Topic(
    "SUBSCRIPTION_GRANT_FAILED",
    EVENT,
    _found(SubscriptionGrant, _has_failed),
    lambda call, one: [*_READERS(call, one), *_OWNERS_OF_DATA(call, one)],
    "What was granted to {project} is {status}",
)
_PROPOSAL_DECIDED = Topic(
    "PROPOSAL_DECIDED",
    EVENT,
    _found(Proposal, lambda one: one.status is not ProposalStatus.PENDING, "comment"),
    _author,
    "What you proposed is {status}",
)

# By the operation that the audit names.
TOPICS: dict[str, Topic] = {
    "CreateSubscriptionRequest": Topic(
        "SUBSCRIPTION_REQUEST_CREATED",
        TASK,
        _requests(_PENDING, said="request_reason"),
        _approvers,
        "{who} asks for {listing} on behalf of {project}",
    ),
    "RemindReviewers": Topic(
        "SUBSCRIPTION_REQUEST_REMINDER",
        TASK,
        _requests(_PENDING, said="request_reason"),
        _approvers,
        "A request of {project} for {listing} still waits for you",
        again_s=0,
    ),
    "AcceptSubscriptionRequest": _ACCEPTED,
    "RejectSubscriptionRequest": _REJECTED,
    "ExpireSubscriptionRequest": _REJECTED,
    "CreateComment": Topic(
        "SUBSCRIPTION_REQUEST_COMMENT",
        EVENT,
        _commented,
        _both_sides,
        "{who} has said something on a request for {listing}",
    ),
    "EndAccess": _ENDED,
    "RevokeSubscription": _ENDED,
    "CancelSubscription": _ENDED,
    "SuspendAccess": Topic(
        "SUBSCRIPTION_SUSPENDED",
        EVENT,
        _subscriptions(SubscriptionStatus.SUSPENDED),
        _READERS,
        "The access of {project} to {listing} is suspended",
    ),
    "ResumeAccess": Topic(
        "SUBSCRIPTION_RESUMED",
        EVENT,
        _subscriptions(SubscriptionStatus.APPROVED),
        _READERS,
        "The access of {project} to {listing} is no longer suspended",
    ),
    "FlagSubscription": Topic(
        "SUBSCRIPTION_FLAGGED",
        TASK,
        _found(Subscription, lambda one: one.is_flagged and one.status in LIVE),
        _approvers,
        "{listing} was reclassified: should {project} still have access?",
    ),
    "QualityBelowThreshold": Topic(
        "QUALITY_BELOW_THRESHOLD",
        EVENT,
        _subscriptions(*LIVE),
        lambda call, one: [*_READERS(call, one), *_OWNERS_OF_DATA(call, one)],
        "The quality of {listing} is lower than {project} asks for",
    ),
    "InvalidateAssetFilter": Topic(
        "ASSET_FILTER_INVALID",
        EVENT,
        _found(AssetFilter, lambda one: one.status is FilterStatus.INVALID, "error_message"),
        _OWNERS_OF_DATA,
        "The filter {name} of {asset} no longer fits: nothing is read through it",
    ),
    "CreateListingChangeSet": Topic(
        "LISTING_REVISED", EVENT, _revised, _readers_of, "{name} was published anew"
    ),
    "CreateReviewCampaign": Topic(
        "ACCESS_REVIEW",
        TASK,
        _to_review,
        _reviewers,
        "Access to the data of {name} is to be reviewed",
    ),
    "EndDataSourceRun": _RUN_FAILED,
    "CreateProjectMembership": Topic(
        "MEMBERSHIP_CHANGED",
        EVENT,
        _found(ProjectMembership),
        lambda _, one: [one.member_id],
        "You are {designation} of {project}",
    ),
    "Associate": Topic(
        "ASSOCIATION_OFFERED",
        TASK,
        _found(Association, lambda one: one.status is AssociationStatus.PENDING),
        _governors,
        "{project} offers {name} to the domain",
    ),
    "AcceptAssociation": Topic(
        "ASSOCIATION_ACCEPTED",
        EVENT,
        _found(Association, lambda one: one.status is AssociationStatus.ACCEPTED),
        _OWNERS,
        "{name} belongs to the domain now",
    ),
    "RemoveAssociation": Topic(
        "ASSOCIATION_REMOVED",
        EVENT,
        _found(Association, lambda one: one.status is AssociationStatus.REMOVED),
        _OWNERS,
        "{name} belongs to the domain no longer",
    ),
    "CreateProposal": Topic(
        "PROPOSAL_CREATED",
        TASK,
        _found(Proposal, lambda one: one.status is ProposalStatus.PENDING, "reason"),
        _members("owning_project_id", Designation.OWNER, Designation.STEWARD),
        "{who} proposes to change something of {producer}",
    ),
    "AcceptProposal": _PROPOSAL_DECIDED,
    "RejectProposal": _PROPOSAL_DECIDED,
}
NAMES = {one.name: one.type for one in TOPICS.values()}
