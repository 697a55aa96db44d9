from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.errors import InvalidInput
from atoll.vectors.embed.tiling import batches, tiles

SIZES = st.tuples(st.integers(1, 500), st.integers(1, 60), st.integers(0, 59)).filter(
    lambda case: case[2] < case[1]
)


@given(SIZES)
def test_each_residue_is_owned_by_exactly_one_tile_that_holds_it(case):
    length, size, overlap = case
    owned = []
    for tile in tiles(length, size, overlap):
        assert tile.start <= tile.own_start <= tile.own_end <= tile.end
        owned += range(tile.own_start, tile.own_end)
    assert owned == list(range(length))


@given(SIZES)
def test_long_sequences_give_tiles_of_equal_size_that_overlap_enough(case):
    length, size, overlap = case
    cut = tiles(length, size, overlap)
    assert {t.end - t.start for t in cut} == {min(length, size)}
    assert (cut[0].start, cut[-1].end) == (0, length)
    assert all(a.end - b.start >= overlap for a, b in pairwise(cut))


@given(st.lists(st.integers(1, 50)), st.integers(1, 200))
def test_batches_hold_every_sequence_once_within_the_budget(lengths, budget):
    groups = list(batches(lengths, budget))
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    padded = [max(lengths[i] for i in group) * len(group) for group in groups]
    assert all(p <= budget or len(g) == 1 for p, g in zip(padded, groups, strict=True))


def test_tile_that_does_not_advance_is_refused():
    with pytest.raises(InvalidInput, match="tiles of 100 residues cannot overlap by 100"):
        tiles(500, 100, 100)
