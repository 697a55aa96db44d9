"""Decides whether tables that somebody else wrote can be buckets of one collection, and of which.

Pure: what tables are like goes in, the collection's spec and what is wrong with the others comes
out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from atoll.core.errors import InvalidInput
from atoll.core.text import some_of
from atoll.vectors import indexspec, planning, rabitq, schemas
from atoll.vectors.ids import MAX_ROWS
from atoll.vectors.layout import RAW_COLUMN
from atoll.vectors.model import CODE_COLUMN, CollectionSpec, DistanceType, Dtype, IndexSpec
from atoll.vectors.sources.names import RESERVED_NAMES, Names

_DTYPES: dict[pa.DataType, Dtype] = {pa.float32(): "float32", pa.float16(): "float16"}


@dataclass(frozen=True)
class AdoptOptions:
    """What `adopt` may be told.

    Attributes:
        vector_column, id_column: their names in the tables; None looks for the usual names.
        distance_type: what "near" means; None takes what the indexes were made for.
        tables: which tables; empty takes all.
        skip_unfit: leave out tables that do not fit, instead of refusing.
    """

    vector_column: str | None = None
    id_column: str | None = None
    distance_type: DistanceType | None = None
    tables: tuple[str, ...] = ()
    skip_unfit: bool = False


@dataclass(frozen=True)
class TableFacts:
    """What a table is like.

    Attributes:
        name: without ".lance".
        rows: live rows.
        schema: its columns.
        has_stable_row_ids: whether rows go by numbers of Lance's own, which we do not follow.
        indexes: per column with a vector index the type of it, and its sizes.
        metrics: per such column the distance its index was made for.
    """

    name: str
    rows: int
    schema: pa.Schema
    has_stable_row_ids: bool
    indexes: Mapping[str, tuple[str, IndexSpec]]
    metrics: Mapping[str, DistanceType]


@dataclass(frozen=True)
class Fitted:
    """What came of it.

    Attributes:
        spec: the collection's.
        indexes: how each table that fits is searched.
        unfit: what is wrong with each of the others.
        hidden: further columns that not all tables have alike; nobody sees them.
    """

    spec: CollectionSpec
    indexes: Mapping[str, IndexSpec]
    unfit: Mapping[str, str]
    hidden: tuple[str, ...]


def fit(tables: Sequence[TableFacts], options: AdoptOptions, into: CollectionSpec | None) -> Fitted:
    """Sort tables into those that fit each other and the others.

    The first by name that could be a bucket decides names and dimension.

    Args:
        tables: what there is.
        options: as given.
        into: the spec of the collection they join; None makes one.

    Raises:
        InvalidInput: none fits and there is no collection yet, or the indexes are for different
            distances.
    """
    if into is not None:
        options = _of_collection(options, into)
    unfit: dict[str, str] = {}
    good: list[TableFacts] = []
    roles = ("", "", into.dim if into else 0)
    for table in sorted(tables, key=lambda table: table.name):
        try:
            found = _roles(table, options)
            if not good:
                roles = (*found[:2], roles[2] or found[2])
            _check_alike(found, roles)
            if into is not None:
                _check_columns(table, into)
        except InvalidInput as error:
            unfit[table.name] = error.message
        else:
            good.append(table)
    if not good and into is None:
        shown = [f"{name}: {why}" for name, why in unfit.items()]
        raise InvalidInput(f"no table can be adopted: {some_of(shown, separator='; ')}")
    spec, hidden = (into, ()) if into is not None else _new_spec(good, roles, options)
    indexes = {table.name: _index_of(table, spec) for table in good}
    return Fitted(spec, indexes, unfit, hidden)


def _of_collection(options: AdoptOptions, spec: CollectionSpec) -> AdoptOptions:
    return replace(
        options,
        vector_column=spec.vector_column,
        id_column=spec.id_column,
        distance_type=spec.distance_type,
    )


def _roles(table: TableFacts, options: AdoptOptions) -> tuple[str, str, int]:
    """Find vector column, id column and dimension of a table that can be read at all."""
    columns = {field.name: f"{field.name} ({field.type})" for field in table.schema}
    names = Names(options.vector_column, options.id_column)
    vector, name = names.vector_in(columns, "it"), names.id_in(columns, "it")
    kind = table.schema.field(vector).type
    if not pa.types.is_fixed_size_list(kind) or kind.value_type not in _DTYPES:
        raise InvalidInput(f"column {vector!r} is {kind}, not a fixed number of float32 or float16")
    id_kind = schemas.plain_type(table.schema.field(name).type)
    if not (_is_text(id_kind) or pa.types.is_integer(id_kind)):
        raise InvalidInput(f"column {name!r} is {id_kind}; ids are text or integers")
    if not 0 < table.rows < MAX_ROWS:
        raise InvalidInput(f"it holds {table.rows:,} rows; 1 to {MAX_ROWS - 1:,} can be adopted")
    if table.has_stable_row_ids:
        raise InvalidInput("it was made with stable row ids, which cannot be read by place")
    if vector in table.indexes and table.indexes[vector][0] != "IVF_PQ":
        raise InvalidInput(f"its index is {table.indexes[vector][0]}; adopted are IVF_PQ and none")
    return vector, name, kind.list_size


def _check_alike(found: tuple[str, str, int], first: tuple[str, str, int]) -> None:
    for what, mine, theirs in zip(("vectors", "ids", "dimension"), found, first, strict=True):
        if mine != theirs:
            word = "is" if what == "dimension" else "are in column"
            raise InvalidInput(f"its {what} {word} {mine!r}, that of the others {theirs!r}")


def _check_columns(table: TableFacts, spec: CollectionSpec) -> None:
    wanted = schemas.decode_schema(spec.arrow_schema)
    kind = table.schema.field(spec.vector_column).type.value_type
    if spec.dtype not in ("float32", dtype := _DTYPES[kind]):
        raise InvalidInput(f"its vectors are {dtype}, those of the collection {spec.dtype}")
    for name in spec.columns:
        at = table.schema.get_field_index(name)
        if at < 0 or schemas.plain_type(table.schema.field(at).type) != wanted.field(name).type:
            raise InvalidInput(f"it has no column {name!r} of type {wanted.field(name).type}")


def _new_spec(
    tables: Sequence[TableFacts], roles: tuple[str, str, int], options: AdoptOptions
) -> tuple[CollectionSpec, tuple[str, ...]]:
    vector, name, dim = roles
    kinds = {table.schema.field(vector).type.value_type for table in tables}
    # Each float16 is a float32: as such the narrower tables are read.
    dtype: Dtype = "float32" if pa.float32() in kinds else "float16"
    extra, hidden = _common_columns(tables, (vector, name))
    largest = max(table.rows for table in tables)
    spec = indexspec.resolve("rabitq", dim, largest, num_partitions=None, num_sub_vectors=None)
    item = pa.float32() if dtype == "float32" else pa.float16()
    code = pa.binary(rabitq.code_dtype(dim).itemsize)
    fields = [
        pa.field(vector, pa.list_(item, dim), metadata=RAW_COLUMN),
        pa.field(name, pa.string()),
        *extra,
        pa.field(CODE_COLUMN, code, metadata=RAW_COLUMN),
    ]
    made = CollectionSpec(
        dim=dim,
        dtype=dtype,
        distance_type=options.distance_type or _common_metric(tables, vector),
        vector_column=vector,
        id_column=name,
        columns={field.name: str(field.type) for field in extra},
        arrow_schema=schemas.encode_schema(pa.schema(fields)),
        embedder=None,
        index=spec,
    )
    return made, hidden


def _common_columns(
    tables: Sequence[TableFacts], taken: tuple[str, str]
) -> tuple[list[pa.Field], tuple[str, ...]]:
    """Choose the further columns that all tables have with one type; the rest is hidden."""
    kinds: dict[str, list[pa.DataType]] = {}
    for table in tables:
        for field in table.schema:
            kinds.setdefault(field.name, []).append(schemas.plain_type(field.type))
    kept = [
        pa.field(name, found[0])
        for name, found in kinds.items()
        if name not in (*taken, *RESERVED_NAMES)
        and len(found) == len(tables)
        and len(set(found)) == 1
        and planning.is_storable(found[0])
    ]
    shown = {*taken, *(field.name for field in kept)}
    return kept, tuple(name for name in kinds if name not in shown)


def _common_metric(tables: Sequence[TableFacts], vector: str) -> DistanceType:
    found: dict[DistanceType, list[str]] = {}
    for table in tables:
        if vector in table.metrics:
            found.setdefault(table.metrics[vector], []).append(table.name)
    if len(found) > 1:
        shown = [f"{metric} in {some_of(names)}" for metric, names in found.items()]
        raise InvalidInput(
            f"the indexes are for different distances ({some_of(shown, separator='; ')}); "
            "choose one with --distance-type: the tables of others are then searched row by row"
        )
    return next(iter(found), "cosine")


def _index_of(table: TableFacts, spec: CollectionSpec) -> IndexSpec:
    if table.metrics.get(spec.vector_column) != spec.distance_type:
        return IndexSpec("flat")
    return table.indexes[spec.vector_column][1]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
