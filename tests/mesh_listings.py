"""Listings, and a search over them in plain Python to hold the index against.

Text is made of words that we know, so that the oracle need not take text apart as the index does.
"""

import math
import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise

from atoll.mesh.discovery import FACETS, Column, Entry

WORDS = [
    *("weld", "welds", "welding", "torque", "torques", "line", "lines", "plant", "paint", "press"),
    *("pressure", "sensor", "quality", "quantity", "supplier", "supply", "stock", "station"),
    *("battery", "batteries", "naht", "drehmoment", "drehmomente", "at", "a", "2024", "2025"),
]
CLASSES = ("open", "plant", "secret")
FIELDS = ("name", "terms", "columns", "forms", "description")
EXACT = (31, 13, 11, 9, 7)
START = datetime(2025, 1, 1, tzinfo=UTC)


def entry(id="1", name="weld", *, visibility="open", updated_at=START, **more):
    return Entry(id, visibility, name, updated_at, **more)


@dataclass(frozen=True)
class Listing:
    """An entry with the words of each field, value by value."""

    entry: Entry
    words: tuple


def listings(number, seed=0):
    chance = random.Random(seed)
    return [_listing(chance, place) for place in range(number)]


def _listing(chance, place):
    def some(most):
        return tuple(chance.choices(WORDS, k=chance.randint(1, most)))

    names, columns = some(3), [some(2) for _ in range(chance.randint(0, 3))]
    terms = [some(2) for _ in range(chance.randint(0, 9))]
    about, note = some(5), some(3)
    shape = chance.choice((" ".join, "_".join, ".".join))
    made = Entry(
        id=f"{chance.getrandbits(32):08x}-{place}",
        visibility=chance.choice(CLASSES),
        name=shape(names).title() if chance.random() < 0.3 else shape(names),
        updated_at=START + timedelta(seconds=chance.randrange(3)),
        kind=chance.choice(("asset", "data product")),
        description=", ".join(about),
        terms=tuple(map(" ".join, terms)),
        forms={"note": (" ".join(note),)},
        columns=tuple(Column("_".join(each)) for each in columns),
        project=chance.choice(("", "p1", "p2", "p3")),
        unit=chance.choice(((), ("plant",), ("plant", "north"), ("plant", "north", "hall 1"))),
        classification=chance.choice(("public", "internal", "confidential")),
        basis=chance.choice(("source-based", "consumer-based")),
        has_pii=chance.random() < 0.3,
        refresh_frequency=chance.choice(("", "daily")),
        quality_score=chance.choice((None, 0.5, 0.9, chance.random())),
        payload=str(place).encode(),
    )
    words = (
        [names],
        terms,
        columns,
        [note],
        [about],
    )
    return Listing(made, tuple(tuple(values) for values in words))


@cache
def distance(a, b):
    """Count insertions, deletions, replacements, and swaps of neighbours."""
    before, row = None, [*range(len(b) + 1)]
    for i, char in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, other in enumerate(b, 1):
            found = min(before[j] + 1, row[-1] + 1, before[j - 1] + (char != other))
            if i > 1 and j > 1 and char == b[j - 2] and other == a[i - 2]:
                found = min(found, last[j - 2] + 1)
            row.append(found)
    return row[-1]


def forgiven(word):
    return 0 if len(word) < 4 or not word.isalpha() else 2 if len(word) > 7 else 1


def has_row(listing, row):
    """Whether a value of any field has these words one after the other."""
    return any(
        value[i : i + len(row)] == row
        for values in listing.words
        for value in values
        for i in range(len(value) - len(row) + 1)
    )


@cache
def level(values, word, place):
    """How well a field matches a word; 0: not at all."""
    there = {each for value in values for each in value}
    glued = {a + b for value in values for a, b in pairwise(value)}
    if word in there | glued:
        return EXACT[place]
    if len(word) > 1 and any(each.startswith(word) for each in there):
        return EXACT[place] - 1
    is_typo = any(distance(word, each) <= forgiven(word) for each in there)
    return is_typo * (2 if place == 0 else 1)


def score(listing, words):
    """Score a listing for words that must all be found; None: one is not."""
    levels = [max(level(v, word, i) for i, v in enumerate(listing.words)) for word in words]
    if not all(levels):
        return None
    is_whole_name = list(words) == list(listing.words[0][0])
    return sum(levels) + 512 * is_whole_name + 1024 * all(each > 2 for each in levels)


def values_of(listing, facet):
    made = listing.entry
    if facet == "unit":
        return set(made.unit)
    if facet == "term":
        return set(made.terms)
    if facet == "has_pii":
        return {str(made.has_pii).lower()}
    if facet == "quality":
        return {band(made.quality_score)}
    if facet == "form/note":
        return set(made.forms["note"])
    return {getattr(made, facet)} - {""}


def band(quality):
    bands = {0.9: "0.9-1", 0.75: "0.75-0.9", 0.5: "0.5-0.75", 0: "0-0.5"}
    return "none" if quality is None else bands[max(least for least in bands if least <= quality)]


def passes(listing, filters, quality=(None, None), but=None):
    least, most = quality
    score = listing.entry.quality_score
    if but != "quality" and quality != (None, None):
        low, high = (
            least if least is not None else -math.inf,
            most if most is not None else math.inf,
        )
        if score is None or not low <= score <= high:
            return False
    return all(
        facet == but or not chosen or values_of(listing, facet) & chosen
        for facet, chosen in filters.items()
    )


def counts(found, facet):
    return Counter(value for listing in found for value in values_of(listing, facet))


ALL_FACETS = (*FACETS, "form/note")
