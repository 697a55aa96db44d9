"""What policies may know of each kind of record; the schema names it, too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from atoll.mesh.model.access import (
    LIVE,
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
    DataProduct,
    DataSource,
    DataSourceRun,
    Listing,
    ListingStatus,
)
from atoll.mesh.model.describing import FormType, Glossary, GlossaryTerm, Proposal, Rule
from atoll.mesh.model.notices import Notification
from atoll.mesh.model.organisation import (
    Association,
    Designation,
    Domain,
    DomainUnit,
    Environment,
    PolicyGrant,
    Project,
    ProjectMembership,
)
from atoll.mesh.model.people import AccessToken, GroupProfile, UserProfile, UserType
from atoll.mesh.model.record import Record
from atoll.mesh.operations.standings import approver_in, governors, granted, role_in
from atoll.mesh.policies.decisions import Facts, Roles
from atoll.mesh.store.reading import Reader

_DESIGNATIONS = {
    "owners": Designation.OWNER,
    "contributors": Designation.CONTRIBUTOR,
    "stewards": Designation.STEWARD,
    "consumers": Designation.CONSUMER,
    "viewers": Designation.VIEWER,
}


class Knowledge:
    """Finds out what there is to know; looks each thing up once."""

    def __init__(self, reader: Reader, profile_id: str) -> None:
        """Look through a reader, for somebody."""
        self._reader, self._profile_id = reader, profile_id
        self._units: dict[str, list[str]] = {}
        self._projects: dict[str, Project | None] = {}
        self._readers: dict[str, Roles] = {}

    def facts(self, record: Record, grant: str = "") -> Facts:
        """Tell what policies may know of a record.

        Args:
            record: any kind that operations are about.
            grant: the policy type that the operation may be granted by.
        """
        kind = type(record)
        return Facts(kind.__name__, record.id, _FACTS[kind](self, record, grant))

    def remember(self, projects: Iterable[Project]) -> None:
        """Take these projects as they are, which are looked up no more."""
        self._projects |= {one.id: one for one in projects}

    def look_up(self, records: Collection[Record]) -> None:
        """Look up at once whose these are; of what is listed nobody asks who reads it."""
        owners = {getattr(one, "owning_project_id", "") for one in records}
        if unknown := owners - self._projects.keys() - {""}:
            self.remember(self._reader.all(Project, id=unknown))
        for one in records:
            if isinstance(one, Listing) and one.status is ListingStatus.ACTIVE:
                self._readers[one.id] = Roles()

    def above(self, domain_unit_id: str) -> list[str]:
        """List a unit and those above it, itself first."""
        if domain_unit_id not in self._units:
            unit = self._reader.find(DomainUnit, domain_unit_id)
            parent = unit.parent_domain_unit_id if unit else ""
            above = self.above(parent) if parent else []
            self._units[domain_unit_id] = [domain_unit_id, *above] if unit else []
        return self._units[domain_unit_id]

    def of_domain(self, _record: Record, _grant: str) -> Mapping[str, Any]:
        """Tell of what is the domain's: its root governs."""
        root = self._reader.one(DomainUnit, parent_domain_unit_id="")
        return {"governors": governors([root.id] if root else [])}

    def of_unit(self, unit: DomainUnit, grant: str) -> Mapping[str, Any]:
        """Tell of a unit."""
        units = self.above(unit.id) or [unit.id]
        return {"governors": governors(units), "granted": granted(units, grant)}

    def of_grant(self, record: PolicyGrant, _grant: str) -> Mapping[str, Any]:
        """Tell of a policy grant."""
        return {"governors": governors(self.above(record.domain_unit_id))}

    def of_request(self, request: SubscriptionRequest, _grant: str) -> Mapping[str, Any]:
        """Tell of a subscription request, as both sides see it."""
        return {
            **self.of_sharing(request.project_id, request.owning_project_id),
            "classification": request.classification,
            "unmasks": bool(request.wanted.unmasked),
        }

    def of_comment(self, comment: Comment, _grant: str) -> Mapping[str, Any]:
        """Tell of what was said on a request."""
        request = self._reader.find(SubscriptionRequest, comment.request_id)
        sides = (request.project_id, request.owning_project_id) if request else ("", "")
        return self.of_sharing(*sides)

    def of_sharing(self, project_id: str, owning_project_id: str) -> Mapping[str, Any]:
        """Tell of what is between a project that reads and the one whose data they are."""
        return {
            "project": self.members(project_id),
            "producer": self.members(owning_project_id),
            **self.of_approvers(owning_project_id),
        }

    def of_approvers(self, owning_project_id: str) -> Mapping[str, Any]:
        """Tell who decides on requests for a project's data, and who governs it."""
        is_there = self.members(owning_project_id)["owners"]
        owners = role_in(owning_project_id, Designation.OWNER)
        approvers = [owners, approver_in(owning_project_id)] if is_there else []
        governs = self.of_project(owning_project_id)["governors"]
        return {"approvers": Roles(approvers), "governors": governs}

    def of_term(self, term: GlossaryTerm, _grant: str) -> Mapping[str, Any]:
        """Tell of a glossary's term."""
        glossary = self._reader.find(Glossary, term.glossary_id)
        return self.of_project(glossary.owning_project_id if glossary else "")

    def of_listing(self, listing: Listing, _grant: str) -> Mapping[str, Any]:
        """Tell of a listing."""
        return {
            **self.of_project(listing.owning_project_id),
            "readers": self._readers_of(listing),
            "classification": listing.classification,
            "status": listing.status,
        }

    def _readers_of(self, listing: Listing) -> Roles:
        """Name the roles in the projects that subscribed to what is not listed any more."""
        if listing.id not in self._readers:
            # Of what is listed, too: the steps that it takes to be found hidden tell nothing.
            keys = {"listing_id": listing.id, "status": LIVE}
            projects = self._reader.values(Subscription, "project_id", **keys)
            self._readers[listing.id] = Roles(
                role_in(project_id, one) for project_id in projects for one in Designation
            )
        is_listed = listing.status is ListingStatus.ACTIVE
        return Roles() if is_listed else self._readers[listing.id]

    def of_project(self, project_id: str) -> Mapping[str, Any]:
        """Tell of what is a project's own."""
        project = self._project(project_id)
        above = self.above(project.domain_unit_id) if project else []
        return {"governors": governors(above), "project": self.members(project_id)}

    def members(self, project_id: str) -> Mapping[str, Roles]:
        """Name the roles that a project has; of one that is not there, none."""
        is_there = self._project(project_id) is not None
        return {
            key: Roles([role_in(project_id, one)] if is_there else [])
            for key, one in _DESIGNATIONS.items()
        }

    def _project(self, project_id: str) -> Project | None:
        if project_id not in self._projects:
            self._projects[project_id] = self._reader.find(Project, project_id)
        return self._projects[project_id]

    def of_project_itself(self, project: Project, grant: str) -> Mapping[str, Any]:
        """Tell of a project."""
        units = self.above(project.domain_unit_id)
        return {**self.of_project(project.id), "granted": granted(units, grant)}

    def of_user(self, profile_id: str) -> Mapping[str, Any]:
        """Tell of what is a user's own."""
        profile = self._reader.find(UserProfile, profile_id)
        is_service = profile is not None and profile.type is UserType.SERVICE
        return {**self.is_self(profile_id), "is_service": is_service}

    def is_self(self, profile_id: str) -> Mapping[str, Any]:
        """Tell whether something is theirs who ask."""
        return {"is_self": profile_id == self._profile_id}


