"""Keeps a host's log small, where its processes write into `serve.log`.

Several write there, by what they inherited as standard error: it is copied beside and cut, not
renamed, so that all go on in the same file.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

from atoll.core.errors import AtollError
from atoll.core.files import locked
from atoll.fleet.outputs import LOG_FORMAT

LOG_BYTES = 4 << 20


class HostLog(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to standard error, and cuts it where that is the host's own file and has grown.

    Elsewhere, as in a terminal or a service's journal, it writes only.
    """

    def __init__(self, path: Path) -> None:
        """Take the host's own file, which must be open for appending."""
        super().__init__(sys.stderr)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        super().emit(record)
        try:
            self._cut()
        except (OSError, AtollError):
            self.handleError(record)

    def _cut(self) -> None:
        if not self._is_large():
            return
        with locked(self._path):
            if self._is_large():  # no other process has cut it meanwhile
                shutil.copyfile(self._path, self._path.with_name(f"{self._path.name}.1"))
                os.truncate(self._path, 0)

    def _is_large(self) -> bool:
        written = os.fstat(self.stream.fileno())
        if written.st_size < LOG_BYTES:
            return False
        try:
            return os.path.samestat(written, self._path.stat())
        except FileNotFoundError:
            return False


def log_to(path: Path) -> None:
    """Let this process write its log, from INFO on, to standard error; see `HostLog`."""
    handler = HostLog(path)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
