"""Guardrails: what a domain unit sets once for all projects in it and below.

A unit below may set stricter bounds than those above, never looser ones: how long access lasts at
most, and which quality data have at least. The rest are defaults, of which the nearest one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from atoll.core.errors import InvalidInput
from atoll.mesh.model.access import Guardrails
from atoll.mesh.model.catalog import Classification
from atoll.mesh.model.organisation import Domain, DomainUnit, Project
from atoll.mesh.model.record import Score
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Ask, Page, Right, operation

_DAY_S = 24 * 3600


@dataclass(frozen=True)
class InForce:
    """What holds in a domain unit.

    Attributes:
        default_classification, longest_access_s, request_expires_s, remind_after_s, min_score: as
            in `Guardrails`, with nothing left open.
        set_in: ids of the units that they come from; what nobody set is not in it.
    """

    default_classification: Classification = Classification.CONFIDENTIAL
    longest_access_s: int = 0
    request_expires_s: int = 14 * _DAY_S
    remind_after_s: int = 2 * _DAY_S
    min_score: float = 0.0
    set_in: dict[str, str] = field(default_factory=dict)


DEFAULT = InForce()
# Whether a value is stricter than another. What is not here is a default.
_STRICTER: Mapping[str, Callable[[float, float], bool]] = {
    "longest_access_s": lambda one, other: (one or float("inf")) < (other or float("inf")),
    "min_score": lambda one, other: one > other,
}


class NewGuardrails(Ask, frozen=True, kw_only=True):
    """All that a unit sets; what is left out is as in the unit above.

    Attributes:
        default_classification: of new assets.
        longest_access_s: no access is given for longer, in seconds; 0: without end.
        request_expires_s: a request that nobody decides on is rejected after so long.
        remind_after_s: its reviewers are reminded so often.
        min_score: no access is given to data of a known lower quality, 0 to 100.
    """

    default_classification: Classification | None = None
    longest_access_s: Annotated[int, Meta(ge=0, le=36_500 * _DAY_S)] | None = None
    request_expires_s: Annotated[int, Meta(ge=60, le=366 * _DAY_S)] | None = None
    remind_after_s: Annotated[int, Meta(ge=60, le=366 * _DAY_S)] | None = None
    min_score: Score | None = None


@operation("GET", "/domain-units/{domain_unit_id}/guardrails", Right.BROWSE)
def get_guardrails(call: Call, unit: DomainUnit) -> InForce:
    """Show what holds in a domain unit, and which unit set it."""
    return _in_force(call, unit.id)


@operation("GET", "/guardrails", Right.BROWSE)
def list_guardrails(call: Call, domain: Domain, ask: Page) -> Iterator[Guardrails]:
    """List what each domain unit sets itself; the ids are the units'."""
    return call.each(Guardrails, after=call.after)


@operation("PUT", "/domain-units/{domain_unit_id}/guardrails", Right.GOVERN)
def set_guardrails(call: Call, unit: DomainUnit, ask: NewGuardrails) -> InForce:
    """Set what holds in a domain unit and below; access that was given already stays."""
    above = _in_force(call, unit.parent_domain_unit_id)
    for key, is_stricter in _STRICTER.items():
        wanted, bound = getattr(ask, key), getattr(above, key)
        if wanted is not None and is_stricter(bound, wanted):
            raise InvalidInput(
                f"{key} is {bound:,} in a unit above; a unit below sets stricter bounds only",
                unit=above.set_in[key],
            )
    call.tell(before=asdict(_in_force(call, unit.id)), after=ask.given())
    values: dict[str, Any] = {key: getattr(ask, key) for key in ask.__struct_fields__}
    if before := call.find(Guardrails, id=unit.id):
        call.change(before, **values)
    else:
        call.add(Guardrails, id_=unit.id, **values)
    return _in_force(call, unit.id)


def guardrails_of(call: Call, project_id: str) -> InForce:
    """Return what holds for a project; of one that is not there, what holds by itself."""
    project = call.find(Project, id=project_id)
    return _in_force(call, project.domain_unit_id if project else "")


def _in_force(call: Call, domain_unit_id: str) -> InForce:
    values: dict[str, Any] = asdict(DEFAULT)
    set_in: dict[str, str] = values["set_in"]
    above = call.know.above(domain_unit_id)
    said = {one.id: one for one in call.each(Guardrails, id=above)}
    for unit_id in reversed(above):
        for key in NewGuardrails.__struct_fields__:
            value = getattr(said.get(unit_id), key, None)
            is_stricter = _STRICTER.get(key, _is_nearer)
            if value is not None and is_stricter(value, values[key]):
                values[key], set_in[key] = value, unit_id
    return InForce(**values)


def _is_nearer(_one: object, _other: object) -> bool:
    return True
