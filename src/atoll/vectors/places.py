"""Files of a running build, in a local folder or, where workers share none, in the store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from atoll.core.files import OTHER_SCRATCH, scratch_folder, writing
from atoll.storage import Storage, local_path


@contextmanager
def written(place: Storage, path: str, scratch: Path | None) -> Iterator[BinaryIO]:
    """Open a new file of a build for writing; nobody may look for it before the block ends.

    Args:
        place: where it goes.
        path: its path there.
        scratch: where it lies meanwhile if that is no local folder.

    Raises:
        InvalidInput, Forbidden, Unavailable: it cannot be written.
    """
    root = local_path(place.url)
    if root is not None:
        target = root / path
        with writing(target.parent, mend=OTHER_SCRATCH):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("w+b") as file:
                yield file
        return
    with scratch_folder(scratch, "upload") as folder:
        source = folder / "file"
        with writing(folder, mend=OTHER_SCRATCH), source.open("w+b") as file:
            yield file
        place.put_file(path, source)


def fetched(place: Storage, path: str, folder: Path) -> Path:
    """Return a local file with the contents of one of a build's, copied to `folder` if need be."""
    root = local_path(place.url)
    if root is not None:
        return root / path
    target = Path(tempfile.mkdtemp(dir=folder)) / "file"
    place.download(path, target)
    return target
