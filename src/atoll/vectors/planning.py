"""Plans a create or an add: reads the sources' headers and decides what goes where."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.storage import Storage, local_path, open_storage
from atoll.vectors import indexspec, rabitq, schemas
from atoll.vectors.buckets import BucketPlan, FileSize, bucket_rows_for_bytes, pack
from atoll.vectors.ids import MAX_ROWS
from atoll.vectors.layout import RAW_COLUMN
from atoll.vectors.model import CODE_COLUMN, FORMAT_VERSION, CollectionSpec, PartitionChoice
from atoll.vectors.options import BuildOptions
from atoll.vectors.sources import Source, common_schema, open_sources

VECTOR_COLUMN, ID_COLUMN = "embedding", "id"
# Lance's own columns, ours, and those of a search result.
_RESERVED = re.compile(r"_code|_distance|_score|_row\w*|query_id|rank")
_NOT_STORABLE = (
    pa.types.is_map,
    pa.types.is_union,
    pa.types.is_interval,
    pa.types.is_run_end_encoded,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


@dataclass(frozen=True)
class Planned:
    """A create or add that has been thought through, with nothing written yet.

    Attributes:
        storage: the collection.
        sources: the files, by uri.
        buckets: what goes into which bucket.
        spec: schema, distance, index.
        options: as given.
        hash: of all that decides the result; names the build.
        choice: how the number of partitions was chosen, where that was left open.
    """

    storage: Storage
    sources: dict[str, Source]
    buckets: BucketPlan
    spec: CollectionSpec
    options: BuildOptions
    hash: str
    choice: PartitionChoice | None = None


def plan(
    uri: str | Path,
    sources: Sequence[str | Path] | str | Path,
    *,
    options: BuildOptions,
    settings: Settings,
    into: CollectionSpec | None = None,
) -> Planned:
    """Read the sources' headers and decide what goes where. Writes nothing.

    Args:
        uri: the collection.
        sources: files, folders, globs or URLs; or one.
        options: how to build.
        settings: how to reach stores.
        into: the collection's spec, for an add; its choices then overrule `options`.

    Raises:
        InvalidInput: a source cannot be read, or does not fit the others or the collection.
    """
    storage = open_collection_storage(uri, settings)
    opened = open_sources(
        [sources] if isinstance(sources, str | Path) else sources,
        vector_column=options.vector_column,
        id_column=options.id_column,
        ids=options.ids,
        storage_options=settings.storage,
    )
    rows = {source.uri: source for source in opened}
    first = opened[0]
    capacity = options.bucket_rows
    if options.bucket_bytes is not None:
        kind = into.index.kind if into else options.index
        dtype = into.dtype if into else options.dtype
        fitting = bucket_rows_for_bytes(options.bucket_bytes, first.dim, dtype, index=kind)
        capacity = min(fitting, MAX_ROWS - 1)
    if capacity >= MAX_ROWS:
        raise InvalidInput(f"--bucket-rows {capacity:,} is above {MAX_ROWS - 1:,}")
    buckets = pack([FileSize(s.uri, s.rows) for s in opened], bucket_rows=capacity)
    if not buckets.buckets:
        raise InvalidInput("the sources hold no rows; nothing to build")
    if into is None:
        spec = _new_spec(opened, options, max(bucket.rows for bucket in buckets.buckets))
    else:
        spec = into
        _check_fit(opened, spec, str(storage))
    return Planned(storage, rows, buckets, spec, options, _plan_hash(rows, buckets, spec, options))


def open_collection_storage(uri: str | Path, settings: Settings) -> Storage:
    """Open where a collection is or will be.

    Raises:
        InvalidInput: no collection can be there.
    """
    storage = open_storage(uri, settings.storage)
    storage.lance_uri()
    path = local_path(uri)
    if path is not None and path.is_file():
        raise InvalidInput(f"{path} is a file; a collection is a folder", uri=str(storage))
    return storage


def _new_spec(sources: Sequence[Source], options: BuildOptions, bucket_rows: int) -> CollectionSpec:
    dim, extra = sources[0].dim, _columns(sources)
    vector, name = options.vector_column or VECTOR_COLUMN, options.id_column or ID_COLUMN
    for column in (vector, name, *extra.names):
        _check_name(column)
    if vector == name or vector in extra.names or name in extra.names:
        raise InvalidInput(
            f"the sources have further columns {', '.join(extra.names)}: "
            f"{vector!r} and {name!r} are taken by the vectors and the ids; choose other names "
            "with --vector-column and --id-column"
        )
    spec = indexspec.resolve(
        options.index,
        dim,
        bucket_rows,
        num_partitions=options.num_partitions,
        num_sub_vectors=options.num_sub_vectors,
        bits=options.bits,
    )
    item = pa.type_for_alias(options.dtype)
    vectors = pa.field(vector, pa.list_(item, dim), metadata=RAW_COLUMN)
    fields = [vectors, pa.field(name, pa.string()), *extra]
    if spec.kind == "rabitq":
        fields.append(code_field(dim, spec.bits))
    return CollectionSpec(
        dim=dim,
        dtype=options.dtype,
        distance_type=options.distance_type,
        vector_column=vector,
        id_column=name,
        columns={field.name: str(field.type) for field in extra},
        arrow_schema=schemas.encode_schema(pa.schema(fields)),
        embedder=next((source.embedder for source in sources if source.embedder), None),
        index=spec,
    )


def code_field(dim: int, bits: int) -> pa.Field:
    """Describe the column of packed codes."""
    width = rabitq.code_dtype(dim, bits).itemsize
    return pa.field(CODE_COLUMN, pa.binary(width), metadata=RAW_COLUMN)


def _check_name(column: str) -> None:
    if not column or "." in column or not column.isprintable() or _RESERVED.fullmatch(column):
        raise InvalidInput(
            f"a column cannot be named {column!r}: names are printable, without '.', and other "
            "than _code, _distance, _score, _row..., query_id, rank; rename it",
            column=column,
        )


def _columns(sources: Sequence[Source]) -> pa.Schema:
    """Return the further columns as tables hold them.

    Raises:
        InvalidInput: a column is of a type that tables cannot hold.
    """
    fields = []
    for field in common_schema(sources):
        kind = schemas.plain_type(field.type)
        if not is_storable(kind):
            raise InvalidInput(
                f"column {field.name!r} is {kind}, which tables cannot hold; leave it out of the "
                "files, or write it as text",
                column=field.name,
            )
        fields.append(field.with_type(kind))
    return pa.schema(fields)


def is_storable(kind: pa.DataType) -> bool:
    """Tell whether tables can hold a type, as it is."""
    if schemas.plain_type(kind) != kind or any(is_kind(kind) for is_kind in _NOT_STORABLE):
        return False
    return all(is_storable(kind.field(number).type) for number in range(kind.num_fields))


def _check_fit(sources: Sequence[Source], spec: CollectionSpec, url: str) -> None:
    for source in sources:
        spec.check_vectors(source.uri, source.dim, source.embedder)
    schema = schemas.decode_schema(spec.arrow_schema)
    for column in _columns(sources):
        if column.name not in spec.columns:
            raise InvalidInput(
                f"the sources have a column {column.name!r} that collection {url} does not have "
                f"({', '.join(spec.columns) or 'it has no further columns'}); columns are fixed at "
                "create: leave it out of the files, or create another collection",
                column=column.name,
            )
        if (kind := schema.field(column.name).type) != column.type:
            raise InvalidInput(
                f"column {column.name!r} is {column.type} in the sources but {kind} in "
                f"collection {url}"
            )


def _plan_hash(
    sources: dict[str, Source], buckets: BucketPlan, spec: CollectionSpec, options: BuildOptions
) -> str:
    slices = [
        [(part.uri, sources[part.uri].version, part.start, part.stop) for part in bucket.slices]
        for bucket in buckets.buckets
    ]
    # A number of partitions that is open is decided by these, too.
    chosen = options.on_invalid, options.on_duplicate, options.seed, options.recall
    decides = (FORMAT_VERSION, spec, slices, *chosen)
    return hashlib.sha256(msgspec.json.encode(decides)).hexdigest()[:32]
