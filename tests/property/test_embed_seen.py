"""Ids met before, against a dictionary, with a memory limit that makes it spill."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.vectors.embed.seen import SeenIds, id_hash


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), max_size=20), max_size=30))
def test_first_place_is_the_first_however_ids_arrive(groups):
    first, number = {}, 0
    with SeenIds(None, 1) as seen:
        seen._limit = 16
        for group in groups:
            places = list(range(number, number + len(group)))
            number += len(group)
            expected = []
            for name, place in zip(group, places, strict=True):
                expected.append(first.get(name))
                first.setdefault(name, place)
            assert seen.add([id_hash(str(name)) for name in group], places) == expected


def test_hashes_that_share_one_half_are_told_apart():
    one, two = 5 << 64 | 1, 5 << 64 | 2
    with SeenIds(None, 1 << 20) as seen:
        assert seen.add([one, two], [10, 11]) == [None, None]
        assert seen.add([two, one], [12, 13]) == [11, 10]
