"""Delegations: who decides on requests for a project's data in place of its owners, until when."""

from __future__ import annotations

from collections.abc import Iterator

from atoll.core.errors import Forbidden, InvalidInput
from atoll.mesh.model.access import Delegation, Subscription, SubscriptionRequest
from atoll.mesh.model.organisation import Designation, Project
from atoll.mesh.model.people import GroupProfile, UserProfile, UserType
from atoll.mesh.model.record import Id, Moment
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Ask, Done, Page, Right, operation
from atoll.mesh.operations.standings import role_in
from atoll.mesh.service.access import may_ask_for


class NewDelegation(Ask, frozen=True, kw_only=True):
    """Who decides, and how long.

    Attributes:
        principal_id: a user or group.
        until: microseconds since the epoch; 0: until it is removed.
    """

    principal_id: Id
    until: Moment = 0


@operation("POST", "/projects/{project_id}/delegations", Right.OWN)
def create_delegation(call: Call, project: Project, ask: NewDelegation) -> Delegation:
    """Let somebody decide on requests for the project's data, or say anew until when."""
    user = call.find(UserProfile, id=ask.principal_id)
    is_person = user is not None and user.type is not UserType.SERVICE
    if not is_person and call.find(GroupProfile, id=ask.principal_id) is None:
        raise InvalidInput(f"there is no user or group '{ask.principal_id}'", id=ask.principal_id)
    if 0 < ask.until <= call.now:
        raise InvalidInput("the delegation would be over already; choose a later end, or none")
    before = call.find(Delegation, project_id=project.id, principal_id=ask.principal_id)
    if before is None:
        return call.add(Delegation, project_id=project.id, **ask.given())
    call.tell(before=before.until, after=ask.until)
    return call.change(before, until=ask.until)


@operation("GET", "/projects/{project_id}/delegations", Right.VIEW)
def list_delegations(call: Call, project: Project, ask: Page) -> Iterator[Delegation]:
    """List who decides for a project, those whose time is over among them."""
    return call.shown(Delegation, project_id=project.id)


@operation("GET", "/delegations/{delegation_id}", Right.VIEW)
def get_delegation(call: Call, delegation: Delegation) -> Delegation:
    """Show a delegation."""
    return delegation


@operation("DELETE", "/delegations/{delegation_id}", Right.OWN)
def delete_delegation(call: Call, delegation: Delegation) -> Done:
    """Let somebody decide no longer; what they decided stays."""
    call.tell(principal=delegation.principal_id, until=delegation.until)
    call.remove(delegation)
    return Done()


def refuse_own_case(call: Call, access: SubscriptionRequest | Subscription) -> None:
    """See that nobody but owners of the data gives what they themselves would have.

    Raises:
        Forbidden: they made the request, or may ask for the project that it is for.
    """
    if role_in(access.owning_project_id, Designation.OWNER) in call.who.roles:
        return
    if isinstance(access, SubscriptionRequest):
        request: SubscriptionRequest | None = access
    else:
        request = call.find(SubscriptionRequest, id=access.request_id)
    project = call.find(Project, id=access.project_id)
    is_own = request is not None and request.created_by == call.who.id
    if is_own or (project is not None and may_ask_for(call.seen_by(call.who.id), project)):
        raise Forbidden(
            "who decides in the owners' place does not decide on what they, or a project that "
            "they ask for, would have; have one of the owners decide"
        )
