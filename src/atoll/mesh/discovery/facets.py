"""Counting: how many entries have which value of a facet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

from tantivy import Query as Matcher
from tantivy import Searcher

from atoll.mesh.discovery.documents import TIE, UNIT_PATH, form_column
from atoll.mesh.discovery.model import FORM_PREFIX, FacetValue

# Tantivy refuses requests that make more than 65,000 values in all. What a column has of them
# besides those that are shown settles ties; where that is not enough, it is asked again, alone.
_MOST_VALUES = 65_000
_SPARE_VALUES = 100
_UNITS = 1500
# Segments keep all their values, or counts of the merged ones would be too low.
_SEGMENT_VALUES = 10_000_000
_TOTAL = "total"

Answer = dict[str, Any]
Counts = dict[str, tuple[FacetValue, ...]]


def counted(
    searcher: Searcher,
    matcher: Matcher,
    facets: Iterable[str],
    shown: int,
    chosen: Mapping[str, frozenset[str]],
) -> tuple[int, Counts]:
    """Count what a query finds: in all, and by value of each facet.

    Counts are exact; those of units, where entries lie in up to 65,000 of them.

    Args:
        searcher: of one state of the index.
        matcher: what to count.
        facets: their names.
        shown: how many values of each to list, those with the most entries.
        chosen: values that are listed besides, by facet.
    """
    facets = tuple(facets)
    request = {
        name: _terms(name, _UNITS if name == "unit" else shown + _SPARE_VALUES) for name in facets
    }
    total = {_TOTAL: {"value_count": {"field": TIE}}}
    answer = searcher.aggregate(matcher, request | total)
    listed = {}
    for name in facets:
        values = chosen.get(name, frozenset())
        if not _suffices(answer[name], name, shown, values):
            answer |= searcher.aggregate(matcher, {name: _terms(name, _MOST_VALUES)})
        listed[name] = _listed(_counts(answer[name], name), shown, values)
    return int(answer[_TOTAL]["value"]), listed


def _column(facet: str) -> str:
    if facet.startswith(FORM_PREFIX):
        return form_column(facet)
    return UNIT_PATH if facet == "unit" else facet


def _terms(facet: str, size: int) -> Answer:
    field = {"field": _column(facet), "size": size, "segment_size": _SEGMENT_VALUES}
    return {"terms": field}


def _suffices(answer: Answer, facet: str, shown: int, chosen: frozenset[str]) -> bool:
    """Whether a column's values, the most frequent ones, are all that matter."""
    if not answer["sum_other_doc_count"]:
        return True
    if facet == "unit":
        return False
    buckets = answer["buckets"]
    # One of them may be the empty value.
    is_tie = buckets[shown]["doc_count"] == buckets[-1]["doc_count"]
    return not is_tie and chosen <= _counts(answer, facet).keys()


def _counts(answer: Answer, facet: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for bucket in answer["buckets"]:
        for value in _values(facet, bucket["key"]):
            counts[value] = counts.get(value, 0) + bucket["doc_count"]
    return counts


def _values(facet: str, key: str) -> list[str]:
    """Read what a column holds: nothing, a path of units, or a value."""
    if not key:
        return []
    if facet == "unit":
        return [*json.loads(key)]
    return [key[1:] if facet.startswith(FORM_PREFIX) else key]


def _listed(counts: dict[str, int], shown: int, chosen: frozenset[str]) -> tuple[FacetValue, ...]:
    ranked = sorted(sorted(counts.items()), key=itemgetter(1), reverse=True)
    rest = (item for item in ranked[shown:] if item[0] in chosen)
    return tuple(FacetValue(*item) for item in (*ranked[:shown], *rest))
