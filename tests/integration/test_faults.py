"""Collections under kills, races and broken places: the old state or the new one, never a mix."""

import json
import random
import signal
import time
from pathlib import Path

import lance
import numpy as np
import pytest
from commandline import atoll, ended, must, start
from vectordata import clustered, names, write_h5

DIM = 64
FILES, FILE_ROWS = 4, 3000


class Sample:
    """Source files, what a collection of them must hold, and how long a create of it takes."""

    def __init__(self, folder):
        self.files = []
        for number in range(FILES + 1):
            vectors = clustered(FILE_ROWS, DIM, seed=number)
            ids = names(FILE_ROWS, number * FILE_ROWS)
            self.files.append(write_h5(folder / f"{number}.h5", vectors, ids))
        self.queries = folder / "q.npy"
        np.save(self.queries, clustered(5, DIM, seed=99))
        began = time.monotonic()
        done = ended(start(*self.create(folder / "undisturbed")))
        self.seconds = time.monotonic() - began
        assert done.code == 0, done.err
        self.created = self.content(folder / "undisturbed")
        must(*self.add(folder / "undisturbed"))
        self.added = self.content(folder / "undisturbed")

    def create(self, place, *options):
        return ("create", place, *self.files[:FILES], "--bucket-rows", FILE_ROWS,
                "--batch-rows", 500, "--workers", 1, "-q", *options)  # fmt: skip

    def add(self, place, *options):
        return ("add", place, self.files[FILES], "--bucket-rows", FILE_ROWS // 2, "--workers", 1,
                "-q", *options)  # fmt: skip

    def content(self, place):
        """All rows of the live tables by id, read by stock Lance, and the hits of a search."""
        rows = {}
        for table in must("info", place, "--tables").split():
            found = lance.dataset(table.removeprefix("file://")).to_table(["id", "embedding"])
            vectors = np.array(found["embedding"].combine_chunks().values).reshape(-1, DIM)
            rows |= {
                name: vector.tobytes()
                for name, vector in zip(found["id"].to_pylist(), vectors, strict=True)
            }
        hits = json.loads(must("search", place, self.queries, "--json", "-q"))
        return rows, [(hit["query_id"], hit["rank"], hit["id"]) for hit in hits]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return Sample(tmp_path_factory.mktemp("sample"))


def committed(place):
    """Data files of tables that are whole, with the time of their last change."""
    return {
        path: path.stat().st_mtime_ns
        for table in place.glob("*.lance")
        if any(table.glob("_versions/*.manifest"))
        for path in table.glob("data/*")
    }


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()


def age_leases(place):
    """Let the leases of the dead expire, as time would."""
    for path in place.glob("_atoll/leases/*.json"):
        lease = json.loads(path.read_text())
        path.write_text(json.dumps(lease | {"expires_at": 0}))


def assert_whole(sample, place, expected):
    """The collection is what it would be had nothing happened, and gc leaves no more than that."""
    assert sample.content(place) == expected
    must("verify", place)
    age_leases(place)
    must("gc", place)
    live = {Path(table).name for table in must("info", place, "--tables").split()}
    assert {path.name for path in place.glob("*.lance")} == live
    assert all(len(list((place / name / "data").iterdir())) == 1 for name in live)
    manifest = max((place / "_atoll" / "manifests").iterdir()).read_text()
    kept = [*place.glob("_atoll/blobs/*"), *place.glob("_atoll/models/*")]
    assert [path for path in kept if path.name not in manifest] == []
    assert not list(place.rglob("*#*"))
    assert not list(place.glob("_atoll/leases/*"))
    assert sample.content(place) == expected


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_create_killed_at_any_time_is_not_there_and_finishes(sample, tmp_path, seed, workers):
    command = sample.create(place := tmp_path / "c", "--workers", workers)
    process = start(*command)
    time.sleep(random.Random(seed).uniform(0.2, 1.0) * sample.seconds)
    kill(process)
    is_there = any(place.glob("_atoll/manifests/*"))
    finished = committed(place)
    assert atoll("info", place).code == (0 if is_there else 1)
    must(*command)
    assert finished.items() <= committed(place).items()
    assert_whole(sample, place, sample.created)
