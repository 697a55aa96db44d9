from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest

from atoll.vectors import ids
from atoll.vectors.ids import HashWriter, IdIndex, open_runs, write_index
from atoll.vectors.model import Blob

BLOB = Blob("blobs/x", 0, "")


def hashes(rows, seed=3):
    return np.random.default_rng(seed).integers(0, 1 << 64, rows, np.uint64, endpoint=False)


def packed(parts, folder):
    """What several writers, one after the other, make of the hashes of consecutive rows."""
    runs, first = [], 0
    for number, part in enumerate(parts):
        with (folder / str(number)).open("wb") as file:
            writer = HashWriter(file, first)
            writer.add(part[:700])
            writer.add(part[700:])
            counts = writer.finish()
        runs += open_runs(folder / str(number), counts)
        first += len(part)
    out = io.BytesIO()
    write_index(runs, out)
    return out.getvalue()


@pytest.fixture
def opened(tmp_path):
    return lambda stored, reads=None: opened_index(packed([stored], tmp_path), len(stored), reads)


def opened_index(data, rows, reads=None):

    def read(path, start, length):
        assert path == BLOB.path
        assert start + length <= len(data)
        if reads is not None:
            reads.append(length)
        return data[start : start + length]

    return IdIndex(BLOB, rows, read)


def pairs(found):
    return sorted(zip(found[0].tolist(), found[1].tolist(), strict=True))


@pytest.mark.parametrize("rows", [1, 2, 4095, 4096, 30_000])
def test_every_hash_is_found_at_its_row_and_no_other_is(opened, rows):
    stored = hashes(rows)
    order = np.random.default_rng(1).permutation(rows)
    found = pairs(opened(stored).find(stored[order]))
    assert found == [(position, int(row)) for position, row in enumerate(order)]
    assert pairs(opened(stored).find(hashes(100, seed=2))) == []


def test_rows_with_one_hash_are_all_candidates(opened):
    stored = np.array([5, 9, 5, 5, 1 << 31], np.uint64) << np.uint64(32)
    asked = np.array([9, 5, 7, 5], np.uint64) << np.uint64(32)
    assert pairs(opened(stored).find(asked)) == [
        (0, 1), (1, 0), (1, 2), (1, 3), (3, 0), (3, 2), (3, 3)
    ]  # fmt: skip


def test_the_smallest_and_largest_hashes_are_found(opened):
    stored = np.concatenate([hashes(9000), np.array([0, 2**64 - 1], np.uint64)])
    assert pairs(opened(stored).find(stored[-2:])) == [(0, 9000), (1, 9001)]


def test_no_hash_finds_nothing(opened):
    assert pairs(opened(hashes(10)).find(np.empty(0, np.uint64))) == []


def test_one_lookup_reads_a_few_kilobytes_of_a_large_index(opened):
    reads, stored = [], hashes(200_000)
    opened(stored, reads).find(stored[7:8])
    assert len(reads) == 3
    assert sum(reads) < 200_000


def test_a_handle_reads_its_directory_once(opened):
    reads, stored = [], hashes(20_000)
    index = opened(stored, reads)
    for row in range(3):
        index.find(stored[row : row + 1])
    assert len(reads) == 1 + 3 * 2


@pytest.mark.parametrize("cuts", [[], [1], [3000, 3001, 9000]])
@pytest.mark.parametrize("run_rows", [1, 1000, 1 << 20])
def test_parts_and_runs_do_not_change_the_index(tmp_path, monkeypatch, cuts, run_rows):
    stored = hashes(12_000)
    stored[5000:5003] = stored[:3]
    order = np.lexsort((np.arange(12_000), stored))
    parts = [stored[a:b] for a, b in pairwise([0, *cuts, 12_000])]
    monkeypatch.setattr(ids, "RUN_ROWS", run_rows)
    data = packed(parts, tmp_path)
    directory, rest = np.frombuffer(data[:40], "<u8"), np.frombuffer(data[40:], "<u4")
    assert directory.tolist() == [int((stored < top << 62).sum()) for top in range(4)] + [12_000]
    assert rest[12_000:].tolist() == order.tolist()
    assert rest[:12_000].tolist() == ((stored[order] << np.uint64(2)) >> np.uint64(32)).tolist()
