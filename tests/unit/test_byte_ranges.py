from __future__ import annotations

import numpy as np
import pytest

from atoll.core.errors import Corrupt
from atoll.storage import open_storage
from atoll.vectors import byteranges
from atoll.vectors.kernels import reading
from atoll.vectors.layout import Pages

ROWS, WIDTH = 100, 8
PAGES = Pages(WIDTH, np.array([0, ROWS]), np.array([0]), np.array([0]))


def written(folder):
    data = np.random.default_rng(0).integers(0, 255, (ROWS, WIDTH)).astype(np.uint8)
    (folder / "rows").write_bytes(data.tobytes())
    return data


def get_rows(folder, rows):
    return byteranges.get_rows(open_storage(folder), ["rows"], PAGES, rows)


def test_rows_that_one_call_leaves_over_are_read_by_others(tmp_path, monkeypatch):
    data, read, rows = written(tmp_path), reading.read_rows, np.array([1, 2, 3, 50, 99])
    monkeypatch.setattr(reading, "read_rows", lambda file, at, out: read(file, at[:2], out[:2]))
    np.testing.assert_array_equal(get_rows(tmp_path, rows), data[rows])


def test_a_run_of_rows_in_a_file_that_is_cut_off_is_tried_once(tmp_path, monkeypatch):
    data, read, calls = written(tmp_path), reading.read_rows, []
    (tmp_path / "rows").write_bytes(data.tobytes()[:-3])
    monkeypatch.setattr(reading, "read_rows", lambda *given: calls.append(1) or read(*given))
    with pytest.raises(Corrupt, match="cut off"):
        get_rows(tmp_path, np.arange(ROWS))
    assert len(calls) == 1
