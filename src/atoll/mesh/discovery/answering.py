"""One query's answer, all of it from one state of the index."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future
from functools import partial

from tantivy import DocAddress, Schema, Searcher

from atoll.mesh.discovery import facets, ranking
from atoll.mesh.discovery.documents import EVERY_WORD, POSITION
from atoll.mesh.discovery.facets import Counts
from atoll.mesh.discovery.matching import Clause, Matching, all_of
from atoll.mesh.discovery.model import Hit, Page, Query
from atoll.mesh.discovery.ranking import Cursor, Turn
from atoll.mesh.discovery.words import Wanted, wanted

# Names that entries share are suggested once.
_HITS_A_SUGGESTION = 5
_MOST_COUNTED = 100
NOTHING: frozenset[str] = frozenset()

# The total, and how often there is which value, by the facet whose own filter does not hold.
Counting = dict[str | None, Future[tuple[int, Counts]]]


class Answering:
    """Answers from one state of the index, whatever is committed meanwhile."""

    def __init__(
        self, searcher: Searcher, schema: Schema, pool: Executor, counted: dict[Hashable, Counting]
    ) -> None:
        """Keep the state, the threads that count while this one ranks, and what they counted."""
        self._searcher = searcher
        self._pool, self._counted = pool, counted
        self._matching = Matching(schema, lambda word: searcher.doc_freq(EVERY_WORD, word) > 0)

    def position(self) -> int:
        """Read how far the index is.

        Raises:
            ValueError: it does not say.
        """
        [(_, address)] = self._searcher.search(self._matching.position(), 2).hits
        [position] = self._searcher.fast_field_values(POSITION, [address])
        if not isinstance(position, int):
            raise ValueError("the document of the position has none")
        return position

    def entries(self) -> int:
        """Count all but the document of the position."""
        return self._searcher.num_docs - 1

    def page(self, query: Query) -> tuple[tuple[Hit, ...], Callable[[], Page]]:
        """Find, and begin to count: the hits, and what waits for the whole page."""
        words = wanted(query.text)
        sort = "name" if query.sort == "relevance" and not words.has_score else query.sort
        after = None if query.cursor is None else ranking.cursor_of(query.cursor, sort)
        if words.is_nothing or query.visible == NOTHING:
            return (), lambda: Page((), 0, dict.fromkeys(query.facets, ()), None)
        visible = self._matching.visible(query.visible)
        filters = self._matching.filters(query)
        counting = self._known(query) if words.is_blank else None
        if counting is None:
            found = [visible, *self._matching.found(words)]
            counting = self._counting(query, found, filters)
            if words.is_blank:
                self._keep(query, counting)
        must = [visible, *_all_but(None, filters)]
        turn = Turn(sort, query.limit, after)
        if sort == "relevance":
            addresses, last = self._by_relevance(must, words, turn, counting[None])
        else:
            addresses, last = self._by_key(must, words, turn)
        hits = tuple(map(self._hit, addresses))
        return hits, partial(_page, query, hits, counting, last)

    def _counting(
        self, query: Query, found: list[Clause], filters: dict[str, list[Clause]]
    ) -> Counting:
        """Begin to count: by facet, without its own filter; under None all that have none."""
        alone = filters.keys() & set(query.facets)
        rest = [name for name in query.facets if name not in alone]
        return {
            but: self._pool.submit(
                facets.counted,
                self._searcher,
                all_of(*found, *_all_but(but, filters)),
                rest if but is None else [but],
                query.facet_values,
                query.filters,
            )
            for but in (None, *alone)
        }

    def _known(self, query: Query) -> Counting | None:
        """Find what was counted for somebody else; without words it is much, and asked often."""
        found = self._counted.get(_counts_of(query))
        if found and any(one.done() and one.exception() for one in found.values()):
            return None
        return found

    def _keep(self, query: Query, counting: Counting) -> None:
        if len(self._counted) >= _MOST_COUNTED:
            self._counted.clear()
        self._counted[_counts_of(query)] = counting

    def _by_relevance(
        self, must: list[Clause], words: Wanted, turn: Turn, counting: Future[tuple[int, Counts]]
    ) -> tuple[list[DocAddress], Cursor | None]:
        """Fetch the best; mostly, a page is full of what is quickly found."""
        matching = self._matching
        for find in (matching.in_name, matching.as_typed):
            matcher = all_of(*must, *find(words))
            page, last = ranking.ranked(self._searcher, matcher, turn)
            if last is not None:
                return page, last
        # What has typing errors ranks last, and takes the longest to find.
        if words.forgives and counting.result()[0] > len(page):
            matcher = all_of(*must, *matching.forgiving(words))
            return ranking.ranked(self._searcher, matcher, turn)
        return page, None

    def _by_key(
        self, must: list[Clause], words: Wanted, turn: Turn
    ) -> tuple[list[DocAddress], Cursor | None]:
        start = None if turn.after is None else ranking.start(turn.after)
        rest = [] if start is None else [self._matching.rest(*start)]
        matcher = all_of(*must, *self._matching.found(words), *rest)
        return ranking.ranked(self._searcher, matcher, turn)

    def names(self, text: str, visible: frozenset[str] | None, limit: int) -> tuple[str, ...]:
        """Complete what is typed; see `Index.suggest`."""
        words = wanted(text)
        if not words.words or visible == NOTHING:
            return ()
        matcher = all_of(self._matching.visible(visible), *self._matching.names(words))
        turn = Turn("relevance", limit * _HITS_A_SUGGESTION)
        addresses, _ = ranking.ranked(self._searcher, matcher, turn)
        names = dict.fromkeys(self._hit(address).name for address in addresses)
        return tuple(names)[:limit]

    def _hit(self, address: DocAddress) -> Hit:
        stored = self._searcher.doc(address)
        name, payload = (bytes(stored[field][0]) for field in ("shown_name", "payload"))
        return Hit(str(stored["id"][0]), name.decode(), payload)


def _page(query: Query, hits: tuple[Hit, ...], counting: Counting, last: Cursor | None) -> Page:
    counts: Counts = {}
    for each in counting.values():
        counts |= each.result()[1]
    return Page(
        hits,
        counting[None].result()[0],
        {name: counts[name] for name in query.facets},
        None if last is None else ranking.encoded(last),
    )


def _counts_of(query: Query) -> Hashable:
    """Tell all that counts of a query without words depend on."""
    filters = frozenset(query.filters.items())
    return query.visible, filters, query.quality, query.facets, query.facet_values


def _all_but(facet: str | None, filters: dict[str, list[Clause]]) -> list[Clause]:
    return [clause for name, each in filters.items() if name != facet for clause in each]
