"""Reads files on the disks of a local cloud's machines: only the host's process sees them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.core.files import reading
from atoll.fleet.providers.local.provider import LocalProvider

PIECE_BYTES = 1 << 20


class Disks:
    """The disks of one local cloud."""

    READS = ("disk.read",)

    def __init__(self, provider: LocalProvider) -> None:
        """Take the cloud, open in this process."""
        self._provider = provider

    def calls(self) -> dict[str, Callable[..., Any]]:
        """Return what can be asked, by name."""
        return {"disk.read": self.read}

    def read(self, machine_id: str, path: str, start: int) -> bytes:
        """Return the next `PIECE_BYTES` of a file at most; none: it ends there.

        Args:
            machine_id: a machine that runs.
            path: of the file, on its disk.
            start: the first byte wanted.

        Raises:
            Conflict: the machine does not run. InvalidInput: the path leads off its disk.
            NotFound: there is no such file.
        """
        box, _ = self._provider.inside(machine_id)
        disk = box.disk.resolve()
        file = (disk / path).resolve()
        if not file.is_relative_to(disk):
            raise InvalidInput(f"{path} is not on the disk of machine {machine_id}", path=path)
        with reading(file), file.open("rb") as opened:
            opened.seek(start)
            return opened.read(PIECE_BYTES)
