"""Entries as documents of tantivy: which field holds what, and how it can be asked for."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from itertools import chain

import tantivy

from atoll.mesh.discovery.model import (
    FACETS,
    FORM_PREFIX,
    MAX_KEY_CHARS,
    NOT_SCORED,
    QUALITY_BANDS,
    Entry,
)
from atoll.mesh.discovery.words import readings

# Best first; a word found in several counts where it counts most.
NAME = "name"
TEXT_FIELDS = (NAME, "terms", "columns", "forms", "description")
# Every word of an entry once: finding and counting need not look into five fields.
EVERY_WORD = "every_word"
WHOLE_NAME = "whole_name"
# One document is no entry: it has this role, and holds the position.
ROLE = "role"
POSITION = "position"

# A column with one value for each document is counted at 3 ns a document, one with any number of
# values at 60 (tantivy 0.27).
SINGLE_COLUMNS = tuple(name for name in FACETS if name not in ("unit", "term"))
UNIT_PATH = "unit_path"
FORM_COLUMNS = "form"

# What results are sorted by, ascending; names have numbers besides, which a search can start from.
BY_NAME = "by_name"
BY_NAME_START = "by_name_start"
BY_UPDATED = "by_updated"
BY_QUALITY = "by_quality"
TIE = "tie"
TIE_WEIGHT = "tie_weight"
SCORE = "score"
# What `matching` adds up to at most.
MAX_SCORE = 2048

# What is searched of one value.
MAX_VALUE_CHARS = 100_000
_WORDS_APART = "words_apart"
_SCORE_UNITS = 1_000_000
_LATEST = (1 << 32) - 1


def schema() -> tantivy.Schema:
    """Lay out the fields; a change makes a new `folder.FORMAT`."""
    builder = tantivy.SchemaBuilder()
    for name in ("id", ROLE, "visibility", "unit", "term", WHOLE_NAME):
        _add_key(builder, name, stored=name == "id", fast=name == "term")
    for name in TEXT_FIELDS:
        builder.add_text_field(name, tokenizer_name=_WORDS_APART, index_option="position")
    builder.add_text_field(EVERY_WORD, tokenizer_name=_WORDS_APART, index_option="basic")
    for name in (*SINGLE_COLUMNS, UNIT_PATH, BY_NAME):
        _add_key(builder, name, fast=True)
    builder.add_json_field(FORM_COLUMNS, fast=True, tokenizer_name="raw", index_option="basic")
    for name in (BY_NAME_START, BY_UPDATED, BY_QUALITY, TIE, POSITION):
        builder.add_unsigned_field(name, fast=True)
    for name in (TIE_WEIGHT, SCORE):
        builder.add_float_field(name, fast=True)
    for name in ("shown_name", "payload"):
        builder.add_bytes_field(name, stored=True)
    return builder.build()


def _add_key(
    builder: tantivy.SchemaBuilder, name: str, *, stored: bool = False, fast: bool = False
) -> None:
    builder.add_text_field(
        name, stored=stored, fast=fast, tokenizer_name="raw", index_option="basic"
    )


def register_tokenizers(index: tantivy.Index) -> None:
    """Tell an index how our text is made of words: a blank between each two."""
    apart = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
    index.register_tokenizer(_WORDS_APART, apart)


def document(entry: Entry) -> tantivy.Document:
    """Write an entry as a document."""
    made = tantivy.Document()
    made.add_text("id", entry.id)
    for one in filter(None, (entry.visibility, entry.wider_visibility)):
        made.add_text("visibility", one)
    _add_words(made, entry)
    _add_columns(made, entry)
    _add_order(made, entry)
    made.add_bytes("shown_name", entry.name.encode("utf-8", "replace"))
    made.add_bytes("payload", entry.payload)
    return made


def position_document(position: int) -> tantivy.Document:
    """Write the position as a document that nobody finds: it has no visibility."""
    made = tantivy.Document()
    made.add_text(ROLE, POSITION)
    made.add_unsigned(POSITION, position)
    # A single document without a value makes its segment's column slow to count.
    for name in (*SINGLE_COLUMNS, UNIT_PATH):
        made.add_text(name, "")
    return made


def _add_words(made: tantivy.Document, entry: Entry) -> None:
    every: set[str] = set()
    for field, values in zip(TEXT_FIELDS, _texts(entry), strict=True):
        for value in values:
            for reading in readings(value[:MAX_VALUE_CHARS]):
                made.add_text(field, " ".join(reading))
                every.update(reading)
    made.add_text(EVERY_WORD, " ".join(every))
    for reading in readings(entry.name[:MAX_VALUE_CHARS]):
        made.add_text(WHOLE_NAME, whole(reading))


def whole(reading: tuple[str, ...]) -> str:
    """Write a whole name as one key."""
    return " ".join(reading)[:MAX_KEY_CHARS]


def _texts(entry: Entry) -> tuple[Iterable[str], ...]:
    """List what is searched, in the order of TEXT_FIELDS."""
    return (
        (entry.name,),
        (*entry.terms, *entry.synonyms),
        (text for column in entry.columns for text in (column.name, column.description)),
        chain(*entry.forms.values()),
        (entry.description,),
    )


def _add_columns(made: tantivy.Document, entry: Entry) -> None:
    singles = {
        "kind": entry.kind,
        "project": entry.project,
        "classification": entry.classification,
        "basis": entry.basis,
        "has_pii": str(entry.has_pii).lower(),
        "business_unit": entry.business_unit,
        "refresh_frequency": entry.refresh_frequency,
        "asset_type": entry.asset_type,
        "quality": quality_band(entry.quality_score),
    }
    for name, value in singles.items():
        made.add_text(name, value)
    for value in dict.fromkeys(filter(None, entry.terms)):
        made.add_text("term", value)
    units = list(dict.fromkeys(filter(None, entry.unit)))
    made.add_text(UNIT_PATH, json.dumps(units) if units else "")
    for value in units:
        made.add_text("unit", value)
    forms = {_form_key(name): _facet_values(values) for name, values in entry.forms.items()}
    made.add_json(FORM_COLUMNS, forms)


def quality_band(score: float | None) -> str:
    """Choose the band that a score is counted in.

    >>> quality_band(0.92), quality_band(0.75), quality_band(None)
    ('0.9-1', '0.75-0.9', 'none')
    """
    if score is None:
        return NOT_SCORED
    return next(band for band, least in QUALITY_BANDS.items() if score >= least)


def form_column(facet: str) -> str:
    """Name the column of a form's field."""
    return f"{FORM_COLUMNS}.{_form_key(facet.removeprefix(FORM_PREFIX))}"


