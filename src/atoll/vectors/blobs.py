"""Immutable objects, stored under their own hash: models, layouts, positions of rows, recall."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from atoll.core.errors import Corrupt, NotFound
from atoll.core.records import decoded
from atoll.storage import Storage
from atoll.vectors import layout as layouts
from atoll.vectors.index import IndexModel, as_halves, from_halves
from atoll.vectors.layout import Layout
from atoll.vectors.model import Blob, Calibration, DistanceType, IndexKind, PartitionChoice
from atoll.vectors.paths import FOLDER


def put_blob(storage: Storage, folder: str, data: bytes, suffix: str = "") -> Blob:
    """Store bytes under their own hash."""
    digest = hashlib.sha256(data).hexdigest()
    path = f"{FOLDER}/{folder}/{digest[:32]}{suffix}"
    storage.put_new(path, data)
    return Blob(path, len(data), digest)


def put_blob_file(storage: Storage, folder: str, source: Path) -> Blob:
    """Store a local file under its own hash, without reading it into memory."""
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    path = f"{FOLDER}/{folder}/{digest[:32]}"
    storage.put_file(path, source)
    return Blob(path, source.stat().st_size, digest)


def get_blob(storage: Storage, blob: Blob) -> bytes:
    """Read bytes back.

    Raises:
        Corrupt: the object is gone, or its bytes are not those that were stored.
    """
    kept = storage.kept(blob.path, 0, blob.size_bytes)
    if kept is not None and hashlib.sha256(kept).hexdigest() == blob.sha256:
        return kept
    with missing_is_corrupt(storage, [blob.path]):
        data = storage.get(blob.path)
    if hashlib.sha256(data).hexdigest() != blob.sha256:
        raise _changed(storage, blob.path)
    storage.keep(blob.path, 0, data)
    return data


def _changed(storage: Storage, path: str) -> Corrupt:
    return Corrupt(
        f"{storage}/{path} has changed since it was written; restore the object", path=path
    )


def check_blob(storage: Storage, blob: Blob) -> None:
    """Read an object from front to back and compare its hash.

    Raises:
        Corrupt: the object is gone, or its bytes are not those that were stored.
    """
    digest = hashlib.sha256()
    with missing_is_corrupt(storage, [blob.path]):
        for piece in storage.stream(blob.path):
            digest.update(piece)
    if digest.hexdigest() != blob.sha256:
        raise _changed(storage, blob.path)


@contextmanager
def missing_is_corrupt(storage: Storage, paths: Sequence[str]) -> Iterator[None]:
    """Raise that an object is gone, which a manifest names, as damage.

    Raises:
        Corrupt: one of `paths` is not there.
    """
    try:
        yield
    except NotFound as error:
        path = next((path for path in paths if path in error.message), paths[0])
        raise Corrupt(
            f"{storage}/{path} is missing; restore the object, or drop what needs it", path=path
        ) from error


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Write named arrays as an uncompressed .npz, the same bytes each time."""
    out = io.BytesIO()
    # np.savez stamps no times into the archive: equal arrays give equal bytes.
    np.savez(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def unpack_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Read arrays that `pack_arrays` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def put_model(storage: Storage, model: IndexModel) -> Blob:
    """Store an index model under its hash."""
    halves, shift = as_halves(model.centroids)
    arrays = {
        "kind": np.array(model.kind),
        "distance_type": np.array(model.distance_type),
        "centroids": halves,
        "shift": np.array(shift),
        "signs": model.signs,
        "codebook": model.codebook,
        "groups": model.groups,
        "bits": np.array(model.bits),
    }
    return put_blob(storage, "models", pack_arrays(arrays), ".npz")


def get_model(storage: Storage, blob: Blob) -> IndexModel:
    """Read an index model.

    Raises:
        Corrupt: it is gone or has changed.
    """
    arrays = unpack_arrays(get_blob(storage, blob))
    return IndexModel(
        cast("IndexKind", str(arrays["kind"])),
        cast("DistanceType", str(arrays["distance_type"])),
        from_halves(arrays["centroids"], int(arrays["shift"])),
        arrays["signs"],
        arrays["codebook"],
        arrays["groups"],
        int(arrays["bits"]),
    )


def put_layout(storage: Storage, layout: Layout) -> Blob:
    """Store where the rows of a bucket lie."""
    return put_blob(storage, "blobs", layouts.pack(layout))


def put_begun_layout(storage: Storage, path: str, layout: Layout) -> Blob:
    """Store what is known of a layout while a bucket is built, where the build has its records."""
    data = layouts.pack(layout)
    storage.put(path, data)
    return Blob(path, len(data), hashlib.sha256(data).hexdigest())


def get_layout(storage: Storage, blob: Blob | None) -> Layout:
    """Read where the rows of a bucket lie.

    Raises:
        Corrupt: the object is gone or has changed.
    """
    assert blob is not None, "an adopted table has no layout"
    return layouts.unpack(get_blob(storage, blob))


def put_rows(storage: Storage, rows: NDArray[np.int64]) -> Blob:
    """Store sorted positions of rows."""
    return put_blob(storage, "blobs", zstandard.compress(np.sort(rows).astype("<u4").tobytes()))


def get_rows(storage: Storage, blob: Blob) -> NDArray[np.int64]:
    """Read positions that `put_rows` stored."""
    return np.frombuffer(zstandard.decompress(get_blob(storage, blob)), "<u4").astype(np.int64)


def put_calibration(storage: Storage, calibration: Calibration) -> Blob:
    """Store measured recall under its hash."""
    return put_blob(storage, "blobs", msgspec.json.encode(calibration))


def get_calibration(storage: Storage, blob: Blob) -> Calibration:
    """Read measured recall.

    Raises:
        Corrupt: it is gone or has changed.
    """
    return decoded(get_blob(storage, blob), Calibration)


def put_choice(storage: Storage, choice: PartitionChoice) -> Blob:
    """Store under its hash how a number of partitions was chosen."""
    return put_blob(storage, "blobs", msgspec.json.encode(choice))


def get_choice(storage: Storage, blob: Blob) -> PartitionChoice:
    """Read how a number of partitions was chosen.

    Raises:
        Corrupt: it is gone or has changed.
    """
    return decoded(get_blob(storage, blob), PartitionChoice)
