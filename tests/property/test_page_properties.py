"""Spans of rows are cut where pages end: against rows looked up one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atoll.vectors.layout import Pages


@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=8),
    st.lists(st.integers(0, 12), max_size=20),
)
def test_pieces_hold_every_row_of_their_span_and_none_crosses_a_page(pages, steps):
    first = np.cumsum([0, *pages])
    rows = int(first[-1])
    ends = np.minimum(np.cumsum(steps), rows).astype(np.int64)
    start, stop = ends[:-1:2], ends[1::2]
    none = np.zeros(len(pages), np.int64)
    found = Pages(1, first, none, none).pieces(start, stop)
    page_of = np.repeat(np.arange(len(pages)), pages)
    seen = [(int(of), row) for a, b, of in zip(*found, strict=True) for row in range(a, b)]
    wanted = [(n, row) for n in range(len(start)) for row in range(start[n], stop[n])]
    assert seen == wanted
    assert all(len(set(page_of[a:b])) == 1 for a, b, _ in zip(*found, strict=True))
    # No more pieces than there must be.
    crossed = sum(len(set(page_of[a:b])) for a, b in zip(start, stop, strict=True))
    assert len(found[0]) == crossed
