"""A thread that reads on in the audit as it grows, for what follows from what was done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from atoll.core.threads import left_after
from atoll.mesh.audit.model import AuditEvent
from atoll.mesh.operations.jobs import POLL_S, Attendant
from atoll.mesh.store.writing import Store

logger = logging.getLogger(__name__)

PAUSE_S = 0.2  # what is done at nearly the same time is read at once

# Looks through the events after a number, and returns up to which it has; keeps that itself where
# it must not be forgotten.
Follow = Callable[[Attendant, int], int]


class Follower:
    """Follows the audit until it is stopped."""

    def __init__(self, store: Store[AuditEvent], attendant: Attendant, follow: Follow) -> None:
        """Begin."""
        self._attendant, self._follow = attendant, follow
        self._stopping, self._waker = threading.Event(), threading.Event()
        store.listeners.append(self._waker.set)
        self._thread = threading.Thread(target=self._run, name="mesh-follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let what is being looked through be finished, for a while, and go no further."""
        self._stopping.set()
        self._waker.set()
        if left_after([self._thread]):
            logger.error("the audit is still being followed; what it is read from does not answer")

    def _run(self) -> None:
        position = 0
        while not self._stopping.is_set():
            self._waker.clear()
            try:
                before, position = position, self._follow(self._attendant, position)
                if position != before:
                    self._waker.set()  # there may be more
            # Whatever it is, a panic of Rust's, too: it must go on.
            except BaseException:
                logger.exception("the audit could not be followed at %d", position)
            self._waker.wait(POLL_S)
            self._stopping.wait(PAUSE_S)
