"""Tables of every type that a row filter can compare, row filters for them, and an oracle.

The oracle knows neither Arrow nor the code it judges: cells come as pairs of the text that stands
in a filter and the value that stands in the table.
"""

import math
import operator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
from hypothesis import strategies as st

from atoll.core.errors import InvalidInput

ALPHABET = "ab%_\\.*+([^$|\n \u00e9A\U0001f600"
TEXTS = st.text(ALPHABET, max_size=4).map(lambda text: (text, text))
EPOCH = datetime(1970, 1, 1)


def ints(lowest, highest):
    ends = st.sampled_from([lowest, highest, 0])
    return (st.integers(lowest, highest) | ends).map(lambda value: (str(value), value))


def floats(width):
    plain = st.floats(width=width, allow_nan=False, allow_infinity=False)
    return (plain | st.sampled_from([0.0, -0.0])).map(lambda value: (repr(value), value))


def decimals(digits, places):
    most = 10**digits - 1
    units = st.integers(-most, most) | st.sampled_from([most, -most])
    return units.map(lambda value: Decimal(f"{value}E-{places}")).map(lambda v: (f"{v:f}", v))


def dates(unit):
    return st.dates().map(lambda day: (day.isoformat(), (day - date(1970, 1, 1)).days * unit))


@st.composite
def moments(draw, per_second, zoned, low=datetime(1, 1, 2), high=datetime(9999, 12, 30)):
    clock = draw(st.datetimes(low, high))
    finest = max(1_000_000 // per_second, 1)
    clock = clock.replace(microsecond=clock.microsecond // finest * finest)
    since = (clock - EPOCH) // timedelta(microseconds=1) * per_second // 1_000_000
    if not zoned:
        return clock.isoformat(draw(st.sampled_from("T "))), since
    offset = timezone(timedelta(minutes=draw(st.integers(-1439, 1439))))
    text = clock.replace(tzinfo=UTC).astimezone(offset).isoformat()
    return text.replace("+00:00", "Z") if draw(st.booleans()) else text, since


NS = {"low": datetime(1678, 1, 1), "high": datetime(2261, 12, 31)}
# Name: type, and pairs of (text, stored value).
COLUMNS = {
    "bool": (pa.bool_(), st.booleans().map(lambda value: (str(value).lower(), value))),
    "int8": (pa.int8(), ints(-128, 127)),
    "int64": (pa.int64(), ints(-(2**63), 2**63 - 1)),
    "uint64": (pa.uint64(), ints(0, 2**64 - 1)),
    "float": (pa.float32(), floats(32)),
    "double": (pa.float64(), floats(64)),
    "decimal": (pa.decimal128(5, 2), decimals(5, 2)),
    "decimal32": (pa.decimal32(7, 3), decimals(7, 3)),
    "decimal256": (pa.decimal256(60, 10), decimals(60, 10)),
    "string": (pa.string(), TEXTS),
    "large": (pa.large_string(), TEXTS),
    "view": (pa.string_view(), TEXTS),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), TEXTS),
    "date32": (pa.date32(), dates(1)),
    "date64": (pa.date64(), dates(86_400_000)),
    "local.s": (pa.timestamp("s"), moments(1, False)),
    "local us": (pa.timestamp("us"), moments(1_000_000, False)),
    "utc_ms": (pa.timestamp("ms", "UTC"), moments(1_000, True)),
    "lisbon": (pa.timestamp("ns", "Europe/Lisbon"), moments(10**9, True, **NS)),
}
EQUALITY = ["equalTo", "notEqualTo", "in", "notIn", "isNull", "isNotNull"]
ORDER = ["greaterThan", "lessThan", "greaterThanOrEqualTo", "lessThanOrEqualTo"]
COMPARE = {
    "equalTo": operator.eq,
    "notEqualTo": operator.ne,
    "greaterThan": operator.gt,
    "lessThan": operator.lt,
    "greaterThanOrEqualTo": operator.ge,
    "lessThanOrEqualTo": operator.le,
}
PATTERNS = st.lists(
    st.sampled_from(["%", "_", r"\%", r"\_", r"\\", "a", "b", ".", "\n", "(", "\u00e9"]), max_size=6
).map("".join)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
WORDS = ["kind", "and", "or", "expression", "columnName", "value", "values", *EQUALITY, *ORDER]


