"""Damaged vector files: whatever a byte becomes, they are read or refused by name."""

from __future__ import annotations

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atoll.core.errors import AtollError
from atoll.vectors.sources import open_sources

ROWS, DIM = 12, 3
VALUES = np.arange(ROWS * DIM, dtype=np.float32).reshape(ROWS, DIM)
IDS = [f"p{n}" for n in range(ROWS)]
LABELS = ["ü" * (n % 3) for n in range(ROWS)]
# Of each format, its plain layout and the one with most structure.
KINDS = ["plain.h5", "chunked.h5", "plain.parquet", "packed.parquet", "x.npy", "x.fvecs", "x.txt"]


def write(path):
    if path.suffix == ".h5":
        layout = {"chunks": (5, 2), "compression": 4} if path.stem == "chunked" else {}
        with h5py.File(path, "w") as h5:
            h5.create_dataset("embedding", data=VALUES, **layout)
            # Fixed widths: damaged strings of variable length hang or crash the HDF5 library.
            h5.create_dataset(
                "id", data=np.array(IDS, "S4"), **({"chunks": (5,)} if layout else {})
            )
            h5["label"] = np.array([label.encode() for label in LABELS])
            h5["alias"] = h5py.SoftLink("/id")
            made_by = {"model": "m", "revision": "1", "pooling": "mean"}
            h5.attrs.update({name: np.bytes_(value) for name, value in made_by.items()})
            h5.attrs["dim"] = DIM
    elif path.suffix == ".parquet":
        packed = path.stem == "packed"
        vectors = pa.array(VALUES.tolist(), pa.list_(pa.float32(), *([] if packed else [DIM])))
        ids = pa.array(IDS).dictionary_encode() if packed else IDS
        table = pa.table({"embedding": vectors, "id": ids, "label": LABELS})
        pq.write_table(table, path, row_group_size=5, compression="zstd" if packed else "none")
    elif path.suffix == ".fvecs":
        path.write_bytes(b"".join(np.int32(DIM).tobytes() + row.tobytes() for row in VALUES))
    else:
        np.save(path.with_suffix(".npy"), VALUES)
        if path.suffix == ".txt":
            path.with_suffix(".ids.txt").write_text("\n".join(IDS))


def read_all(path):
    for source in open_sources([path]):
        rows = sum(len(batch) for batch in source.read(batch_rows=5))
        assert rows == source.rows
        assert sum(len(part) for part in source.vectors_in([(0, 1), (1, source.rows)])) == rows
        assert len(source.ids_at(np.arange(source.rows))) == rows


def mutants(content, count, seed):
    random = np.random.default_rng(seed)
    for number in range(count):
        if number % 10 == 0:
            yield content[: random.integers(len(content))]
            continue
        changed = bytearray(content)
        at = int(random.integers(len(content)))
        # Zeros, ones and single bits meet the edges of numbers more often than chance does.
        bit = 1 << int(random.integers(8))
        changed[at] = [0, 255, changed[at] ^ bit, int(random.integers(256))][number % 4]
        yield bytes(changed)


def hold(folder, kind, count, seed):
    write(folder / kind)
    opened = (folder / kind).with_suffix(".npy" if kind == "x.txt" else (folder / kind).suffix)
    damaged = opened.with_suffix(".ids.txt") if kind == "x.txt" else opened
    read_all(opened)
    refusals = []
    for number, content in enumerate(mutants(damaged.read_bytes(), count, seed)):
        damaged.write_bytes(content)
        try:
            read_all(opened)
        except AtollError as error:
            refusals.append(error.message)
        except Exception as error:
            raise AssertionError(f"{kind} seed {seed} mutant {number}: {error!r}") from error
    assert 0 < len(refusals) < count
    assert all(str(damaged) in message and "\n" not in message for message in refusals)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused_by_name(tmp_path, kind):
    hold(tmp_path, kind, 300, seed=0)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_many_damaged_files_are_read_or_refused_by_name(tmp_path, kind, seed):
    hold(tmp_path, kind, 2000, seed)
