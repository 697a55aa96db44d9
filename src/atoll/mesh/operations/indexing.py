"""Keeps the search index in step with the records.

The records are the truth and the index follows by the numbers of their changes, so after a crash
it goes on where its last commit was. One that is damaged, or ahead of a database that came from a
backup, is made anew.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from atoll.core.errors import AtollError, Corrupt
from atoll.core.groups import in_groups
from atoll.mesh.discovery import Column, Entry, Index, Put, Remove
from atoll.mesh.model.catalog import (
    Asset,
    Classification,
    DataProduct,
    EntityType,
    Listing,
    ListingStatus,
    TimeSeriesDataPoint,
    strictest,
)
from atoll.mesh.model.describing import Form, GlossaryTerm
from atoll.mesh.model.organisation import DomainUnit, Project
from atoll.mesh.model.people import moment
from atoll.mesh.store.reading import Reader
from atoll.mesh.store.writing import Store

logger = logging.getLogger(__name__)

T = TypeVar("T")
AT_ONCE = 2000
MAX_SCORE = 100.0
QUALITY = "quality"
Entity = Asset | DataProduct
INDEXED: dict[str, type[Entity | Listing]] = {
    kind.KIND: kind for kind in (Asset, DataProduct, Listing)
}
# Of the form that all assets share; facets of their own.
_OWN_FACETS = ("business_unit", "refresh_frequency")


def listed_class(project_id: str, classification: Classification) -> str:
    """Name the class of what a project has published with a classification."""
    return f"listed {project_id} {classification}"


def draft_class(project_id: str) -> str:
    """Name the class of a project's inventory."""
    return f"draft {project_id}"


class Indexer:
    """The search index of one server, and what keeps it up to date."""

    def __init__(self, store: Store[Any], place: Path) -> None:
        """Use the index in a folder; it is opened when it is needed."""
        self._store, self._place, self._following = store, place, threading.RLock()
        self._is_stopping, self._waker = False, threading.Event()
        self._thread: threading.Thread | None = None
        self._index: Index | None = None
        self._seen = 0

    def follow(self) -> None:
        """Follow each change when it is made, so that searches need not wait for it."""
        self._store.listeners.append(self._waker.set)
        self._waker.set()
        self._thread = threading.Thread(target=self._run, name="mesh-index", daemon=True)
        self._thread.start()

    def asked(self, ask: Callable[[Index], T]) -> T:
        """Ask the index, once all that was changed until now is in it."""
        try:
            return ask(self._caught_up())
        except Corrupt as error:
            logger.warning("the search index is made anew: %s", error.message)
            return ask(self._made_anew())

    def _caught_up(self) -> Index:
        with self._store.reading() as reader:
            if self._index and reader.last_change() == self._seen:
                return self._index
        with self._following:
            index = self._index = self._index or self._opened()
            with self._store.reading() as reader:
                last = reader.last_change()
                for some in in_groups(_affected(reader, self._seen), AT_ONCE):
                    # Not yet `last`: what is cut off here is done again.
                    changes = [_change(reader, id_) for id_ in some]
                    index.apply(changes, position=self._seen)
                if last > self._seen:
                    index.apply([], position=last)
                self._seen = last
            return index

    def stop(self) -> None:
        """Follow no longer."""
        self._is_stopping = True
        self._waker.set()
        if self._thread:
            self._thread.join()
        if self._index:
            self._index.close()

    def _opened(self) -> Index:
        try:
            found = Index.open(self._place)
        except Corrupt as error:
            logger.warning("the search index is made anew: %s", error.message)
            return self._made_anew()
        with self._store.reading() as reader:
            last = reader.last_change()
        if found.position > last:
            logger.warning("the search index is ahead of the database and is made anew")
            return self._made_anew()
        self._seen = found.position
        return found

    def _made_anew(self) -> Index:
        with self._following, self._store.reading() as reader:
            if self._index:
                self._index.close()
            last = reader.last_change()
            self._index = Index.rebuilt(self._place, _all_entries(reader), position=last)
            self._seen = last
            return self._index

    def _run(self) -> None:
        while not self._is_stopping:
            self._waker.wait()
            self._waker.clear()
            try:
                if not self._is_stopping:
                    self.asked(lambda _: None)
            except AtollError as error:
                logger.warning("the search index could not follow: %s", error.message)
            # Whatever it is: searching says so itself, and the next change is followed again.
            except BaseException:
                logger.exception("the search index could not follow")


def _affected(reader: Reader, after: int) -> Iterator[str]:
    """Yield ids of the assets, data products and listings that changes show in, each once."""
    seen: set[str] = set()
    for _, kind, id_ in reader.changes(after):
        for one in _shown_in(reader, kind, id_):
            if one not in seen:
                seen.add(one)
                yield one


