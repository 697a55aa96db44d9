"""Writing the index: changes with the position they lead to in one commit, or all of it anew."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tantivy

from atoll.core.errors import InvalidInput, Unavailable
from atoll.mesh.discovery import folder
from atoll.mesh.discovery.documents import (
    POSITION,
    ROLE,
    document,
    position_document,
    register_tokenizers,
    schema,
)
from atoll.mesh.discovery.model import Change, Entry, Remove

# One thread: Python makes documents more slowly than one writes them.
_BUFFER_BYTES = 64_000_000
# Twice as much makes half as many segments of a million entries: 4.
_REBUILD_BYTES = 128_000_000
_THREADS = 1


class Writer:
    """The one that writes in a folder, among all processes, until it is closed."""

    def __init__(self, place: Path) -> None:
        """Take the lock.

        Raises:
            Conflict: another process has it.
        """
        self._lock = folder.write_lock(place)
        self._place = place
        self._index: tantivy.Index | None = None
        self._writer: tantivy.IndexWriter | None = None

    def apply(self, index: tantivy.Index, changes: Iterable[Change], position: int) -> None:
        """Commit changes, or none of them."""
        try:
            self._apply(index, changes, position)
        except BaseException:
            # What it holds uncommitted goes with it, whatever state it is in.
            self._writer = None
            raise

    def _apply(self, index: tantivy.Index, changes: Iterable[Change], position: int) -> None:
        if self._writer is None or index is not self._index:
            self._writer = None
            with _writing(self._place):
                self._writer = index.writer(_BUFFER_BYTES, _THREADS)
                # What a killed process has left: the next commit gives files the same names.
                self._writer.garbage_collect_files()
            self._index = index
        for change in changes:
            with _writing(self._place):
                _take(self._writer, change)
        with _writing(self._place):
            self._writer.delete_documents_by_term(ROLE, POSITION)
            self._writer.add_document(position_document(position))
            self._writer.commit()

    def rebuild(self, entries: Iterable[Entry], position: int) -> Path:
        """Make an index beside the live one, then have it take its place; remove all others.

        Raises:
            InvalidInput: two entries have one id.
        """
        # Of the index that goes.
        self._writer = None
        made = folder.new(self._place)
        try:
            self._fill(made, entries, position)
            folder.make_current(made)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        folder.sweep(self._place, made)
        return made

    def _fill(self, made: Path, entries: Iterable[Entry], position: int) -> None:
        with _writing(self._place):
            index = tantivy.Index(schema(), str(made))
            register_tokenizers(index)
            writer = index.writer(_REBUILD_BYTES, _THREADS)
        for entry in _distinct(entries):
            with _writing(self._place):
                writer.add_document(document(entry))
        with _writing(self._place):
            writer.add_document(position_document(position))
            writer.commit()
            writer.wait_merging_threads()

    def close(self) -> None:
        """Let another process write."""
        if self._writer is not None:
            with _writing(self._place):
                self._writer.wait_merging_threads()
        self._writer = self._index = None
        self._lock.close()


def _take(writer: tantivy.IndexWriter, change: Change) -> None:
    if isinstance(change, Remove):
        writer.delete_documents_by_term("id", change.id)
        return
    made = document(change.entry)
    writer.delete_documents_by_term("id", change.entry.id)
    writer.add_document(made)


def _distinct(entries: Iterable[Entry]) -> Iterator[Entry]:
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise InvalidInput(f"entry '{entry.id}' comes twice; give each id once", id=entry.id)
        seen.add(entry.id)
        yield entry


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"search index {place} cannot be written: {error}; free some room, or rebuild it",
            path=str(place),
        ) from error
