"""Ids from a text file, for files that hold vectors alone."""

import json

import numpy as np
import pytest
from commandline import atoll, must
from vectordata import gaussian

VECTORS = gaussian(40, 8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to run in, with vectors and the ids of each file."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name, rows in {"a": range(30), "b": range(30, 40)}.items():
        np.save(tmp_path / f"{name}.npy", VECTORS[rows])
        (tmp_path / f"{name}.names").write_text("".join(f"p{row}\n" for row in rows))
    return tmp_path


def nearest(*words):
    hits = json.loads(must("search", "c", *words, "-k", 1, "--exact", "--json", "-q"))
    return [(hit["query_id"], hit["id"]) for hit in hits]


def test_ids_come_from_the_file_that_is_given(folder):
    must("create", "c", "a.npy", "--ids", "a.names", "--workers", 1, "-q")
    must("add", "c", "b.npy", "--ids", (folder / "b.names").as_uri(), "--workers", 1, "-q")
    assert nearest("--id", "p7", "--id", "p33") == [("p7", "p7"), ("p33", "p33")]
    assert nearest("b.npy", "--ids", "b.names")[:2] == [("p30", "p30"), ("p31", "p31")]


def test_other_ids_make_another_collection(folder):
    must("create", "c", "a.npy", "--ids", "a.names", "--workers", 1, "-q")
    (folder / "a.names").write_text("".join(f"q{row}\n" for row in range(30)))
    done = atoll("create", "c", "a.npy", "--ids", "a.names", "--workers", 1, "-q")
    assert done.code == 1
    assert "is a collection already" in done.err
