"""Keeps the search index in step with the records.

The records are the truth and the index follows by the numbers of their changes, so after a crash
it goes on where its last commit was. One that is damaged, or ahead of a database that came from a
backup, is made anew.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from atoll.core.errors import AtollError, Corrupt
from atoll.core.groups import in_groups
from atoll.mesh.discovery import Index, Put, Remove
from atoll.mesh.model.catalog import Asset, DataProduct, Listing, TimeSeriesDataPoint
from atoll.mesh.model.describing import GlossaryTerm
from atoll.mesh.model.organisation import DomainUnit, Project
from atoll.mesh.model.record import Record
from atoll.mesh.operations.entries import INDEXED, Entries
from atoll.mesh.store.reading import Reader
from atoll.mesh.store.writing import Store

logger = logging.getLogger(__name__)

T = TypeVar("T")
AT_ONCE = 2000


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

    def last_change(self, *kinds: type[Record]) -> int:
        """Return the number of the last change of a record of some kinds, as of now."""
        with self._store.reading() as reader:
            return reader.last_change(*kinds)

    def _caught_up(self) -> Index:
        with self._store.reading() as reader:
            if self._index and reader.last_change() == self._seen:
                return self._index
        with self._following:
            index = self._index = self._index or self._opened()
            with self._store.reading() as reader:
                last, entries = reader.last_change(), Entries(reader)
                if not self._seen:  # all of it: cheaper at once, and searched faster
                    index.rebuild(entries.all(), position=last)
                elif last > self._seen:
                    parts = [*in_groups(_affected(reader, self._seen), AT_ONCE)]
                    for part in parts[:-1]:
                        # Not yet `last`: what is cut off here is done again.
                        index.apply(_changes(entries, part), position=self._seen)
                    index.apply(_changes(entries, parts[-1] if parts else []), position=last)
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
            self._index = Index.rebuilt(self._place, Entries(reader).all(), position=last)
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
    if kind == Asset.KIND:
        yield id_
        yield from reader.values(DataProduct, "id", asset_ids=id_)
    elif kind in INDEXED:
        yield id_
    elif kind == Project.KIND:
        yield from _of_project(reader, id_)
    elif kind == DomainUnit.KIND:
        for project in reader.all(Project, domain_unit_id=id_):
            yield from _of_project(reader, project.id)
        for unit in reader.all(DomainUnit, parent_domain_unit_id=id_):
            yield from _shown_in(reader, kind, unit.id)
    elif kind == GlossaryTerm.KIND:
        for one in INDEXED.values():
            yield from reader.values(one, "id", all_terms=id_)
    elif point := reader.find(TimeSeriesDataPoint, id_):
        yield from _measured_by(reader, point.asset_id)


def _of_project(reader: Reader, project_id: str) -> Iterator[str]:
    for kind in INDEXED.values():
        yield from reader.values(kind, "id", owning_project_id=project_id)


def _measured_by(reader: Reader, asset_id: str) -> Iterator[str]:
    """Yield ids of all that is as good as an asset is."""
    yield asset_id
    yield from reader.values(DataProduct, "id", asset_ids=asset_id)
    yield from reader.values(Listing, "id", entity_id=asset_id)
    yield from reader.values(Listing, "id", asset_ids=asset_id)


def _changes(entries: Entries, ids: Sequence[str]) -> list[Put | Remove]:
    found = entries.of(ids)
    return [Put(found[id_]) if id_ in found else Remove(id_) for id_ in ids]
