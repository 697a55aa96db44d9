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
from atoll.fleet.host.home import serving
from atoll.fleet.host.server import CLOUD
from atoll.fleet.providers.local.gc import Removed, remove_home, remove_unclaimed

STOP_SECONDS = 20.0


def remove(home: Path, *, everything: bool) -> list[Removed]:
    """Remove what nobody claims, or everything.

    Args:
        home: the host's folder; one that is not there is no error, and what runs of it is found.
        everything: also what lives: the server, machines of all clusters, the folder itself.

    Returns:
        What was there.

    Raises:
        Unavailable: the server did not stop.
    """
    if not everything:
        return remove_unclaimed(home / CLOUD) if (home / CLOUD).exists() else []
    folders = [str(one) for one in (home / CLOUD, home) if one.exists()]
    _stop_server(home)
    removed = [one for one in remove_home(home / CLOUD) if one.name != str(home / CLOUD)]
    with writing(home):
        shutil.rmtree(home)
    return [*removed, *(Removed("folder", one) for one in folders)]


def _stop_server(home: Path) -> None:
    found = serving(home)
    if found is None:
        return
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    # It is found no more some time before it has let go of everything.
    while found.is_running:
        if time.monotonic() > deadline:
            raise Unavailable(
                f"the fleet host of {home}, process {found.pid}, did not stop; kill it, try again",
                pid=found.pid,
            )
        time.sleep(0.05)
