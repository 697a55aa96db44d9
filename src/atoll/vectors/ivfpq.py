"""Lance's own IVF_PQ index on a bucket, by the post's rule and with the collection's model.

It is there for parity with the post, for stock LanceDB clients, and as the baseline of every bench.
Partitions are assigned by us and handed over: Lance assigns approximately above about 1,024 of
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.compute.supervised import supervised
from atoll.core.files import scratch_folder
from atoll.storage import Storage
from atoll.vectors import store
from atoll.vectors.index import IndexModel
from atoll.vectors.model import DistanceType

INDEX_NAME = "embedding_idx"
# With a trained model Lance still samples rows for residuals it does not use; keep that small.
SAMPLE_RATE = 2
# Ten times and more what one slow processor takes.
DEADLINE_SECONDS = 600.0
DEADLINE_SECONDS_PER_ROW = 1e-3


def has_ivf_pq(table: lance.LanceDataset) -> bool:
    """Tell whether the open version carries the index."""
    with store.lance_errors("reading indexes"):
        return any(index.name == INDEX_NAME for index in table.describe_indices())


def indexes_on(table: lance.LanceDataset, column: str) -> dict[str, str]:
    """List the indexes of a column at the open version: name to type."""
    with store.lance_errors("reading indexes"):
        return {i.name: i.index_type for i in table.describe_indices() if i.field_names == [column]}


def read_ivf_pq(table: lance.LanceDataset, name: str = INDEX_NAME) -> None:
    """Read the whole index, to see that it can be.

    Raises:
        Corrupt, NotFound: it is damaged, or files of it are gone.
    """
    with store.lance_errors("reading the index"):
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
    model: IndexModel
    offsets: NDArray[np.int64]
    scratch: Path | None


def build_ivf_pq(task: IndexTask) -> None:
    """Add the index to the newest version of a table, in a child process.

    Lance uses all threads of this process for it, and can hang: then it is tried again.

    Raises:
        Unavailable: it hung, or was killed, again and again.
        Conflict: another writer was first.
    """
    deadline_s = DEADLINE_SECONDS + int(task.offsets[-1]) * DEADLINE_SECONDS_PER_ROW
    supervised(_build, task, deadline_s=deadline_s, what=f"the index of table {task.table}")


def _build(task: IndexTask) -> None:
    table, model = store.open_table(task.storage, task.table), task.model
    if has_ivf_pq(table):
        return  # an attempt that hung did commit it
    codebook = model.codebook.reshape(-1, model.codebook.shape[2])
    with (
        scratch_folder(task.scratch, "ivfpq") as folder,
        store.lance_errors("building the index"),
    ):
        table.create_index(
            task.column,
            "IVF_PQ",
            name=INDEX_NAME,
            metric=metric(model.distance_type),
            num_partitions=len(model.centroids),
            num_sub_vectors=len(model.codebook),
            ivf_centroids=_matrix(table, task.column, model.centroids),
            pq_codebook=_matrix(table, task.column, codebook),
            precomputed_partition_dataset=_write_partitions(table, task.offsets, folder),
            sample_rate=SAMPLE_RATE,
        )


def _matrix(
    table: lance.LanceDataset, column: str, rows: NDArray[np.float32]
) -> pa.FixedSizeListArray:
    # Lance wants the model in the type of the column.
    kind = table.schema.field(column).type.value_type.to_pandas_dtype()
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.astype(kind).reshape(-1)), rows.shape[1])


def _write_partitions(table: lance.LanceDataset, offsets: NDArray[np.int64], folder: Path) -> str:
    rows = table.to_table(columns=[], with_row_id=True)["_rowid"].combine_chunks()
    count = np.diff(offsets)
    partition = np.repeat(np.arange(len(count), dtype=np.uint32), count)
    schema = pa.schema([("row_id", pa.uint64()), ("partition", pa.uint32())])
    uri = str(folder / "partitions.lance")
    data = pa.table([rows.cast(pa.uint64()), pa.array(partition)], schema=schema)
    lance.write_dataset(data, uri, data_storage_version="2.0")
    return uri


def metric(distance_type: DistanceType) -> str:
    """Spell a distance type as Lance does."""
    return {"cosine": "cosine", "l2": "L2", "dot": "dot"}[distance_type]
