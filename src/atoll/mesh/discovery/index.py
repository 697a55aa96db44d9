"""The search index: changes of the catalog in, pages of hits with counts out.

To read: `model` has the nouns, `words` how text folds, `documents` what is stored; `matching`,
`facets`, `ranking` and `answering` answer a query; `folder` and `writer` keep the index on disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import tantivy

from atoll.core.errors import Conflict, Corrupt, NotFound
from atoll.core.files import locked
from atoll.mesh.discovery import folder
from atoll.mesh.discovery.answering import Answering, Counting
from atoll.mesh.discovery.documents import register_tokenizers
from atoll.mesh.discovery.model import Change, Entry, Hit, Page, Query, check_limit, check_text
from atoll.mesh.discovery.writer import Writer

# Another process may swap the index between two looks at the folder, hardly thrice.
_LOOKS = 5


class Index:
    """A search index in a folder.

    For several threads at once. Any number of processes may read a folder, one may write; each
    call sees the last commit of whichever process. What an index can no longer answer raises
    Corrupt; nothing is lost with it that `rebuilt` does not bring back.
    """

    def __init__(self, place: Path, live: Path) -> None:
        """Use an index that is whole; see `open`."""
        self._place = place
        self._looking = threading.Lock()
        self._changing = threading.Lock()
        self._writer: Writer | None = None
        self._pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="discovery")
        self._live = live
        self._pointer: tuple[int, ...] = ()
        self._commit: tuple[int, ...] = ()
        self._counted: dict[Hashable, Counting] = {}
        with _sound(place):
            self._index = _opened(live)
            self._answering().position()

    @classmethod
    def open(cls, place: Path) -> Self:
        """Open the index in a folder, or make an empty one at position 0.

        The checksums of all files are compared, which takes about a second for each gigabyte.

        Raises:
            Corrupt: it is damaged, or of another version; `rebuilt` mends it.
            InvalidInput: the folder holds something else.
            Forbidden, Unavailable: it cannot be read, or made.
        """
        return cls(place, _checked(place))

    @classmethod
    def rebuilt(cls, place: Path, entries: Iterable[Entry], *, position: int) -> Self:
        """Make the index of a folder anew, whatever is left of the old one, and open it.

        Raises:
            Conflict: another process writes it, or another `Index` of this process.
            InvalidInput: the folder holds something else, or two entries have one id.
            Forbidden, Unavailable: it cannot be written.
        """
        with suppress(Corrupt):
            # Nobody else's folder is written to.
            folder.current(place)
        return cls(place, _rebuilt(place, entries, position))

    @property
    def position(self) -> int:
        """The number of the last change of the catalog's log that is in the index."""
        with _sound(self._place):
            return self._answering().position()

    @property
    def entries(self) -> int:
        """How many entries there are."""
        with _sound(self._place):
            return self._answering().entries()

    def apply(self, changes: Iterable[Change], *, position: int) -> None:
        """Take over changes, in their order, and the position they lead to: all, or nothing.

        From the first call until `close`, no other process can write. A commit takes some 50 ms,
        so that many changes at a time are cheaper.

        Raises:
            Conflict: another process writes, or the index is further than `position`.
            Unavailable: it cannot be written; nothing has changed.
        """
        with self._changing:
            writer = self._only_writer()
            reached = self.position
            if position < reached:
                raise Conflict(
                    f"the search index is at change {reached:,}, cannot go back to {position:,};"
                    " apply what follows, or rebuild it",
                    position=reached,
                )
            writer.apply(self._index, changes, position)

    def rebuild(self, entries: Iterable[Entry], *, position: int) -> None:
        """Make the index anew beside the old one, which answers until the new one is whole.

        Raises:
            Conflict: another process writes. InvalidInput: two entries have one id.
            Unavailable: it cannot be written; the old one stays.
        """
        with self._changing:
            self._only_writer().rebuild(entries, position)

    def _only_writer(self) -> Writer:
        """Become the one that writes, until `close`."""
        if self._writer is None:
            self._writer = Writer(self._place)
        return self._writer

    def close(self) -> None:
        """Let another process write; searching goes on."""
        with self._changing:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def search(
        self, query: Query, meanwhile: Callable[[tuple[Hit, ...]], None] = lambda hits: None
    ) -> Page:
        """Find entries, count them, and show a page of them.

        Every word must be found, and nothing excluded. A word finds the words that it begins (from
        two letters on) and, if made of letters only, those that differ in one typing error (from
        four letters on) or two (from eight); also two words that it is made of, in a row.

        By relevance, what has typing errors comes last. First come the entry whose name is the
        text, then those with all words in their names; else the words' best places decide, by
        `documents.TEXT_FIELDS` and whether a word is whole there or only begun. What others have,
        or the searcher may not see, changes no score.

        Args:
            query: what to find.
            meanwhile: is given the hits, be there any or not, while entries are still counted.

        Raises:
            InvalidInput: the text has too many words, or the cursor is none of this query.
            Corrupt: the index is damaged.
        """
        with _sound(self._place):
            hits, whole = self._answering().page(query)
        meanwhile(hits)
        with _sound(self._place):
            return whole()

    def suggest(
        self, text: str, visible: frozenset[str] | None, *, limit: int = 10
    ) -> tuple[str, ...]:
        """Complete what somebody types to names of entries, best first, each once.

        Args:
            text: the last word may be unfinished.
            visible: classes of what may be shown; None: all.
            limit: how many names at most.

        Raises:
            InvalidInput: the text is too long, or the limit out of bounds.
            Corrupt: the index is damaged.
        """
        check_text(text)
        check_limit(limit)
        with _sound(self._place):
            return self._answering().names(text, visible, limit)

    def _answering(self) -> Answering:
        """Look at the last commit, whoever made it."""
        failure: Exception | None = None
        with self._looking:
            for _ in range(_LOOKS):
                try:
                    self._follow()
                    searcher, schema = self._index.searcher(), self._index.schema
                    return Answering(searcher, schema, self._pool, self._counted)
                except (NotFound, Corrupt, ValueError) as error:
                    # Perhaps another index took this one's place meanwhile.
                    failure = error
        raise folder.damaged(self._place, "files are missing") from failure

    def _follow(self) -> None:
        """Turn to the live index, and there to the last commit."""
        pointer = folder.stamp(self._place / folder.CURRENT)
        if pointer != self._pointer:
            live = folder.current(self._place)
            if live is None:
                raise folder.damaged(self._place, f"{folder.CURRENT} is missing")
            if live != self._live:
                self._index, self._live, self._commit = _opened(live), live, ()
            self._pointer = pointer
        commit = folder.stamp(self._live / folder.META)
        if commit != self._commit:
            self._index.reload()
            self._commit, self._counted = commit, {}

    def __enter__(self) -> Self:
        """Return the index."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


def _checked(place: Path, looks: int = _LOOKS) -> Path:
    """Find the live index, whole, or make an empty one."""
    live = folder.current(place)
    if live is None:
        with locked(folder.making_lock(place)):
            live = folder.current(place) or _rebuilt(place, (), 0)
    seen = folder.stamp(live / folder.META)
    try:
        folder.check_whole(live)
    except Corrupt:
        if looks == 1 or folder.stamp(live / folder.META) == seen:
            raise
        # Another process removed what it merged.
        return _checked(place, looks - 1)
    return live


def _rebuilt(place: Path, entries: Iterable[Entry], position: int) -> Path:
    with closing(Writer(place)) as writer:
        return writer.rebuild(entries, position)


def _opened(live: Path) -> tantivy.Index:
    index = tantivy.Index.open(str(live))
    register_tokenizers(index)
    index.config_reader(reload_policy="manual")
    return index


@contextmanager
def _sound(place: Path) -> Iterator[None]:
    """Take what tantivy fails at for damage: nothing that is asked makes it fail otherwise."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise folder.damaged(place, "it cannot be read") from error
    except BaseException as error:
        # What Rust panics with has no name that could be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise folder.damaged(place, "it cannot be read") from error
