"""Hands on what a primary whose machine is gone led, before its sessions end.

When ZooKeeper's leader dies with a machine, sessions are counted anew from the next leader's
election: the provider knows much sooner. A controller that runs on all the same is fenced by the
epoch of the next, as one whose session ended is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from atoll.core.errors import AtollError
from atoll.fleet.life.records import Heartbeat
from atoll.fleet.life.store import ClusterStore
from atoll.fleet.providers.port import Provider

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
SILENT_SECONDS = 1.5
"""Hearts beat once a second; the provider is asked about one that did not for so long."""


@dataclass
class _Seen:
    """What was last heard of a primary, and since when nothing else."""

    heart: Heartbeat | None
    since: float


class Heir(threading.Thread):
    """Looks after the other primaries, each of which stands for controller."""

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
        self._seen: dict[str, _Seen] = {}

    def run(self) -> None:
        """Look as long as the agent lives."""
        while True:
            time.sleep(LOOK_SECONDS)
            try:
                self.look()
            except (AtollError, KazooException, KazooTimeoutError) as error:
                logger.info("candidates not looked after error=%s", error)
            except Exception:
                # Nobody else looks after them from here: the next look may fare better.
                logger.exception("candidates not looked after")

    def look(self) -> None:
        """Look once; hand on what machines led that are gone."""
        # A candidacy ends before a Spark master's session does: who stood once is looked after on.
        others = {*self._seen, *self._store.candidates()} - {self._machine_id}
        self._seen = {id_: self._heard(id_) for id_ in others}
        now = self._clock()
        silent = {id_ for id_ in others if now - self._seen[id_].since >= SILENT_SECONDS}
        if not silent:
            return
        for id_ in silent:
            self._seen[id_].since = now
        alive = {one.id for one in self._provider.machines(self._cluster_id) if one.is_alive}
        for id_ in silent - alive:
            self._hand_on(id_, self._seen[id_].heart)
            del self._seen[id_]

    def _heard(self, machine_id: str) -> _Seen:
        heart, seen = self._store.heart(machine_id), self._seen.get(machine_id)
        if seen is None or (heart is not None and heart != seen.heart):
            return _Seen(heart, self._clock())
        return seen

    def _hand_on(self, machine_id: str, heart: Heartbeat | None) -> None:
        master = heart.daemons.get("master") if heart else None
        # Where a provider's word runs ahead of the machine's end, its master may still reign.
        if master is not None and self._provider.ends_at_once:
            self._store.release_leadership(master.sessions)
        self._store.withdraw(machine_id)
