from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from atoll.vectors import duplicates
from atoll.vectors.duplicates import IdChecker

SOURCES = st.lists(st.lists(st.text("ab", max_size=4), max_size=40), min_size=1, max_size=5)


def by_dictionary(sources):
    first, repeated = {}, set()
    for source, ids in enumerate(sources):
        for row, name in enumerate(ids):
            if name in first:
                repeated.add((name, first[name], (str(source), row)))
            first.setdefault(name, (str(source), row))
    return repeated


@given(SOURCES, st.integers(1, 50), st.sampled_from([0xFFFF_FFFF_FFFF_FFFF, 0x3, 0x7 << 61, 0]))
def test_duplicates_are_those_a_dictionary_finds_in_any_memory(sources, limit, mask):
    """The mask forces hash collisions; the limit forces spills and nested partitions."""
    with tempfile.TemporaryDirectory() as scratch, IdChecker(Path(scratch), 0) as checker:
        checker._limit = limit
        for source, ids in enumerate(sources):
            checker.add_hashes(duplicates.hash_ids(ids) & mask, str(source), 0)
        found = [
            (d.id, (d.first.source, d.first.row), (d.second.source, d.second.row))
            for d in checker.duplicates(
                lambda source, rows: [sources[int(source)][row] for row in rows]
            )
        ]
    assert len(found) == len(set(found))
    assert set(found) == by_dictionary(sources)
