"""Copies of buckets on a local disk, for steps that read all of one.

A copy mirrors the collection's paths below a folder of its own, so whatever reads the collection
reads the copy. Files come in pieces, several at once; which pieces are there is written down, so
that a killed copy goes on where it stopped. A whole bucket is then held against its manifest.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import xxhash

from atoll.core.errors import Corrupt, Unavailable
from atoll.core.files import OTHER_SCRATCH, locked, writing
from atoll.core.text import sized
from atoll.storage import Storage, StoredObject, Threads, open_storage
from atoll.vectors.adopted import bucket_table
from atoll.vectors.distributed.model import Target
from atoll.vectors.model import Blob, Bucket
from atoll.vectors.verify import faults_of

PIECE_BYTES = 16 << 20
PIECES_AT_ONCE = 8
# Left free on the disk, for whatever else lives there.
SPARE_BYTES = 64 << 20
# In the record of pieces: which, and the hash of its bytes.
_RECORD = struct.Struct("<QQ")
_WHOLE = "whole"


@contextmanager
def copied(storage: Storage, target: Target, bucket: Bucket, scratch: Path) -> Iterator[Storage]:
    """Copy a bucket to a local disk for the block; a collection on a local disk is read as it is.

    Args:
        storage: the collection.
        target: what it is, for its models.
        bucket: which.
        scratch: a folder on the disk.

    Raises:
        Unavailable: the disk is too small, or the store fails.
        Corrupt: what came is not what the manifest says, also when fetched anew.
    """
    if storage.root is not None:
        yield storage
        return
    name = hashlib.sha256(storage.url.encode()).hexdigest()[:16]
    # By bucket: what several of them share is small, and none removes what another reads.
    folder = scratch / "atoll-copies" / name / bucket.name
    with writing(folder, mend=OTHER_SCRATCH):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock")):
        copy = open_storage(folder)
        if not (folder / _WHOLE).exists():
            _fetch(storage, target, bucket, folder, scratch)
            (folder / _WHOLE).touch()
        try:
            yield copy
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _fetch(storage: Storage, target: Target, bucket: Bucket, folder: Path, scratch: Path) -> None:
    copy = open_storage(folder)
    for attempt in range(2):
        files = [*storage.list(f"{bucket.name}.lance"), *_objects(target, bucket)]
        if not any(file.path.endswith(".manifest") for file in files):
            raise Corrupt(
                f"table {bucket.name} is missing from {storage}; it was removed, or is not ours",
                bucket=bucket.name,
            )
        _require_room(files, folder)
        with Threads(PIECES_AT_ONCE, thread_name_prefix="atoll-copy") as pool:
            for file in files:
                _copy(storage, file, folder, pool)
        faults = _faults(copy, target, bucket, scratch)
        if not faults:
            return
        # What is damaged in the store comes damaged again, what was on the way does not.
        shutil.rmtree(folder)
        folder.mkdir()
        if attempt:
            raise Corrupt(
                f"bucket {bucket.name} came damaged twice: {'; '.join(faults)}; run `atoll verify`",
                bucket=bucket.name,
            )


def _faults(copy: Storage, target: Target, bucket: Bucket, scratch: Path) -> list[str]:
    try:
        table = bucket_table(copy, bucket, target.spec)
        return [issue.what for issue in faults_of(copy, target.spec, table, scratch)]
    except Corrupt as error:
        return [error.message]


def _objects(target: Target, bucket: Bucket) -> Iterator[StoredObject]:
    blobs: list[Blob] = [*bucket.blobs, *target.models.values()]
    for blob in {blob.path: blob for blob in blobs}.values():
        yield StoredObject(blob.path, blob.size_bytes)


def _require_room(files: Sequence[StoredObject], folder: Path) -> None:
    wanted = sum(file.size_bytes for file in files)
    present = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    if wanted - present > free - SPARE_BYTES:
        raise Unavailable(
            f"{folder} is too small for a copy of the bucket: {sized(wanted - present)} are to "
            f"come, {sized(free)} are free; {OTHER_SCRATCH}",
            needed=wanted - present,
            free=free,
        )


def _copy(storage: Storage, file: StoredObject, folder: Path, pool: Threads) -> None:
    """Copy an object; what an earlier try left of it is taken up where its hash says so."""
    path = folder / file.path
    if path.exists() and path.stat().st_size == file.size_bytes:
        return
    part, record = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.pieces")
    with writing(path.parent, mend=OTHER_SCRATCH):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("r+b" if part.exists() else "w+b") as out, record.open("a+b") as noted:
            there = _pieces(part, record)
            missing = [n for n in range(-(-file.size_bytes // PIECE_BYTES)) if n not in there]
            starts = [number * PIECE_BYTES for number in missing]
            lengths = [min(PIECE_BYTES, file.size_bytes - start) for start in starts]
            for at in range(0, len(missing), PIECES_AT_ONCE):
                some = slice(at, at + PIECES_AT_ONCE)
                names = [file.path] * len(missing[some])
                fetched = pool.map(storage.get_range, names, starts[some], lengths[some])
                for number, start, data in zip(missing[some], starts[some], fetched, strict=True):
                    out.seek(start)
                    out.write(data)
                    out.flush()
                    noted.write(_RECORD.pack(number, xxhash.xxh3_64_intdigest(data)))
                    noted.flush()
        part.rename(path)
        record.unlink()


def _pieces(part: Path, record: Path) -> set[int]:
    """List the pieces that are there: noted, and with the hash noted."""
    noted = record.read_bytes()
    whole = len(noted) // _RECORD.size * _RECORD.size
    there = set()
    with part.open("rb") as file:
        for number, expected in _RECORD.iter_unpack(noted[:whole]):
            file.seek(number * PIECE_BYTES)
            if xxhash.xxh3_64_intdigest(file.read(PIECE_BYTES)) == expected:
                there.add(number)
    return there
