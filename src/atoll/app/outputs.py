"""Puts what work printed into a store, for an agent: `python -m atoll.app.outputs URL`.

A process of its own, because agents are small; here, because it has the settings that a step on
the same machine has: environment and configuration file.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import tempfile
from pathlib import Path

from atoll.app.settings import read_settings
from atoll.core.config import StorageOptions
from atoll.core.errors import AtollError
from atoll.core.files import OTHER_SCRATCH, reading, writing
from atoll.fleet.agent.delivery import Parcel
from atoll.fleet.codec import decode
from atoll.storage import Storage, open_storage

_LEVEL = 1
"""Of gzip: four times as quick as the usual one, for a tenth more bytes."""


def main(url: str) -> None:
    """Put what the standard input lists, in its order, and stop at the first that fails."""
    listed = decode(sys.stdin.buffer.read(), list[Parcel], what="the agent's list")
    put_all(url, listed, read_settings(os.environ, Path.home()).storage)


def put_all(url: str, parcels: list[Parcel], options: StorageOptions) -> None:
    """Put parcels below a folder, compressed.

    Raises:
        AtollError: whatever the store or the disk says.
    """
    storage = open_storage(url, options)
    for one in parcels:
        if one.file is None:
            storage.put(one.path, gzip.compress(one.text.encode(), _LEVEL))
        else:
            _put_file(storage, one.path, Path(one.file))


def _put_file(storage: Storage, path: str, file: Path) -> None:
    with tempfile.NamedTemporaryFile(prefix="atoll-output-") as packed:
        with reading(file), file.open("rb") as source, writing(packed.name, mend=OTHER_SCRATCH):
            with gzip.open(packed, "wb", compresslevel=_LEVEL) as target:
                shutil.copyfileobj(source, target, 1 << 20)
            packed.flush()
        storage.put_file(path, Path(packed.name))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except AtollError as error:
        sys.exit(error.message)
