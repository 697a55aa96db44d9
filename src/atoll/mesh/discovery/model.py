"""The nouns of discovery: what can be found, what is asked, what is answered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from atoll.core.errors import InvalidInput
from atoll.core.text import counted

Sort = Literal["relevance", "name", "updated", "quality"]
SORTS: tuple[Sort, ...] = ("relevance", "name", "updated", "quality")

FACETS = (
    "kind",
    "project",
    "unit",
    "term",
    "classification",
    "basis",
    "has_pii",
    "business_unit",
    "refresh_frequency",
    "asset_type",
    "quality",
)
FORM_PREFIX = "form/"  # begins the facets of what `Entry.forms` holds
# From the best down: the least score of each band. What has no score is in NOT_SCORED.
QUALITY_BANDS = {"0.9-1": 0.9, "0.75-0.9": 0.75, "0.5-0.75": 0.5, "0-0.5": 0.0}
NOT_SCORED = "none"

MAX_TEXT_CHARS = 1000
MAX_LIMIT = 100
# Whoever has turned so many pages filters or sorts instead; each page costs all those before it.
MAX_DEPTH = 10_000
MAX_FACETS = 40
MAX_FACET_VALUES = 1000
MAX_KEY_CHARS = 500
MAX_PAYLOAD_BYTES = 1 << 20
# Of one entry, or of one query's filters.
MAX_VALUES = 20_000


@dataclass(frozen=True)
class Column:
    """A column of what is listed; its name and its description are searched."""

    name: str
    description: str = ""


@dataclass(frozen=True)
class Entry:
    """What the index holds of one thing to be found; empty values are in no facet.

    Attributes:
        id: of the thing; one entry for each.
        visibility: the class that decides who may see it; the index only compares it.
        wider_visibility: a class that `visibility` is part of, if any.
        name, description: searched.
        updated_at: with its time zone; kept to the second.
        kind: "asset" or "data product".
        terms: names of glossary terms; searched, and the values of facet "term".
        synonyms: other words for them; searched only.
        forms: values of metadata forms by FORM/FIELD. Each is searched; one of up to MAX_KEY_CHARS
            is a value of the facet FORM_PREFIX + FORM/FIELD, too.
        columns: searched.
        project: who owns it.
        unit: the domain units it lies in, from the root down; each by a key that only it has.
        classification, basis, asset_type: as the catalog spells them.
        has_pii: whether a column holds personal data.
        business_unit, refresh_frequency: facets only; what is searched of them is in `forms`.
        quality_score: 0 to 1; None: nobody measured.
        payload: what a hit brings back, up to 1 MiB.

    Raises:
        InvalidInput: a value is beyond the bounds of this module; the message names it.
    """

    id: str
    visibility: str
    name: str
    updated_at: datetime
    kind: str = "asset"
    description: str = ""
    terms: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    forms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    project: str = ""
    unit: tuple[str, ...] = ()
    classification: str = ""
    basis: str = ""
    has_pii: bool = False
    business_unit: str = ""
    refresh_frequency: str = ""
    asset_type: str = ""
    quality_score: float | None = None
    payload: bytes = b""
    wider_visibility: str = ""

    def __post_init__(self) -> None:
        """Refuse what the index could not hold."""
        of = f"entry '{self.id[:MAX_KEY_CHARS]}'"
        if not self.id or not self.visibility:
            raise InvalidInput(f"{of} needs an id and a visibility; the catalog gives both")
        keys = (self.id, self.visibility, self.wider_visibility, self.kind, self.project)
        single = (self.classification, self.basis, self.asset_type)
        forms = (self.business_unit, self.refresh_frequency, *self.forms)
        check_keys((*keys, *single, *forms, *self.terms, *self.unit), of)
        of_forms = sum(map(len, self.forms.values()))
        _check_count(max(len(self.synonyms), len(self.columns), of_forms), of)
        if self.quality_score is not None and not 0 <= self.quality_score <= 1:
            raise InvalidInput(f"{of} has quality score {self.quality_score}; give one from 0 to 1")
        if self.updated_at.utcoffset() is None:
            raise InvalidInput(f"{of} has a time of update without a time zone; give it in UTC")
        if len(self.payload) > MAX_PAYLOAD_BYTES:
            raise InvalidInput(
                f"{of} has a payload of {len(self.payload):,} bytes;"
                f" keep it under {MAX_PAYLOAD_BYTES:,}"
            )


@dataclass(frozen=True)
class Put:
    """An entry is new, or takes the place of the one with its id."""

    entry: Entry


@dataclass(frozen=True)
class Remove:
    """There is no such entry any more, if there was one."""

    id: str


Change = Put | Remove


@dataclass(frozen=True)
class Query:
    """What somebody looks for.

    Attributes:
        visible: classes, or wider ones, of what may be found; nothing else shows in hits, totals
            or counts. None: all there is, which is found in half the time.
        text: words that all must be found, "phrases" in double quotes, -excluded words and phrases.
            Empty finds all.
        filters: by facet, the values of which an entry must have one; none at all is no filter. A
            domain unit stands for those below it, too.
        quality: least and greatest quality score, both included; None is no bound.
        facets: which to count: of FACETS, or FORM_PREFIX + FORM/FIELD.
        facet_values: how many values of each are listed, those of its own filter besides.
        sort: by relevance, name (alphabetically), updated (newest first), quality (best first).
            Without text, relevance is by name.
        limit: hits on a page, up to MAX_LIMIT.
        cursor: `Page.next` of the page before, of the same query; None is the first page.

    Raises:
        InvalidInput: a value is beyond the bounds of this module; the message names it.
    """

    visible: frozenset[str] | None
    text: str = ""
    filters: Mapping[str, frozenset[str]] = field(default_factory=dict)
    quality: tuple[float | None, float | None] = (None, None)
    facets: tuple[str, ...] = FACETS
    facet_values: int = 50
    sort: Sort = "relevance"
    limit: int = 20
    cursor: str | None = None

    def __post_init__(self) -> None:
        """Refuse what nobody asks in good faith."""
        check_text(self.text)
        if max(len(self.facets), len(self.filters)) > MAX_FACETS:
            raise InvalidInput(f"the search has too many facets; ask for up to {MAX_FACETS}")
        for name in (*self.facets, *self.filters):
            if name not in FACETS and not name.startswith(FORM_PREFIX):
                raise InvalidInput(
                    f"there is no facet '{name[:MAX_KEY_CHARS]}'; choose of"
                    f" {', '.join(FACETS)}, or {FORM_PREFIX}FORM/FIELD",
                    facet=name[:MAX_KEY_CHARS],
                )
            check_keys((name, *self.filters.get(name, ())), "the filter")
        if self.sort not in SORTS:
            raise InvalidInput(f"cannot sort by '{self.sort}'; choose of {', '.join(SORTS)}")
        if any(bound is not None and math.isnan(bound) for bound in self.quality):
            raise InvalidInput("a bound of the quality score is not a number; give 0 to 1")
        check_limit(self.limit)
        if not 1 <= self.facet_values <= MAX_FACET_VALUES:
            raise InvalidInput(
                f"cannot list {self.facet_values} values of a facet; give 1 to {MAX_FACET_VALUES}"
            )


@dataclass(frozen=True)
class Hit:
    """One entry that was found."""

    id: str
    name: str
    payload: bytes


@dataclass(frozen=True)
class FacetValue:
    """A value of a facet, and how many entries a search limited to it finds."""

    value: str
    entries: int


@dataclass(frozen=True)
class Page:
    """An answer.

    Attributes:
        hits: in the order of the sort; ties by a hash of the id.
        total: entries found, on all pages.
        facets: by name, the values with the most entries; ties by value. A facet's counts ignore
            its own filter, and "quality" the bounds of the score, too.
        next: cursor of the next page; None: this is the last, or the last of MAX_DEPTH hits.
    """

    hits: tuple[Hit, ...]
    total: int
    facets: Mapping[str, tuple[FacetValue, ...]]
    next: str | None


def check_text(text: str) -> None:
    """Refuse text that is too long to be anybody's question."""
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidInput(
            f"the text has {len(text):,} characters; search for up to {MAX_TEXT_CHARS:,}"
        )


def check_limit(limit: int) -> None:
    """Refuse a page that is empty or too large."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(f"cannot answer with {limit} hits; give a limit of 1 to {MAX_LIMIT}")


def check_keys(keys: Iterable[str], of: str) -> None:
    """Refuse keys that are too many, too long or no Unicode."""
    for number, key in enumerate(keys):
        _check_count(number, of)
        if len(key) > MAX_KEY_CHARS:
            raise InvalidInput(
                f"{of} has a value of {counted(len(key), 'character')}, '{key[:20]}...';"
                f" shorten it to {MAX_KEY_CHARS}"
            )
        if not key.isascii() and any("\ud800" <= char <= "\udfff" for char in key):
            raise InvalidInput(f"{of} has a value with half a character; give it in UTF-8")


def _check_count(number: int, of: str) -> None:
    if number > MAX_VALUES:
        raise InvalidInput(f"{of} has more than {counted(MAX_VALUES, 'value')}; give fewer")
