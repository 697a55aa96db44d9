from __future__ import annotations

import io
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atoll.vectors.sources import files, open_sources
from atoll.vectors.sources.columns import ids_from_numpy
from atoll.vectors.sources.files import RangedFile, SourceFile

TABLES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 30), st.integers(1, 5)),
    elements=st.floats(width=32, allow_nan=False),
)
# HDF5 strings end at a zero byte; lines of a text file at a newline.
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)


def write(path: Path, values, ids, block: int):
    if path.suffix == ".h5":
        with h5py.File(path, "w") as h5:
            h5.create_dataset("embedding", data=values, chunks=(min(block, len(values)), 1))
            h5["id"] = np.array([name.encode() for name in ids])
    elif path.suffix == ".parquet":
        vectors = pa.array(values.tolist(), pa.list_(pa.float32()))
        pq.write_table(pa.table({"embedding": vectors, "id": ids}), path, row_group_size=block)
    else:
        if path.suffix == ".npy":
            np.save(path, values)
        else:
            path.write_bytes(b"".join(np.int32(len(v)).tobytes() + v.tobytes() for v in values))
        path.with_suffix(".ids.txt").write_text("\n".join(ids), "utf-8")


@settings(max_examples=60, deadline=None)
@given(st.data(), TABLES, st.sampled_from([".h5", ".parquet", ".npy", ".fvecs"]))
def test_any_range_in_any_batches_gives_the_rows_that_were_written(data, values, suffix):
    ids = data.draw(st.lists(NAMES, min_size=len(values), max_size=len(values)))
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    batch_rows, block = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 12))
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, f"x{suffix}"), values, ids, block)
        (source,) = open_sources([Path(folder, f"x{suffix}")])
        batches = list(source.read(start, stop, batch_rows))
        names = [name for part in source.ids(start, stop, batch_rows) for name in part.to_pylist()]
    assert (source.rows, source.dim) == values.shape
    assert all(0 < len(batch) <= batch_rows for batch in batches)
    assert [v for b in batches for v in b["vector"].to_pylist()] == values[start:stop].tolist()
    assert [n for b in batches for n in b["id"].to_pylist()] == names == ids[start:stop]


@settings(max_examples=60, deadline=None)
@given(st.data(), TABLES, st.sampled_from([".h5", ".parquet", ".npy", ".fvecs"]))
def test_any_ranges_and_single_rows_are_read_in_one_pass(data, values, suffix):
    rows = len(values)
    ids = data.draw(st.lists(NAMES, min_size=rows, max_size=rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=8)))
    ranges = list(zip(cuts[::2], cuts[1::2], strict=False))
    single = sorted(data.draw(st.sets(st.integers(0, rows - 1))))
    batch_rows, block = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 12))
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, f"x{suffix}"), values, ids, block)
        (source,) = open_sources([Path(folder, f"x{suffix}")])
        vectors = [row for part in source.vectors_in(ranges, batch_rows) for row in part.tolist()]
        names = [name for part in source.ids_in(ranges, batch_rows) for name in part.to_pylist()]
        chosen = source.ids_at(np.array(single, np.int64))
    expected = [row for start, stop in ranges for row in range(start, stop)]
    assert vectors == [values[row].tolist() for row in expected]
    assert names == [ids[row] for row in expected]
    assert chosen == [ids[row] for row in single]


@given(st.lists(NAMES | st.just(""), min_size=1, max_size=20))
def test_fixed_width_ids_lose_their_padding_only(ids):
    cells = np.array([name.encode() for name in ids], "S40" if len(ids) % 2 else None)
    expected = [bytes(cell).decode(errors="strict") for cell in cells.tolist() if _is_utf8(cell)]
    if len(expected) == len(ids):
        assert ids_from_numpy(cells, "x", 0).to_pylist() == expected


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 250), st.integers(0, 80))))
def test_a_ranged_file_reads_what_the_bytes_hold(content, reads):
    file = SourceFile("memory://x/y", len(content), "")
    calls = []

    def fetch(start: int, length: int) -> bytes:
        assert 0 < length <= len(content) - start
        calls.append(start)
        return content[start : start + length]

    plain, block, files.BLOCK_BYTES = io.BytesIO(content), files.BLOCK_BYTES, 16
    try:
        ranged = io.BufferedReader(RangedFile(fetch, file), 8)
        for at, length in reads:
            plain.seek(at)
            ranged.seek(at)
            assert ranged.read(length) == plain.read(length)
        assert ranged.seek(0, io.SEEK_END) == len(content)
    finally:
        files.BLOCK_BYTES = block
