"""Keeps the search indexes in step with the records: one of what is published, one of drafts.

The records are the truth and an index follows by the numbers of their changes, so after a crash
it goes on where its last commit was. One that is damaged, or ahead of a database that came from a
backup, is made anew.

A unit, project or term shows in many entries. They are written anew only where what they hold of it
is something else now; where they are very many, a part at a time, while searches go on. What is not
written yet is counted in the unit where it was, and found by what the term was called. Who may see
it is decided by nothing of that.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from atoll.core.errors import AtollError, Corrupt, Unavailable
from atoll.core.groups import in_groups
from atoll.core.threads import left_after
from atoll.mesh.discovery import Index, Put, Remove
from atoll.mesh.model.catalog import Asset, DataProduct, Listing, TimeSeriesDataPoint
from atoll.mesh.model.organisation import DomainUnit, Project
from atoll.mesh.model.record import Record
from atoll.mesh.operations.entries import INDEXED, SHARED, Entries, Held, Indexed, held_of
from atoll.mesh.store.reading import Reader
from atoll.mesh.store.writing import Store

logger = logging.getLogger(__name__)

T = TypeVar("T")
AT_ONCE = 2000
FAR = 1000  # so many changes that show in nothing are looked through again, at most
PATIENCE_S = 10.0  # of a search that waits for the index
REST_S = 0.1  # in which searches come between two parts of what is owed
Kinds = Mapping[str, type[Indexed]]


@dataclass(frozen=True)
class _Affected:
    """What changes show in.

    Attributes:
        ids: of entries that show changed records of their own.
        below: ids of entries that hold something else of what they share.
        held: what entries hold by now of what they share and was changed; None: it is gone.
    """

    ids: dict[str, None] = field(default_factory=dict)
    below: dict[str, None] = field(default_factory=dict)
    held: dict[str, Held | None] = field(default_factory=dict)


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
        # What the index holds of units, projects and terms, as far as that is known.
        self._held: dict[str, Held | None] = {}
        self._owed: dict[str, None] = {}  # ids of entries that hold something else of these

    def follow(self) -> None:
        """Follow each change when it is made, so that searches need not wait for it."""
        self._store.listeners.append(self._waker.set)
        self._waker.set()
        self._thread = threading.Thread(target=self._run, name="mesh-index", daemon=True)
        self._thread.start()

    def asked(self, ask: Callable[[Index], T], least: int) -> T:
        """Ask the index, once all up to the change of a number is in it.

        Raises:
            Unavailable: that takes more than some seconds; it goes on, asked or not.
        """
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
        if not self._following.acquire(timeout=PATIENCE_S):
            raise Unavailable("the search index is being brought up to date; try again soon")
        try:
            return self._followed()
        finally:
            self._following.release()

    def _followed(self) -> Index:
        index = self._index = self._index or self._opened()
        with self._store.reading() as reader:
            self.reached = last = reader.last_change()
            # What is nearly all of it is cheaper at once, and searched faster.
            if not self._seen or last - self._seen > max(AT_ONCE, index.entries):
                index.rebuild(Entries(reader).all(self._kinds.values()), position=last)
                self._begin(reader, last)
            elif last > self._seen:
                self._take_over(index, reader, last)
            self._seen = last
        return index

    def _take_over(self, index: Index, reader: Reader, last: int) -> None:
        entries = Entries(reader)
        found = _affected(reader, self._kinds, self._seen, self._held)
        ids = found.ids
        if self._thread and len(found.below) > AT_ONCE:
            self._owed |= found.below
        else:
            ids = ids | found.below
        # Until all is paid off, what is cut off there is done again.
        position = self._kept if self._owed else last
        parts = [*in_groups(ids, AT_ONCE)]
        for part in parts[:-1]:
            # Not yet `last`: what is cut off here is done again.
            index.apply(_changes(entries, part), position=self._kept)
        # What shows in nothing is looked through again after a restart, rather than committed. But
        # what entries share would not be known then, and be written anew wherever it shows.
        is_known = any(self._held.get(id_) == one for id_, one in found.held.items() if one)
        if parts or is_known or last - self._kept > FAR:
            index.apply(_changes(entries, parts[-1] if parts else []), position=position)
            self._kept = position
        self._held |= found.held

    def _pay_off(self, index: Index) -> None:
        """Write a part of what is owed."""
        with self._following, self._store.reading() as reader:
            # What has changed since is taken over first: it may change what is owed.
            if not self._owed or reader.last_change() != self._seen:
                return
            self.reached = self._seen
            part = [*islice(self._owed, AT_ONCE)]
            position = self._kept if len(part) < len(self._owed) else self._seen
            index.apply(_changes(Entries(reader), part), position=position)
            self._kept = position
            for one in part:
                del self._owed[one]

    def _begin(self, reader: Reader, position: int) -> None:
        """Go on from an index in which all up to the change of a number is."""
        self._seen = self._kept = position
        later = {id_ for _, _, id_ in reader.changes(position)}
        shared = (one for kind in SHARED.values() for one in reader.all(kind))
        self._held = {one.id: held_of(one) for one in shared if one.id not in later}
        self._owed = {}

    def stop(self) -> None:
        """Follow no longer."""
        self._is_stopping = True
        self._waker.set()
        if self._thread and left_after([self._thread]):
            logger.error("the search index is still being written at=%s", self._place)
        elif self._index:
            self._index.close()

    def _opened(self) -> Index:
        try:
            found = Index.open(self._place)
        except Corrupt as error:
            logger.warning("the search index is made anew: %s", error.message)
            return self._made_anew()
        with self._store.reading() as reader:
            if found.position <= reader.last_change():
                self._begin(reader, found.position)
                return found
        logger.warning("the search index is ahead of the database and is made anew")
        return self._made_anew()

    def _made_anew(self) -> Index:
        with self._following, self._store.reading() as reader:
            if self._index:
                self._index.close()
            self.reached = last = reader.last_change()
            entries = Entries(reader).all(self._kinds.values())
            self._index = Index.rebuilt(self._place, entries, position=last)
            self._begin(reader, last)
            return self._index

    def _run(self) -> None:
        rest: float | None = None
        while not self._is_stopping:
            self._waker.wait(rest)
            self._waker.clear()
            rest = None
            try:
                if not self._is_stopping:
                    self.asked(self._pay_off, self.last_change())
                    rest = REST_S if self._owed else None
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


def _affected(
    reader: Reader, kinds: Kinds, after: int, known: Mapping[str, Held | None]
) -> _Affected:
    """Find what changes since a number show in, of some kinds, by what entries held before."""
    found = _Affected()
    for _, kind, id_ in reader.changes(after):
        if kind not in SHARED:
            found.ids.update(dict.fromkeys(_shown_in(reader, kinds, kind, id_)))
            continue
        record = reader.find(SHARED[kind], id_)
        found.held[id_] = held_of(record) if record else None
        if id_ not in known or known[id_] != found.held[id_]:
            found.below.update(dict.fromkeys(_below(reader, kinds, kind, id_)))
    return found


def _shown_in(reader: Reader, kinds: Kinds, kind: str, id_: str) -> Iterator[str]:
    """Yield ids of what shows a record that is some entry's own."""
    if kind in INDEXED:
        if kind in kinds:
            yield id_
        if kind == Asset.KIND and DataProduct.KIND in kinds:
            yield from reader.values(DataProduct, "id", asset_ids=id_)
    elif point := reader.find(TimeSeriesDataPoint, id_):
        yield from _measured_by(reader, kinds, point.asset_id)


def _below(reader: Reader, kinds: Kinds, kind: str, id_: str) -> Iterator[str]:
    """Yield ids of what a unit, project or term shows in."""
    if kind == Project.KIND:
        yield from _of_project(reader, kinds, id_)
    elif kind == DomainUnit.KIND:
        for project in reader.all(Project, domain_unit_id=id_):
            yield from _of_project(reader, kinds, project.id)
        for unit in reader.all(DomainUnit, parent_domain_unit_id=id_):
            yield from _below(reader, kinds, kind, unit.id)
    else:
        for one in kinds.values():
            yield from reader.values(one, "id", all_terms=id_)


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
