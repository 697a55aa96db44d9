from __future__ import annotations

import numpy as np
import pytest

from atoll.core.config import StorageOptions
from atoll.core.errors import Corrupt, Unavailable
from atoll.storage import count_usage, open_storage
from atoll.vectors import byteranges, layout
from atoll.vectors.kernels import reading
from atoll.vectors.layout import Pages

ROWS, WIDTH = 100, 8
PAGES = Pages(WIDTH, np.array([0, ROWS]), np.array([0]), np.array([0]))


def written(folder):
    data = np.random.default_rng(0).integers(0, 255, (ROWS, WIDTH)).astype(np.uint8)
    (folder / "rows").write_bytes(data.tobytes())
    return data


@pytest.fixture
def distant(tmp_path):
    """A place that nobody can reach: all that is read of it was kept."""
    options = StorageOptions(
        endpoint="http://127.0.0.1:9",
        allow_http=True,
        retries=0,
        access_key_id="key",
        secret_access_key="secret",
    )
    return open_storage("s3://bucket/c", options).cached(tmp_path / "kept", 1 << 24)


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


def test_every_row_lies_in_one_chunk_that_starts_where_chunks_do(monkeypatch):
    monkeypatch.setattr(layout, "CHUNK_BYTES", 3 * WIDTH + 1)
    # Two files; pages of 7, 0, 1 and 9 rows, which begin anywhere.
    pages = Pages(
        WIDTH, np.array([0, 7, 7, 8, 17]), np.array([0, 0, 0, 1]), np.array([5, 99, 100, 3])
    )
    assert pages.chunk_rows().tolist() == [0, 3, 6, 7, 8, 11, 14]
    rows = np.arange(17)
    file, start, length = pages.chunks(rows)
    of, at = pages.locate(rows)
    assert (file == of).all()
    assert ((start <= at) & (at + WIDTH <= start + length)).all()
    chunks = [
        (0, 5, 24),
        (0, 29, 24),
        (0, 53, 8),
        (0, 100, 8),
        (1, 3, 24),
        (1, 27, 24),
        (1, 51, 24),
    ]
    assert list(zip(*pages.chunks(pages.chunk_rows()), strict=True)) == chunks
    assert sorted(set(zip(file, start, length, strict=True))) == chunks


def test_a_chunk_holds_a_row_that_is_longer_than_chunks_are(monkeypatch):
    monkeypatch.setattr(layout, "CHUNK_BYTES", WIDTH - 1)
    assert PAGES.chunk_rows().tolist() == list(range(ROWS))


def test_rows_of_kept_chunks_are_read_from_this_disk_and_others_asked_for(
    tmp_path, distant, monkeypatch
):
    monkeypatch.setattr(layout, "CHUNK_BYTES", 10 * WIDTH)
    data, rows = written(tmp_path), np.array([0, 1, 9, 20, 29, 45])
    for start in (0, 20, 40):
        distant.keep("rows", start * WIDTH, data[start : start + 10].tobytes())
    with count_usage() as usage:
        np.testing.assert_array_equal(
            byteranges.get_rows(distant, ["rows"], PAGES, rows), data[rows]
        )
    assert usage.reads == 0
    with pytest.raises(Unavailable):
        byteranges.get_rows(distant, ["rows"], PAGES, np.array([0, 10]))
    distant.keep("rows", 10 * WIDTH, data[10].tobytes())
    with_one_alone = byteranges.get_rows(distant, ["rows"], PAGES, np.array([0, 10, 45]))
    np.testing.assert_array_equal(with_one_alone, data[[0, 10, 45]])


def test_what_is_kept_serves_a_scan_which_keeps_nothing_itself(tmp_path, distant, monkeypatch):
    raw = written(tmp_path).tobytes()
    start = np.arange(0, len(raw), 2 * WIDTH)
    file, length = np.zeros_like(start), np.full_like(start, WIDTH)
    asked = []

    def get(storage, paths, starts, lengths):
        asked.extend(starts)
        return [raw[at : at + size] for at, size in zip(starts, lengths, strict=True)]

    def read():
        found = byteranges.get_pieces(distant, ["rows"], file, start, length)
        assert [bytes(piece) for piece in found] == [raw[at : at + WIDTH] for at in start.tolist()]

    monkeypatch.setattr(byteranges, "_get", get)
    with monkeypatch.context() as scanning:
        scanning.setattr(byteranges, "MAX_KEPT_PIECES", len(start) - 1)
        read()
        read()
        assert len(asked) == 2
    read()
    assert len(asked) == 3
    monkeypatch.setattr(byteranges, "MAX_KEPT_PIECES", 1)
    read()
    assert len(asked) == 3


def test_chunks_of_a_collection_that_was_not_warmed_are_not_looked_for_for_ever(
    tmp_path, distant, monkeypatch
):
    monkeypatch.setattr(layout, "CHUNK_BYTES", WIDTH)
    monkeypatch.setattr(byteranges, "MAX_CHUNKS_IN_VAIN", 3)
    data = written(tmp_path)
    for row in (2, 5, 6, 20):
        distant.keep("rows", row * WIDTH, data[row].tobytes())
    found, is_kept = byteranges.kept_rows(distant, ["rows"], PAGES, np.arange(ROWS))
    assert np.flatnonzero(is_kept).tolist() == [2, 5, 6]
    np.testing.assert_array_equal(found[is_kept], data[[2, 5, 6]])
