"""What is asked, as queries of tantivy: built from words and keys, never from query syntax."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from tantivy import FieldType, Occur, Schema
from tantivy import Query as Matcher

from atoll.mesh.discovery.documents import (
    EVERY_WORD,
    NAME,
    POSITION,
    ROLE,
    SCORE,
    TEXT_FIELDS,
    WHOLE_NAME,
    form_column,
    form_key,
    whole,
)
from atoll.mesh.discovery.model import FORM_PREFIX, Query
from atoll.mesh.discovery.words import Reading, Wanted, edits_forgiven

# What a word adds to the score, at its best place. In order of TEXT_FIELDS. For up to MAX_WORDS
# words, all of them in the name, if only as prefixes, outweigh any other places.
EXACT = (31.0, 13.0, 11.0, 9.0, 7.0)
PREFIX = (30.0, 12.0, 10.0, 8.0, 6.0)
# Looking for typing errors costs most, and where they are matters least.
TYPO_IN_NAME = 2.0
TYPO = 1.0
# Above all that MAX_WORDS words can add, and above that.
IS_WHOLE_NAME = 512.0
AS_TYPED = 1024.0
# One letter begins a word in nearly every entry.
_MIN_PREFIX_CHARS = 2

Clause = tuple[Occur, Matcher]


class Matching:
    """Makes the queries of one index.

    Args:
        schema: of the index.
        has_word: whether any entry has a word, deleted ones perhaps included.
    """

    def __init__(self, schema: Schema, has_word: Callable[[str], bool]) -> None:
        """Keep what all queries need."""
        self._schema = schema
        self._has_word = has_word

    def position(self) -> Matcher:
        """Match the one document that holds the position."""
        return self._exact(ROLE, POSITION)

    def visible(self, classes: frozenset[str] | None) -> Clause:
        """Match what may be seen; None: all entries."""
        if classes is None:
            every = (Occur.Must, Matcher.all_query()), (Occur.MustNot, self.position())
            return _quietly(all_of(*every))
        return _quietly(Matcher.term_set_query(self._schema, "visibility", sorted(classes)))

    def filters(self, query: Query) -> dict[str, list[Clause]]:
        """Match each facet's own filter, by facet."""
        found: dict[str, list[Clause]] = {}
        for facet, values in query.filters.items():
            if values:
                found[facet] = [_quietly(self._one_of(facet, values))]
        least, most = query.quality
        if least is not None or most is not None:
            between = Matcher.range_query(self._schema, SCORE, FieldType.Float, least, most)
            found.setdefault("quality", []).append(_quietly(between))
        return found

    def _one_of(self, facet: str, values: frozenset[str]) -> Matcher:
        if facet.startswith(FORM_PREFIX):
            keys = sorted(map(form_key, values))
            return Matcher.term_set_query(self._schema, form_column(facet), keys)
        return Matcher.term_set_query(self._schema, facet, sorted(values - {""}))

    def rest(self, column: str, least: int) -> Clause:
        """Match what a sort has from a value of its column on."""
        return _quietly(Matcher.range_query(self._schema, column, FieldType.Unsigned, least))

    def found(self, wanted: Wanted) -> list[Clause]:
        """Match what a text finds, without a score."""
        words = ([*self._anywhere(word), *self._misspelt(word)] for word in wanted.words)
        phrases = ([*self._phrase(phrase)] for phrase in wanted.phrases)
        clauses = [(Occur.Must, _any_of(each)) for each in (*words, *phrases)]
        return clauses + self._excluded(wanted)

    def in_name(self, wanted: Wanted) -> list[Clause]:
        """Match what has all words in its name without typing errors, with a score.

        Scores are whole numbers below MAX_SCORE, the higher the better; an entry has the same here,
        in `as_typed` and in `forgiving`, and each of them adds only entries with lower ones.
        """
        return self._as_typed(wanted, [NAME])

    def as_typed(self, wanted: Wanted) -> list[Clause]:
        """Match what a text finds without typing errors, with a score; see `in_name`."""
        return self._as_typed(wanted, TEXT_FIELDS)

    def _as_typed(self, wanted: Wanted, fields: Sequence[str]) -> list[Clause]:
        levels = ([*self._levels(word, fields)] for word in wanted.words)
        is_typed = _worth(AS_TYPED, Matcher.all_query())
        return [*self._in_places(wanted, levels, fields), (Occur.Must, is_typed)]

    def forgiving(self, wanted: Wanted) -> list[Clause]:
        """Match all that a text finds, with a score; see `in_name`."""
        levels = (
            [
                *self._levels(word, TEXT_FIELDS),
                *(_worth(TYPO_IN_NAME, each) for each in self._misspelt(word, NAME)),
                *(_worth(TYPO, each) for each in self._misspelt(word)),
            ]
            for word in wanted.words
        )
        is_typed = all_of(*((Occur.Must, _any_of(self._anywhere(word))) for word in wanted.words))
        places = self._in_places(wanted, levels, TEXT_FIELDS)
        return [*places, (Occur.Should, _worth(AS_TYPED, is_typed))]

    def _in_places(
        self, wanted: Wanted, words: Iterable[list[Matcher]], fields: Sequence[str]
    ) -> list[Clause]:
        """Score each word and phrase by its best place."""
        phrases = ([*self._phrase_levels(phrase, fields)] for phrase in wanted.phrases)
        clauses = [(Occur.Must, _best_of(levels)) for levels in (*words, *phrases)]
        if not wanted.phrases:
            keys = _whole_names(wanted)
            is_whole_name = Matcher.term_set_query(self._schema, WHOLE_NAME, keys)
            clauses.append((Occur.Should, _worth(IS_WHOLE_NAME, is_whole_name)))
        return clauses + self._excluded(wanted)

    def names(self, wanted: Wanted) -> list[Clause]:
        """Match names that somebody is typing, with a score; the last word may be unfinished."""
        levels = [
            [
                *self._levels(word, [NAME]),
                *(_worth(TYPO_IN_NAME, each) for each in self._misspelt(word, NAME)),
            ]
            for word in wanted.words
        ]
        levels[-1] += [_worth(PREFIX[0], self._prefix(NAME, word)) for word in wanted.words[-1]]
        begun = [self._prefix(WHOLE_NAME, key) for key in _whole_names(wanted)]
        clauses = [(Occur.Must, _best_of(each)) for each in levels]
        return [*clauses, (Occur.Should, _worth(IS_WHOLE_NAME, _any_of(begun)))]

    def _excluded(self, wanted: Wanted) -> list[Clause]:
        return [(Occur.MustNot, _any_of(self._phrase(excluded))) for excluded in wanted.excluded]

    def _anywhere(self, spellings: frozenset[str]) -> Iterator[Matcher]:
        for word in spellings:
            if len(word) < _MIN_PREFIX_CHARS:
                yield self._exact(EVERY_WORD, word)
            else:
                yield self._prefix(EVERY_WORD, word)
            for parts in self._taken_apart(word):
                yield from self._phrase(frozenset({parts}))

    def _misspelt(self, spellings: frozenset[str], field: str = EVERY_WORD) -> Iterator[Matcher]:
        for word in spellings:
            if edits := edits_forgiven(word):
                yield Matcher.fuzzy_term_query(self._schema, field, word, distance=edits)

    def _levels(self, spellings: frozenset[str], fields: Sequence[str]) -> Iterator[Matcher]:
        for word in spellings:
            apart = [*self._taken_apart(word)]
            for exact, prefix, field in zip(EXACT, PREFIX, fields, strict=False):
                yield _worth(exact, self._exact(field, word))
                yield from (_worth(exact, self._in_a_row(field, parts)) for parts in apart)
                if len(word) >= _MIN_PREFIX_CHARS:
                    yield _worth(prefix, self._prefix(field, word))

    def _phrase_levels(
        self, readings: frozenset[Reading], fields: Sequence[str]
    ) -> Iterator[Matcher]:
        for reading in readings:
            for worth, field in zip(EXACT, fields, strict=False):
                yield _worth(worth, self._in_a_row(field, reading))

    def _phrase(self, readings: frozenset[Reading]) -> Iterator[Matcher]:
        for reading in readings:
            if len(reading) == 1:
                yield self._exact(EVERY_WORD, reading[0])
            else:
                yield from (self._in_a_row(field, reading) for field in TEXT_FIELDS)

    def _taken_apart(self, word: str) -> Iterator[Reading]:
        """Find two words that were written as one: "weldtorque" for "weld torque"."""
        for cut in range(1, len(word)):
            parts = word[:cut], word[cut:]
            if all(map(self._has_word, parts)):
                yield parts

    def _exact(self, field: str, word: str) -> Matcher:
        return Matcher.term_query(self._schema, field, word, "basic")

    def _prefix(self, field: str, word: str) -> Matcher:
        return Matcher.fuzzy_term_query(self._schema, field, word, distance=0, prefix=True)

    def _in_a_row(self, field: str, reading: Reading) -> Matcher:
        if len(reading) == 1:
            return self._exact(field, reading[0])
        return Matcher.phrase_query(self._schema, field, [*reading])


def all_of(*clauses: Clause) -> Matcher:
    """Join clauses into one query."""
    return Matcher.boolean_query(clauses)


def _whole_names(wanted: Wanted) -> list[str]:
    """Write all words in a row: the first spellings, and the last ones."""
    spelled = [sorted(spellings) for spellings in wanted.words]
    rows = {tuple(each[place] for each in spelled) for place in (0, -1)}
    return [*map(whole, rows)]


def _any_of(matchers: Iterable[Matcher]) -> Matcher:
    return Matcher.boolean_query([(Occur.Should, each) for each in matchers])


def _best_of(levels: list[Matcher]) -> Matcher:
    return Matcher.disjunction_max_query(levels)


def _worth(score: float, matcher: Matcher) -> Matcher:
    return Matcher.const_score_query(matcher, score)


def _quietly(matcher: Matcher) -> Clause:
    """Require, without a share in the score."""
    return Occur.Must, Matcher.const_score_query(matcher, 0.0)
