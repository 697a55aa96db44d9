"""Glossaries and their terms: words that a company has agreed on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from atoll.core.errors import Conflict, InvalidInput
from atoll.mesh.model.catalog import Asset, DataProduct, EntityType, Listing
from atoll.mesh.model.describing import EnabledStatus, Glossary, GlossaryTerm, Rule
from atoll.mesh.model.organisation import Domain, PolicyType, Project
from atoll.mesh.model.record import Ids, Name, Text
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import (
    Ask,
    Described,
    Done,
    Named,
    Redescribed,
    Right,
    operation,
)
from atoll.mesh.service.history import revised

Synonyms = Annotated[tuple[Name, ...], Meta(max_length=50)]


class ChangedGlossary(Redescribed, frozen=True, kw_only=True):
    """What changes; what is left out stays."""

    status: EnabledStatus | None = None


class NewTerm(Ask, frozen=True, kw_only=True):
    """A word, what it means, and how it stands to others.

    Attributes:
        is_a, classifies: ids of terms, of this glossary or of others.
    """

    name: Name
    short_description: Text = ""
    long_description: Text = ""
    synonyms: Synonyms = ()
    is_a: Ids = ()
    classifies: Ids = ()


class ChangedTerm(Ask, frozen=True, kw_only=True):
    """What changes; what is left out stays."""

    name: Name | None = None
    short_description: Text | None = None
    long_description: Text | None = None
    synonyms: Synonyms | None = None
    is_a: Ids | None = None
    classifies: Ids | None = None
    status: EnabledStatus | None = None


class Usage(msgspec.Struct, frozen=True):
    """How many things carry a term, in their drafts or as published, where you may know of that.

    Attributes:
        data_products: which carry it themselves, or show an asset that does.
    """

    assets: int
    data_products: int


@operation(
    "POST", "/projects/{project_id}/glossaries", Right.CREATE, grant=PolicyType.CREATE_GLOSSARY
)
def create_glossary(call: Call, project: Project, ask: Described) -> Glossary:
    """Begin a glossary, kept by a project, read by everybody."""
    return call.add(
        Glossary, name=ask.name, description=ask.description, owning_project_id=project.id
    )


@operation("GET", "/glossaries", Right.BROWSE)
def list_glossaries(call: Call, domain: Domain, ask: Named) -> Iterator[Glossary]:
    """List glossaries."""
    return call.shown(Glossary, name=ask.name)


@operation("GET", "/glossaries/{glossary_id}", Right.BROWSE)
def get_glossary(call: Call, glossary: Glossary) -> Glossary:
    """Show a glossary."""
    return glossary


@operation("PATCH", "/glossaries/{glossary_id}", Right.DESCRIBE)
def update_glossary(call: Call, glossary: Glossary, ask: ChangedGlossary) -> Glossary:
    """Rename, describe or disable a glossary; terms of a disabled one are not newly used."""
    if ask.status is EnabledStatus.DISABLED:
        _refuse_demanded(call, glossary)
    return revised(call, glossary, **ask.given())


@operation("DELETE", "/glossaries/{glossary_id}", Right.CONTRIBUTE)
def delete_glossary(call: Call, glossary: Glossary) -> Done:
    """Remove a glossary that has no terms."""
    if call.find(GlossaryTerm, glossary_id=glossary.id):
        raise Conflict(f"'{glossary.name}' has terms; remove them first")
    _refuse_demanded(call, glossary)
    call.remove(glossary)
    return Done()


@operation("POST", "/glossaries/{glossary_id}/terms", Right.DESCRIBE)
def create_glossary_term(call: Call, glossary: Glossary, ask: NewTerm) -> GlossaryTerm:
    """Add a term."""
    _require_terms(call, [*ask.is_a, *ask.classifies])
    return call.add(GlossaryTerm, glossary_id=glossary.id, **ask.given())


@operation("GET", "/glossaries/{glossary_id}/terms", Right.BROWSE)
def list_glossary_terms(call: Call, glossary: Glossary, ask: Named) -> Iterator[GlossaryTerm]:
    """List the terms of a glossary."""
    return call.shown(GlossaryTerm, glossary_id=glossary.id, name=ask.name)


@operation("GET", "/glossary-terms", Right.BROWSE)
def search_glossary_terms(call: Call, domain: Domain, ask: Named) -> Iterator[GlossaryTerm]:
    """List terms of all glossaries."""
    return call.shown(GlossaryTerm, name=ask.name)


@operation("GET", "/glossary-terms/{glossary_term_id}", Right.BROWSE)
def get_glossary_term(call: Call, term: GlossaryTerm) -> GlossaryTerm:
    """Show a term."""
    return term


@operation("GET", "/glossary-terms/{glossary_term_id}/usage", Right.BROWSE)
def get_glossary_term_usage(call: Call, term: GlossaryTerm) -> Usage:
    """Count what carries a term: of your projects' inventory, and of what anybody has published.

    What carries it in its draft only where others keep that to themselves is not counted.
    """
    return Usage(
        _carrying(call, Asset, term.id),
        _carrying(call, DataProduct, term.id),
    )


@operation("PATCH", "/glossary-terms/{glossary_term_id}", Right.DESCRIBE)
def update_glossary_term(call: Call, term: GlossaryTerm, ask: ChangedTerm) -> GlossaryTerm:
    """Rename, describe, relate or disable a term; a disabled one is not newly used."""
    _require_terms(call, [*(ask.is_a or ()), *(ask.classifies or ())])
    for parent_id in ask.is_a or ():
        _refuse_circle(call, term, parent_id)
    return revised(call, term, **ask.given())


@operation("DELETE", "/glossary-terms/{glossary_term_id}", Right.CONTRIBUTE)
def delete_glossary_term(call: Call, term: GlossaryTerm) -> Done:
    """Remove a term that nothing carries and no other refers to; disable it otherwise."""
    # Not how often: that would count what others may not know of.
    if (
        call.find(Asset, all_terms=term.id)
        or call.find(DataProduct, all_terms=term.id)
        or call.find(Listing, all_terms=term.id)
        or call.find(GlossaryTerm, is_a=term.id)
        or call.find(GlossaryTerm, classifies=term.id)
    ):
        raise Conflict(f"'{term.name}' is used; disable it instead")
    call.remove(term)
    return Done()


def require_usable(call: Call, term_ids: Iterable[str], before: Iterable[str] = ()) -> None:
    """See that terms may be used; those that are in use already may stay, disabled or not.

    Raises:
        InvalidInput: there is no such term, or it is disabled, or its glossary is.
    """
    for id_ in set(term_ids) - set(before):
        term = call.find(GlossaryTerm, id=id_)
        glossary = call.find(Glossary, id=term.glossary_id) if term else None
        if term is None or glossary is None:
            raise InvalidInput(f"there is no glossary term '{id_}'", id=id_)
        if EnabledStatus.DISABLED in (term.status, glossary.status):
            raise InvalidInput(f"the term '{term.name}' is disabled; take another", id=id_)


def _carrying(call: Call, kind: type[Asset | DataProduct], term_id: str) -> int:
    """Count what has a term, in its draft or its listing, that may be seen."""
    found = set[str]()
    for project_id in set(call.values(kind, "owning_project_id", all_terms=term_id)):
        # One stands for all of a project: policies know no more of them.
        one = call.find(kind, owning_project_id=project_id, all_terms=term_id)
        if one and call.may_see(one):
            found.update(call.values(kind, "id", owning_project_id=project_id, all_terms=term_id))
    type_ = EntityType.ASSET if kind is Asset else EntityType.DATA_PRODUCT
    listed = call.each(Listing, entity_type=type_, all_terms=term_id)
    others = call.visible(one for one in listed if one.entity_id not in found)
    return len(found) + sum(1 for _ in others)


def _refuse_demanded(call: Call, glossary: Glossary) -> None:
    for rule in call.each(Rule):
        if glossary.id in rule.glossary_ids:
            raise Conflict(
                f"the rule '{rule.name}' demands a term of '{glossary.name}'; have that rule "
                "changed first",
                rule=rule.id,
            )


def _require_terms(call: Call, term_ids: list[str]) -> None:
    for id_ in term_ids:
        if call.find(GlossaryTerm, id=id_) is None:
            raise InvalidInput(f"there is no glossary term '{id_}'", id=id_)


def _refuse_circle(call: Call, term: GlossaryTerm, parent_id: str) -> None:
    waiting, seen = [parent_id], set[str]()
    while waiting:
        id_ = waiting.pop()
        if id_ == term.id:
            raise InvalidInput(f"'{term.name}' would be a kind of itself", id=id_)
        if id_ not in seen and (found := call.find(GlossaryTerm, id=id_)):
            waiting += found.is_a
        seen.add(id_)
