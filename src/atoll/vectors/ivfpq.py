"""Lance's own IVF_PQ index on a bucket, by the post's rule and with the collection's model.

It is there for parity with the post, for stock LanceDB clients, and as the baseline of every bench.
Partitions are assigned by us and handed over: Lance would compare every row with every centroid
again, and above about 1,024 of them only approximately.

    cut      neighbouring fragments to segments, one for a worker
    build    a segment each, from the collection's centroids and codebook, where the executor runs
    publish  segments merged to one, one commit

Lance can hang, so all it does runs in child processes with a deadline; and without a progress
callback, with which it hangs often.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.compute.port import Executor
from atoll.compute.supervised import supervised
from atoll.core.files import scratch_folder
from atoll.storage import Storage
from atoll.vectors import blobs, lanceerrors, store
from atoll.vectors.model import Blob, DistanceType

INDEX_NAME = "embedding_idx"
# With a trained model Lance still samples rows for residuals it does not use; keep that small.
SAMPLE_RATE = 2
# Ten times and more what one slow processor takes.
DEADLINE_SECONDS = 600.0
DEADLINE_SECONDS_PER_ROW = 1e-3
# A child takes as long to start as to index 7,000 rows of 960 dimensions.
MIN_SEGMENT_ROWS = 1 << 16
# Otherwise it warns of every partition that has no rows: in a segment most have none.
QUIET = {"LANCE_LOG": "error"}


def has_ivf_pq(table: lance.LanceDataset) -> bool:
    """Tell whether the open version carries the index."""
    with lanceerrors.lance_errors("reading indexes"):
        return any(index.name == INDEX_NAME for index in table.describe_indices())


def indexes_on(table: lance.LanceDataset, column: str) -> dict[str, str]:
    """List the indexes of a column at the open version: name to type."""
    with lanceerrors.lance_errors("reading indexes"):
        return {i.name: i.index_type for i in table.describe_indices() if i.field_names == [column]}


def read_ivf_pq(table: lance.LanceDataset, name: str) -> None:
    """Read the whole index, to see that it can be.

    Raises:
        Corrupt, NotFound: it is damaged, or files of it are gone.
    """
    with lanceerrors.lance_errors("reading the index"):
        table.prewarm_index(name)


@dataclass(frozen=True, eq=False)
class IndexTask:
    """What it takes to add the index to a table whose rows lie in partition order.

    Attributes:
        storage, table: where the bucket is.
        column: the vector column.
        model: centroids and codebook.
        offsets: (num_partitions + 1,) first row of each partition.
        scratch: folder for the partition numbers handed to Lance; None is the system's temporary
            folder.
    """

    storage: Storage
    table: str
    column: str
    model: Blob
    offsets: NDArray[np.int64]
    scratch: Path | None

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return int(self.offsets[-1])


@dataclass(frozen=True, eq=False)
class _Segment:
    """The index of rows [start, stop) of a version, which are those of fragments [first, last)."""

    task: IndexTask
    version: int
    first: int
    last: int
    start: int
    stop: int

    @property
    def label(self) -> str:
        return f"the index of rows {self.start:,} to {self.stop:,} of table {self.task.table}"


def build_ivf_pq(task: IndexTask, executor: Executor) -> None:
    """Add the index to the newest version of a table, in one commit.

    Alone Lance uses all threads of a worker for it. Several workers build segments, which once
    merged give the same answers. What hangs or dies is tried again.

    Raises:
        Unavailable: it hung, or was killed, again and again.
        Conflict: another writer was first.
    """
    segments = _cut(task, executor.workers)
    what = f"the index of table {task.table}"
    if len(segments) == 1:
        supervised(_build, segments[0], deadline_s=_deadline_s(task.rows), what=what, env=QUIET)
        return
    outcomes = executor.map(_supervise, segments, name=lambda segment: segment.label)
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    built = [outcome.value for outcome in outcomes if outcome.value is not None]
    supervised(_publish, (task, built), deadline_s=_deadline_s(task.rows), what=what, env=QUIET)


def _deadline_s(rows: int) -> float:
    return DEADLINE_SECONDS + rows * DEADLINE_SECONDS_PER_ROW


def _cut(task: IndexTask, workers: int) -> list[_Segment]:
    table = store.open_table(task.storage, task.table)
    ends = np.cumsum([fragment.physical_rows for fragment in table.get_fragments()])
    starts = [0, *ends.tolist()]
    return [
        _Segment(task, int(table.version), first, last, starts[first], starts[last])
        for first, last in _shares(ends, min(workers, task.rows // MIN_SEGMENT_ROWS))
    ]


def _shares(ends: NDArray[np.int64], count: int) -> list[tuple[int, int]]:
    """Share neighbours out, at most `count` times, so that each share has about as many rows.

    >>> _shares(np.array([5, 10, 15, 20, 25]), 2)
    [(0, 3), (3, 5)]
    """
    wanted = ends[-1] * np.arange(1, count) / max(1, count)
    cuts = np.unique([0, *(np.searchsorted(ends, wanted) + 1), len(ends)])
    return list(pairwise(cuts.tolist()))


def _supervise(segment: _Segment) -> lance.Index:
    deadline_s = _deadline_s(segment.stop - segment.start)
    return supervised(_build_segment, segment, deadline_s=deadline_s, what=segment.label, env=QUIET)


def _build(segment: _Segment) -> None:
    _publish((segment.task, [_build_segment(segment)]))


def _build_segment(segment: _Segment) -> lance.Index:
    """Write a segment; it belongs to no version of the table yet."""
    task = segment.task
    table = store.open_table(task.storage, task.table, segment.version)
    fragments = table.get_fragments()[segment.first : segment.last]
    model = blobs.get_model(task.storage, task.model)
    codebook = model.codebook.reshape(-1, model.codebook.shape[2])
    with (
        scratch_folder(task.scratch, "ivfpq") as folder,
        lanceerrors.lance_errors("building the index"),
    ):
        return table.create_index_uncommitted(
            task.column,
            "IVF_PQ",
            name=INDEX_NAME,
            metric=metric(model.distance_type),
            num_partitions=len(model.centroids),
            num_sub_vectors=len(model.codebook),
            ivf_centroids=_matrix(table, task.column, model.centroids),
            pq_codebook=_matrix(table, task.column, codebook),
            precomputed_partition_dataset=_write_partitions(segment, fragments, folder),
            fragment_ids=[fragment.fragment_id for fragment in fragments],
            sample_rate=SAMPLE_RATE,
        )


def _publish(work: tuple[IndexTask, list[lance.Index]]) -> None:
    """Make segments the index of the table; Lance refuses a second one."""
    task, segments = work
    table = store.open_table(task.storage, task.table)
    if not has_ivf_pq(table):  # an attempt that hung may have committed it
        with lanceerrors.lance_errors("building the index"):
            # All at once: Lance refuses to merge what was merged.
            whole = table.merge_existing_index_segments(segments) if segments[1:] else segments[0]
            table.commit_existing_index_segments(INDEX_NAME, task.column, [whole])
    if segments[1:]:
        for segment in segments:
            for entry in task.storage.list(f"{task.table}.lance/_indices/{segment.uuid}"):
                task.storage.delete(entry.path)


def _matrix(
    table: lance.LanceDataset, column: str, rows: NDArray[np.float32]
) -> pa.FixedSizeListArray:
    # Lance wants the model in the type of the column.
    kind = table.schema.field(column).type.value_type.to_pandas_dtype()
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.astype(kind).reshape(-1)), rows.shape[1])


def _write_partitions(segment: _Segment, fragments: list[lance.LanceFragment], folder: Path) -> str:
    rows = pa.concat_arrays(
        [
            chunk
            for fragment in fragments
            for chunk in fragment.to_table(columns=[], with_row_id=True)["_rowid"].chunks
        ]
    )
    offsets = np.clip(segment.task.offsets, segment.start, segment.stop)
    count: NDArray[np.int64] = np.diff(offsets)
    partition = np.repeat(np.arange(len(count), dtype=np.uint32), count)
    schema = pa.schema([("row_id", pa.uint64()), ("partition", pa.uint32())])
    uri = str(folder / "partitions.lance")
    data = pa.table([rows.cast(pa.uint64()), pa.array(partition)], schema=schema)
    lance.write_dataset(data, uri, data_storage_version="2.0")
    return uri


def metric(distance_type: DistanceType) -> str:
    """Spell a distance type as Lance does."""
    return {"cosine": "cosine", "l2": "L2", "dot": "dot"}[distance_type]
