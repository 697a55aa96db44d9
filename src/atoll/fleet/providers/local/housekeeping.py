"""Lets time pass for a local cloud: notices run out, ended machines are noticed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from atoll.core.errors import AtollError
from atoll.fleet.providers.local.provider import LocalProvider

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.2


@contextmanager
def keeping_house(provider: LocalProvider) -> Iterator[None]:
    """Call `provider.tick` five times a second while the block runs."""
    over = threading.Event()
    thread = threading.Thread(target=_tick_until, args=(provider, over))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _tick_until(provider: LocalProvider, over: threading.Event) -> None:
    while not over.wait(TICK_SECONDS):
        try:
            provider.tick()
        except AtollError as error:
            # Such as a full disk: the next round may find room.
            logger.warning("round failed error=%s", error)
