"""A collection built on a cluster as one of its steps; every row lost, doubled or altered shows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from atoll.core.config import Settings
from atoll.vectors.service import open_collection
from bench.fleetclusters import Cluster, await_

DIM, BUCKET_ROWS, BUCKETS = 32, 1000, 40


@dataclass
class Build:
    """A build under way.

    Attributes:
        cluster: on which.
        folder: an empty one, for its source and the collection.
        seed: of the vectors.
        buckets: how many are built.
    """

    cluster: Cluster
    folder: Path
    seed: int
    buckets: int = BUCKETS
    step_id: str = ""

    def begun(self):
        """Hand it in, and wait until the first bucket is there."""
        self.folder.mkdir(parents=True)
        self.source, self.collection = self.folder / "rows.npy", self.folder / "collection"
        rng = np.random.default_rng(self.seed)
        self.vectors = rng.standard_normal((self.buckets * BUCKET_ROWS, DIM), dtype=np.float32)
        np.save(self.source, self.vectors)
        how = ("--executor", "fleet", "--bucket-rows", BUCKET_ROWS, "--no-calibrate")
        self.step_id = self.cluster.submit(
            "atoll", "create", self.collection, self.source, *how, name="build"
        )
        await_("a bucket", self._is_begun)
        return self

    def _is_begun(self):
        return self.is_over() or any(self.collection.glob("*.lance"))

    def is_over(self):
        return self.cluster.step(self.step_id).state.is_over

    def is_exact(self):
        """Wait until it ended; whether the collection has each row once, as it was given."""
        self.cluster.completed(self.step_id)
        collection = open_collection(str(self.collection), Settings())
        if not collection.verify().is_clean:
            return False
        out = self.folder / "rows"
        collection.export(out, format="parquet")
        found = pq.read_table(out)
        numbers = np.array([int(one.rpartition(":")[2]) for one in found["id"].to_pylist()])
        if not np.array_equal(np.sort(numbers), np.arange(len(self.vectors))):
            return False
        vectors = np.stack(found["embedding"].to_numpy(zero_copy_only=False))
        return np.array_equal(vectors, self.vectors[numbers])
