from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from atoll.core.errors import InvalidInput
from atoll.vectors import shuffle as shuffling
from atoll.vectors.shuffle import Ordered, Shuffle

CODE = np.dtype([("bits", "<u8", (1,)), ("scale", "<f4")])
IN_MEMORY, AT_ONCE_ON_DISK = 1 << 30, 1


def rows(partition, first=0, with_codes=True):
    """Rows that carry their own number in every part."""
    number = np.arange(first, first + len(partition))
    codes = np.zeros(len(number), CODE)
    codes["bits"][:, 0] = number
    return Ordered(
        np.stack([number, -number], axis=1).astype(np.float32),
        pa.record_batch({"id": [f"p{n}" for n in number], "n": pa.array(number)}),
        number.astype(np.uint64),
        codes if with_codes else None,
        np.asarray(partition, np.uint32),
    )


def shuffled(tmp_path, partition, *, memory, batch_rows=10, add_rows=7, with_codes=True):
    """What comes out, batch by batch; every part of every row must still belong together."""
    with Shuffle(tmp_path, memory) as shuffle:
        for at in range(0, len(partition), add_rows):
            shuffle.add(rows(partition[at : at + add_rows], at, with_codes))
        batches = [batch.take(np.arange(len(batch))) for batch in shuffle.ordered(batch_rows)]
    for batch in batches:
        number = batch.id_hash.astype(np.int64)
        np.testing.assert_array_equal(batch.vectors[:, 0], number)
        assert batch.rest["n"].to_pylist() == number.tolist()
        assert batch.rest["id"].to_pylist() == [f"p{n}" for n in number]
        assert (batch.codes is None) != with_codes
        if batch.codes is not None:
            np.testing.assert_array_equal(batch.codes["bits"][:, 0], number)
    return batches


def order(batches):
    return np.concatenate([batch.id_hash for batch in batches]).tolist()


@pytest.mark.parametrize("memory", [IN_MEMORY, 700, AT_ONCE_ON_DISK])
@pytest.mark.parametrize("with_codes", [True, False])
def test_rows_come_by_partition_and_within_it_as_they_came(tmp_path, memory, with_codes):
    partition = np.random.default_rng(0).integers(0, 9, 200)
    batches = shuffled(tmp_path, partition, memory=memory, with_codes=with_codes)
    assert order(batches) == np.argsort(partition, kind="stable").tolist()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("memory", [IN_MEMORY, 700])
@pytest.mark.parametrize("giant", [0, 5, 8])
def test_a_giant_partition_comes_in_pieces(tmp_path, memory, giant):
    partition = np.full(500, giant)
    partition[::100] = 8 - giant
    batches = shuffled(tmp_path, partition, memory=memory)
    assert order(batches) == np.argsort(partition, kind="stable").tolist()
    assert max(map(len, batches)) <= 20


def test_offsets_say_where_each_partition_starts(tmp_path):
    with Shuffle(tmp_path, IN_MEMORY) as shuffle:
        shuffle.add(rows([3, 1, 3, 3]))
        shuffle.add(rows([1], 4))
        assert shuffle.offsets(6).tolist() == [0, 0, 2, 2, 5, 5, 5]
        assert shuffle.rows == 5


def test_texts_beyond_what_an_arrow_array_holds_are_spilled(tmp_path, monkeypatch):
    monkeypatch.setattr(shuffling, "MAX_REST_BYTES", 100)
    with Shuffle(tmp_path, IN_MEMORY) as shuffle:
        shuffle.add(rows([1] * 50))
        assert list(tmp_path.iterdir())
        assert order(shuffle.ordered(10)) == list(range(50))


def test_spill_files_go_when_the_work_fails(tmp_path):
    def fail():
        with Shuffle(tmp_path, AT_ONCE_ON_DISK) as shuffle:
            shuffle.add(rows([1, 2]))
            assert list(tmp_path.iterdir())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_place_that_takes_no_files_is_named(tmp_path):
    place = tmp_path / "file"
    place.write_text("not a folder")
    with Shuffle(place, AT_ONCE_ON_DISK) as shuffle, pytest.raises(InvalidInput, match="file: "):
        shuffle.add(rows([1, 2]))
