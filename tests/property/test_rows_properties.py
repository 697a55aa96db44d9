"""Laws of what map steps answer and how it is merged, against sorting all of it in Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.errors import Corrupt
from atoll.vectors.distributed.rows import Part, Rows, best_of, folded, join, pack, unpack
from atoll.vectors.work import Work

QUERIES = 3
FEW, ANY = st.integers(0, 6), st.integers(0, 2**32 - 1)
WORK = Work("search", 1, 0.5, 0.5, 0.25, 1024, {"gets": 3, "puts": 0})


@st.composite
def found(draw, bucket, estimates=FEW):
    """Rows of a bucket: few estimates, so that many are equal; each row once for a query."""
    pairs = draw(
        st.lists(st.tuples(st.integers(0, QUERIES - 1), st.integers(0, 2**32 - 1)), unique=True)
    )
    pairs.sort()
    count = len(pairs)
    values = draw(st.lists(estimates, min_size=count, max_size=count))
    hashes = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    query, row = (np.array([pair[i] for pair in pairs], np.int64) for i in range(2))
    return Rows(
        query, np.full(count, bucket), row, np.array(values, np.uint32), np.array(hashes, np.uint32)
    )


def world(draw_from):
    return st.tuples(*(found(bucket) for bucket in draw_from))


def without_hashes(rows):
    return Rows(rows.query, rows.bucket, rows.row, rows.estimate)


def hashes_in(parts):
    """Look hashes up as whoever merges reads them: by bucket and row."""
    known = {
        (int(b), int(r), int(q)): h
        for part in parts
        for q, b, r, h in zip(part.query, part.bucket, part.row, part.hash, strict=True)
    }

    def hashes_of(rows):
        keys = zip(rows.bucket, rows.row, rows.query, strict=True)
        return np.array([known[int(b), int(r), int(q)] for b, r, q in keys], np.uint32)

    return hashes_of


def oracle(parts, keep):
    """The rows kept of each query: smallest (estimate, hash, bucket, row)."""
    rows = [
        (int(q), (int(e), int(h), int(b), int(r)))
        for part in parts
        for q, b, r, e, h in zip(
            part.query, part.bucket, part.row, part.estimate, part.hash, strict=True
        )
    ]
    kept = set()
    for query in range(QUERIES):
        mine = sorted(key for q, key in rows if q == query)[:keep]
        kept |= {(query, bucket, row) for _, _, bucket, row in mine}
    return kept


def named(rows):
    return {
        (int(q), int(b), int(r)) for q, b, r in zip(rows.query, rows.bucket, rows.row, strict=True)
    }


@given(world((2, 5, 70_000)), st.integers(1, 6))
def test_best_of_all_parts_are_those_that_sorting_finds(parts, keep):
    expected = oracle(parts, keep)
    assert named(best_of(join(parts), QUERIES, keep, None)) == expected
    asked = join([without_hashes(part) for part in parts])
    assert named(best_of(asked, QUERIES, keep, hashes_in(parts))) == expected


@given(world((0, 1, 2, 3)), st.integers(1, 5))
def test_merging_in_a_tree_changes_nothing(parts, keep):
    plain = [without_hashes(part) for part in parts]
    inner = [folded(join(plain[i : i + 2]), QUERIES, keep) for i in (0, 2)]
    again = [unpack(pack(Part(rows, Rows.none()), QUERIES), "x").estimated for rows in inner]
    found = best_of(folded(join(again), QUERIES, keep), QUERIES, keep, hashes_in(parts))
    assert named(found) == oracle(parts, keep)


@given(world((0, 9)))
def test_hashes_are_asked_for_only_where_they_decide(parts):
    everything = sum(map(len, parts)) + 1
    kept = best_of(join([without_hashes(part) for part in parts]), QUERIES, everything, None)
    assert len(kept) == everything - 1


@given(found(3, ANY), found(70_000), st.booleans(), st.data())
def test_a_part_is_read_as_it_was_written(estimated, other, has_hashes, data):
    rows = join([estimated, other])
    distance = np.array(
        data.draw(st.lists(st.floats(width=32), min_size=len(rows), max_size=len(rows))), "f4"
    )
    exact = Rows(rows.query, rows.bucket, rows.row, distance=distance)
    part = Part(rows if has_hashes else without_hashes(rows), exact, ("p",), (WORK,), (4,))
    packed = pack(part, QUERIES)
    read = unpack(packed, "x")
    assert (read.paths, read.works, read.missing) == (("p",), (WORK,), (4,))
    assert read.size_bytes == len(packed)
    for one, two in ((read.estimated, part.estimated), (read.exact, part.exact)):
        for name in ("query", "bucket", "row", "estimate", "hash", "distance"):
            mine, theirs = getattr(one, name), getattr(two, name)
            if len(two) and theirs is not None:
                np.testing.assert_array_equal(mine, theirs)


@given(found(3), st.data())
def test_a_damaged_part_is_never_taken_for_a_whole_one(rows, data):
    packed = pack(Part(rows, Rows.none()), QUERIES)
    at = data.draw(st.integers(0, len(packed) - 1))
    broken = packed[:at] + bytes([packed[at] ^ data.draw(st.integers(1, 255))]) + packed[at + 1 :]
    # What zstd does not look at, bits of its header that are reserved or say the same, may pass.
    said, read = "", None
    try:
        read = unpack(broken, "some/part")
    except Corrupt as error:
        said = error.message
    assert "some/part is damaged" in said or named(read.estimated) == named(rows)
    for cut in (packed[:at], b""):
        with pytest.raises(Corrupt, match="some/part is damaged"):
            unpack(cut, "some/part")
