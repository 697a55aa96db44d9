"""Which rows pass a row filter: once as an expression that a scan takes, once over a batch.

SQL's three-valued logic, with one addition: NaN is as unknown as NULL and passes no comparison.
(Engines disagree on NaN, and statistics that skip row groups leave it out.) Texts are compared by
code points, case and all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from atoll.core.errors import InvalidInput
from atoll.mesh.filters.columntypes import (
    Kind,
    comparable,
    field_named,
    kind_of,
    plain_values,
    short_name,
)
from atoll.mesh.filters.conditions import (
    LISTS,
    NULL_TESTS,
    PATTERNS,
    Comparison,
    Condition,
    Group,
    Joint,
    Operator,
    comparisons,
)
from atoll.mesh.filters.literals import literal
from atoll.mesh.filters.reading import named


@dataclass(frozen=True)
class Checked:
    """A condition that fits a schema.

    Attributes:
        condition: the tree.
        values: of each comparison, what it holds its column against: 0, 1 or more values in the
            `comparable` type of the column.
        schema: the fields it uses.
    """

    condition: Condition
    values: Mapping[Comparison, pa.Array]
    schema: pa.Schema


def checked(condition: Condition, schema: pa.Schema) -> Checked:
    """Hold a condition against the columns of a table.

    Raises:
        InvalidInput: a column is not there (or twice), is nested, cannot be compared this way, or
            a value is none of its type's; names column and operator.
    """
    found = list(comparisons(condition))
    values = {comparison: _values(comparison, schema) for comparison in found}
    fields = [schema.field(name) for name in dict.fromkeys(one.column for one in found)]
    return Checked(condition, values, pa.schema(fields))


def expression(condition: Checked) -> pc.Expression:
    """Write a condition for one scan of a dataset; a NULL outcome keeps the row out, too."""
    return _outcome(condition, lambda field: _cast(pc.field(field.name), field.type))


def passing(condition: Checked, batch: pa.RecordBatch) -> pa.BooleanArray:
    """Tell of each row whether it passes; without NULLs.

    Args:
        condition: checked with the batch's own types.
        batch: has the condition's columns, and may have others.
    """
    outcome = _outcome(condition, lambda field: _cast(batch.column(field.name), field.type))
    return pc.fill_null(outcome, False)


def keep(condition: Condition, table: pa.Table) -> pa.Table:
    """Return the rows that pass, in their order, with all columns in `plain` types.

    Raises:
        InvalidInput: the condition does not fit the table.
    """
    columns = [plain_values(column) for column in table.columns]
    table = pa.table(columns, table.column_names)
    return table.filter(expression(checked(condition, table.schema)))


def _values(comparison: Comparison, schema: pa.Schema) -> pa.Array:
    dtype = comparable(field_named(schema, comparison.column).type)
    at = f"row filter on column {named(comparison.column)}: {comparison.operator.value}"
    if comparison.operator not in _OPERATORS[kind_of(dtype)]:
        raise InvalidInput(f"{at} does not apply to {short_name(dtype)}")
    if not comparison.values:
        return pa.nulls(0)
    try:
        return pa.array([literal(text, dtype) for text in comparison.values], dtype)
    except ValueError as error:
        raise InvalidInput(f"{at} cannot take a value: {error}") from None


def _outcome(condition: Checked, operand: Callable[[pa.Field], Any]) -> Any:
    """Evaluate a tree over what `operand` gives for a field: an array, or an expression."""

    def outcome(part: Condition) -> Any:
        if isinstance(part, Group):
            join = pc.and_kleene if part.joint is Joint.AND else pc.or_kleene
            return _joined(join, [outcome(one) for one in part.conditions])
        return _compared(part, operand(condition.schema.field(part.column)), condition.values[part])

    return outcome(condition.condition)


def _joined(join: Callable[[Any, Any], Any], parts: list[Any]) -> Any:
    """Join by halves: a chain of 1,000 would be an expression 1,000 deep."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return join(_joined(join, parts[:middle]), _joined(join, parts[middle:]))


def _compared(comparison: Comparison, column: Any, values: pa.Array) -> Any:
    operator = comparison.operator
    if operator in NULL_TESTS:
        return pc.is_null(column) if operator is Operator.IS_NULL else pc.is_valid(column)
    if operator in PATTERNS:
        outcome = pc.match_like(column, comparison.values[0])
    elif operator in LISTS:
        outcome = pc.is_in(column, value_set=_both_zeros(values))
    else:
        outcome = _COMPARE[operator](column, values[0])
    if operator in (Operator.NOT_LIKE, Operator.NOT_IN):
        outcome = pc.and_kleene(pc.invert(outcome), pc.is_valid(column))
    if operator in (Operator.NOT_EQUAL_TO, Operator.NOT_IN) and kind_of(values.type) is Kind.FLOAT:
        outcome = pc.and_kleene(outcome, pc.invert(pc.is_nan(column)))
    return outcome


def _both_zeros(values: pa.Array) -> pa.Array:
    # is_in looks values up by their bits: 0.0 does not find -0.0.
    if kind_of(values.type) is Kind.FLOAT and pc.any(pc.equal(values, 0)).as_py():
        return pa.concat_arrays([values, pa.array([0.0, -0.0], values.type)])
    return values


def _cast(column: Any, dtype: pa.DataType) -> Any:
    return column if comparable(dtype) == dtype else column.cast(comparable(dtype))


_COMPARE = {
    Operator.EQUAL_TO: pc.equal,
    Operator.NOT_EQUAL_TO: pc.not_equal,
    Operator.GREATER_THAN: pc.greater,
    Operator.GREATER_THAN_OR_EQUAL_TO: pc.greater_equal,
    Operator.LESS_THAN: pc.less,
    Operator.LESS_THAN_OR_EQUAL_TO: pc.less_equal,
}
_EQUALITY = {*NULL_TESTS, *LISTS, Operator.EQUAL_TO, Operator.NOT_EQUAL_TO}
_ORDER = _EQUALITY | _COMPARE.keys()
_OPERATORS: Mapping[Kind, frozenset[Operator]] = {
    Kind.BOOL: frozenset(_EQUALITY),
    Kind.INT: frozenset(_ORDER),
    Kind.FLOAT: frozenset(_ORDER),
    Kind.DECIMAL: frozenset(_ORDER),
    Kind.TEXT: frozenset(Operator),
    Kind.DATE: frozenset(_ORDER),
    Kind.TIMESTAMP: frozenset(_ORDER),
    Kind.OTHER: frozenset(NULL_TESTS),
    Kind.NESTED: frozenset(),
}
