"""Embedded rows on disk: pieces while a run goes on, HDF5 shards when they are whole."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from atoll.core.files import whole_file, writing
from atoll.vectors.hdf5sink import Hdf5Sink
from atoll.vectors.model import Embedder

_CHUNK_ROWS = 256
_TEXT_CHUNK_ROWS = 4096
_BLOCK_ROWS = 4096
# Ids of fixed width are read without an object per row; beyond this the padding costs more.
_FIXED_ID_BYTES = 128
# What to do where the disk is full.
RESUME = "free some room and run the same command again, it continues where it stopped"


class Row(NamedTuple):
    """What one vector stands for.

    Attributes:
        id: the protein's id, or `protein/start-end` of a tile.
        description: from the header; may be empty.
        sequence: what is embedded.
        protein, start, end: the protein and the residues of it, counted from 1, end included.
    """

    id: str
    description: str
    sequence: str
    protein: str
    start: int
    end: int


@dataclass(frozen=True)
class Piece:
    """What must be known of a piece to lay out the shard it goes into."""

    rows: int
    id_bytes: int
    protein_bytes: int
    has_descriptions: bool


@dataclass(frozen=True)
class Layout:
    """What a shard says of itself.

    Attributes:
        embedder: what made the vectors.
        tile, tile_overlap: residues per vector and shared by neighbours; None for whole proteins.
    """

    embedder: Embedder
    tile: int | None = None
    tile_overlap: int | None = None


def write_piece(
    folder: Path, number: int, rows: Sequence[Row], vectors: NDArray[np.float32]
) -> Piece:
    """Write rows durably below a state folder, to be gathered later.

    Raises:
        Unavailable: the disk is full. Forbidden: the folder is read-only.
    """
    with writing(folder, mend=RESUME):
        require_room(folder, vectors.nbytes)
        path = folder / f"{number:06}.json"
        path.write_text(json.dumps([row._replace(sequence="") for row in rows]))
        with (folder / f"{number:06}.npy").open("wb") as file:
            np.save(file, vectors)
            file.flush()
            os.fsync(file.fileno())
    return Piece(
        rows=len(rows),
        id_bytes=max(len(row.id.encode()) for row in rows),
        protein_bytes=max(len(row.protein.encode()) for row in rows),
        has_descriptions=any(row.description for row in rows),
    )


def remove_pieces(folder: Path) -> None:
    """Remove all pieces of a state folder."""
    for path in (*folder.glob("[0-9]*.npy"), *folder.glob("[0-9]*.json")):
        path.unlink()


def write_shard(target: Path, folder: Path, pieces: Sequence[Piece], layout: Layout) -> None:
    """Gather the pieces of a state folder into an HDF5 file that appears whole.

    Datasets `embedding` (n, dim) float32 and `id` (n) UTF-8; `description` where a row has one;
    `protein`, `start`, `end` (residues from 1, end included) for tiles. Attributes `model`,
    `revision`, `pooling`, `dim`, `precision`, and `tile`, `tile_overlap` for tiles.

    Raises:
        Unavailable: the disk is full. Forbidden: the folder is read-only.
    """
    rows = sum(piece.rows for piece in pieces)
    for killed in folder.glob(".*.part"):
        killed.unlink()
    with writing(target, mend=RESUME):
        require_room(target.parent, rows * layout.embedder.dim * 4)
    with (
        whole_file(target, unfinished_in=folder, mend=RESUME) as file,
        Hdf5Sink(cast("io.BufferedRandom", file).raw) as sink,
    ):
        _gather(sink, folder, pieces, layout)


def _gather(sink: Hdf5Sink, folder: Path, pieces: Sequence[Piece], layout: Layout) -> None:
    total = sum(piece.rows for piece in pieces)
    with h5py.File(sink, "w") as h5:
        _describe(h5, layout)
        columns = _columns(h5, total, pieces, layout)
        at = 0
        for rows, vectors in _blocks(folder, len(pieces)):
            stop = at + len(rows)
            columns["embedding"][at:stop] = vectors
            for name, values in _values(rows).items():
                if name in columns:
                    columns[name][at:stop] = np.asarray(values, columns[name].dtype)
            sink.check()
            at = stop
    sink.check()


def _blocks(folder: Path, pieces: int) -> Iterator[tuple[list[Row], NDArray[np.float32]]]:
    """Read pieces again in blocks of equal size: where a run was interrupted leaves no trace."""
    rows: list[Row] = []
    parts: list[NDArray[np.float32]] = []
    for number in range(pieces):
        piece_rows = _read_rows(folder, number)
        vectors = np.load(folder / f"{number:06}.npy", mmap_mode="r")
        at = 0
        while at < len(piece_rows):
            stop = at + _BLOCK_ROWS - len(rows)
            rows += piece_rows[at:stop]
            parts.append(vectors[at:stop])
            at = stop
            if len(rows) == _BLOCK_ROWS:
                yield rows, np.concatenate(parts)
                rows, parts = [], []
    if rows:
        yield rows, np.concatenate(parts)


def _describe(h5: h5py.File, layout: Layout) -> None:
    facts: dict[str, Any] = asdict(layout.embedder)
    facts["model"] = facts.pop("name")
    if layout.tile is not None:
        facts |= {"tile": layout.tile, "tile_overlap": layout.tile_overlap}
    h5.attrs.update(facts)


def _columns(
    h5: h5py.File, total: int, pieces: Sequence[Piece], layout: Layout
) -> dict[str, h5py.Dataset]:
    dim = layout.embedder.dim
    kinds: dict[str, Any] = {"id": _text_type(max(piece.id_bytes for piece in pieces))}
    if any(piece.has_descriptions for piece in pieces):
        kinds["description"] = h5py.string_dtype()
    if layout.tile is not None:
        kinds["protein"] = _text_type(max(piece.protein_bytes for piece in pieces))
        kinds |= {"start": np.int32, "end": np.int32}
    vectors = h5.create_dataset(
        "embedding", (total, dim), np.float32, chunks=(min(total, _CHUNK_ROWS), dim)
    )
    chunks = (min(total, _TEXT_CHUNK_ROWS),)
    return {"embedding": vectors} | {
        name: h5.create_dataset(name, (total,), kind, chunks=chunks) for name, kind in kinds.items()
    }


def _text_type(longest: int) -> Any:
    return h5py.string_dtype(length=longest if longest <= _FIXED_ID_BYTES else None)


def _read_rows(folder: Path, number: int) -> list[Row]:
    return [Row(*row) for row in json.loads((folder / f"{number:06}.json").read_text())]


def _values(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "id": [row.id.encode() for row in rows],
        "description": [row.description.encode() for row in rows],
        "protein": [row.protein.encode() for row in rows],
        "start": [row.start for row in rows],
        "end": [row.end for row in rows],
    }


def require_room(folder: Path, needed_bytes: int) -> None:
    """Fail as a full disk would, before the work is done."""
    if shutil.disk_usage(folder).free < needed_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
