from __future__ import annotations

import pickle
import tracemalloc

import numpy as np

from atoll.vectors.idcheck import _Found


def test_the_first_duplicates_are_shown_and_all_are_counted():
    found = _Found()
    for first in (40, 0, 80):
        found.add("b", np.arange(first, first + 3), lambda row: f"b{row}")
    for row in (9, 7):
        found.add("a", np.array([row]), lambda row: f"a{row}")
    found.add("a", np.array([7]), lambda row: f"a{row} again")
    error = found.refusal()
    assert "12 duplicate ids: a7; a7 again; a9; b0; b1 and 7 more; mend" in error.message
    assert error.details == {"duplicates": 12}
    assert {uri: rows.tolist() for uri, rows in found.rows().items()} == {
        "b": [0, 1, 2, 40, 41, 42, 80, 81, 82],
        "a": [7, 9],
    }


def test_a_million_duplicates_take_eight_bytes_each():
    found = _Found()
    tracemalloc.start()
    for first in range(0, 1_000_000, 100_000):
        found.add("x", np.arange(first, first + 100_000), str)
    found.add("x", np.array([5]), str)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 12_000_000
    assert len(found.rows()["x"]) == 1_000_000
    assert pickle.loads(pickle.dumps(found.rows()["x"])).nbytes == 8_000_000
