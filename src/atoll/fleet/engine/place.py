"""The instance as its daemons see it: one address, one disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Where a daemon lives.

    Attributes:
        address: the instance's own IPv4 address; daemons listen there and nowhere else.
        disk: a folder on the instance's disk, gone with the instance.
        hosts_file: names of the cluster for the JVM, in the format of /etc/hosts; None where the
            system resolves them. The JVM then knows no other name, so only daemons get it.
    """

    address: str
    disk: Path
    hosts_file: Path | None = None

    @property
    def logs(self) -> Path:
        """Everything daemons write about themselves."""
        return self.disk / "logs"

    @property
    def scratch(self) -> Path:
        """Temporary files: never the host's /tmp, which no instance owns."""
        return self.disk / "tmp"

    @property
    def conf(self) -> Path:
        """Files that daemons read; written anew before each start."""
        return self.disk / "conf"
