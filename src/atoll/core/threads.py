"""Threads that are waited for, but not for ever."""

from __future__ import annotations

import time
from collections.abc import Iterable
from threading import Thread

CLOSE_SECONDS = 15.0


def left_after(threads: Iterable[Thread]) -> list[Thread]:
    """Wait until threads have ended, all of them together so long at most.

    Returns:
        Those that go on: what they wait for does not answer.
    """
    waited_for, until = list(threads), time.monotonic() + CLOSE_SECONDS
    for one in waited_for:
        one.join(max(0.0, until - time.monotonic()))
    return [one for one in waited_for if one.is_alive()]
