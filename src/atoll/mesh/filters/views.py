"""Asset filters: named row filters and column masks, and what several of them show together.

A filter's columns are a list made once: a column that the table gets later is in no filter, also
in none that was made for all columns. It keeps the types that its columns had, too, as a condition
or a mask may mean something else on another type.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import pyarrow as pa

from atoll.core.errors import InvalidInput
from atoll.core.text import some_of
from atoll.mesh.filters import conditions, masks, reading
from atoll.mesh.filters.columntypes import (
    field_named,
    holds_only_its_rows,
    name_of,
    plain,
    short_name,
)
from atoll.mesh.filters.conditions import MAX_COLUMN, Condition, comparisons
from atoll.mesh.filters.evaluation import checked
from atoll.mesh.filters.masks import Mask, Null

MAX_FILTERS = 100  # in one view
MAX_COLUMNS = 10_000  # of one filter
MAX_DESCRIPTION = 2048  # characters
MAX_TYPE = 1_000_000  # characters; of a struct with all its fields
_NAME = re.compile(r"[\w -]{1,64}")  # DataZone's FilterName


class FilterStatus(StrEnum):
    """Whether a filter fits its table, as DataZone spells it."""

    VALID = "VALID"
    INVALID = "INVALID"


@dataclass(frozen=True)
class AssetFilter:
    """Some columns of some rows of an asset, under a name.

    Attributes:
        name: 1 to 64 letters, digits, spaces, _ and -.
        columns: those that are shown, in the table's order, each with its mask; None: as it is.
        types: of each column that is shown or compared, the `name_of` its type.
        condition: which rows; None: all.
        description: for people.
        is_sensitive: whether the condition's values are for the owner's eyes only.
    """

    name: str
    columns: Mapping[str, Mask | None]
    types: Mapping[str, str]
    condition: Condition | None = None
    description: str = ""
    is_sensitive: bool = False


@dataclass(frozen=True)
class View:
    """What a subscriber sees of a table: each cell that at least one of the filters shows.

    Attributes:
        filters: 1 or more, that fit together; made by `combined`.
    """

    filters: tuple[AssetFilter, ...]

    def columns_read(self, schema: pa.Schema) -> list[str]:
        """Return what must be read of a table: columns shown and compared, in the table's order."""
        used = {name for one in self.filters for name in one.types}
        return [name for name in schema.names if name in used]


def asset_filter(
    name: str, configuration: object, schema: pa.Schema, *, description: str = ""
) -> AssetFilter:
    """Make a filter for a table.

    Args:
        name: 1 to 64 letters, digits, spaces, _ and -.
        configuration: DataZone's AssetFilterConfiguration, of which both parts may be there:
            `{"columnConfiguration": {"includedColumnNames": [...]}, "rowConfiguration":
            {"rowFilter": ..., "sensitive": true}}`; beside them ours, `{"columnMasks": {column:
            mask}}`. Without a list of columns: all that the table has now.
        schema: the table's.
        description: for people, up to 2048 characters.

    Raises:
        InvalidInput: it has another shape, or does not fit the table.
    """
    made = _parsed(name, description, configuration, schema.names)
    used = [*made.columns, *_compared(made)]
    made = replace(
        made,
        columns={name: made.columns[name] for name in schema.names if name in made.columns},
        types={column: name_of(field_named(schema, column).type) for column in used},
    )
    problems = problems_of(made, schema)
    if problems:
        raise InvalidInput(f"filter {name!r}: {some_of(problems, separator='; ')}")
    return made


def to_json(one: AssetFilter) -> dict[str, Any]:
    """Write a filter as `from_json` reads it; its configuration names all its columns."""
    configuration: dict[str, Any] = {
        "columnConfiguration": {"includedColumnNames": list(one.columns)},
        "columnMasks": {name: masks.to_json(mask) for name, mask in one.columns.items() if mask},
    }
    if one.condition is not None:
        configuration["rowConfiguration"] = {
            "rowFilter": conditions.to_json(one.condition),
            "sensitive": one.is_sensitive,
        }
    return {
        "name": one.name,
        "description": one.description,
        "configuration": configuration,
        "columnTypes": dict(one.types),
    }


