"""Keeps the search indexes in step with the records: one of what is published, one of drafts.

The records are the truth and an index follows by the numbers of their changes, so after a crash
it goes on where its last commit was. One that is damaged, or ahead of a database that came from a
backup, is made anew.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from atoll.core.errors import AtollError, Corrupt
from atoll.core.groups import in_groups
from atoll.mesh.discovery import Index, Put, Remove
from atoll.mesh.model.catalog import Asset, DataProduct, Listing, TimeSeriesDataPoint
from atoll.mesh.model.describing import GlossaryTerm
from atoll.mesh.model.organisation import DomainUnit, Project
from atoll.mesh.model.record import Record
from atoll.mesh.operations.entries import INDEXED, Entries, Indexed
from atoll.mesh.store.reading import Reader
from atoll.mesh.store.writing import Store

logger = logging.getLogger(__name__)

T = TypeVar("T")
AT_ONCE = 2000
FAR = 1000  # so many changes that show in nothing are looked through again, at most
Kinds = Mapping[str, type[Indexed]]


class Indexer:
    """One search index of a server, and what keeps it up to date.

    Attributes:
        reached: number of the last change that may be in it.
    """

    def __init__(self, store: Store[Any], place: Path, kinds: Sequence[type[Indexed]]) -> None:
        """Use the index in a folder; it is opened when it is needed.

        Args:
            store: where the records are.
            place: the folder.
            kinds: what is in the index.
        """
        self._store, self._place, self._following = store, place, threading.RLock()
        self._kinds = {one.KIND: one for one in kinds}
        self._is_stopping, self._waker = False, threading.Event()
        self._thread: threading.Thread | None = None
        self._index: Index | None = None
        self.reached = self._seen = self._kept = 0

    def follow(self) -> None:
        """Follow each change when it is made, so that searches need not wait for it."""
        self._store.listeners.append(self._waker.set)
        self._waker.set()
        self._thread = threading.Thread(target=self._run, name="mesh-index", daemon=True)
        self._thread.start()

    def asked(self, ask: Callable[[Index], T], least: int) -> T:
        """Ask the index, once all up to the change of a number is in it."""
        try:
            return ask(self._caught_up(least))
        except Corrupt as error:
            logger.warning("the search index is made anew: %s", error.message)
            return ask(self._made_anew())

    def last_change(self, *kinds: type[Record]) -> int:
        """Return the number of the last change of a record of some kinds, as of now."""
        with self._store.reading() as reader:
            return reader.last_change(*kinds)

    def _caught_up(self, least: int) -> Index:
        if self._index and self._seen >= least:
            return self._index
        with self._following:
            index = self._index = self._index or self._opened()
            with self._store.reading() as reader:
                self.reached = last = reader.last_change()
                # What is nearly all of it is cheaper at once, and searched faster.
                if not self._seen or last - self._seen > max(AT_ONCE, index.entries):
                    index.rebuild(Entries(reader).all(self._kinds.values()), position=last)
                    self._kept = last
                elif last > self._seen:
                    self._take_over(index, reader, last)
                self._seen = last
            return index

    def _take_over(self, index: Index, reader: Reader, last: int) -> None:
        entries = Entries(reader)
        parts = [*in_groups(_affected(reader, self._kinds, self._seen), AT_ONCE)]
        for part in parts[:-1]:
            # Not yet `last`: what is cut off here is done again.
            index.apply(_changes(entries, part), position=self._seen)
        # What shows in nothing is looked through again after a restart, rather than committed.
        if parts or last - self._kept > FAR:
            index.apply(_changes(entries, parts[-1] if parts else []), position=last)
            self._kept = last

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
        self._seen = self._kept = found.position
        return found

    def _made_anew(self) -> Index:
        with self._following, self._store.reading() as reader:
            if self._index:
                self._index.close()
            self.reached = last = reader.last_change()
            entries = Entries(reader).all(self._kinds.values())
            self._index = Index.rebuilt(self._place, entries, position=last)
            self._seen = self._kept = last
            return self._index

    def _run(self) -> None:
        while not self._is_stopping:
            self._waker.wait()
            self._waker.clear()
            try:
                if not self._is_stopping:
                    self.asked(lambda _: None, self.last_change())
            except AtollError as error:
                logger.warning("the search index could not follow: %s", error.message)
            # Whatever it is: searching says so itself, and the next change is followed again.
            except BaseException:
                logger.exception("the search index could not follow")


def indexers(store: Store[Any], place: Path) -> dict[type[Indexed], Indexer]:
    """Make the indexes in a folder, by what a search for it asks for: listings, or drafts."""
    return {
        Listing: Indexer(store, place / "listings", (Listing,)),
        Asset: Indexer(store, place / "inventory", (Asset, DataProduct)),
    }


def _affected(reader: Reader, kinds: Kinds, after: int) -> Iterator[str]:
    """Yield ids of what changes show in, of some kinds, each once."""
    seen: set[str] = set()
    for _, kind, id_ in reader.changes(after):
        for one in _shown_in(reader, kinds, kind, id_):
            if one not in seen:
                seen.add(one)
                yield one


def _shown_in(reader: Reader, kinds: Kinds, kind: str, id_: str) -> Iterator[str]:
    """Yield ids of what shows a record."""
    if kind in INDEXED:
        if kind in kinds:
            yield id_
        if kind == Asset.KIND and DataProduct.KIND in kinds:
            yield from reader.values(DataProduct, "id", asset_ids=id_)
    elif kind == Project.KIND:
        yield from _of_project(reader, kinds, id_)
    elif kind == DomainUnit.KIND:
        for project in reader.all(Project, domain_unit_id=id_):
            yield from _of_project(reader, kinds, project.id)
        for unit in reader.all(DomainUnit, parent_domain_unit_id=id_):
            yield from _shown_in(reader, kinds, kind, unit.id)
    elif kind == GlossaryTerm.KIND:
        for one in kinds.values():
            yield from reader.values(one, "id", all_terms=id_)
    elif point := reader.find(TimeSeriesDataPoint, id_):
        yield from _measured_by(reader, kinds, point.asset_id)


def _of_project(reader: Reader, kinds: Kinds, project_id: str) -> Iterator[str]:
    for kind in kinds.values():
        yield from reader.values(kind, "id", owning_project_id=project_id)


def _measured_by(reader: Reader, kinds: Kinds, asset_id: str) -> Iterator[str]:
    """Yield ids of all that is as good as an asset is."""
    if Listing.KIND in kinds:
        yield from reader.values(Listing, "id", entity_id=asset_id)
        yield from reader.values(Listing, "id", asset_ids=asset_id)
    else:
        yield from _shown_in(reader, kinds, Asset.KIND, asset_id)


def _changes(entries: Entries, ids: Sequence[str]) -> list[Put | Remove]:
    found = entries.of(ids)
    return [Put(found[id_]) if id_ in found else Remove(id_) for id_ in ids]
