"""The agent: what an instance of a cluster is made by.

It runs the bootstrap actions, starts the instance's daemons and keeps them running, shows that the
instance lives and how it is, and drains it when it is told to. On a primary it also stands for
controller and runs steps.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from kazoo.exceptions import KazooException

from atoll.compute.sparkmaster import probe_master
from atoll.core.errors import AtollError, Unavailable
from atoll.fleet.agent.bootstrap import run_bootstrap
from atoll.fleet.agent.candidate import Candidate
from atoll.fleet.agent.daemons import Setting, daemons, peers
from atoll.fleet.agent.delivery import Delivery
from atoll.fleet.agent.enlisting import Enlisting
from atoll.fleet.agent.heir import Heir
from atoll.fleet.agent.interruption import Interruption
from atoll.fleet.agent.steps import StepRunner
from atoll.fleet.agent.supervisor import Supervised
from atoll.fleet.agent.vitals import Disk, Processors
from atoll.fleet.agent.work import most_bytes
from atoll.fleet.engine.client import ensemble_client
from atoll.fleet.engine.spark import DRAIN_SIGNAL
from atoll.fleet.engine.zookeeper import connect_string
from atoll.fleet.life.records import Daemon, Event, Heartbeat
from atoll.fleet.life.store import ClusterStore
from atoll.fleet.model import Market, Role
from atoll.fleet.outputs import bootstrap_folder
from atoll.fleet.providers.ec2.metadata import Metadata
from atoll.fleet.providers.reach import EC2, reach

logger = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
RETRY_SECONDS = 0.2
SESSION_SECONDS = 4.0
UNTOLD_BEATS = 10
"""A failure that nobody could be told of for so long ends the agent: the console tells it."""
LAST_WORDS_SECONDS = 20.0
"""How long an instance that will end may bring what its bootstrap actions printed."""
_BOOTED = "booted"
_SERVING = {
    "zookeeper": ("leader", "follower", "standalone"),
    "master": ("ALIVE", "STANDBY", "RECOVERING", "COMPLETING_RECOVERY"),
    "worker": ("registered",),
}


class Agent:
    """One instance's agent."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        """Take what the instance is and shall do, and its folder."""
        self._setting, self._folder = setting, folder
        self._facts, self._task = facts, task = setting.facts, setting.task
        self._client = ensemble_client(connect_string(peers(task)), session_s=SESSION_SECONDS)
        self._store = ClusterStore(self._client)
        self._delivery = Delivery(task.log_uri, task.cluster_id, self._tell_undelivered)
        self._disk = Disk(Path(facts.disk), facts.disk_bytes)
        self._processors = Processors(facts.vcpus)
        self._daemons: list[Supervised] = []
        self._phase, self._message = "bootstrapping", ""
        self._is_draining = False
        self._beat = self._untold_beats = 0

    def run(self) -> None:
        """Bring the instance up, then look after it until the process ends.

        Raises:
            Unavailable: it could not be brought up, and there is no ensemble to tell that to: of a
                cluster's first primaries, each may have failed alike.
        """
        self._client.start_async()
        self._delivery.start()
        is_on_ec2 = self._task.provider.name == EC2
        if is_on_ec2 and self._facts.market is Market.SPOT:
            Interruption(Path(self._facts.notice_file), Metadata()).start()
        threading.Thread(target=self._bring_up, name="bring-up", daemon=True).start()
        while True:
            started = time.monotonic()
            self._look_after()
            self._end_untold()
            time.sleep(max(0.0, BEAT_SECONDS - (time.monotonic() - started)))

    def _bring_up(self) -> None:
        try:
            self._prepare()
        except AtollError as error:
            logger.error("bootstrap failed error=%s", error)
            self._delivery.await_ended(LAST_WORDS_SECONDS)
            self._phase, self._message = "failed", error.message

    def _prepare(self) -> None:
        booted = self._folder / _BOOTED
        is_first_start = not booted.exists()
        if is_first_start:
            env = {"ATOLL_ROLE": self._task.role.value, "ATOLL_CLUSTER": self._task.cluster_id}
            logs = Path(self._facts.disk) / "logs" / "bootstrap"
            most = most_bytes(self._facts.disk_bytes)
            run_bootstrap(self._task.bootstrap_actions, logs, env, most, self._keep_bootstrap)
        wanted = daemons(
            self._setting, is_first_start=is_first_start, on_master_end=self._release_latches
        )
        booted.touch()
        if self._task.role is not Role.MASTER:
            self._await_master()
        for daemon in wanted:
            self._message = f"waiting for its {daemon.program.name}"
            daemon.start()
            self._daemons.append(daemon)
            while daemon.health().detail not in _SERVING[daemon.program.name]:
                time.sleep(BEAT_SECONDS / 4)
            if daemon.program.name == "zookeeper":
                # Whoever leads launches the other fleets while masters are still starting.
                Candidate(self._task, self._facts.id).start()
                provider, cluster_id = reach(self._task.provider), self._task.cluster_id
                Heir(ClusterStore(self._client), provider, cluster_id, self._facts.id).start()
        if self._task.role is not Role.MASTER:
            masters = [one.address.private_ip for one in self._task.slots]
            Enlisting(
                self._daemons[0],
                self._facts.private_ip,
                masters,
                is_leaving=lambda: self._is_draining,
            ).start()
        else:
            provider, delivery = reach(self._task.provider), self._delivery
            StepRunner(
                self._client, self._task, self._facts, provider=provider, delivery=delivery
            ).start()
        self._phase, self._message = "ready", ""

    def _keep_bootstrap(self, number: int, folder: Path, end: str) -> None:
        self._delivery.keep(bootstrap_folder(self._facts.id, number), folder, end)

    def _tell_undelivered(self, why: str) -> bool:
        """Tell that output cannot be brought to LogUri; False: that could not be told either."""
        if not self._client.connected:
            return False
        what = f"{self._facts.id} cannot bring output to {self._task.log_uri}: {why}"
        event = Event(time.time(), "OUTPUT_NOT_KEPT", self._task.cluster_id, what, is_warning=True)
        try:
            self._store.tell([event])
        except (Unavailable, KazooException) as error:
            logger.warning("not told event=%s error=%s", event.kind, error)
            return False
        return True

    def _release_latches(self, master: Daemon) -> None:
        """Hand on the leadership of a master whose process is gone, if it had it.

        ZooKeeper may have to elect a leader of its own first; its session ends by itself later.
        """
        deadline = time.monotonic() + SESSION_SECONDS
        while time.monotonic() < deadline:
            with suppress(Unavailable):
                self._store.release_leadership(master.sessions)
                return
            time.sleep(RETRY_SECONDS)

    def _await_master(self) -> None:
        """Wait until a master is elected: a worker that comes earlier sits out a long pause."""
        self._message = "waiting for an elected master"
        while not any(_is_elected(one.address.private_ip) for one in self._task.slots):
            time.sleep(BEAT_SECONDS / 2)

    def _look_after(self) -> None:
        if not self._is_draining and (why := self._drain_reason()):
            self._drain(why)
        self._show()

    def _end_untold(self) -> None:
        is_untold = self._phase == "failed" and not self._client.connected
        self._untold_beats = self._untold_beats + 1 if is_untold else 0
        if self._untold_beats >= UNTOLD_BEATS:
            raise Unavailable(self._message)

    def _drain_reason(self) -> str:
        notice = Path(self._facts.notice_file)
        if self._facts.notice_file and notice.exists():
            return "the provider takes this machine back"
        try:
            is_asked = self._beat % 2 == 0 and self._client.connected
            return (is_asked and self._store.drain_order(self._facts.id)) or ""
        except AtollError:
            return ""

    def _drain(self, why: str) -> None:
        logger.info("draining why=%s", why)
        self._is_draining = True
        for daemon in self._daemons:
            if daemon.program.name == "worker":
                daemon.signal(getattr(signal, DRAIN_SIGNAL))

    def _show(self) -> None:
        self._beat += 1
        heartbeat = Heartbeat(
            machine_id=self._facts.id,
            beat=self._beat,
            phase=self._phase,
            message=self._message,
            disk_percent=self._disk.percent(),
            cpu_percent=self._processors.percent(),
            daemons={one.program.name: one.health() for one in list(self._daemons)},
            is_draining=self._is_draining,
        )
        if not self._client.connected:
            return
        try:
            self._store.beat(heartbeat)
        except Unavailable as error:
            logger.warning("beat not written error=%s", error)


def _is_elected(address: str) -> bool:
    try:
        return probe_master(address).is_elected
    except AtollError:
        return False
