"""A file that HDF5 may write to until the disk is full, without taking the process with it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import partial
from typing import Any


class Hdf5Sink(io.RawIOBase):
    """A file for HDF5 that keeps a failed write to itself until it is asked.

    The HDF5 library crashes the process when it cannot write out its metadata on closing a file.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        """Write to an unbuffered file, which stays the caller's to close."""
        self._raw = raw
        self._failure: OSError | None = None

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        if self._failure is not None:
            raise self._failure

    def readable(self) -> bool:
        """Say yes."""
        return True

    def writable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, as the file does."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """Tell the position."""
        return self._raw.tell()

    def readinto(self, buffer: Any) -> int | None:
        """Read, as the file does."""
        return self._raw.readinto(buffer)

    def truncate(self, size: int | None = None) -> int:
        """Cut or lengthen; a failure is kept."""
        return self._attempt(partial(self._raw.truncate, size)) or 0

    def write(self, data: Any) -> int:
        """Write all; a failure is kept, and the rest taken as written."""
        view = memoryview(data).cast("B")
        at = 0
        while at < len(view) and self._failure is None:
            at += self._attempt(partial(self._raw.write, view[at:])) or 0
        return len(view)

    def _attempt(self, act: Callable[[], int]) -> int | None:
        if self._failure is None:
            try:
                return act()
            except OSError as error:
                self._failure = error
        return None
