"""Rules: which forms and terms must be there before something is published, or asked for.

A rule is set in a domain unit. It holds for the projects in it and, unless it says otherwise, for
those in all units below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import Meta

from atoll.core.errors import InvalidInput
from atoll.core.text import some_of
from atoll.mesh.model.describing import (
    EnabledStatus,
    Form,
    Glossary,
    GlossaryTerm,
    Rule,
    RuleAction,
    RuleType,
)
from atoll.mesh.model.organisation import DomainUnit, Project
from atoll.mesh.model.record import Id
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import (
    Described,
    Done,
    Named,
    Redescribed,
    Right,
    operation,
)
from atoll.mesh.service.asset_types import TypeNames, named_type
from atoll.mesh.service.forms import FormNames, missing_fields, required_form
from atoll.mesh.service.history import revised

PROBLEMS_TOLD = 50
GlossaryIds = Annotated[tuple[Id, ...], Meta(max_length=50)]


class NewRule(Described, frozen=True, kw_only=True):
    """What is demanded.

    Attributes:
        form_types: of METADATA_FORM_ENFORCEMENT: names of forms, each of which must be complete.
        glossary_ids: of GLOSSARY_TERM_ENFORCEMENT: from each of these a term must be there.
        asset_types: names of the types of assets it is for; empty: for all, and data products.
        includes_children: whether it holds in the units below, too.
    """

    rule_type: RuleType
    action: RuleAction
    form_types: FormNames = ()
    glossary_ids: GlossaryIds = ()
    asset_types: TypeNames = ()
    includes_children: bool = True


class ChangedRule(Redescribed, frozen=True, kw_only=True):
    """What changes; what is left out stays."""

    form_types: FormNames | None = None
    glossary_ids: GlossaryIds | None = None
    asset_types: TypeNames | None = None
    includes_children: bool | None = None


class Rules(Named, frozen=True, kw_only=True):
    """Which rules.

    Attributes:
        inherited: whether those are listed, too, that hold here because a unit above sets them.
    """

    action: RuleAction | None = None
    inherited: bool = False


@operation("POST", "/domain-units/{domain_unit_id}/rules", Right.GOVERN)
def create_rule(call: Call, unit: DomainUnit, ask: NewRule) -> Rule:
    """Demand forms or terms in a domain unit; what is published already stays so."""
    made = call.add(Rule, domain_unit_id=unit.id, **ask.given())
    _require_sense(call, made)
    return made


@operation("GET", "/domain-units/{domain_unit_id}/rules", Right.BROWSE)
def list_rules(call: Call, unit: DomainUnit, ask: Rules) -> Iterator[Rule]:
    """List the rules of a domain unit."""
    units = call.know.above(unit.id) if ask.inherited else [unit.id]
    found = call.shown(Rule, domain_unit_id=units, name=ask.name)
    return (one for one in found if ask.action in (None, one.action) and _holds_in(one, unit.id))


@operation("GET", "/rules/{rule_id}", Right.BROWSE)
def get_rule(call: Call, rule: Rule) -> Rule:
    """Show a rule."""
    return rule


@operation("PATCH", "/rules/{rule_id}", Right.GOVERN)
def update_rule(call: Call, rule: Rule, ask: ChangedRule) -> Rule:
    """Change what a rule demands, and where."""
    changed = revised(call, rule, **ask.given())
    _require_sense(call, changed, rule)
    return changed


@operation("DELETE", "/rules/{rule_id}", Right.GOVERN)
def delete_rule(call: Call, rule: Rule) -> Done:
    """Demand something no longer."""
    call.tell(name=rule.name, domain_unit_id=rule.domain_unit_id)
    call.remove(rule)
    return Done()


def enforced(
    call: Call,
    project_id: str,
    action: RuleAction,
    *,
    asset_type: str,
    forms: Sequence[Form],
    glossary_terms: Sequence[str],
) -> None:
    """See that all is there that rules demand.

    Args:
        call: the moment.
        project_id: rules of its domain unit, and of those above, hold.
        action: what is about to be done.
        asset_type: name of the type of the asset; empty: of a data product.
        forms: what is filled in.
        glossary_terms: ids of the terms that are there.

    Raises:
        InvalidInput: something is missing; all of it is named, with the rules that demand it.
    """
    project = call.find(Project, id=project_id)
    units = call.know.above(project.domain_unit_id) if project else []
    problems = [
        f"the rule '{rule.name}' of the domain unit '{_unit_name(call, rule)}' demands {what}"
        for rule in call.each(Rule, domain_unit_id=units)
        if rule.action is action
        and _holds_in(rule, units[0])
        and (not rule.asset_types or asset_type in rule.asset_types)
        for what in _missing(call, rule, forms, glossary_terms)
    ]
    if problems:
        told = some_of(problems, PROBLEMS_TOLD, separator="; ")
        raise InvalidInput(told, problems=problems[:PROBLEMS_TOLD])


def _holds_in(rule: Rule, domain_unit_id: str) -> bool:
    """Tell whether a rule of a unit, or of one above it, holds in the unit."""
    return rule.includes_children or rule.domain_unit_id == domain_unit_id


def _missing(
    call: Call, rule: Rule, forms: Sequence[Form], glossary_terms: Sequence[str]
) -> Iterator[str]:
    given = {one.form_type: one for one in forms}
    for name in rule.form_types:
        if name not in given:
            yield f"the form '{name}'"
        elif fields := missing_fields(call, given[name]):
            yield f"the form '{name}' with its fields {', '.join(fields)}"
    for id_ in rule.glossary_ids:
        if not any(call.find(GlossaryTerm, id=one, glossary_id=id_) for one in glossary_terms):
            glossary = call.find(Glossary, id=id_)
            yield f"a term of the glossary '{glossary.name if glossary else id_}'"


def _unit_name(call: Call, rule: Rule) -> str:
    unit = call.find(DomainUnit, id=rule.domain_unit_id)
    return unit.name if unit else rule.domain_unit_id


def _require_sense(call: Call, rule: Rule, before: Rule | None = None) -> None:
    """See that what a rule demands is there, and can be given."""
    is_forms = rule.rule_type is RuleType.METADATA_FORM_ENFORCEMENT
    demanded, other = (
        (rule.form_types, rule.glossary_ids) if is_forms else (rule.glossary_ids, rule.form_types)
    )
    if other or not demanded:
        key = "form_types" if is_forms else "glossary_ids"
        raise InvalidInput(f"a rule of the type {rule.rule_type} names {key}, and nothing else")
    for name in set(rule.form_types) - set(before.form_types if before else ()):
        required_form(call, name)
    for id_ in set(rule.glossary_ids) - set(before.glossary_ids if before else ()):
        glossary = call.find(Glossary, id=id_)
        if glossary is None or glossary.status is EnabledStatus.DISABLED:
            raise InvalidInput(f"there is no glossary '{id_}' that is enabled", id=id_)
    for name in set(rule.asset_types) - set(before.asset_types if before else ()):
        named_type(call, name)