@st.composite
def filtered_tables(draw, names=tuple(COLUMNS), deepest=2):
    """A table, a row filter in JSON, its cells ({column: {text: value}}), and rows as dicts."""
    names = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    cells = {name: dict(draw(st.lists(COLUMNS[name][1], min_size=1, max_size=3))) for name in names}
    found = {name: [None, *cells[name].values()] for name in names}
    for name in {"float", "double"}.intersection(names):
        found[name].append(math.nan)
    rows = [
        {name: chosen(draw, found[name]) for name in names} for _ in range(draw(st.integers(0, 8)))
    ]
    return table_of(rows, names), condition_of(draw, cells, deepest), cells, rows


def condition_of(draw, cells, deepest):
    if deepest and chosen(draw, [True, False]):
        parts = range(chosen(draw, [1, 2, 3]))
        joint = chosen(draw, ["and", "or"])
        return {joint: [condition_of(draw, cells, deepest - 1) for _ in parts]}
    name = chosen(draw, [*cells])
    kinds = EQUALITY if name == "bool" else EQUALITY + ORDER
    if "string" in str(COLUMNS[name][0]):
        kinds = [*kinds, "like", "notLike"]
    kind = chosen(draw, kinds)
    operands = {"columnName": name}
    if kind in ("in", "notIn"):
        operands["values"] = [chosen(draw, [*cells[name]]) for _ in range(chosen(draw, [1, 2]))]
    elif kind in ("like", "notLike"):
        operands["value"] = draw(PATTERNS)
    elif kind not in ("isNull", "isNotNull"):
        operands["value"] = chosen(draw, [*cells[name]])
    return {"expression": {kind: operands}}


PLACES = [st.integers(0, count - 1) for count in range(1, 20)]


def chosen(draw, options):
    # A strategy per number of options, made once: sampled_from takes most of the time otherwise.
    return options[draw(PLACES[len(options) - 1])]


def table_of(rows, names):
    arrays = {name: pa.array([row[name] for row in rows], COLUMNS[name][0]) for name in names}
    return pa.table({**arrays, "row": pa.array(range(len(rows)), pa.int32())})


def rows_that_pass(condition, cells, rows):
    """The numbers of the rows that SQL would keep."""
    return [place for place, row in enumerate(rows) if truth(condition, cells, row) is True]


def truth(condition, cells, row):
    """True, False, or None for unknown."""
    ((key, inner),) = condition.items()
    if key == "expression":
        return compared(inner, cells, row)
    found = [truth(one, cells, row) for one in inner]
    decisive = key == "or"
    if decisive in found:
        return decisive
    return None if None in found else not decisive


def compared(expression, cells, row):
    ((kind, operands),) = expression.items()
    name = operands["columnName"]
    value = row[name]
    if kind in ("isNull", "isNotNull"):
        return (value is None) == (kind == "isNull")
    if value is None or value != value:
        return None
    if kind in ("like", "notLike"):
        return is_like(value, operands["value"]) == (kind == "like")
    if kind in ("in", "notIn"):
        return any(value == cells[name][text] for text in operands["values"]) == (kind == "in")
    return COMPARE[kind](value, cells[name][operands["value"]])


def is_like(text, pattern):
    """SQL's LIKE with the escape character \\, by trying every length for %."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(is_like(text[start:], pattern[1:]) for start in range(len(text) + 1))
    if not text:
        return False
    if pattern[0] == "\\":
        return text[0] == pattern[1] and is_like(text[1:], pattern[2:])
    return pattern[0] in ("_", text[0]) and is_like(text[1:], pattern[1:])


def mutated(value, data):
    """Replace, rename, drop or add something somewhere in a tree."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 3)):
        key = data.draw(st.sampled_from([*value]))
        rest = {one: inner for one, inner in value.items() if one != key}
        change = data.draw(st.sampled_from(["into", "into", "rename", "drop", "add"]))
        if change == "into":
            return {**rest, key: mutated(value[key], data)}
        if change == "rename":
            return {**rest, data.draw(st.sampled_from(WORDS) | st.text(max_size=5)): value[key]}
        return rest if change == "drop" else {**value, data.draw(st.sampled_from(WORDS)): "x"}
    if isinstance(value, list) and value and data.draw(st.integers(0, 3)):
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], mutated(value[place], data), *value[place + 1 :]]
    return data.draw(JSON)


def refusal(call):
    """The message of InvalidInput; None: the call went well."""
    try:
        call()
    except InvalidInput as error:
        return error.message
    return None