def _form_key(field_name: str) -> str:
    """Spell a field name so that no path can be read into it."""
    return "f" + field_name.encode().hex()


def form_key(value: str) -> str:
    """Spell a value so that tantivy takes it for text: what looks like a date becomes one."""
    return f"={value}"


def _facet_values(values: tuple[str, ...]) -> list[str]:
    whole = (value.encode("utf-8", "ignore").decode() for value in values)
    return [form_key(value) for value in dict.fromkeys(whole) if 0 < len(value) <= MAX_KEY_CHARS]


def _add_order(made: tantivy.Document, entry: Entry) -> None:
    """Add what results are sorted by, all of it ascending."""
    tie = int.from_bytes(hashlib.blake2b(entry.id.encode(), digest_size=8).digest())
    made.add_unsigned(TIE, tie)
    made.add_float(TIE_WEIGHT, tie_weight(tie))
    seconds = min(max(int(entry.updated_at.timestamp()), 0), _LATEST)
    made.add_unsigned(BY_UPDATED, (_LATEST - seconds) << 32 | tie >> 32)
    score = -1.0 if entry.quality_score is None else entry.quality_score
    made.add_unsigned(BY_QUALITY, round((1 - score) * _SCORE_UNITS) << 32 | tie >> 32)
    if entry.quality_score is not None:
        made.add_float(SCORE, entry.quality_score)
    alphabetical = _alphabetical(entry)
    made.add_text(BY_NAME, alphabetical)
    made.add_unsigned(BY_NAME_START, name_start(alphabetical))


def tie_weight(tie: int) -> float:
    """Weigh a tie; the smaller it is, the more.

    Tantivy multiplies a score by log2(2 + weight); one below MAX_SCORE rises by less than 1.
    """
    return math.pow(2, 1 + (1 - tie / 2**64) / MAX_SCORE) - 2


def _alphabetical(entry: Entry) -> str:
    """Make the key that names sort by: numbers by value, equal names by id."""
    words = next(iter(readings(entry.name[:MAX_KEY_CHARS])), ())
    spelled = (word.zfill(12) if word.isdecimal() else word for word in words)
    return f"{' '.join(spelled)}\0{entry.id}"


def name_start(alphabetical: str) -> int:
    """Make a number of the first 8 bytes; it sorts as they do."""
    return int.from_bytes(alphabetical.encode()[:8].ljust(8, b"\0"))
