"""Row filters as trees of comparisons, in the form of Amazon DataZone's RowFilter.

A condition keeps its values as the strings that DataZone has; `evaluation.checked` reads them by
the types of the columns. It has no NOT: each operator has its opposite. So a comparison that is
unknown (with NULL) and one that is false both keep a row out, wherever in the tree they stand.

Source: botocore's service model of datazone, RowFilter and RowFilterExpression.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from atoll.core.errors import InvalidInput
from atoll.mesh.filters import reading

MAX_DEPTH = 16
MAX_NODES = 1000  # groups and comparisons
MAX_VALUES = 10_000  # in all lists of a condition together
MAX_PATTERN = 256  # characters; matching costs pattern times text
MAX_COLUMN = 1024  # characters of a name


class Operator(StrEnum):
    """How a column is compared, as DataZone spells it."""

    EQUAL_TO = "equalTo"
    NOT_EQUAL_TO = "notEqualTo"
    GREATER_THAN = "greaterThan"
    GREATER_THAN_OR_EQUAL_TO = "greaterThanOrEqualTo"
    LESS_THAN = "lessThan"
    LESS_THAN_OR_EQUAL_TO = "lessThanOrEqualTo"
    IS_NULL = "isNull"
    IS_NOT_NULL = "isNotNull"
    IN = "in"
    NOT_IN = "notIn"
    LIKE = "like"
    NOT_LIKE = "notLike"


class Joint(StrEnum):
    """How the conditions of a group are joined."""

    AND = "and"
    OR = "or"


@dataclass(frozen=True)
class Comparison:
    """One column held against values.

    Attributes:
        column: its name in the table.
        operator: how.
        values: none for isNull and isNotNull, 1 or more for in and notIn, else one. LIKE's has
            % for any characters, _ for one, and \\ before %, _ or \\ to mean these themselves.
    """

    column: str
    operator: Operator
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Conditions of which all (AND) or at least one (OR) must hold; 1 or more."""

    joint: Joint
    conditions: tuple[Condition, ...]


Condition: TypeAlias = Group | Comparison

NULL_TESTS = (Operator.IS_NULL, Operator.IS_NOT_NULL)
LISTS = (Operator.IN, Operator.NOT_IN)
PATTERNS = (Operator.LIKE, Operator.NOT_LIKE)


def parse(value: object) -> Condition:
    """Read a row filter as it comes out of JSON.

    Args:
        value: `{"and": [...]}`, `{"or": [...]}` or `{"expression": {operator: {"columnName": ...,
            "value": ... or "values": [...]}}}`; all values are strings.

    Raises:
        InvalidInput: it has another shape, an unknown key, an empty list, or is too large.

    >>> parse({"expression": {"equalTo": {"columnName": "line", "value": "A"}}})
    Comparison(column='line', operator=<Operator.EQUAL_TO: 'equalTo'>, values=('A',))
    """
    return _Parser().condition(value, "rowFilter", depth=1)


def to_json(condition: Condition) -> dict[str, Any]:
    """Write a condition as `parse` reads it."""
    if isinstance(condition, Group):
        return {condition.joint.value: [to_json(one) for one in condition.conditions]}
    operands: dict[str, Any] = {"columnName": condition.column}
    if condition.operator in LISTS:
        operands["values"] = list(condition.values)
    elif condition.operator not in NULL_TESTS:
        (operands["value"],) = condition.values
    return {"expression": {condition.operator.value: operands}}


def comparisons(condition: Condition) -> Iterator[Comparison]:
    """Give each comparison of a tree."""
    if isinstance(condition, Comparison):
        yield condition
    else:
        for one in condition.conditions:
            yield from comparisons(one)


class _Parser:
    """One reading of a tree; counts while it goes down, as what YAML repeats by name costs once."""

    def __init__(self) -> None:
        self.nodes = 0
        self.values = 0

    def condition(self, value: object, at: str, depth: int) -> Condition:
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise InvalidInput(f"the row filter is nested more than {MAX_DEPTH} deep")
        if self.nodes > MAX_NODES:
            raise InvalidInput(f"the row filter has more than {MAX_NODES:,} conditions")
        key, inner = _only_entry(value, at, ("and", "or", "expression"))
        at = f"{at}.{key}"
        if key == "expression":
            return self.comparison(inner, at)
        parts = [
            self.condition(one, f"{at}[{place}]", depth + 1)
            for place, one in enumerate(reading.listed(inner, at, most=MAX_NODES))
        ]
        return Group(Joint(key), tuple(parts))

    def comparison(self, value: object, at: str) -> Comparison:
        key, operands = _only_entry(value, at, tuple(Operator))
        operator, at = Operator(key), f"{at}.{key}"
        name = "values" if operator in LISTS else "value"
        required = ("columnName",) if operator in NULL_TESTS else ("columnName", name)
        found = reading.mapping(operands, at, required=required)
        column = reading.text(found["columnName"], f"{at}.columnName", longest=MAX_COLUMN)
        if operator in NULL_TESTS:
            return Comparison(column, operator)
        if operator in LISTS:
            return Comparison(column, operator, self.listed(found[name], f"{at}.values"))
        text = reading.text(found[name], f"{at}.value")
        if operator in PATTERNS:
            _check_pattern(text, f"{at}.value")
        return Comparison(column, operator, (text,))

    def listed(self, value: object, at: str) -> tuple[str, ...]:
        values = reading.listed(value, at, most=MAX_VALUES)
        self.values += len(values)
        if self.values > MAX_VALUES:
            raise InvalidInput(f"the row filter lists more than {MAX_VALUES:,} values")
        return tuple(reading.text(one, f"{at}[{place}]") for place, one in enumerate(values))


def _only_entry(value: object, at: str, keys: tuple[str, ...]) -> tuple[str, object]:
    entries = reading.mapping(value, at, optional=keys)
    if len(entries) != 1:
        raise InvalidInput(f"{at} has {len(entries)} keys; it must have one of {', '.join(keys)}")
    ((key, inner),) = entries.items()
    return key, inner


def _check_pattern(pattern: str, at: str) -> None:
    if len(pattern) > MAX_PATTERN:
        raise InvalidInput(f"{at} is a pattern of more than {MAX_PATTERN} characters")
    escaped = pattern.replace("\\\\", "").split("\\")[1:]
    if not all(rest[:1] in ("%", "_") for rest in escaped):
        raise InvalidInput(rf"{at} has a \ that is not before %, _ or another \: write it twice")
