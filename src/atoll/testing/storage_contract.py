"""What every storage promises. Subclass `StorageContract` in a test module and name the class.

class TestMine(StorageContract):
    def make(self) -> Storage:
        return open_storage("mine://fresh-and-empty")
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from atoll.compute.processes import ProcessExecutor
from atoll.core.errors import Corrupt, InvalidInput, NotFound
from atoll.storage import Storage, StoredObject, count_usage

ODD_NAMES = ["a b.bin", "ü.bin", "100%25.bin", "h#sh?.bin", "+&=.bin", "~.bin", "深い.bin"]


class EmulatorContract:
    """What one client at a time finds: all that an emulator of a store is asked for."""

    def make(self) -> Storage:
        """Return an empty storage that no other test uses."""
        raise NotImplementedError

    @pytest.fixture
    def storage(self) -> Storage:
        """Give each test its own."""
        return self.make()

    def test_what_was_put_is_got(self, storage: Storage) -> None:
        storage.put("a/b.bin", b"old")
        storage.put("a/b.bin", b"new and longer")
        assert storage.get("a/b.bin") == b"new and longer"
        assert storage.size("a/b.bin") == 14
        assert storage.exists("a/b.bin")

    def test_empty_objects_exist(self, storage: Storage) -> None:
        storage.put("empty", b"")
        assert (storage.get("empty"), storage.size("empty")) == (b"", 0)
        assert b"".join(storage.stream("empty")) == b""

    def test_what_is_not_there_is_not_found(self, storage: Storage, tmp_path: Path) -> None:
        assert not storage.exists("nothing")
        for read in (storage.get, storage.size, lambda path: list(storage.stream(path))):
            with pytest.raises(NotFound, match="nothing does not exist"):
                read("nothing")
        with pytest.raises(NotFound, match="nothing does not exist"):
            storage.get_range("nothing", 0, 1)
        with pytest.raises(NotFound, match="nothing does not exist"):
            storage.download("nothing", tmp_path / "target")
        assert list(tmp_path.iterdir()) == []

    def test_a_range_is_exact_or_an_error(self, storage: Storage) -> None:
        storage.put("ten", b"0123456789")
        assert storage.get_range("ten", 3, 4) == b"3456"
        assert storage.get_range("ten", 9, 1) == b"9"
        assert storage.get_range("ten", 5, 0) == b""
        with pytest.raises(Corrupt, match="ten ends at byte 10 where 14"):
            storage.get_range("ten", 8, 6)
        with pytest.raises(Corrupt, match="ten is shorter"):
            storage.get_range("ten", 50, 6)

    def test_many_ranges_come_back_in_the_order_asked(self, storage: Storage) -> None:
        data = bytes(range(256)) * 16
        storage.put("many", data)
        starts, lengths = [4000, 0, 7, 7, 100], [96, 3, 5, 0, 1]
        found = storage.get_ranges("many", starts, lengths)
        assert found == [data[at : at + n] for at, n in zip(starts, lengths, strict=True)]
        assert storage.get_ranges("many", [], []) == []
        with pytest.raises(Corrupt, match="many"):
            storage.get_ranges("many", [0, 4090], [10, 10])
        with pytest.raises(NotFound):
            storage.get_ranges("nothing", [0], [1])

    def test_reads_are_counted(self, storage: Storage) -> None:
        storage.put("x", b"0123456789")
        with count_usage() as usage:
            storage.get("x")
            storage.get_ranges("x", [0, 6], [2, 3])
            with pytest.raises(NotFound):
                storage.get("nothing")
        assert (usage.reads, usage.bytes_read) == (4, 15)

    def test_a_file_becomes_an_object(self, storage: Storage, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"first")
        storage.put_file("folder/file", tmp_path / "file")
        assert storage.get("folder/file") == b"first"
        (tmp_path / "file").write_bytes(b"second")
        storage.put_file("folder/file", tmp_path / "file")
        assert storage.get("folder/file") == b"second"

    def test_another_writing_has_another_version(self, storage: Storage) -> None:
        storage.put("x", b"1")
        before = storage.stat("x")
        storage.put("x", b"22")
        assert storage.stat("x") == StoredObject("x", 2)
        assert storage.stat("x").version not in ("", before.version)
        assert [one.version for one in storage.list()] == [storage.stat("x").version]

    def test_only_the_first_creation_counts(self, storage: Storage) -> None:
        assert storage.put_new("manifests/1", b"first")
        assert not storage.put_new("manifests/1", b"second")
        assert storage.get("manifests/1") == b"first"

    def test_deleting_leaves_the_rest_and_forgives_absence(self, storage: Storage) -> None:
        storage.put("a/x", b"1")
        storage.put("a/y", b"2")
        storage.delete("a/x")
        storage.delete("a/x")
        assert list(storage.list()) == [StoredObject("a/y", 1)]
        storage.delete("a/y")
        assert list(storage.list()) == []
        assert storage.put_new("a/x", b"3")

    def test_lists_are_sorted_deep_and_of_whole_segments(self, storage: Storage) -> None:
        for path in ["b/2", "a-1/x", "a/z/1", "a/b", "a0", "a/B"]:
            storage.put(path, path.encode())
        paths = [one.path for one in storage.list()]
        assert paths == ["a-1/x", "a/B", "a/b", "a/z/1", "a0", "b/2"]
        assert list(storage.list("a")) == [
            StoredObject("a/B", 3),
            StoredObject("a/b", 3),
            StoredObject("a/z/1", 5),
        ]
        assert list(storage.list("a/nothing")) == []

    def test_lists_end_where_the_caller_wants(self, storage: Storage) -> None:
        for path in ["a", "b", "c/d"]:
            storage.put(path, b"")
        assert [len(list(storage.list(most=most))) for most in (0, 2, 3, 9)] == [0, 2, 3, 3]

    def test_lists_pass_over_what_is_apart(self, storage: Storage) -> None:
        for path in ["a", "b/1", "b/c/2", "bc/3"]:
            storage.put(path, b"")
        for apart, left in ((["b"], ["a", "bc/3"]), (["b/c", "bc"], ["a", "b/1"]), (["a"], None)):
            paths = [one.path for one in storage.list(apart=apart)]
            assert paths == (left or ["a", "b/1", "b/c/2", "bc/3"])
        assert [one.path for one in storage.list(most=2, apart=["b"])] == ["a", "bc/3"]

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_odd_names_are_kept(self, storage: Storage, name: str) -> None:
        folder = storage.child(f"in {name}")
        folder.put(name, name.encode())
        assert storage.get(f"in {name}/{name}") == name.encode()
        assert list(folder.list()) == [StoredObject(name, len(name.encode()))]

    @pytest.mark.parametrize("path", ["../out", "a/../../out", "/abs", "a//b", "a/", "", "."])
    def test_paths_cannot_leave_the_storage(self, storage: Storage, path: str) -> None:
        with pytest.raises(InvalidInput, match="is not a path inside"):
            storage.child("inner").put(path, b"")

    def test_objects_of_many_pieces_come_whole(self, storage: Storage, tmp_path: Path) -> None:
        data = bytes(range(256)) * 80_000
        storage.put("large/object", data)
        storage.download("large/object", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == data
        assert b"".join(storage.stream("large/object")) == data
        assert [path.name for path in tmp_path.iterdir()] == ["target"]

    def test_conditional_put_is_found_to_work(self, storage: Storage) -> None:
        storage.probe_conditional_put()
        assert list(storage.list()) == []

    def test_a_copy_by_pickle_is_the_same_place(self, storage: Storage) -> None:
        storage.put("x", b"1")
        copy = pickle.loads(pickle.dumps(storage.child("sub")))
        copy.put("y", b"2")
        assert [one.path for one in storage.list()] == ["sub/y", "x"]


class StorageContract(EmulatorContract):
    """The suite; `is_shared` says whether other processes see the same objects."""

    is_shared = True

    def test_of_many_threads_one_creates(self, storage: Storage) -> None:
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(_create, [(storage, "race", writer) for writer in range(8)]))
        assert won.count(True) == 1
        assert storage.get("race") == str(won.index(True)).encode()

    def test_of_many_processes_one_creates(self, storage: Storage) -> None:
        if not self.is_shared:
            pytest.skip("each process has objects of its own here")
        races = [(storage, f"race-{number // 4}", number) for number in range(80)]
        outcomes = ProcessExecutor(4).map(_create, races)
        winners = [race for race, outcome in zip(races, outcomes, strict=True) if outcome.value]
        assert Counter(path for _, path, _ in winners) == Counter({f"race-{n}" for n in range(20)})
        assert _contents(storage) == {path: str(writer).encode() for _, path, writer in winners}


def _create(race: tuple[Storage, str, int]) -> bool:
    storage, path, writer = race
    return storage.put_new(path, str(writer).encode())


def _contents(storage: Storage) -> dict[str, bytes]:
    paths: Sequence[str] = [one.path for one in storage.list()]
    return {path: storage.get(path) for path in paths}
