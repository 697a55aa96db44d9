"""The order of hits, and where a page begins.

Tantivy breaks ties by where a document happens to lie. So that neither merges nor rebuilds change
an answer, more is fetched than is shown: whole groups of hits that tantivy ranks alike, which are
then put in order by `tie`, a hash of the id.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import json
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
from tantivy import DocAddress, Order, Searcher
from tantivy import Query as Matcher

from atoll.core.errors import InvalidInput
from atoll.core.records import decoded
from atoll.mesh.discovery.documents import (
    BY_NAME,
    BY_NAME_START,
    BY_QUALITY,
    BY_UPDATED,
    TIE,
    TIE_WEIGHT,
    name_start,
)
from atoll.mesh.discovery.model import MAX_DEPTH, Sort

_KEYS: dict[Sort, str] = {"name": BY_NAME, "updated": BY_UPDATED, "quality": BY_QUALITY}
# Among a million hits of one score, some 170 share a weight; keys of other sorts are hardly shared.
_MARGIN = 256
_KEY_MARGIN = 2
# Scores come as float32; what differs by less may be in either order.
_FIRM = 1 + 2**-20

_TAKE_NEXT = "take 'next' of the page before"

# What a hit sorts by, ascending.
Rank = tuple[Any, Any]


@dataclass(frozen=True)
class Cursor:
    """The last hit of a page.

    Attributes:
        sort: the order in which it was the last.
        depth: how many hits were looked through up to it; a hint.
        rank, tie: what it sorted by.
    """

    sort: Sort
    depth: int
    rank: int | str
    tie: int


@dataclass(frozen=True)
class Turn:
    """Which page: the order, how many hits, after which one; None is the first page."""

    sort: Sort
    limit: int
    after: Cursor | None = None


def encoded(cursor: Cursor) -> str:
    """Write a cursor so that it fits into a URL."""
    return base64.urlsafe_b64encode(json.dumps([*asdict(cursor).values()]).encode()).decode()


def cursor_of(text: str, sort: Sort) -> Cursor:
    """Read a cursor. A forged one shows another part of what its holder may see anyway.

    Raises:
        InvalidInput: it is none, or one of another sort.
    """
    try:
        data = base64.b64decode(text, altchars=b"-_", validate=True)
        cursor = Cursor(*decoded(data, tuple[Sort, int, int | str, int]))
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise InvalidInput(f"this is not a cursor; {_TAKE_NEXT}") from error
    is_name = isinstance(cursor.rank, str)
    is_number = isinstance(cursor.rank, int) and (sort == "relevance" or 0 <= cursor.rank < 2**64)
    is_rank = is_name if sort == "name" else is_number
    if cursor.sort != sort or not is_rank or not 0 <= cursor.depth <= MAX_DEPTH:
        raise InvalidInput(f"the cursor is of another search; {_TAKE_NEXT}")
    return cursor


def start(cursor: Cursor) -> tuple[str, int] | None:
    """Name the column that the rest of a sort can be asked of, and the least value in it.

    None for relevance: what was shown is found again, as far as `Cursor.depth`.
    """
    if cursor.sort == "relevance":
        return None
    if isinstance(cursor.rank, str):
        return BY_NAME_START, name_start(cursor.rank)
    return _KEYS[cursor.sort], cursor.rank


def ranked(
    searcher: Searcher, matcher: Matcher, turn: Turn
) -> tuple[list[DocAddress], Cursor | None]:
    """Find a page of hits.

    Args:
        searcher: of one state of the index.
        matcher: what to find, of a cursor's rest from its `start` on; with a score if sorted by
            relevance.
        turn: which page.

    Returns:
        The hits, and the last one's cursor if there are more.
    """
    sort, limit, after = turn.sort, turn.limit, turn.after
    begin = after.depth if after is not None and sort == "relevance" else 0
    wanted = begin + limit + (_MARGIN if sort == "relevance" else _KEY_MARGIN)
    while True:
        hits, is_all = _first(searcher, matcher, sort, wanted)
        if after is not None:
            begin = bisect.bisect_right(hits, (after.rank, after.tie), key=_rank)
        end = begin + limit
        if is_all or len(hits) > end:
            break
        wanted *= 2
    page = [address for _, address in hits[begin:end]]
    if len(hits) <= end or end >= MAX_DEPTH:
        return page, None
    return page, Cursor(sort, end, *_rank(hits[end - 1]))


def _first(
    searcher: Searcher, matcher: Matcher, sort: Sort, number: int
) -> tuple[list[tuple[Rank, DocAddress]], bool]:
    """Fetch about so many hits in order, all of each group of equals; and whether that is all."""
    found = _raw_first(searcher, matcher, sort, number)
    is_all = len(found) < number
    if not is_all:
        found = [hit for hit in found if _is_firm(hit[0], found[-1][0])]
    addresses = [address for _, address in found]
    ties = searcher.fast_field_values(TIE, addresses)
    by_rank = [
        ((-int(raw) if sort == "relevance" else raw, tie), address)
        for (raw, address), tie in zip(found, ties, strict=True)
    ]
    return sorted(by_rank, key=_rank), is_all


def _rank(hit: tuple[Rank, DocAddress]) -> Rank:
    return hit[0]


def _raw_first(
    searcher: Searcher, matcher: Matcher, sort: Sort, number: int
) -> list[tuple[Any, DocAddress]]:
    """Have tantivy rank: by score, highest first, or by a key, lowest first."""
    if sort == "relevance":
        return searcher.search(matcher, number, count=False, weight_by_field=TIE_WEIGHT).hits
    field = _KEYS[sort]
    return searcher.search(matcher, number, count=False, order_by_field=field, order=Order.Asc).hits


def _is_firm(raw: float | int | str, last: float | int | str) -> bool:
    """Whether all hits that rank like this one were fetched."""
    if isinstance(raw, float) and isinstance(last, float):
        return raw > last * _FIRM
    return raw != last
