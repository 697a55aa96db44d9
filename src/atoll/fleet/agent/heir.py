"""Hands on the candidacy of a controller whose machine is gone, before its session ends.

When ZooKeeper's leader dies with the controller, sessions are counted anew from the next leader's
election: the provider knows much sooner. A controller that runs on all the same is fenced by the
epoch of the next, as one whose session ended is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from atoll.core.errors import AtollError
from atoll.fleet.life.store import ClusterStore
from atoll.fleet.providers.port import Provider

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
SILENT_SECONDS = 1.5
"""Hearts beat once a second; the provider is asked about one that did not for so long."""


class Heir(threading.Thread):
    """Looks after whoever is first in the queue."""

    def __init__(
        self,
        store: ClusterStore,
        provider: Provider,
        cluster_id: str,
        machine_id: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the cluster's records, its provider, the machine this runs on, and a clock."""
        super().__init__(name="heir", daemon=True)
        self._store, self._provider = store, provider
        self._cluster_id, self._machine_id = cluster_id, machine_id
        self._clock = clock
        self._seen: tuple[str, int | None] | None = None
        self._since = clock()

    def run(self) -> None:
        """Look as long as the agent lives."""
        while True:
            time.sleep(LOOK_SECONDS)
            try:
                self.look()
            except (AtollError, KazooException, KazooTimeoutError) as error:
                logger.info("candidates not looked after error=%s", error)

    def look(self) -> None:
        """Look once, and withdraw the first candidate if its machine is gone."""
        first = self._store.first_candidate()
        if first is None or first == self._machine_id:
            return
        heart = self._store.heart(first)
        seen, now = (first, heart.beat if heart else None), self._clock()
        if seen != self._seen:
            self._seen, self._since = seen, now
        elif now - self._since >= SILENT_SECONDS:
            self._since = now
            machines = self._provider.machines(self._cluster_id)
            if any(one.id == first and not one.is_alive for one in machines):
                self._store.withdraw(first)