def _shown_in(reader: Reader, kind: str, id_: str) -> Iterator[str]:
    """Yield ids of what shows a record."""
    if kind in INDEXED:
        yield id_
    elif kind == Project.KIND:
        yield from _of_project(reader, id_)
    elif kind == DomainUnit.KIND:
        for project in reader.all(Project, domain_unit_id=id_):
            yield from _of_project(reader, project.id)
        for unit in reader.all(DomainUnit, parent_domain_unit_id=id_):
            yield from _shown_in(reader, kind, unit.id)
    elif kind == GlossaryTerm.KIND:
        for asset in reader.all(Asset, all_terms=id_):
            yield from _with_listing(reader, asset.id)
        for product in reader.all(DataProduct, glossary_terms=id_):
            yield from _with_listing(reader, product.id)
    elif point := reader.find(TimeSeriesDataPoint, id_):
        yield from _with_listing(reader, point.asset_id)


def _of_project(reader: Reader, project_id: str) -> Iterator[str]:
    for kind in INDEXED.values():
        for one in reader.all(kind, owning_project_id=project_id):
            yield one.id


def _with_listing(reader: Reader, entity_id: str) -> Iterator[str]:
    yield entity_id
    if listing := reader.one(Listing, entity_id=entity_id):
        yield listing.id


def _change(reader: Reader, id_: str) -> Put | Remove:
    found = reader.find(INDEXED[id_.partition("-")[0]], id_)
    entry = _entry(reader, found) if found else None
    return Put(entry) if entry else Remove(id_)


def _all_entries(reader: Reader) -> Iterator[Entry]:
    for kind in INDEXED.values():
        for one in reader.all(kind):
            if entry := _entry(reader, one):
                yield entry


def _entry(reader: Reader, record: Entity | Listing) -> Entry | None:
    """Tell what of a record can be found; None of what is published no longer."""
    if not isinstance(record, Listing):
        visibility = draft_class(record.owning_project_id)
        return _described(reader, record, record.id, visibility, _draft_facets(reader, record))
    if record.status is not ListingStatus.ACTIVE:
        return None
    is_asset = record.entity_type is EntityType.ASSET
    kind: type[Entity] = Asset if is_asset else DataProduct
    shown = reader.past(kind, record.entity_id, record.entity_revision)
    if shown is None:
        return None
    visibility = listed_class(record.owning_project_id, record.classification)
    facets: dict[str, Any] = {
        "classification": str(record.classification),
        "has_pii": record.has_pii,
    }
    return _described(reader, shown, record.id, visibility, facets)


def _draft_facets(reader: Reader, entity: Entity) -> dict[str, Any]:
    if isinstance(entity, Asset):
        return {"classification": str(entity.classification), "has_pii": bool(entity.personal)}
    found = [reader.find(Asset, one.asset_id) for one in entity.items]
    assets = [one for one in found if one]
    classification = strictest(one.classification for one in assets) if assets else ""
    return {"classification": str(classification), "has_pii": any(one.personal for one in assets)}


def _described(
    reader: Reader, entity: Entity, id_: str, visibility: str, facets: dict[str, Any]
) -> Entry:
    if isinstance(entity, Asset):
        facets |= {
            "asset_type": entity.asset_type,
            "columns": tuple(_columns(entity)),
            "quality_score": _score(reader, entity.id),
        }
    found = [reader.find(GlossaryTerm, one) for one in entity.all_terms]
    terms = [one for one in found if one]
    forms = _values(entity.forms)
    facets |= {name: " ".join(forms.pop(name, ())) for name in _OWN_FACETS}
    return Entry(
        id=id_,
        visibility=visibility,
        name=entity.name,
        updated_at=moment(entity.updated_at),
        kind="asset" if isinstance(entity, Asset) else "data product",
        description=entity.description,
        terms=tuple(dict.fromkeys(one.name for one in terms)),
        synonyms=tuple(word for one in terms for word in one.synonyms),
        forms=forms,
        project=entity.owning_project_id,
        unit=_units(reader, entity.owning_project_id),
        basis=str(entity.basis),
        **facets,
    )


def _columns(asset: Asset) -> Iterator[Column]:
    said = {one.name: one for one in asset.columns}
    for one in asset.schema:
        told = said.get(one.name)
        words = f"{told.business_name} {told.description}".strip() if told else ""
        yield Column(one.name, words)


def _values(forms: Iterable[Form]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for form in forms:
        for name, value in form.content.items():
            several = value if isinstance(value, tuple) else (value,)
            found[name] = (*found.get(name, ()), *map(str, several))
    return found


def _units(reader: Reader, project_id: str) -> tuple[str, ...]:
    """Return the units that a project lies in, from the root down."""
    project = reader.find(Project, project_id)
    found: list[str] = []
    unit_id = project.domain_unit_id if project else ""
    while unit_id:
        unit = reader.find(DomainUnit, unit_id)
        found.append(unit_id)
        unit_id = unit.parent_domain_unit_id if unit else ""
    return tuple(reversed(found))


def _score(reader: Reader, asset_id: str) -> float | None:
    of_quality = {"asset_id": asset_id, "form_name": QUALITY}
    newest = next(reader.newest(TimeSeriesDataPoint, "timestamp", **of_quality), None)
    return None if newest is None or newest.score is None else newest.score / MAX_SCORE
