from __future__ import annotations

import numpy as np
import pytest

from atoll.vectors.ids import IdIndex, pack
from atoll.vectors.model import Blob

BLOB = Blob("blobs/x", 0, "")


def hashes(rows, seed=0):
    return np.random.default_rng(seed).integers(0, 1 << 64, rows, np.uint64, endpoint=False)


def opened(stored, reads=None):
    data = pack(stored)

    def read(path, start, length):
        assert path == BLOB.path
        assert start + length <= len(data)
        if reads is not None:
            reads.append(length)
        return data[start : start + length]

    return IdIndex(BLOB, len(stored), read)


def pairs(found):
    return sorted(zip(found[0].tolist(), found[1].tolist(), strict=True))


@pytest.mark.parametrize("rows", [1, 2, 4095, 4096, 30_000])
def test_every_hash_is_found_at_its_row_and_no_other_is(rows):
    stored = hashes(rows)
    order = np.random.default_rng(1).permutation(rows)
    found = pairs(opened(stored).find(stored[order]))
    assert found == [(position, int(row)) for position, row in enumerate(order)]
    assert pairs(opened(stored).find(hashes(100, seed=2))) == []


def test_rows_with_one_hash_are_all_candidates():
    stored = np.array([5, 9, 5, 5, 1 << 63], np.uint64)
    asked = np.array([9, 5, 7, 5], np.uint64)
    assert pairs(opened(stored).find(asked)) == [
        (0, 1), (1, 0), (1, 2), (1, 3), (3, 0), (3, 2), (3, 3)
    ]  # fmt: skip


def test_the_smallest_and_largest_hashes_are_found():
    stored = np.concatenate([hashes(9000), np.array([0, 2**64 - 1], np.uint64)])
    assert pairs(opened(stored).find(stored[-2:])) == [(0, 9000), (1, 9001)]


def test_no_hash_finds_nothing():
    assert pairs(opened(hashes(10)).find(np.empty(0, np.uint64))) == []


def test_one_lookup_reads_a_few_kilobytes_of_a_large_index():
    reads, stored = [], hashes(200_000)
    opened(stored, reads).find(stored[7:8])
    assert len(reads) == 3
    assert sum(reads) < 200_000


def test_a_handle_reads_its_directory_once():
    reads, stored = [], hashes(20_000)
    index = opened(stored, reads)
    for row in range(3):
        index.find(stored[row : row + 1])
    assert len(reads) == 1 + 3 * 2
