"""Pages of a list that changes while it is read, held against the list itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.errors import InvalidInput
from atoll.fleet.aws.paging import marker_of, page

ITEMS = st.sets(st.tuples(st.floats(-1e12, 1e12), st.text(max_size=5)), max_size=30)


@given(ITEMS, st.integers(1, 7), st.data())
def test_pages_have_what_stays_once_each_whatever_goes_meanwhile(items, size, data):
    there, seen, marker = set(items), [], None
    while True:
        found, marker = page(there, marker, key=lambda one: one, size=size)
        assert found == sorted(found)
        seen += found
        if marker is None:
            break
        there -= data.draw(st.sets(st.sampled_from(sorted(there))))
    assert len(seen) == len(set(seen))
    assert there <= set(seen) <= items


@given(ITEMS, ITEMS)
def test_a_page_goes_on_after_its_marker_among_newcomers(items, newcomers):
    found, marker = page(items, None, key=lambda one: one, size=1)
    if marker is None:
        return
    rest, _ = page(items | newcomers, marker, key=lambda one: one, size=100)
    assert rest == sorted(one for one in items | newcomers if one > found[-1])


@given(st.text() | st.tuples(st.integers()).map(marker_of))
def test_a_marker_of_something_else_is_refused(marker):
    with pytest.raises(InvalidInput, match="marker"):
        page([(1.0, "a")], marker, key=lambda one: one)
