from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from atoll.core.errors import InvalidInput
from atoll.storage import open_storage
from atoll.vectors import runs, shuffle
from atoll.vectors.runs import write_run
from atoll.vectors.shuffle import Ordered, Shuffle, merged, total_offsets

PARTITIONS = 9
IN_MEMORY = 1 << 30


def rows(partition, first=0, with_codes=True):
    """Rows that carry their own number in every part."""
    number = np.arange(first, first + len(partition))
    return Ordered(
        np.stack([number, -number], axis=1).astype(np.float32),
        pa.record_batch({"id": [f"p{n}" for n in number], "n": pa.array(number)}),
        number.astype(np.uint64),
        number.astype("<u8").view(np.uint8).reshape(-1, 8) if with_codes else None,
        np.asarray(partition, np.uint32),
    )


def shuffled(place, partition, *, memory=IN_MEMORY, add_rows=7, with_codes=True, in_files=False):
    spilled = []

    def spill(held):
        spilled.append(write_run(held, open_storage(place), f"run-{len(spilled)}", None))
        return spilled[-1]

    taken = Shuffle(PARTITIONS, memory, len(partition), spill)
    for at in range(0, len(partition), add_rows):
        taken.add(rows(partition[at : at + add_rows], at, with_codes))
    return taken.runs(in_files=in_files)


def numbers(batches, with_codes=True):
    """What comes out; every part of every row must still belong together."""
    found = []
    for batch in batches:
        number = batch.id_hash.astype(np.int64)
        np.testing.assert_array_equal(batch.vectors[:, 0], number)
        assert batch.rest["n"].to_pylist() == number.tolist()
        assert batch.rest["id"].to_pylist() == [f"p{n}" for n in number]
        assert (batch.codes is None) != with_codes
        if with_codes:
            assert batch.codes.copy().view("<u8")[:, 0].tolist() == number.tolist()
        found += number.tolist()
    return found


def opened(refs):
    return [ref.open() for ref in refs]


@pytest.mark.parametrize("memory", [IN_MEMORY, 2000, 1])
@pytest.mark.parametrize("with_codes", [True, False])
def test_rows_come_by_partition_and_within_it_as_they_came(tmp_path, memory, with_codes):
    partition = np.random.default_rng(0).integers(0, PARTITIONS, 200)
    found = opened(shuffled(tmp_path, partition, memory=memory, with_codes=with_codes))
    expected = np.argsort(partition, kind="stable").tolist()
    assert numbers(merged(found, 0, 200, 500), with_codes) == expected
    assert bool(list(tmp_path.iterdir())) == (memory < IN_MEMORY)


@pytest.mark.parametrize("memory", [IN_MEMORY, 2000, 1])
@pytest.mark.parametrize("group_bytes", [1, 300, 1 << 20])
def test_any_range_of_rows_can_be_read(tmp_path, memory, group_bytes):
    partition = np.random.default_rng(1).choice([0, 2, 3, 3, 3, 7], 150)
    found = opened(shuffled(tmp_path, partition, memory=memory))
    expected = np.argsort(partition, kind="stable").tolist()
    for start, stop in [(0, 150), (0, 0), (150, 150), (20, 21), (63, 149), (1, 40)]:
        assert numbers(merged(found, start, stop, group_bytes)) == expected[start:stop]


@pytest.mark.parametrize("memory", [IN_MEMORY, 2000])
@pytest.mark.parametrize("giant", [0, 5, 8])
def test_a_giant_partition_comes_in_pieces(tmp_path, memory, giant):
    partition = np.full(500, giant)
    partition[::100] = 8 - giant
    found = opened(shuffled(tmp_path, partition, memory=memory))
    batches = list(merged(found, 0, 500, 20 * found[0].row_bytes))
    assert numbers(batches) == np.argsort(partition, kind="stable").tolist()
    assert max(map(len, batches)) <= 20


def test_runs_in_files_are_read_across_their_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "BLOCK_ROWS", 8)
    partition = np.random.default_rng(2).integers(0, PARTITIONS, 100)
    (found,) = opened(shuffled(tmp_path, partition, in_files=True))
    expected = np.argsort(partition, kind="stable").tolist()
    for start, stop in [(0, 100), (7, 9), (8, 16), (99, 100), (3, 77)]:
        assert numbers([found.read(start, stop)]) == expected[start:stop]


def test_offsets_say_where_each_partition_starts(tmp_path):
    found = opened(shuffled(tmp_path, [3, 1, 3, 3, 1], memory=1))
    assert total_offsets(found).tolist() == [0, 0, 2, 2, 5, 5, 5, 5, 5, 5]


def test_texts_beyond_what_an_arrow_array_holds_are_spilled(tmp_path, monkeypatch):
    monkeypatch.setattr(shuffle, "MAX_REST_BYTES", 100)
    found = opened(shuffled(tmp_path, [1] * 50))
    assert list(tmp_path.iterdir())
    assert numbers(merged(found, 0, 50, 1 << 20)) == list(range(50))


def test_no_rows_make_no_runs(tmp_path):
    assert shuffled(tmp_path, []) == []
    assert list(merged([], 0, 0, 1)) == []


def test_a_scratch_place_that_takes_no_files_is_named(tmp_path):
    place = tmp_path / "file"
    place.write_text("not a folder")
    with pytest.raises(InvalidInput, match="file: "):
        shuffled(place, [1, 2], memory=1)
