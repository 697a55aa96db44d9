"""Access: who asks for what, who allowed it, and how it was given."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from atoll.mesh.model.catalog import Classification
from atoll.mesh.model.describing import Form, types_of
from atoll.mesh.model.record import Record


class OnLowScore(StrEnum):
    """What happens to a subscription while its data are worse than it asks for."""

    WARN = "WARN"
    SUSPEND = "SUSPEND"


@dataclass(frozen=True)
class Terms:
    """On which terms data are asked for, or given.

    Attributes:
        filter_ids: of the asset's filters through which it is read; none: the whole table.
        unmasked: columns with personal data that are shown as they are.
        expires_at: when access ends by itself, microseconds since the epoch; 0: never.
        min_score: the quality that the data shall have; 0: any.
        on_low_score: what happens while they have less.
    """

    filter_ids: tuple[str, ...] = ()
    unmasked: tuple[str, ...] = ()
    expires_at: int = 0
    min_score: float = 0.0
    on_low_score: OnLowScore = OnLowScore.WARN


class SubscriptionRequestStatus(StrEnum):
    """Where a request stands."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"


@dataclass(frozen=True, kw_only=True, slots=True)
class SubscriptionRequest(Record):
    """A project asks for a listing.

    Attributes:
        basket: the same for all that were asked for in one call.
        listing_id, listing_version: what is asked for, as it was then.
        entity_id: of the asset or data product.
        project_id: who asks; `created_by` for them.
        owning_project_id: who gives.
        classification: of the listing, kept up as it changes.
        wanted: on which terms it is asked for.
        decided: on which terms it was given, where ACCEPTED.
        expires_at: it is REJECTED by itself then, microseconds since the epoch.
        reviewer_id: who decided; "policy" where a policy did.
        changed_at: when something else was last asked for, or the data were reclassified; 0: never.
        reminded_at: when its reviewers were last reminded; 0: never.
    """

    KIND: ClassVar[str] = "request"

    basket: str
    listing_id: str
    listing_version: int
    entity_id: str
    project_id: str
    owning_project_id: str
    classification: Classification
    request_reason: str
    forms: tuple[Form, ...] = ()
    wanted: Terms = Terms()
    decided: Terms | None = None
    status: SubscriptionRequestStatus = SubscriptionRequestStatus.PENDING
    expires_at: int
    reviewer_id: str = ""
    decision_comment: str = ""
    changed_at: int = 0
    reminded_at: int = 0

    @property
    def form_types(self) -> tuple[str, ...]:
        """Names of the types of its forms."""
        return types_of(self.forms)


class SubscriptionStatus(StrEnum):
    """Where a subscription stands; EXPIRED and SUSPENDED are ours, the others DataZone's."""

    APPROVED = "APPROVED"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


