"""Why somebody may do something, or may not: the policies behind a decision."""

from __future__ import annotations

import msgspec

from atoll.core.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from atoll.mesh.model.organisation import Domain
from atoll.mesh.model.people import UserProfile
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import OPERATIONS, Ask, Right, operation


class Question(Ask, frozen=True, kw_only=True):
    """May somebody do something to a thing?

    Attributes:
        operation: its name, such as "CreateProject".
        resource_id: what it is about; empty: the domain.
        principal_id: of a user or service; empty: yourself.
    """

    operation: str
    resource_id: str = ""
    principal_id: str = ""


class Policy(msgspec.Struct, frozen=True):
    """A policy, as it stands in its file."""

    id: str
    text: str


class Explanation(msgspec.Struct, frozen=True):
    """A decision, and why.

    Attributes:
        right: what the operation takes.
        policies: those that allow it, or, where one does, those that forbid it; where there are
            none, nothing allows it.
    """

    is_allowed: bool
    right: Right
    policies: list[Policy]


class Policies(msgspec.Struct, frozen=True):
    """All policies in force."""

    policies: list[Policy]


@operation("GET", "/policies", Right.BROWSE)
def list_policies(call: Call, domain: Domain) -> Policies:
    """Show all policies in force, as they stand in their files."""
    return Policies([Policy(*one) for one in sorted(call.policies.items())])


@operation("GET", "/explain", Right.BROWSE)
def explain(call: Call, domain: Domain, ask: Question) -> Explanation:
    """Tell whether you, or, as an owner of the domain, somebody else may do something, and why."""
    asked = OPERATIONS.get(ask.operation)
    if asked is None:
        raise InvalidInput(f"there is no operation '{ask.operation}'; see the OpenAPI document")
    record = call.get(asked.on, ask.resource_id) if asked.about else domain
    whose = call
    if ask.principal_id not in ("", call.who.id):
        if not call.decide(OPERATIONS["UpdateDomain"].action, domain).is_allowed:
            raise Forbidden("you may ask for yourself only; owners of the domain ask for others")
        if call.find(UserProfile, id=ask.principal_id) is None:
            raise NotFound(f"there is no user '{ask.principal_id}'", id=ask.principal_id)
        try:
            whose = call.seen_by(ask.principal_id)
        except Unauthenticated:  # who is not assigned may do nothing
            return Explanation(False, asked.right, [])
    found = whose.decide(asked.action, record, grant=asked.grant)
    named = [Policy(id_, call.policies.get(id_, "")) for id_ in found.policies]
    return Explanation(found.is_allowed, asked.right, named)