def from_json(value: object) -> AssetFilter:
    """Read what `to_json` wrote.

    Raises:
        InvalidInput: it has another shape.
    """
    required = ("name", "description", "configuration", "columnTypes")
    found = reading.mapping(value, "filter", required=required)
    types = _mapped(found["columnTypes"], "columnTypes")
    named = {
        name: reading.text(kind, "columnTypes", longest=MAX_TYPE) for name, kind in types.items()
    }
    made = _parsed(found["name"], found["description"], found["configuration"], list(named))
    if set(named) != {*made.columns, *_compared(made)}:
        raise InvalidInput("columnTypes must have each column of the filter, and no other")
    return replace(made, types=named)


def status(one: AssetFilter, schema: pa.Schema) -> tuple[FilterStatus, tuple[str, ...]]:
    """Tell whether a filter still fits its table; if not, why, for its owner's eyes."""
    problems = problems_of(one, schema)
    return (FilterStatus.INVALID if problems else FilterStatus.VALID), problems


def problems_of(one: AssetFilter, schema: pa.Schema) -> tuple[str, ...]:
    """Say what of a filter does not fit a table: columns gone or changed, masks, condition."""
    problems = []
    for column, kind in one.types.items():
        try:
            dtype = field_named(schema, column).type
        except InvalidInput as error:
            problems.append(error.message)
            continue
        if name_of(dtype) != kind:
            was, now = reading.named(kind), reading.named(name_of(dtype))
            problems.append(f"column {reading.named(column)} was {was} and is {now}")
        elif why := column in one.columns and _misfit(one.columns[column], dtype):
            problems.append(f"column {reading.named(column)} {why}")
    if one.condition is not None and not problems:
        try:
            checked(one.condition, schema)
        except InvalidInput as error:
            problems.append(error.message)
    return tuple(problems)


def protected(one: AssetFilter, pii: Collection[str], schema: pa.Schema) -> AssetFilter:
    """Mask what a filter shows as it is of columns with personal data.

    Apply it to each filter of a grant, before `combined`, whenever the grant is used: a column may
    be marked as personal after the filter was made.

    Args:
        one: a filter.
        pii: columns with personal data, without those that a named approver has unmasked.
        schema: the table's.

    Returns:
        The filter with `masks.default_mask` on these columns; masks that it has stay.
    """
    types = {field.name: field.type for field in schema}
    columns = {
        name: masks.default_mask(types.get(name, pa.null()))
        if mask is None and name in pii
        else mask
        for name, mask in one.columns.items()
    }
    return replace(one, columns=columns)


def combined(filters: Sequence[AssetFilter], schema: pa.Schema) -> View:
    """Join the filters of a grant: never more than what each of them shows, row by row.

    A cell is shown if at least one filter has both its row and its column; else it is NULL; a row
    is there if one filter has it. DataZone unions the columns and, apart from them, the rows: with
    "name, for line A" and "salary, for line B" it shows everybody's name and salary. Where several
    filters show a cell, it is shown unmasked if one of them shows it so, else by the mask of the
    first.

    Raises:
        InvalidInput: there is no filter, or more than 100; one does not fit the table; or two show
            a column as different types (one hashed, one not).

    Source: DataZone's user guide, "Granting access with filters".
    """
    if not 1 <= len(filters) <= MAX_FILTERS:
        raise InvalidInput(f"a view is made of 1 to {MAX_FILTERS} filters, not {len(filters)}")
    for one in filters:
        problems = problems_of(one, schema)
        if problems:
            raise InvalidInput(f"filter {one.name!r} is INVALID: {some_of(problems)}")
    view = View(tuple(filters))
    shown_schema(view, schema)
    return view


def shown_schema(view: View, schema: pa.Schema) -> pa.Schema:
    """Return the columns of a view: the table's order, masked types, no metadata of the table.

    Raises:
        InvalidInput: two filters show a column as different types.
    """
    shown = []
    for field in schema:
        columns = [one.columns[field.name] for one in view.filters if field.name in one.columns]
        if columns:
            shown.append(pa.field(field.name, _shown_type(field, columns)))
    return pa.schema(shown)


