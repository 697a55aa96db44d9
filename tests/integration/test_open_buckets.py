"""What is read of all buckets together comes out as it was written, however it is cut."""

from __future__ import annotations

import numpy as np
from vectordata import gaussian, names, settings, write_parquet

import atoll
from atoll.vectors import shelf as shelves

ROWS, DIM = 3000, 8


def test_ids_of_many_blocks_are_read_in_rounds(tmp_path, monkeypatch):
    source = write_parquet(tmp_path / "x.parquet", gaussian(ROWS, DIM), names(ROWS))
    made = atoll.create(
        tmp_path / "c", source, bucket_rows=2000, settings=settings(tmp_path), workers=1
    )
    monkeypatch.setattr(shelves, "BLOCKS_AT_ONCE", 1)
    shelf = made._reader.shelf(made.buckets)
    drawn = np.random.default_rng(0).permutation(ROWS)
    stored = np.array(made.search(gaussian(1, DIM), k=ROWS, exact=True)["id"].to_pylist())
    found = np.array(shelf.ids(drawn).to_pylist())
    assert sorted(found) == sorted(stored) == sorted(names(ROWS))
    one_by_one = [shelf.ids(np.array([row]))[0].as_py() for row in drawn[:50]]
    assert found[:50].tolist() == one_by_one