LIVE = (SubscriptionStatus.APPROVED, SubscriptionStatus.SUSPENDED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscription(Record):
    """A project may read what a listing shows.

    Attributes:
        terms: on which.
        columns: per id of the assets that it is for: the columns that a whole-table grant shows:
            what the listing told of when it was given. A column that comes later is not shown.
        approved_by: who allowed it, "policy" where a policy did.
        is_flagged: its listing was reclassified since: somebody should look at it.
        ended_by: who ended it.
        comment: why it was suspended, or ended.
        last_used_at: when data were last read by it; 0: never.
    """

    KIND: ClassVar[str] = "subscription"

    request_id: str
    listing_id: str
    entity_id: str
    project_id: str
    owning_project_id: str
    status: SubscriptionStatus = SubscriptionStatus.APPROVED
    terms: Terms = Terms()
    columns: dict[str, tuple[str, ...]]
    approved_by: str
    is_flagged: bool = False
    ended_by: str = ""
    comment: str = ""
    last_used_at: int = 0

    def unmasked_of(self, asset_id: str) -> tuple[str, ...]:
        """List the columns of an asset that are shown as they are, though they are personal.

        Of those that `terms.unmasked` names only what the asset had when it was given: a column
        that came later was named by nobody, whatever it is called.
        """
        given = self.columns.get(asset_id, ())
        return tuple(one for one in self.terms.unmasked if one in given)


class SubscriptionGrantStatus(StrEnum):
    """Where a grant stands as a whole."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    GRANT_FAILED = "GRANT_FAILED"
    REVOKE_FAILED = "REVOKE_FAILED"
    GRANT_AND_REVOKE_FAILED = "GRANT_AND_REVOKE_FAILED"
    COMPLETED = "COMPLETED"
    INACCESSIBLE = "INACCESSIBLE"


class AssetGrantStatus(StrEnum):
    """Where the grant of one asset stands."""

    GRANT_PENDING = "GRANT_PENDING"
    REVOKE_PENDING = "REVOKE_PENDING"
    GRANT_IN_PROGRESS = "GRANT_IN_PROGRESS"
    REVOKE_IN_PROGRESS = "REVOKE_IN_PROGRESS"
    GRANTED = "GRANTED"
    REVOKED = "REVOKED"
    GRANT_FAILED = "GRANT_FAILED"
    REVOKE_FAILED = "REVOKE_FAILED"


@dataclass(frozen=True)
class GrantedAsset:
    """One asset of a grant.

    Attributes:
        attempts: how often it was tried, since it last went well.
        failure_cause: why the last attempt failed.
        granted_at, revoked_at: microseconds since the epoch; 0: not yet.
    """

    asset_id: str
    status: AssetGrantStatus = AssetGrantStatus.GRANT_PENDING
    attempts: int = 0
    failure_cause: str = ""
    granted_at: int = 0
    revoked_at: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SubscriptionGrant(Record):
    """How a subscription was made to hold, at one target.

    Attributes:
        target_id: where.
    """

    KIND: ClassVar[str] = "grant"

    subscription_id: str
    target_id: str
    project_id: str
    owning_project_id: str
    status: SubscriptionGrantStatus = SubscriptionGrantStatus.PENDING
    assets: tuple[GrantedAsset, ...]


class TargetProvider(StrEnum):
    """Who makes a grant hold: the doors of this mesh, or somebody outside who reports back."""

    ATOLL = "ATOLL"
    MANUAL = "MANUAL"


@dataclass(frozen=True, kw_only=True, slots=True)
class SubscriptionTarget(Record):
    """Where a project's subscriptions are made to hold. Each project has one at the mesh's doors.

    Attributes:
        environment_id: of the project; empty: the doors of the mesh themselves.
        asset_types: names of the types of assets it is for; empty: all.
    """

    KIND: ClassVar[str] = "target"

    name: str
    project_id: str
    environment_id: str = ""
    provider: TargetProvider = TargetProvider.ATOLL
    asset_types: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Delegation(Record):
    """Somebody decides on requests for a project's data in place of its owners.

    Attributes:
        principal_id: a user or group.
        until: when it ends, microseconds since the epoch; 0: when it is removed.
    """

    KIND: ClassVar[str] = "delegation"

    project_id: str
    principal_id: str
    until: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Comment(Record):
    """What somebody said on a request; both sides read it."""

    KIND: ClassVar[str] = "comment"

    request_id: str
    text: str


class CampaignStatus(StrEnum):
    """Where an access review stands."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"


class Verdict(StrEnum):
    """What a review says of one access."""

    UNDECIDED = "UNDECIDED"
    KEEP = "KEEP"
    REVOKE = "REVOKE"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewCampaign(Record):
    """All access to the data of a domain unit is looked at anew.

    Attributes:
        due_at: when it closes by itself, microseconds since the epoch.
        revokes_undecided: whether what nobody decided on is revoked then.
    """

    KIND: ClassVar[str] = "campaign"

    name: str
    domain_unit_id: str
    status: CampaignStatus = CampaignStatus.OPEN
    due_at: int
    revokes_undecided: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewItem(Record):
    """One subscription in a review; those who approve requests for its data decide."""

    KIND: ClassVar[str] = "reviewitem"

    campaign_id: str
    subscription_id: str
    owning_project_id: str
    verdict: Verdict = Verdict.UNDECIDED
    decided_by: str = ""
    comment: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Guardrails(Record):
    """What a domain unit sets for all projects in it and below. The id is the unit's.

    What is None is as in the unit above; in the end as in `service.guardrails.DEFAULT`. Bounds
    hold wherever a stricter one is not set further down.

    Attributes:
        default_classification: of new assets.
        longest_access_s: no access is given for longer, in seconds; 0: without end.
        request_expires_s: a request that nobody decides on is rejected after so long.
        remind_after_s: its reviewers are reminded so often.
        min_score: no access is given to data of a known lower quality; 0: whatever they have.
    """

    KIND: ClassVar[str] = "guardrails"

    default_classification: Classification | None = None
    longest_access_s: int | None = None
    request_expires_s: int | None = None
    remind_after_s: int | None = None
    min_score: float | None = None