_FACTS: dict[type[Record], Callable[[Knowledge, Any, str], Mapping[str, Any]]] = {
    Domain: Knowledge.of_domain,
    DomainUnit: Knowledge.of_unit,
    Project: Knowledge.of_project_itself,
    ProjectMembership: lambda know, one, _: {
        **know.of_project(one.project_id),
        **know.is_self(one.member_id),
    },
    PolicyGrant: Knowledge.of_grant,
    Association: lambda know, one, grant: {
        **know.of_project(one.project_id),
        "status": one.status,
        "administrators": know.of_domain(one, grant)["governors"],
    },
    Environment: lambda know, one, _: know.of_project(one.project_id),
    Glossary: lambda know, one, _: know.of_project(one.owning_project_id),
    GlossaryTerm: Knowledge.of_term,
    FormType: lambda know, one, _: know.of_project(one.owning_project_id),
    AssetType: lambda know, one, _: know.of_project(one.owning_project_id),
    Rule: lambda know, one, _: {"governors": governors(know.above(one.domain_unit_id))},
    Guardrails: lambda know, one, _: {"governors": governors(know.above(one.id))},
    Proposal: lambda know, one, _: {
        **know.of_project(one.owning_project_id),
        **know.is_self(one.created_by),
    },
    Asset: lambda know, one, _: know.of_project(one.owning_project_id),
    DataProduct: lambda know, one, _: know.of_project(one.owning_project_id),
    Listing: Knowledge.of_listing,
    AssetFilter: lambda know, one, _: know.of_project(one.owning_project_id),
    DataSource: lambda know, one, _: know.of_project(one.project_id),
    DataSourceRun: lambda know, one, _: know.of_project(one.project_id),
    SubscriptionRequest: Knowledge.of_request,
    Subscription: lambda know, one, _: know.of_sharing(one.project_id, one.owning_project_id),
    SubscriptionGrant: lambda know, one, _: know.of_sharing(one.project_id, one.owning_project_id),
    SubscriptionTarget: lambda know, one, _: know.of_project(one.project_id),
    Delegation: lambda know, one, _: know.of_project(one.project_id),
    Comment: Knowledge.of_comment,
    ReviewCampaign: lambda know, one, _: {"governors": governors(know.above(one.domain_unit_id))},
    ReviewItem: lambda know, one, _: {
        **know.of_project(one.owning_project_id),
        **know.of_approvers(one.owning_project_id),
    },
    Notification: lambda know, one, grant: {
        **know.of_domain(one, grant),
        **know.of_user(one.recipient_id),
    },
    UserProfile: lambda know, one, grant: {**know.of_domain(one, grant), **know.of_user(one.id)},
    GroupProfile: Knowledge.of_domain,
    AccessToken: lambda know, one, grant: {
        **know.of_domain(one, grant),
        **know.of_user(one.principal_id),
    },
}
