"""Tables of one or many Parquet files, made of their footers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import date
from functools import reduce
from typing import Any

import pyarrow as pa

from atoll.core.errors import InvalidInput
from atoll.mesh.harvest.changes import schema_diff
from atoll.mesh.harvest.content import Content
from atoll.mesh.harvest.layout import partitions_of
from atoll.mesh.harvest.parquet import Footer
from atoll.mesh.harvest.schemas import check_names, columns_of, plain_type
from atoll.mesh.harvest.statistics import Statistics, comparable, fingerprint

# As Hive, Spark and Arrow write a missing value into a folder's name.
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_EPOCH = date(1970, 1, 1).toordinal()

File = tuple[str, Footer]


def do_agree(files: Iterable[File]) -> bool:
    """Tell whether files have the same columns, in any order, null or not, encoded anyhow."""
    # Files written alike share one schema object; see `parquet`.
    schemas = {id(footer.schema): footer.schema for _, footer in files}
    shapes = {
        frozenset((one.name, plain_type(one.type)) for one in each) for each in schemas.values()
    }
    return len(shapes) < 2


def as_table(files: Sequence[File], *, is_partitioned: bool) -> Content:
    """Make one table of files.

    Args:
        files: path and footer of each, at least one.
        is_partitioned: whether the paths say values of columns.

    Raises:
        InvalidInput: the files disagree, or a column is in them and in their paths.
    """
    schema = _common_schema(files)
    partitions = [partitions_of(path) if is_partitioned else () for path, _ in files]
    names = [name for name, _ in partitions[0]]
    for (path, _), found in zip(files, partitions, strict=True):
        if [name for name, _ in found] != names:
            raise InvalidInput(f"{path!r} is in other partitions than {files[0][0]!r}; move it")
    check_names([*schema.names, *names])
    rows = [footer.rows for _, footer in files]
    statistics = _joined([footer.statistics for _, footer in files])
    fields = []
    for at, name in enumerate(names):
        values = [None if found[at][1] == NULL_PARTITION else found[at][1] for found in partitions]
        kind, statistics[name] = _partition(values, rows)
        fields.append(pa.field(name, kind, nullable=None in values))
    types = {one.name: one.type for one in (*schema, *fields)}
    total = sum(rows)
    return Content(schema, total, fingerprint(types, total, statistics), pa.schema(fields))


def _common_schema(files: Sequence[File]) -> pa.Schema:
    """Return the columns of the first file; nullable where they are so in any."""
    first = files[0][1].schema
    if not do_agree(files):
        path, other = next(each for each in files if not do_agree([files[0], each]))
        change = schema_diff(columns_of(first), columns_of(other.schema))
        raise InvalidInput(
            f"its files disagree: from {files[0][0]!r} to {path!r} {change.sentence()}"
        )
    schemas = {id(footer.schema): footer.schema for _, footer in files}.values()
    nullable = {one.name for each in schemas for one in each if one.nullable}
    return pa.schema([one.with_nullable(one.name in nullable) for one in first])


def _joined(parts: Sequence[dict[str, Statistics]]) -> dict[str, Statistics]:
    return {
        name: reduce(Statistics.joined, (one[name] for one in parts if name in one))
        for name in parts[0]
    }


def _partition(values: Sequence[str | None], rows: Sequence[int]) -> tuple[pa.DataType, Statistics]:
    """Find the type of a partition and its statistics, given one value and the rows per file.

    Whole numbers, dates (2026-11-30) or, where one is neither, text.
    """
    kind, read = _partition_type([value for value in values if value is not None])
    known = Statistics()
    for value, count in zip(values, rows, strict=True):
        if value is None:
            known = known.joined(Statistics(nulls=count))
        elif count:
            plain = comparable(read(value), kind)
            known = known.joined(Statistics(0, plain, plain))
    return kind, known


def _partition_type(values: Sequence[str]) -> tuple[pa.DataType, Callable[[str], Any]]:
    if values and all(_WHOLE.fullmatch(value) for value in values):
        return pa.int64(), int
    if values and all(_DATE.fullmatch(value) for value in values):
        with suppress(ValueError):
            days = {value: date.fromisoformat(value).toordinal() - _EPOCH for value in values}
            return pa.date32(), days.__getitem__
    return pa.string(), str.encode
