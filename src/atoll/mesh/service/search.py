"""Finding: what is published, and a project's own inventory, by words and facets.

What one may see is decided by the same policies as everything else, once for each class of things
that look alike to them: what a project has published with a classification, and its inventory.
The index searches and counts only in those classes; what it finds is decided on again, one by one,
as the records stand at this moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from atoll.core.errors import InvalidInput
from atoll.mesh.discovery import FACETS, FacetValue, Hit, Index, Page, Query, Sort
from atoll.mesh.discovery.model import FORM_PREFIX
from atoll.mesh.model.catalog import (
    Asset,
    Classification,
    DataProduct,
    EntityType,
    Listing,
    ListingStatus,
    TimeSeriesDataPoint,
)
from atoll.mesh.model.describing import FormType
from atoll.mesh.model.organisation import Domain, DomainUnit, Project
from atoll.mesh.model.record import Record, Score
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.entries import (
    INDEXED,
    Indexed,
    draft_class,
    listed_class,
    wider_class,
)
from atoll.mesh.operations.registry import Ask, Right, operation
from atoll.mesh.operations.scores import MAX_SCORE, measured, newest_points, worst

T = TypeVar("T")
_NAMED: dict[str, type[Project | DomainUnit]] = {"project": Project, "unit": DomainUnit}
_Names = Callable[[type[Project | DomainUnit], Iterable[str]], dict[str, str]]
Words = Annotated[str, Meta(max_length=1000)]
Filter = Annotated[str, Meta(max_length=600, pattern=r"^[^=]+=")]


class Search(Ask, frozen=True, kw_only=True):
    """What to look for.

    Attributes:
        text: words that all must be there, "phrases", -words that must not.
        filters: FACET=VALUE each; several of one facet: any of them will do. Facets are kind,
            project, unit, term, classification, basis, has_pii, business_unit, refresh_frequency,
            asset_type, quality, and form/FORM/FIELD of fields whose form says so (`is_facet`).
        facets: which to count; none: all but the fields of forms.
        min_score, max_score: of the quality, 0 to 100.
        cursor: `next` of the page before.
    """

    text: Words = ""
    filters: Annotated[tuple[Filter, ...], Meta(max_length=200)] = ()
    facets: Annotated[tuple[str, ...], Meta(max_length=40)] = ()
    min_score: Score | None = None
    max_score: Score | None = None
    sort: Sort = "relevance"
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(max_length=500)] = ""


class Typed(Ask, frozen=True, kw_only=True):
    """What somebody has typed so far."""

    text: Words


class Found(msgspec.Struct, frozen=True):
    """One thing that was found.

    Attributes:
        id: of the listing; of inventory, of the asset or data product.
        quality_score: the newest, 0 to 100; of a data product its worst asset's; None: no one
            has measured it.
        updated_at: microseconds since the epoch.
    """

    id: str
    entity_type: EntityType
    entity_id: str
    name: str
    description: str
    project_id: str
    project: str
    classification: str
    has_pii: bool
    quality_score: float | None
    updated_at: int


class Counted(msgspec.Struct, frozen=True):
    """A value of a facet, and how many things have it.

    Attributes:
        name: of the project or unit that the value is the id of; else the value.
    """

    value: str
    name: str
    count: int


class Results(msgspec.Struct, frozen=True):
    """A page of what was found.

    Attributes:
        total: on all pages.
        facets: by name, the values with the most things first.
        next: cursor of the next page; empty: this is the last.
    """

    items: list[Found]
    total: int
    facets: dict[str, list[Counted]]
    next: str


class Suggestions(msgspec.Struct, frozen=True):
    """Names that begin so, the best first."""

    names: list[str]


@operation("GET", "/search/listings", Right.BROWSE)
def search_listings(call: Call, domain: Domain, ask: Search) -> Results:
    """Find what is published, as far as you may know of it."""
    return _searched(call, ask, Listing)


@operation("GET", "/search/inventory", Right.BROWSE)
def search(call: Call, domain: Domain, ask: Search) -> Results:
    """Find what your projects have, published or not."""
    return _searched(call, ask, Asset)


@operation("GET", "/search/suggestions", Right.BROWSE)
def suggest(call: Call, domain: Domain, ask: Typed) -> Suggestions:
    """Complete what you type to names of what is published."""
    names = _asked(
        call,
        Listing,
        call.last_change(Project, DomainUnit),
        lambda index, visible: index.suggest(ask.text, visible),
    )
    return Suggestions(list(names))


def _searched(call: Call, ask: Search, kind: type[Listing | Asset]) -> Results:
    filters = _filters(ask.filters)
    for name in (*filters, *ask.facets):
        _check_facet(call, name)
    asked: dict[str, Any] = {
        "text": ask.text,
        "filters": filters,
        "quality": (_share(ask.min_score), _share(ask.max_score)),
        "facets": ask.facets or FACETS,
        "sort": ask.sort,
        "limit": ask.limit,
        "cursor": ask.cursor or None,
    }
    number = call.last_change(Project, DomainUnit)
    names = partial(_names, call, number)
    found: list[Found] = []

    def look(index: Index, visible: frozenset[str] | None) -> Page:
        def show(hits: Sequence[Hit]) -> None:
            found[:] = _found(call, hits, visible, names)

        return index.search(Query(visible, **asked), show)

    page = _asked(call, kind, number, look)
    counts = {name: list(_counted(name, values, names)) for name, values in page.facets.items()}
    return Results(found, page.total, counts, page.next or "")


def _asked(
    call: Call,
    kind: type[Listing | Asset],
    number: int,
    ask: Callable[[Index, frozenset[str] | None], T],
) -> T:
    """Ask the index within the classes of a kind that the caller may see; None: all.

    `number` is that of the last change of a project or domain unit.
    """
    now = call.last_change()
    indexer = call.tools.indexers[kind]
    classes = call.tools.visibility.classes(call.who, kind, number, lambda: _wide(call, kind))
    visible = None if classes >= _EVERYTHING[kind] else classes
    answer = indexer.asked(lambda index: ask(index, visible), now)
    if indexer.reached <= now or indexer.last_change(Project, DomainUnit) == number:
        return answer
    # The index is newer than this moment: a project not decided on may be in a wider class.
    narrow = frozenset(_decided(call, kind)[1])
    return indexer.asked(lambda index: ask(index, narrow), now)


# The wider classes of all that there may be.
_EVERYTHING: dict[type[Record], frozenset[str]] = {
    Listing: frozenset(wider_class(listed_class("", one)) for one in Classification),
    Asset: frozenset([wider_class(draft_class(""))]),
}


def _wide(call: Call, kind: type[Listing | Asset]) -> frozenset[str]:
    """Name the classes that the caller may see, wider ones where nothing in them is hidden."""
    every, seen = _decided(call, kind)
    with_hidden = set(map(wider_class, every - seen))
    pairs = ((one, wider_class(one)) for one in seen)
    return frozenset(one if wider in with_hidden else wider for one, wider in pairs)


def _decided(call: Call, kind: type[Listing | Asset]) -> tuple[set[str], set[str]]:
    """Name all classes of a kind, and those that the caller may see."""
    projects = list(call.each(Project))
    call.know.remember(projects)
    samples = list(_SAMPLES[kind](call, projects))
    return {one.id for one in samples}, {one.id for one in call.visible(samples)}


def _classes_of_listings(call: Call, projects: Iterable[Project]) -> Iterator[Listing]:
    for project in projects:
        for one in Classification:
            yield Listing(
                **_like(call, project, listed_class(project.id, one)),
                entity_type=EntityType.ASSET,
                entity_id="",
                entity_revision=0,
                classification=one,
            )


def _classes_of_inventory(call: Call, projects: Iterable[Project]) -> Iterator[Asset]:
    for project in projects:
        yield Asset(
            **_like(call, project, draft_class(project.id)),
            asset_type="",
            external_identifier="",
            association_id="",
        )


_SAMPLES: dict[type[Record], Callable[[Call, Iterable[Project]], Iterator[Any]]] = {
    Listing: _classes_of_listings,
    Asset: _classes_of_inventory,
}


def _like(call: Call, project: Project, id_: str) -> dict[str, Any]:
    """Describe what stands for all that a project has of one class."""
    return {
        "id": id_,
        "name": "",
        "owning_project_id": project.id,
        "created_at": call.now,
        "created_by": "",
        "updated_at": call.now,
        "updated_by": "",
    }


def _names(
    call: Call, number: int, kind: type[Project | DomainUnit], ids: Iterable[str]
) -> dict[str, str]:
    return call.tools.names.of(ids, number, lambda unknown: call.each(kind, id=unknown))


def _found(
    call: Call, hits: Sequence[Hit], visible: frozenset[str] | None, names: _Names
) -> list[Found]:
    """List what was found, as it is now; what is gone or hidden since is left out."""
    records: dict[str, Indexed] = {}
    for name, kind in INDEXED.items():
        ids = [one.id for one in hits if one.id.partition("-")[0] == name]
        records |= {one.id: one for one in call.each(kind, id=ids)} if ids else {}
    shown = {one.id for one in records.values() if _is_in(visible, one)}
    for kind in (Asset, DataProduct):
        drafts = [one for one in records.values() if isinstance(one, kind)]
        shown |= {one.id for one in call.visible(drafts)}
    found = [records[one.id] for one in hits if one.id in shown]
    projects = names(Project, {one.owning_project_id for one in found})
    points = newest_points(call.reader, (id_ for one in found for id_ in measured(one)))
    return [
        _shown(one, projects.get(one.owning_project_id, ""), worst(points, measured(one)))
        for one in found
    ]


def _is_in(classes: frozenset[str] | None, record: Indexed) -> bool:
    """Tell whether it is published in one of these classes, or in any, as it is now."""
    if not isinstance(record, Listing) or record.status is not ListingStatus.ACTIVE:
        return False
    name = listed_class(record.owning_project_id, record.classification)
    return classes is None or not classes.isdisjoint((name, wider_class(name)))


def _shown(
    record: Indexed,
    project: str,
    point: TimeSeriesDataPoint | None,
) -> Found:
    classification, has_pii = "", False
    entity_type, entity_id = EntityType.DATA_PRODUCT, record.id
    if isinstance(record, Listing):
        entity_type, entity_id = record.entity_type, record.entity_id
        classification, has_pii = record.classification, record.has_pii
    elif isinstance(record, Asset):
        entity_type = EntityType.ASSET
        classification, has_pii = record.classification, bool(record.personal)
    return Found(
        id=record.id,
        entity_type=entity_type,
        entity_id=entity_id,
        name=record.name,
        description=record.description,
        project_id=record.owning_project_id,
        project=project,
        classification=classification,
        has_pii=has_pii,
        quality_score=point.score if point else None,
        updated_at=record.updated_at,
    )


def _filters(given: Iterable[str]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for one in given:
        name, _, value = one.partition("=")
        found[name] = found.get(name, frozenset()) | {value}
    return found


def _check_facet(call: Call, name: str) -> None:
    """See that there is a facet of that name.

    Raises:
        InvalidInput: there is none.
    """
    if name in FACETS:
        return
    form, _, field = name.removeprefix(FORM_PREFIX).partition("/")
    type_ = call.find(FormType, name=form) if name.startswith(FORM_PREFIX) else None
    if type_ is None or not any(one.name == field and one.is_facet for one in type_.fields):
        raise InvalidInput(
            f"there is no facet '{name:.200}'; choose of {', '.join(FACETS)}, or "
            f"{FORM_PREFIX}FORM/FIELD of a field that is one (`is_facet`), see ListFormTypes",
            facet=name[:200],
        )


def _share(score: float | None) -> float | None:
    return None if score is None else score / MAX_SCORE


def _counted(facet: str, values: Sequence[FacetValue], names: _Names) -> Iterator[Counted]:
    kind = _NAMED.get(facet)
    called = names(kind, [one.value for one in values]) if kind else {}
    for one in values:
        yield Counted(one.value, called.get(one.value, one.value), one.entries)
