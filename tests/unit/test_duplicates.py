from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash

from atoll.core.errors import InvalidInput, Unavailable
from atoll.vectors import duplicates
from atoll.vectors.duplicates import Duplicate, IdChecker, Place, hash_ids


class Ids:
    """Sources in memory: adds them to a checker and looks them up."""

    def __init__(self, **sources: list[str]):
        self.sources = sources

    def add_to(self, checker: IdChecker, step: int = 1000):
        for name, ids in self.sources.items():
            for start in range(0, len(ids), step):
                checker.add(ids[start : start + step], name, start)

    def at(self, source: str, rows) -> list[str]:
        assert (np.diff(rows) > 0).all()
        return [self.sources[source][row] for row in rows]


def found(ids: Ids, scratch: Path, memory_bytes: int = 1 << 20):
    with IdChecker(scratch, memory_bytes) as checker:
        ids.add_to(checker)
        return list(checker.duplicates(ids.at))


def test_hashes_are_xxh3_of_utf8_for_every_kind_of_array():
    words = ["P12345", "", "Ünïcode", "x" * 300]
    expected = [xxhash.xxh3_64(word.encode()).intdigest() for word in words]
    for given in (words, pa.array(words), pa.array(words, pa.large_string())):
        assert hash_ids(given).tolist() == expected
    assert hash_ids(pa.array(["no", *words])[1:]).tolist() == expected
    assert hash_ids([]).dtype == np.uint64


def test_distinct_ids_have_no_duplicates_and_write_nothing(tmp_path):
    assert found(Ids(a=["x", "y"], b=["z"]), tmp_path / "scratch") == []
    assert not (tmp_path / "scratch").exists()


def test_a_duplicate_names_both_places(tmp_path):
    (only,) = found(Ids(a=["x", "y"], b=["z", "q", "y"]), tmp_path)
    hashed = xxhash.xxh3_64(b"y").intdigest()
    assert only == Duplicate(hashed, "y", Place("a", 1), Place("b", 2))


def test_three_of_a_kind_are_two_duplicates_of_the_first(tmp_path):
    pairs = [(d.first, d.second) for d in found(Ids(a=["x", "x"], b=["x"]), tmp_path)]
    assert pairs == [(Place("a", 0), Place("a", 1)), (Place("a", 0), Place("b", 0))]


def test_slices_of_a_file_keep_their_row_numbers(tmp_path):
    with IdChecker(tmp_path, 1 << 20) as checker:
        checker.add(["p", "q"], "a", 100)
        checker.add(["r", "p"], "a", 500)
        (only,) = checker.duplicates(lambda source, rows: ["p"] * len(rows))
    assert (only.first.row, only.second.row) == (100, 501)


def test_equal_hashes_of_different_ids_are_no_duplicate(tmp_path):
    with IdChecker(tmp_path, 1 << 20) as checker:
        checker.add_hashes(np.array([7, 7, 7], np.uint64), "a", 0)
        names = ["x", "y", "x"]
        (only,) = checker.duplicates(lambda source, rows: [names[row] for row in rows])
    assert (only.id, only.first.row, only.second.row) == ("x", 0, 2)


def test_spilled_ids_are_found_and_their_files_removed(tmp_path):
    ids = Ids(a=[f"id{i}" for i in range(20_000)], b=["id3", "new", "id19999"])
    with IdChecker(tmp_path, 0) as checker:
        ids.add_to(checker)
        assert len(checker) == 20_003
        assert list(tmp_path.iterdir())
        repeated = {(d.id, d.first.row, d.second.row) for d in checker.duplicates(ids.at)}
    assert repeated == {("id3", 3, 0), ("id19999", 19_999, 2)}
    assert not list(tmp_path.iterdir())


def test_one_id_repeated_beyond_memory_is_reported_every_time(tmp_path):
    repeated = found(Ids(a=["same"] * 5_000 + ["other"]), tmp_path, memory_bytes=0)
    assert [d.second.row for d in repeated] == list(range(1, 5_000))
    assert {d.first.row for d in repeated} == {0}


def test_asking_twice_gives_the_same_answer_even_after_stopping_early(tmp_path):
    ids = Ids(a=["same"] * 5_000 + [f"id{i}" for i in range(5_000)], b=["id5"])
    with IdChecker(tmp_path, 0) as checker:
        ids.add_to(checker)
        next(checker.duplicates(ids.at))
        assert len(list(checker.duplicates(ids.at))) == 5_000


def test_a_full_disk_names_the_folder_and_the_need(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(duplicates.Path, "open", full)
    with (
        pytest.raises(Unavailable, match=r"full; 1,638 ids take 25\.6 KiB there: .*--scratch"),
        IdChecker(tmp_path, 0) as checker,
    ):
        checker.add([str(i) for i in range(5_000)], "a", 0)
    assert not list(tmp_path.iterdir())


def test_a_scratch_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InvalidInput, match="file: File exists; choose another place"),
        IdChecker(tmp_path / "file", 0) as checker,
    ):
        checker.add([str(i) for i in range(5_000)], "a", 0)