def _shown_type(field: pa.Field, columns: Sequence[Mask | None]) -> pa.DataType:
    dtype = plain(field.type)
    if not holds_only_its_rows(dtype):
        return pa.null()  # behind the null mask
    # The null mask shows no value, so it fits beside any other.
    types = {
        mask.shown_type(dtype) if mask else dtype for mask in columns if not isinstance(mask, Null)
    }
    if len(types) > 1:
        raise InvalidInput(
            f"filters show column {reading.named(field.name)} as {some_of(sorted(map(str, types)))}"
            "; choose filters that mask it alike"
        )
    return types.pop() if types else dtype


def _parsed(
    name: object, description: object, configuration: object, all_columns: Sequence[str]
) -> AssetFilter:
    """Read the parts of a filter, without types."""
    name = reading.text(name, "the filter's name")
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"a filter cannot be named {reading.named(name)}; take 1 to 64 letters, digits, "
            "spaces, _ and -"
        )
    parts = reading.mapping(
        configuration,
        "configuration",
        optional=("columnConfiguration", "rowConfiguration", "columnMasks"),
    )
    columns: dict[str, Mask | None] = dict.fromkeys(_included(parts, all_columns))
    for column, mask in _mapped(parts.get("columnMasks", {}), "columnMasks").items():
        if column not in columns:
            raise InvalidInput(f"columnMasks masks {reading.named(column)}, which is not included")
        columns[column] = masks.parse(mask, f"the mask of column {reading.named(column)}")
    condition, is_sensitive = _rows(parts)
    description = reading.text(description, "the description", longest=MAX_DESCRIPTION)
    return AssetFilter(name, columns, {}, condition, description, is_sensitive)


def _included(parts: Mapping[str, object], all_columns: Sequence[str]) -> list[str]:
    key = "columnConfiguration"
    found = reading.mapping(parts.get(key, {}), key, optional=("includedColumnNames",))
    included = found.get("includedColumnNames", list(dict.fromkeys(all_columns)))
    names = [
        reading.text(column, "includedColumnNames", longest=MAX_COLUMN)
        for column in reading.listed(included, "includedColumnNames", most=MAX_COLUMNS)
    ]
    if len(set(names)) < len(names):
        raise InvalidInput("includedColumnNames names a column twice")
    return names


def _rows(parts: Mapping[str, object]) -> tuple[Condition | None, bool]:
    if "rowConfiguration" not in parts:
        return None, False
    found = reading.mapping(
        parts["rowConfiguration"],
        "rowConfiguration",
        required=("rowFilter",),
        optional=("sensitive",),
    )
    sensitive = found.get("sensitive", False)
    if not isinstance(sensitive, bool):
        raise InvalidInput("rowConfiguration.sensitive must be true or false")
    return conditions.parse(found["rowFilter"]), sensitive


def _mapped(value: object, at: str) -> Mapping[str, object]:
    """Take an object from column names to anything."""
    if not isinstance(value, Mapping) or len(value) > 2 * MAX_COLUMNS:
        raise InvalidInput(f"{at} must be an object with a key per column")
    return {reading.text(name, at, longest=MAX_COLUMN): inner for name, inner in value.items()}


def _compared(one: AssetFilter) -> list[str]:
    if one.condition is None:
        return []
    return list(dict.fromkeys(comparison.column for comparison in comparisons(one.condition)))


def _misfit(mask: Mask | None, dtype: pa.DataType) -> str | None:
    if isinstance(mask, Null):
        return None
    if not holds_only_its_rows(plain(dtype)):
        return (
            f"is {short_name(dtype)}, which would carry hidden rows along; mask it with kind null"
        )
    why = mask.misfit(plain(dtype)) if mask else None
    return (
        f"is {short_name(dtype)} and cannot be masked by {mask.kind}: {why}"
        if mask and why
        else None
    )
