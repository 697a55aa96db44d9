"""Hands on the candidacy of a controller whose machine is gone, before its session ends.

When ZooKeeper's leader dies with the controller, sessions are counted anew from the next leader's
election: the provider knows much sooner. A controller that runs on all the same is fenced by the
epoch of the next, as one whose session ended is.
"""

from __future__ import annotations

import logging
import threading
import time

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from atoll.core.errors import AtollError
from atoll.fleet.life.store import ClusterStore
from atoll.fleet.life.task import AgentTask
from atoll.fleet.providers.reach import reach

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
SILENT_SECONDS = 1.5
"""Hearts beat once a second; the provider is asked about one that did not for so long."""


class Heir(threading.Thread):
    """Looks after whoever is first in the queue."""

    def __init__(self, client: KazooClient, task: AgentTask, machine_id: str) -> None:
        """Take a started client of the cluster's ensemble, and the machine this runs on."""
        super().__init__(name="heir", daemon=True)
        self._store, self._machine_id = ClusterStore(client), machine_id
        self._cluster_id, self._provider = task.cluster_id, reach(task.provider)
        self._seen: tuple[str, int | None] | None = None
        self._since = time.monotonic()

    def run(self) -> None:
        """Look as long as the agent lives."""
        while True:
            time.sleep(LOOK_SECONDS)
            try:
                self._look()
            except (AtollError, KazooException, KazooTimeoutError) as error:
                logger.info("candidates not looked after error=%s", error)

    def _look(self) -> None:
        first = self._store.first_candidate()
        if first is None or first == self._machine_id:
            return
        heart = self._store.heart(first)
        seen, now = (first, heart.beat if heart else None), time.monotonic()
        if seen != self._seen:
            self._seen, self._since = seen, now
        elif now - self._since >= SILENT_SECONDS:
            self._since = now
            machines = self._provider.machines(self._cluster_id)
            if any(one.id == first and not one.is_alive for one in machines):
                self._store.withdraw(first)
