"""The disk cache: bounded, shared, checked, and never a reason to fail."""

import errno
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atoll.storage import open_storage
from atoll.storage.diskcache import SLICE_BYTES, DiskCache, entry_bytes

KIB = 1 << 10
WRITER = """
import sys
from pathlib import Path
from atoll.storage.diskcache import DiskCache
cache = DiskCache(Path(sys.argv[1]), 1 << 19)
for number in range(300):
    key = f"{number % 150}"
    found = cache.get(key)
    assert found in (None, key.encode() * 2000), key
    cache.put(key, key.encode() * 2000)
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def on_disk(folder):
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in files(folder))


def test_another_handle_finds_what_one_has_kept(folder):
    DiskCache(folder, 1 << 20).put("key", memoryview(b"bytes"))
    other = DiskCache(folder, 1 << 20)
    assert (other.get("key"), other.get("another")) == (b"bytes", None)


def test_its_size_stays_below_the_limit(folder):
    cache = DiskCache(folder, 400 * KIB)
    for number in range(200):
        cache.put(str(number), bytes(7 * KIB))
        assert on_disk(folder) <= 400 * KIB + 8 * KIB
    assert on_disk(folder) > 300 * KIB


def test_what_was_used_last_stays(folder):
    cache = DiskCache(folder, 200 * KIB)
    cache.put("hot", b"hot")
    for number in range(100):
        cache.put(str(number), bytes(7 * KIB))
        assert cache.get("hot") == b"hot"
    assert cache.get("0") is None


def test_an_entry_too_large_for_the_limit_is_not_kept(folder):
    cache = DiskCache(folder, 100 * KIB)
    cache.put("large", bytes(50 * KIB))
    assert cache.get("large") is None


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[::-1]]
)
def test_a_damaged_entry_is_missing_and_goes(folder, damage):
    cache = DiskCache(folder, 1 << 20)
    cache.put("key", b"some bytes")
    [entry] = files(folder)
    entry.write_bytes(damage(entry.read_bytes()))
    assert cache.get("key") is None
    assert not files(folder)
    cache.put("key", b"some bytes")
    assert cache.get("key") == b"some bytes"


def test_an_entry_in_the_place_of_another_is_missing(folder):
    cache = DiskCache(folder, 1 << 20)
    cache.put("a", b"of a")
    [entry] = files(folder)
    cache.put("b", b"of b")
    [other] = set(files(folder)) - {entry}
    other.write_bytes(entry.read_bytes())
    assert (cache.get("a"), cache.get("b")) == (b"of a", None)


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("size", [0, 1, SLICE_BYTES, SLICE_BYTES + 1, 5 * SLICE_BYTES - 7])
def test_parts_of_an_entry_are_its_bytes(folder, size):
    draw = random.Random(size)
    data = draw.randbytes(size)
    cache = DiskCache(folder, 1 << 24)
    cache.put("key", data)
    assert cache.get("key") == data
    for count in (0, 1, 2, 40):
        edges = sorted(draw.choices(range(size + 1), k=2 * count))
        parts = [(at, stop - at) for at, stop in zip(edges[::2], edges[1::2], strict=True)]
        found = cache.get_parts("key", parts)
        assert [bytes(part) for part in found] == [data[at : at + wanted] for at, wanted in parts]
    assert cache.get_parts("other", [(0, 0)]) is None


def test_a_part_beyond_the_end_of_an_entry_is_missing(folder):
    cache = DiskCache(folder, 1 << 24)
    cache.put("key", bytes(SLICE_BYTES + 5))
    assert cache.get_parts("key", [(0, 1), (SLICE_BYTES, 6)]) is None


def test_damage_is_found_in_the_part_that_has_it(folder):
    cache = DiskCache(folder, 1 << 24)
    data = random.Random(1).randbytes(4 * SLICE_BYTES)
    cache.put("key", data)
    [entry] = files(folder)
    flip(entry, entry.stat().st_size - SLICE_BYTES - 1)  # the end of the third slice
    untouched = (SLICE_BYTES, SLICE_BYTES), (3 * SLICE_BYTES, 9)
    assert [bytes(part) for part in cache.get_parts("key", untouched)] == [
        data[at : at + size] for at, size in untouched
    ]
    assert cache.has("key")
    assert cache.get_parts("key", [(3 * SLICE_BYTES - 1, 1)]) is None
    assert not cache.has("key")


def test_slices_that_changed_places_are_damaged(folder):
    cache = DiskCache(folder, 1 << 24)
    cache.put("key", random.Random(2).randbytes(2 * SLICE_BYTES))
    [entry] = files(folder)
    data = entry.read_bytes()
    sums, first, second = data[:32], data[32 : 32 + SLICE_BYTES], data[32 + SLICE_BYTES :]
    entry.write_bytes(sums[16:] + sums[:16] + second + first)
    assert cache.get_parts("key", [(0, 1)]) is None


@pytest.mark.parametrize("size", [0, 4080, 4081, SLICE_BYTES, 3 * SLICE_BYTES])
def test_what_an_entry_takes_is_known_before(folder, size):
    DiskCache(folder, 1 << 24).put("key", bytes(size))
    assert on_disk(folder) == entry_bytes(size)


def test_processes_share_it_while_all_evict(folder):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, folder]) for _ in range(2)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert 0 < on_disk(folder) <= 1 << 20


def test_what_a_killed_writer_left_is_swept(folder):
    cache = DiskCache(folder, 1 << 20)
    cache.put("key", b"x")
    left, fresh = (files(folder)[0].with_name(f"{digit * 32}.part") for digit in "12")
    left.touch()
    fresh.touch()
    os.utime(left, (time.time() - 3600,) * 2)
    DiskCache(folder, 1 << 20).put("other", b"y")
    assert (left.exists(), fresh.exists()) == (False, True)


def test_files_of_others_are_left_alone(folder):
    strange = folder / "aa" / "letter.txt"
    strange.parent.mkdir(parents=True)
    strange.write_bytes(bytes(100 * KIB))
    cache = DiskCache(folder, 50 * KIB)
    for number in range(50):
        cache.put(str(number), bytes(2 * KIB))
    assert strange.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_fails_turns_it_off_with_one_warning(folder, caplog, monkeypatch, number):
    cache = DiskCache(folder, 1 << 20)
    cache.put("before", b"x")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "rename", fail)
    for key in "abc":
        cache.put(key, b"data")
    assert (cache.get("a"), cache.get("before")) == (None, None)
    [warning] = caplog.records
    assert warning.levelname == "WARNING"
    assert "disk cache turned off" in warning.getMessage()
    assert len(files(folder)) == 1


def test_a_file_where_the_folder_should_be_turns_it_off(folder, caplog):
    folder.write_text("in the way")
    cache = DiskCache(folder, 1 << 20)
    cache.put("key", b"x")
    assert cache.get("key") is None
    assert len(caplog.records) == 1


def test_a_folder_that_somebody_empties_goes_on(folder):
    cache = DiskCache(folder, 1 << 20)
    cache.put("key", b"x")
    folder.rename(folder.with_name("away"))
    assert cache.get("key") is None
    cache.put("key", b"x")
    assert cache.get("key") == b"x"


@pytest.mark.parametrize("url", ["local", "memory://somewhere"])
def test_only_distant_stores_are_kept(tmp_path, folder, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    place = open_storage(url).cached(folder, 1 << 20)
    place.keep("path", 0, b"bytes")
    assert place.kept("path", 0, 5) is None
    assert not folder.exists()


def test_keys_tell_stores_and_ranges_apart(folder):
    place = open_storage("s3://bucket/c").cached(folder, 1 << 20)
    place.keep("path", 3, b"bytes")
    assert place.kept("path", 3, 5) == b"bytes"
    other = open_storage("s3://bucket/d").cached(folder, 1 << 20)
    elsewhere = open_storage("s3://bucket/c", place.options.__class__(region="eu-west-1"))
    assert other.kept("path", 3, 5) is None
    assert elsewhere.cached(folder, 1 << 20).kept("path", 3, 5) is None
    assert [place.kept(*asked) for asked in (("path", 3, 4), ("path", 2, 5), ("p", 3, 5))] == [
        None
    ] * 3
