"""Counting: how many entries have which value of a facet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

from tantivy import Query as Matcher
from tantivy import Searcher

from atoll.mesh.discovery.documents import MORE_TERMS, TERM_COLUMNS, TIE, UNIT_PATH, form_column
from atoll.mesh.discovery.model import FORM_PREFIX, FacetValue

# Tantivy refuses requests that make more than 65,000 values in all. What a column has of them
# besides those that are shown settles ties; where that is not enough, it is asked again, alone.
_MOST_VALUES = 65_000
_SPARE_VALUES = 100
# Of these, all values matter: they are summed up.
_SUMMED = {"term": (*TERM_COLUMNS, MORE_TERMS), "unit": (UNIT_PATH,)}
_SUMMED_VALUES = 4000
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

    Counts are exact; those of terms and units, where there are up to 65,000 of them.

    Args:
        searcher: of one state of the index.
        matcher: what to count.
        facets: their names.
        shown: how many values of each to list, those with the most entries.
        chosen: values that are listed besides, by facet.
    """
    facets = tuple(facets)
    request = {
        column: _terms(column, _SUMMED_VALUES if name in _SUMMED else shown + _SPARE_VALUES)
        for name in facets
        for column in _columns(name)
    }
    answer = searcher.aggregate(matcher, request | {_TOTAL: {"value_count": {"field": TIE}}})
    listed = {}
    for name in facets:
        values = chosen.get(name, frozenset())
        for column in _columns(name):
            if not _suffices(answer[column], name, shown, values):
                answer |= searcher.aggregate(matcher, {column: _terms(column, _MOST_VALUES)})
        listed[name] = _listed(_counts(name, answer), shown, values)
    return int(answer[_TOTAL]["value"]), listed


def _columns(facet: str) -> tuple[str, ...]:
    if facet.startswith(FORM_PREFIX):
        return (form_column(facet),)
    return _SUMMED.get(facet, (facet,))


def _terms(column: str, size: int) -> Answer:
    return {"terms": {"field": column, "size": size, "segment_size": _SEGMENT_VALUES}}


def _suffices(answer: Answer, facet: str, shown: int, chosen: frozenset[str]) -> bool:
    """Whether a column's values, the most frequent ones, are all that matter."""
    if not answer["sum_other_doc_count"]:
        return True
    if facet in _SUMMED:
        return False
    buckets = answer["buckets"]
    # One of them may be the empty value.
    is_tie = buckets[shown]["doc_count"] == buckets[-1]["doc_count"]
    return not is_tie and chosen <= {v for bucket in buckets for v in _values(facet, bucket["key"])}


def _counts(facet: str, answer: Answer) -> dict[str, int]:
    counts: dict[str, int] = {}
    for column in _columns(facet):
        for bucket in answer[column]["buckets"]:
            for value in _values(facet, bucket["key"]):
                counts[value] = counts.get(value, 0) + bucket["doc_count"]
    return counts


def _values(facet: str, key: str) -> list[str]:
    """Read what a column holds: nothing, a path of units, or the value."""
    if not key:
        return []
    if facet == "unit":
        return [*json.loads(key)]
    return [key[1:] if facet.startswith(FORM_PREFIX) else key]


def _listed(counts: dict[str, int], shown: int, chosen: frozenset[str]) -> tuple[FacetValue, ...]:
    ranked = sorted(sorted(counts.items()), key=itemgetter(1), reverse=True)
    rest = (item for item in ranked[shown:] if item[0] in chosen)
    return tuple(FacetValue(*item) for item in (*ranked[:shown], *rest))
