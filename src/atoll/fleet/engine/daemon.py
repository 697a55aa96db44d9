"""What is started on an instance, as a value: whoever supervises it decides when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Daemon:
    """One long-running program of an instance.

    Attributes:
        name: "zookeeper", "master" or "worker".
        argv: the program and its arguments; it stays in the foreground.
        env: all of its environment; nothing of the starter's is inherited.
        files: contents of the files it reads, to be written before each start.
        folders: must exist before each start.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[Path, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()

    def prepare(self) -> None:
        """Make folders and files; only the owner may read them."""
        for folder in self.folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, text in self.files.items():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(text)
