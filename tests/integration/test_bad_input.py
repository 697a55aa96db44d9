"""What the command says of input it cannot use: the message, the exit code, nothing written."""

import csv
import re

import h5py
import numpy as np
import pytest
from commandline import atoll, must
from vectordata import gaussian, names, objects_of, write_h5, write_parquet


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder that the command runs in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(folder):
    """Hold a command to its refusal: exit code, one message on stderr, no file changed."""

    def check(pattern, *words, code=1):
        before = objects_of(folder)
        done = atoll(*words)
        assert (done.code, done.out) == (code, ""), done.err
        assert re.search(pattern, done.err, re.DOTALL), done.err
        if code == 1:
            assert done.err.startswith("atoll: ")
            assert done.err.count("\n") == 1
        assert objects_of(folder) == before

    return check


@pytest.fixture
def collection(folder):
    write_parquet(folder / "base.parquet", gaussian(300, 16), length=list(range(300)))
    must("create", "c", "base.parquet", "--bucket-rows", 100, "-q")
    np.save(folder / "q.npy", gaussian(2, 16, seed=5))
    return folder / "c"


def test_file_without_vectors_or_ids_is_named(refused, folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file["embedding"] = gaussian(5, 16)
        file["label"] = names(5)
    refused(r"a\.h5 has no column 'id'.*--id-column", "create", "c", "a.h5")
    refused(r"a\.h5 has no column 'vec'.*--vector-column", "create", "c", "a.h5",
            "--vector-column", "vec")  # fmt: skip


def test_dims_that_differ_between_files_are_named_with_both(refused, folder):
    write_h5(folder / "a.h5", gaussian(5, 16))
    write_h5(folder / "b.h5", gaussian(5, 8), names(5, 5))
    refused(r"a\.h5 holds vectors of 16 but .*b\.h5 of 8", "create", "c", "a.h5", "b.h5")


@pytest.mark.parametrize(
    ("value", "why"), [(np.nan, "NaN"), (np.inf, "infinity"), (0, "zero")], ids=str
)
def test_rows_that_cannot_be_searched_are_counted_and_the_first_named(refused, folder, value, why):
    vectors = gaussian(300, 16)
    vectors[[7, 150, *range(280, 290)]] = value
    write_h5(folder / "a.h5", vectors)
    first = r"^atoll: 12 rows .*a\.h5 row 7 \(id 'p00007'\): .*a\.h5 row 150 .* and 7 more"
    refused(first + ".*--on-invalid skip", "create", "c", "a.h5")


def test_rows_left_out_are_reported_and_counted(folder):
    vectors = gaussian(300, 16)
    vectors[7], vectors[250] = np.nan, 0
    write_h5(folder / "a.h5", vectors)
    out = must("create", "c", "a.h5", "--on-invalid", "skip", "--bucket-rows", 100)
    assert "298 rows" in out
    counts = [line.split()[1:] for line in out.splitlines() if line.startswith("bucket_")]
    assert counts == [["99", "1"], ["100", "0"], ["99", "1"]]
    reports = sorted((folder / "c" / "_atoll" / "reports").iterdir())
    rows = [row for path in reports for row in csv.DictReader(path.read_text().splitlines())]
    assert [(row["row"], row["id"]) for row in rows] == [("7", "p00007"), ("250", "p00250")]


def test_search_options_without_sense_are_refused(refused, collection):
    search = ("search", "c", "q.npy")
    refused("k is 0; ask for at least 1", *search, "-k", 0)
    refused(r"no column 'nme'; it has .*length", *search, "--columns", "length,nme")
    refused("where: .*", *search, "--where", "length >")
    refused("where: .*nothere", *search, "--where", "nothere > 3")
