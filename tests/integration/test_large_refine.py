"""The largest shape of the post's queries, refined within what a function may have."""

import json
import subprocess
import sys

import numpy as np
import pytest
from vectordata import settings, write_parquet

import atoll
from atoll.vectors.distributed import steps
from atoll.vectors.distributed.run import Run
from atoll.vectors.options import search_options

# AWS Lambda's longest run, and the memory that `atoll deploy aws` gives the reducing function.
SECONDS, MEMORY_MB = 900, 3008
BUCKETS, BUCKET_ROWS, DIM = 18, 14_200, 960
K, REFINE_FACTOR = 50_000, 5


@pytest.mark.nightly
def test_50_000_neighbours_of_18_buckets_are_refined_within_memory_and_time(tmp_path):
    random = np.random.default_rng(11)
    centres = random.normal(size=(40, DIM)).astype(np.float32)
    files = []
    noise = random.normal(size=(BUCKET_ROWS, DIM)).astype(np.float32)
    for bucket in range(BUCKETS):
        # Other vectors in each bucket, as if drawn anew, which takes longer than to refine.
        vectors = centres[random.integers(0, 40, BUCKET_ROWS)] + np.roll(noise, bucket, axis=1)
        names = [f"p{bucket:02}_{row:05}" for row in range(BUCKET_ROWS)]
        files.append(write_parquet(tmp_path / f"{bucket:02}.parquet", vectors, names))
    reach = settings(tmp_path / "scratch", memory_bytes=1 << 30)
    collection = atoll.create(
        tmp_path / "c", files, settings=reach, bucket_rows=BUCKET_ROWS, workers=2,
        dtype="float16", num_partitions=16, calibrate=False,
    )  # fmt: skip
    assert len(collection.buckets) == BUCKETS
    query = centres[:1]
    options = search_options(k=K, nprobes=15, refine_factor=REFINE_FACTOR)
    run = collection.begin_run(tmp_path / "run", query, options)
    for position in steps.plan(run, reach)["buckets"]:
        steps.search_bucket(Run(run.storage), position, reach)
        # What the map step returns of a bucket, whatever k is.
        assert run.storage.size(f"_run/parts/{run.plan.key}/0/{position}") < 2_000_000
    assert run.plan.keep == K * REFINE_FACTOR
    done = subprocess.run(
        [sys.executable, "-c", REFINE, str(tmp_path / "run"), str(MEMORY_MB)],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["rows"] == K
    assert told["peak_mib"] < MEMORY_MB
    summary = Run(run.storage).summary()
    assert summary["hits"] == K
    lines = (tmp_path / "run" / "hits.csv").read_text().splitlines()
    distances = np.array([float(line.rsplit(",", 1)[1]) for line in lines[1:]])
    assert (np.diff(distances) >= 0).all()
    assert len({line.split(",")[2] for line in lines[1:]}) == K


# As a function would: the handler's own settings of memory, in a process of its own.
REFINE = """
import json, os, resource, sys
os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] = sys.argv[2]
from atoll.app.awslambda import handler
told = handler({"step": "refine", "run": sys.argv[1]}, None)
told["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(told))
"""
