"""Looks at a cluster: its machines, hearts, servers and steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from atoll.core.errors import AtollError
from atoll.fleet.life.observed import Heart, Observed, StepsSeen
from atoll.fleet.life.records import Desired, Heartbeat, Step
from atoll.fleet.life.store import ClusterStore
from atoll.fleet.model import ActionOnFailure
from atoll.fleet.providers.port import Provider
from atoll.fleet.states import StepState

_IN_QUORUM = ("leader", "follower", "standalone")
MOST_ELAPSED_SECONDS = 5.0
"""A round never counts for more: whoever slept must not take that for others' silence."""


class Observer:
    """Looks once a round, and remembers when each heart beat last."""

    def __init__(
        self,
        store: ClusterStore,
        provider: Provider,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Take where to look, and the clocks: one that never jumps, and the time of day."""
        self._store, self._provider = store, provider
        self._clock, self._wall = clock, wall
        self._beats: dict[str, tuple[int, float]] = {}
        self._masters: dict[str, tuple[int, ...]] = {}
        self._last_at = clock()

    def look(self, desired: Desired) -> Observed:
        """See how the cluster is.

        Raises:
            Unavailable: its ZooKeeper does not answer. That the provider does not is an answer.
        """
        now = self._clock()
        elapsed_s = min(now - self._last_at, MOST_ELAPSED_SECONDS)
        self._last_at = now
        try:
            machines, error = tuple(self._provider.machines(desired.cluster_id)), ""
        except AtollError as failure:
            machines, error = None, failure.message
        hearts = self._hearts(self._store.hearts(), self._clock())
        return Observed(
            now=self._wall(),
            elapsed_s=elapsed_s,
            machines=machines,
            provider_error=error,
            hearts=hearts,
            in_sync=_in_sync(desired, hearts, {one.id: one.private_ip for one in machines or ()}),
            steps=steps_seen(self._store.steps()),
        )

    def sessions_of(self, machine_id: str) -> tuple[int, ...]:
        """Return the ZooKeeper sessions that a machine's Spark master was last seen with."""
        return self._masters.get(machine_id, ())

    def _hearts(self, beats: Mapping[str, Heartbeat], now: float) -> dict[str, Heart]:
        hearts = {}
        for id_, beat in beats.items():
            number, at = self._beats.get(id_, (-1, now))
            if number != beat.beat:
                number, at = beat.beat, now
            self._beats[id_] = number, at
            if (master := beat.daemons.get("master")) and master.sessions:
                self._masters[id_] = master.sessions
            hearts[id_] = Heart(beat, now - at)
        return hearts


def _in_sync(
    desired: Desired, hearts: Mapping[str, Heart], addresses: Mapping[str, str]
) -> frozenset[int]:
    numbers = {slot.address.private_ip: slot.server_id for slot in desired.slots}
    found = set()
    for id_, heart in hearts.items():
        number = numbers.get(addresses.get(id_, ""))
        server = heart.beat.daemons.get("zookeeper") if heart.beat else None
        is_heard = heart.silent_s <= desired.health.heartbeat_timeout_s
        if number and server and server.is_up and server.detail in _IN_QUORUM and is_heard:
            found.add(number)
    return frozenset(found)


def steps_seen(steps: list[Step]) -> StepsSeen:
    """Count what there is to do, and find the failures that end a cluster."""
    fatal = {
        one.id: f"step {one.id} ({one.spec.name}) failed: {one.message}"
        for one in steps
        if one.state is StepState.FAILED
        and one.spec.action_on_failure is ActionOnFailure.TERMINATE_CLUSTER
    }
    return StepsSeen(sum(not one.state.is_over for one in steps), fatal)
