"""Reads what searches will want into the disk cache, where it stays for other processes."""

from __future__ import annotations

import numpy as np

from atoll.vectors.blobs import get_blob
from atoll.vectors.model import Manifest
from atoll.vectors.reader import Reader

# Codes read at once: so few ranges that the cache takes them, see `byteranges.MAX_KEPT_PIECES`.
PARTITIONS_AT_ONCE = 256


def warm(reader: Reader, manifest: Manifest, *, codes: bool, threads: int) -> None:
    """Read a version's models, recall and layouts; if asked, all codes too.

    Args:
        reader: of the collection, with a disk cache.
        manifest: the version.
        codes: whether to read them, partition by partition as a search would.
        threads: buckets opened at once.
    """
    for blob in manifest.models.values():
        reader.model(blob)
    if manifest.calibration is not None:
        get_blob(reader.storage, manifest.calibration)
    buckets = [reader.bucket(bucket) for bucket in manifest.buckets]
    reader.run([bucket.open for bucket in buckets], threads)
    if not codes:
        return
    for bucket in buckets:
        shelf = bucket.alone
        for group in shelf.groups:
            bits = reader.model(manifest.models[group.model]).bits
            count = len(group.stored)
            for start in range(0, count, PARTITIONS_AT_ONCE):
                some = np.arange(start, min(count, start + PARTITIONS_AT_ONCE))
                shelf.codes(group, some, bits, shelf.live)
