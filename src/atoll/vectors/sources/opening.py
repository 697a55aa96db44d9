"""From what the caller names to sources that agree with each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from atoll.core.config import StorageOptions
from atoll.core.errors import InvalidInput, NotFound
from atoll.core.text import counted
from atoll.vectors.sources.arrays import open_npy, open_vecs
from atoll.vectors.sources.columns import ID, VECTOR
from atoll.vectors.sources.files import SourceFile, find_file, find_files
from atoll.vectors.sources.hdf5 import open_hdf5
from atoll.vectors.sources.names import Names, check_extra_names
from atoll.vectors.sources.parquet import open_parquet
from atoll.vectors.sources.source import Source
from atoll.vectors.sources.textids import TextIds, open_text_ids

_NAMED: dict[str, Callable[[SourceFile, Names], Source]] = {
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
    ".parquet": open_parquet,
}
_PLAIN: dict[str, Callable[[SourceFile, TextIds | None], Source]] = {
    ".npy": open_npy,
    ".fvecs": open_vecs,
    ".bvecs": open_vecs,
    ".ivecs": open_vecs,
}
SUFFIXES = (*_NAMED, *_PLAIN)


def open_sources(
    specs: Sequence[str | Path],
    *,
    vector_column: str | None = None,
    id_column: str | None = None,
    ids: str | Path | None = None,
    storage_options: StorageOptions = StorageOptions(),
) -> list[Source]:
    """Open files of vectors; none of their rows is read yet.

    Args:
        specs: files, folders, globs or storage URLs of them. HDF5 (.h5, .hdf5) and Parquet hold
            vectors, ids and further columns; .npy, .fvecs, .bvecs and .ivecs hold vectors only, and
            take their ids from `X.ids.txt` beside `X.npy`, or get file name and row number.
        vector_column: where the vectors are; None looks for "embedding", "embeddings", "vector",
            "vectors", then in Parquet for the only column of lists of numbers.
        id_column: where the ids are; None looks for "id", "ids".
        ids: text file of one id per line, for the only file where that is .npy or .fvecs.
        storage_options: how to reach remote files.

    Returns:
        Sources with rows, in the order of `specs`, those of one folder or glob by name. Files
        without rows are left out where others have some.

    Raises:
        NotFound, Forbidden: a file is missing or may not be read.
        InvalidInput: a file is damaged, of unknown kind or lacks a column; no file has rows; or two
            files differ in dim, embedder or the type of a column. Files are named.
    """
    files = find_files(specs, SUFFIXES, storage_options)
    if ids is not None and (len(files) != 1 or files[0].suffix not in _PLAIN):
        raise InvalidInput(
            f"--ids goes with exactly one file of {', '.join(_PLAIN)}, not with {len(files)} files"
            if len(files) != 1
            else f"--ids goes with {', '.join(_PLAIN)}; {files[0].uri} holds its own ids"
        )
    names = Names(vector_column, id_column)
    opened = [_open(file, names, ids, storage_options) for file in files]
    sources = [source for source in opened if source.rows]
    if not sources:
        where = opened[0].uri if len(opened) == 1 else f"each of the {len(opened)} files"
        raise InvalidInput(f"{where} has 0 rows; give a file with vectors")
    for source in sources:
        if source.dim < 1:
            raise InvalidInput(
                f"{source.uri} holds vectors of dim 0; write vectors of at least one number",
                file=source.uri,
            )
    _check_agreement(sources)
    return sources


def common_schema(sources: Sequence[Source]) -> pa.Schema:
    """Return the columns beside vector and id over all sources, in order of first appearance.

    Raises:
        InvalidInput: a column has two types; names both files.
    """
    found: dict[str, tuple[pa.Field, Source]] = {}
    for source in sources:
        for field in source.extra:
            first, holder = found.setdefault(field.name, (field, source))
            if first.type != field.type:
                raise InvalidInput(
                    f"column '{field.name}' is {first.type} in {holder.uri} but {field.type} in"
                    f" {source.uri}; write it with one type",
                    column=field.name,
                    files=[holder.uri, source.uri],
                )
    return pa.schema([field for field, _ in found.values()])


def with_columns(batch: pa.RecordBatch, extra: pa.Schema) -> pa.RecordBatch:
    """Give a batch the columns "vector", "id", then those of `extra`: null where it has none."""
    fields = [batch.schema.field(VECTOR), batch.schema.field(ID), *extra]
    names = set(batch.schema.names)
    arrays = [
        batch.column(field.name) if field.name in names else pa.nulls(len(batch), field.type)
        for field in fields
    ]
    return pa.record_batch(arrays, schema=pa.schema(fields))


def _open(
    file: SourceFile, names: Names, ids: str | Path | None, options: StorageOptions
) -> Source:
    if file.suffix in _NAMED:
        source = _NAMED[file.suffix](file, names)
        check_extra_names(source.extra.names, file.uri, (VECTOR, ID, "embedding"))
        return source
    if file.suffix in _PLAIN:
        text_ids = _text_ids(file, ids, options)
        source = _PLAIN[file.suffix](file, text_ids)
        if text_ids and text_ids.rows != source.rows:
            raise InvalidInput(
                f"{file.uri} has {counted(source.rows, 'row')} but {text_ids.file.uri} has"
                f" {counted(text_ids.rows, 'line')}; write one id per line and vector",
                files=[file.uri, text_ids.file.uri],
            )
        return source
    raise InvalidInput(
        f"{file.uri} is no kind of file Atoll reads vectors from ({', '.join(SUFFIXES)});"
        " FASTA files go through 'atoll embed' first",
        file=file.uri,
    )


def _text_ids(file: SourceFile, ids: str | Path | None, options: StorageOptions) -> TextIds | None:
    """Find the id file: the one given, or X.ids.txt beside X.npy where there is one."""
    if ids is not None:
        return open_text_ids(find_file(str(ids), options))
    beside = file.uri.removesuffix(Path(file.uri).suffix) + ".ids.txt"
    try:
        found = find_file(beside, options)
    except NotFound:
        return None
    return open_text_ids(found)


def _check_agreement(sources: Sequence[Source]) -> None:
    first = sources[0]
    known = next((source for source in sources if source.embedder), first)
    for source in sources:
        if source.dim != first.dim:
            raise InvalidInput(
                f"{first.uri} holds vectors of {first.dim} but {source.uri} of {source.dim};"
                " make one collection per dim",
                files=[first.uri, source.uri],
            )
        if source.embedder and source.embedder != known.embedder:
            raise InvalidInput(
                f"{known.uri} was embedded by {known.embedder} but {source.uri} by"
                f" {source.embedder}; embed them alike, or make one collection of each",
                files=[known.uri, source.uri],
            )
    common_schema(sources)
