"""The map step through Lance's own index, the post's way: candidates of each bucket by itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atoll.vectors.ivfpq import metric
from atoll.vectors.lanceerrors import lance_errors
from atoll.vectors.model import CollectionSpec
from atoll.vectors.options import SearchOptions
from atoll.vectors.search import DEFAULT_NPROBES
from atoll.vectors.store import Table, reading


def map_bucket(
    table: Table,
    queries: NDArray[np.float32],
    spec: CollectionSpec,
    options: SearchOptions,
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ask Lance for the k x refine_factor rows of each query that its index deems nearest.

    They are those that Lance would refine. It is not asked to: the one kernel that all paths share
    does, and of rows at equal distances Lance would return any. Where `nprobes` is not given Lance
    reads at least 20 partitions and goes on until enough rows (that pass the filter) are found.

    Returns:
        (n,) which query, and the row of the bucket.
    """
    none = np.empty(0, np.int64)
    asking, found_rows = [none], [none]
    cells = spec.index_of(table.bucket).num_partitions
    nprobes = min(options.nprobes, cells) if options.nprobes and cells else None
    for number, query in enumerate(queries):
        nearest = {
            "column": spec.vector_column,
            "q": query,
            "k": k * options.refine_factor,
            "metric": metric(spec.distance_type),
            "minimum_nprobes": nprobes or DEFAULT_NPROBES,
            "maximum_nprobes": nprobes,
        }
        named, is_asked = f"searching table {table.bucket.name}", bool(options.where)
        with lance_errors(named, user_input=is_asked), reading(table.dataset):
            found = table.dataset.to_table(
                columns=[],
                nearest={name: value for name, value in nearest.items() if value is not None},
                filter=options.where,
                prefilter=True,
                with_row_address=True,
                # Lance warns on every call that leaves _distance out without saying so.
                disable_scoring_autoprojection=True,
            )
        rows = table.positions(found["_rowaddr"])
        asking.append(np.full(len(rows), number))
        found_rows.append(rows)
    return np.concatenate(asking), np.concatenate(found_rows)
