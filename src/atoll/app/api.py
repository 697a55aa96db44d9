"""The public functions: `atoll.create`, `atoll.adopt` and `atoll.open`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atoll.app.settings import read_settings
from atoll.compute.port import Executor
from atoll.core.config import Settings
from atoll.core.progress import OnProgress, silent
from atoll.vectors.collection import Collection
from atoll.vectors.fitting import AdoptOptions
from atoll.vectors.model import DistanceType
from atoll.vectors.options import BuildOptions, given_options
from atoll.vectors.service import adopt_collection, create_collection, open_collection


def create(
    uri: str | Path,
    sources: Sequence[str | Path] | str | Path,
    *,
    force: bool = False,
    options: BuildOptions | None = None,
    settings: Settings | None = None,
    executor: Executor | None = None,
    on_progress: OnProgress = silent,
    **given: Any,
) -> Collection:
    """Build a collection: plan, train once, write and index each bucket, commit.

    Killed anywhere, the same call finishes the work without repeating finished buckets. Called
    again after it ended, it opens what it made.

    Args:
        uri: a folder or `s3://bucket/prefix`.
        sources: files, folders, globs or URLs of vectors: HDF5 (`embedding`, `id`), Parquet, .npy,
            .fvecs.
        force: replace a collection that is there; its old tables stay until `gc`.
        options: how to build; or give its fields as keywords: `bucket_rows`, `bucket_bytes`,
            `distance_type` ("cosine", "l2", "dot"), `dtype` ("float32", "float16", "int8"),
            `vector_column`, `id_column`, `ids`, `batch_rows`, `index` ("rabitq", "ivf_pq",
            "flat"), `num_partitions` (a number, or "auto" to try several on a sample), `recall`
            (what "auto" must hold), `num_sub_vectors`, `bits`, `device`, `workers`, `on_invalid`,
            `on_duplicate` ("error", "skip"), `seed`, `calibrate`.
        settings: threads, memory, stores; None reads the configuration file and the environment.
        executor: where buckets are built; None uses processes on this machine.
        on_progress: told as stages go on.

    Returns:
        The open collection.

    Raises:
        InvalidInput: sources that cannot be read, do not fit each other, hold rows that cannot be
            searched (NaN, infinity, zero under cosine) or duplicate ids.
        Conflict: something else is there, or another create won.
        Unavailable, Forbidden: the store or the scratch folder fails.
    """
    return create_collection(
        uri,
        sources,
        options=given_options(options, given),
        settings=settings or default_settings(),
        force=force,
        executor=executor,
        on_progress=on_progress,
    )


def adopt(
    uri: str | Path,
    *,
    vector_column: str | None = None,
    id_column: str | None = None,
    distance_type: DistanceType | None = None,
    tables: Sequence[str] = (),
    skip_unfit: bool = False,
    settings: Settings | None = None,
    on_progress: OnProgress = silent,
) -> Collection:
    """Make a collection of a LanceDB database as it is; no table is rewritten.

    Called again, it takes up tables that are new or have changed.

    Args:
        uri: folder or `s3://bucket/prefix` of the tables.
        vector_column, id_column: their names; None looks for the usual ones.
        distance_type: "cosine", "l2" or "dot"; None takes what the indexes were made for.
        tables: which tables; empty takes all.
        skip_unfit: leave out tables that do not fit, with a warning in the log.
        settings: threads, memory, stores; None reads the configuration file and the environment.
        on_progress: told as stages go on.

    Returns:
        The open collection.

    Raises:
        NotFound: there are no tables.
        InvalidInput: tables do not fit each other, or an id occurs twice.
        Conflict: the place is a collection that was created, not adopted.
        Unavailable, Forbidden: the store fails.
    """
    options = AdoptOptions(vector_column, id_column, distance_type, tuple(tables), skip_unfit)
    return adopt_collection(
        uri, options=options, settings=settings or default_settings(), on_progress=on_progress
    )


def open(
    uri: str | Path, *, version: int | None = None, settings: Settings | None = None
) -> Collection:
    """Open a collection.

    Args:
        uri: a folder or `s3://bucket/prefix`.
        version: an older version, to be searched as it was; None follows the newest.
        settings: threads, memory, stores; None reads the configuration file and the environment.

    Raises:
        NotFound: there is none, or that version is gone.
        Unavailable, Forbidden: the store does not answer, or does not let us in.
    """
    return open_collection(uri, settings or default_settings(), version)


def default_settings() -> Settings:
    """Read settings from the configuration file and the environment."""
    return read_settings(os.environ, Path.home())
