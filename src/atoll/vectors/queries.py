"""Queries: from a file, an array or ids already stored, to checked vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.text import counted, some_of
from atoll.vectors.distance import unsearchable
from atoll.vectors.model import CollectionSpec, Embedder
from atoll.vectors.sources import SUFFIXES, Source, open_sources
from atoll.vectors.sources.columns import ID, VECTOR


@dataclass(frozen=True, eq=False)
class QueryBatch:
    """Query vectors with their names.

    Attributes:
        ids: (q,) what each query is called in the result.
        vectors: (q, dim) float32.
        embedder: what made them; None where unknown.
    """

    ids: list[str]
    vectors: NDArray[np.float32]
    embedder: Embedder | None = None

    def __len__(self) -> int:
        """Count the queries."""
        return len(self.ids)

    def slice(self, start: int, stop: int) -> QueryBatch:
        """Take some of them."""
        return QueryBatch(self.ids[start:stop], self.vectors[start:stop], self.embedder)


def as_queries(
    given: Any,
    spec: CollectionSpec,
    settings: Settings,
    *,
    model_path: str | Path | None = None,
    ids: str | Path | None = None,
) -> QueryBatch:
    """Turn what a caller gives into checked queries.

    Args:
        given: a `QueryBatch`, a (q, dim) or (dim,) array, or the path of a file: FASTA is embedded
            with the collection's own model, HDF5, Parquet, .npy and .fvecs hold vectors.
        spec: what the collection holds.
        settings: threads for embedding, how to reach stores.
        model_path: folder of the model's weights, where the model needs one.
        ids: text file of ids for .npy and .fvecs.

    Raises:
        InvalidInput: two queries of one id, another dimension or model than the collection's, NaN
            or infinity, a zero vector under cosine, no query at all.
    """
    if isinstance(given, str | Path):
        batch = _read(given, spec, settings, model_path, ids)
    elif isinstance(given, QueryBatch):
        vectors = np.ascontiguousarray(given.vectors, np.float32)
        batch = replace(given, vectors=vectors)
        _check_ids(batch.ids, [f"query {number}" for number in range(1, len(batch) + 1)])
    else:
        batch = _from_array(given)
    _check(batch, spec)
    return batch


def embed_queries(
    ids: Sequence[str],
    sequences: Sequence[str],
    spec: CollectionSpec,
    settings: Settings,
    model_path: str | Path | None = None,
) -> QueryBatch:
    """Embed protein sequences with the collection's own model.

    Raises:
        InvalidInput: the collection does not say what made its vectors, or the model at hand
            differs.
    """
    from atoll.vectors.embed.models import ModelOptions, load_model

    if spec.embedder is None:
        raise InvalidInput(
            "this collection does not record which model made its vectors, so sequences cannot be "
            "embedded to match; give query vectors (HDF5, .npy, Parquet) instead"
        )
    options = ModelOptions(
        path=Path(model_path) if model_path is not None else None,
        precision=spec.embedder.precision,
        threads=settings.threads,
    )
    model = load_model(spec.embedder.name, options)
    return QueryBatch(list(ids), model.embed(list(sequences)), model.embedder)


def _read(
    path: str | Path,
    spec: CollectionSpec,
    settings: Settings,
    model_path: str | Path | None,
    ids: str | Path | None,
) -> QueryBatch:
    if str(path).lower().endswith(tuple(SUFFIXES)):
        batch = read_whole(open_sources([path], ids=ids, storage_options=settings.storage))
        _check_ids(batch.ids, [f"query {number}" for number in range(1, len(batch) + 1)])
        return batch
    if ids is not None:
        raise InvalidInput(f"--ids goes with .npy and .fvecs; {path} is FASTA, with ids of its own")
    from atoll.vectors.embed.fasta import read_fasta

    records = list(read_fasta(path, options=settings.storage))
    _check_ids([r.id for r in records], [f"{r.file}:{r.line}" for r in records])
    return embed_queries(
        [record.id for record in records],
        [record.sequence for record in records],
        spec,
        settings,
        model_path,
    )


def _check_ids(ids: Sequence[str], places: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for name, place in zip(ids, places, strict=True):
        if (earlier := first.setdefault(name, place)) is not place:
            raise InvalidInput(
                f"query id {name!r} stands at {earlier} and at {place}; hits are told apart by the "
                "query's id: rename one, or leave it out",
                id=name,
            )


def read_whole(sources: Sequence[Source]) -> QueryBatch:
    """Read sources into memory, one after the other, without further columns."""
    vectors = np.empty((sum(source.rows for source in sources), sources[0].dim), np.float32)
    names: list[str] = []
    for source in sources:
        for batch in source.read(columns=()):
            rows = batch.column(VECTOR).flatten().to_numpy().reshape(len(batch), -1)
            vectors[len(names) : len(names) + len(batch)] = rows
            names += batch.column(ID).to_pylist()
    embedders = [source.embedder for source in sources if source.embedder]
    return QueryBatch(names, vectors, embedders[0] if embedders else None)


def _from_array(given: Any) -> QueryBatch:
    try:
        vectors = np.asarray(given, np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"queries of type {type(given).__name__} are neither vectors nor the path of a file"
        ) from error
    vectors = np.ascontiguousarray(np.atleast_2d(vectors))
    if vectors.ndim != 2:
        raise InvalidInput(f"queries have {vectors.ndim} dimensions; give (n, dim) or (dim,)")
    return QueryBatch(list(map(str, range(len(vectors)))), vectors)


def _check(batch: QueryBatch, spec: CollectionSpec) -> None:
    if not len(batch):
        raise InvalidInput("there is no query; give at least one")
    spec.check_vectors("the queries", batch.vectors.shape[1], batch.embedder)
    for why, bad in unsearchable(batch.vectors, spec.distance_type).items():
        if bad.any():
            names = [repr(batch.ids[row]) for row in np.flatnonzero(bad)]
            raise InvalidInput(
                f"{len(names):,} of {counted(len(batch), 'query', 'queries')} cannot be searched "
                f"with, {some_of(names)}: {why}",
                queries=len(names),
            )
