"""Removes what a fleet host left on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

from atoll.core.errors import Unavailable
from atoll.core.files import writing
from atoll.fleet.control.home import serves, serving
from atoll.fleet.control.host import CLOUD
from atoll.fleet.providers.local.gc import Removed, remove_home, remove_unclaimed

STOP_SECONDS = 20.0


def remove(home: Path, *, everything: bool) -> list[Removed]:
    """Remove what nobody claims, or everything.

    Args:
        home: the host's folder; one that is not there is no error.
        everything: also what lives: the server, machines of all clusters, the folder itself.

    Returns:
        What was there.

    Raises:
        Unavailable: the server did not stop.
    """
    if not home.exists():
        return []
    if not everything:
        return remove_unclaimed(home / CLOUD) if (home / CLOUD).exists() else []
    _stop_server(home)
    removed = remove_home(home / CLOUD) if (home / CLOUD).exists() else []
    with writing(home):
        shutil.rmtree(home)
    return [*removed, Removed("folder", str(home))]


def _stop_server(home: Path) -> None:
    found = serving(home)
    if found is None:
        return
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while serves(found.pid, home):
        if time.monotonic() > deadline:
            raise Unavailable(
                f"the fleet host of {home}, process {found.pid}, did not stop; kill it, try again",
                pid=found.pid,
            )
        time.sleep(0.05)
