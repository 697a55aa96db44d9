"""Runs steps on a primary, and takes over those whose primary was lost.

A step is leased to one primary as long as its session with ZooKeeper lives. A primary that is cut
off ends the steps it runs before another may start them: at most seconds overlap. So a step may
run more than once, and must not mind; Atoll's own commands go on where they stood. Where the
provider knows that too few other primaries run to lease anything, the quorum is lost and steps go
on.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from atoll.core.errors import AtollError, Conflict
from atoll.fleet.agent.children import last_words
from atoll.fleet.agent.delivery import Delivery
from atoll.fleet.agent.room import make_room, most_logs
from atoll.fleet.agent.starting import start_step, work_folder
from atoll.fleet.agent.work import Work
from atoll.fleet.life.records import Event, Step
from atoll.fleet.life.store import ClusterStore
from atoll.fleet.life.task import AgentTask
from atoll.fleet.model import ActionOnFailure
from atoll.fleet.outputs import STEP_LOGS, on_disk, step_folder
from atoll.fleet.providers.facts import MachineFacts
from atoll.fleet.providers.port import Provider
from atoll.fleet.states import StepState

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
FENCE_SECONDS = 2.0
MOST_ATTEMPTS = 5
_TOLD_BYTES = 500


@dataclass(frozen=True)
class _Running:
    work: Work
    log: Path
    attempt: int


class StepRunner(threading.Thread):
    """One primary's step runner."""

    def __init__(
        self,
        client: KazooClient,
        task: AgentTask,
        facts: MachineFacts,
        *,
        provider: Provider,
        delivery: Delivery,
        start: Callable[[Step, Path], Work] | None = None,
    ) -> None:
        """Take the primary and whom it works with.

        Args:
            client: a started client of the cluster's ensemble.
            task, facts: the primary.
            provider: tells which other primaries run.
            delivery: brings output to LogUri.
            start: starts a step, with a folder for its output; None: as `start_step` does.
        """
        super().__init__(name="steps", daemon=True)
        self._client, self._task, self._facts = client, task, facts
        self._provider, self._delivery = provider, delivery
        self._store = ClusterStore(client)
        self._start = start or partial(start_step, task, facts, self._store)
        self._running: dict[str, _Running] = {}
        self._session = client.client_id
        self._cut_off_since: float | None = None

    def run(self) -> None:
        """Look for work, and after work, as long as the agent lives."""
        while True:
            try:
                self.look()
            except (AtollError, KazooException, KazooTimeoutError) as error:
                logger.warning("steps not looked after error=%s", error)
            except Exception:
                # Steps would else wait for ever, their lease held by a primary that lives.
                logger.exception("steps not looked after")
            time.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Look once, where the leases are certainly ours."""
        if self._is_sure():
            self._look()

    def _is_sure(self) -> bool:
        """Tell whether the leases are ours; where they may not be for long, end what runs."""
        is_same = self._client.connected and self._client.client_id == self._session
        if is_same:
            self._cut_off_since = None
            return True
        if self._cut_off_since is None or self._is_nobody_elses():
            self._cut_off_since = time.monotonic()
        cut_off_s = time.monotonic() - self._cut_off_since
        if self._client.connected:
            self._lease_again()
            self._session, self._cut_off_since = self._client.client_id, None
        elif cut_off_s >= FENCE_SECONDS:
            # What has ended by itself needs no end; how it ended is told when that is possible.
            for step_id, running in list(self._running.items()):
                if running.work.poll() is None:
                    self._end(step_id)
        return False

    def _lease_again(self) -> None:
        """Keep, in a new session, what runs here and nobody else took up meanwhile."""
        for step_id, running in list(self._running.items()):
            is_leased = self._store.lease_step(step_id, self._facts.id)
            # Read when it is leased: whoever had it meanwhile has counted the attempts up.
            steps = {one.id: one for one in self._store.steps()}
            if is_leased and steps[step_id].attempts == running.attempt:
                continue
            if is_leased:
                self._store.end_lease(step_id)
            self._end(step_id)

    def _is_nobody_elses(self) -> bool:
        """Tell whether no other primaries could lease what runs here: too few of them run.

        Then the quorum is lost, and jobs go on without it. Whoever cannot ask may be cut off.
        """
        if not self._running or self._client.connected:
            return False
        own, places = self._facts.private_ip, self._task.slots
        try:
            machines = self._provider.machines(self._task.cluster_id)
        except AtollError as error:
            logger.warning("not known who else runs error=%s", error)
            return False
        others = {one.private_ip for one in machines if one.is_alive and one.private_ip != own}
        running = [slot for slot in places if slot.address.private_ip in others]
        return len(running) < len(places) // 2 + 1

    def _end(self, step_id: str) -> None:
        logger.warning("step ended, its lease is not certain step=%s", step_id)
        running = self._running.pop(step_id)
        running.work.end()
        self._keep(step_id, running, "ended: its lease was not certain")
        self._clean(step_id, running.attempt)

    def _look(self) -> None:
        seen = self._store.steps()
        self._store.forget_steps(seen)
        steps = {one.id: one for one in seen}
        for step_id, running in list(self._running.items()):
            if step_id in steps:
                self._look_after(steps[step_id], running)
            else:
                self._end(step_id)  # it ended elsewhere long ago
        # One primary at a time chooses, so that no more run than may.
        if self._is_work_waiting(steps) and self._store.begin_choosing():
            try:
                self._take_one()
            finally:
                self._store.end_choosing()

    def _look_after(self, step: Step, running: _Running) -> None:
        if step.state.is_over:
            # Its end was written down, and then the connection was lost; or others, who saw no
            # lease of ours, wrote it, and it still runs.
            running.work.end()
            running.work.settle()
            self._let_go(step.id, running, _told(step))
            return
        status = running.work.poll()
        if step.state is StepState.CANCEL_PENDING and status is None:
            running.work.end()
            self._finish(step, StepState.CANCELLED, "cancelled while it ran", running)
        elif status == 0:
            self._finish(step, StepState.COMPLETED, "", running)
        elif status is not None:
            running.work.settle()
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            told = last_words(running.log, _TOLD_BYTES)
            self._finish(step, StepState.FAILED, f"it {how}: {told}", running)

    def _finish(self, step: Step, state: StepState, message: str, running: _Running) -> None:
        running.work.end()  # what it may have left
        running.work.settle()
        now = time.time()
        ended = self._store.change_step(
            step.id, lambda old: replace(old, state=state, message=message, ended_at=now)
        )
        self._let_go(step.id, running, _told(ended))
        is_warning = state is StepState.FAILED
        said = f"step {step.spec.name} is {state.value}" + (f": {message}" if message else "")
        self._store.tell([Event(now, f"STEP_{state.value}", step.id, said, is_warning)])
        if state is StepState.FAILED:
            self._after_failure(ended)

    def _let_go(self, step_id: str, running: _Running, end: str) -> None:
        self._store.end_lease(step_id)
        del self._running[step_id]
        self._keep(step_id, running, end)
        self._clean(step_id, running.attempt)

    def _keep(self, step_id: str, running: _Running, end: str = "") -> None:
        place = step_folder(step_id, running.attempt)
        told = f"attempt {running.attempt} on {self._facts.id}: {end}" if end else ""
        self._delivery.keep(place, running.log, told)

    def _clean(self, step_id: str, attempt: int) -> None:
        """Remove what an attempt that ended left where it ran, and output that is old."""
        disk = Path(self._facts.disk)
        folder = work_folder(disk, step_id, attempt)
        # In its own time: it may be much, and leases want looking after.
        removing = partial(shutil.rmtree, folder, ignore_errors=True)
        threading.Thread(target=removing, name="cleaning", daemon=True).start()
        in_use = [one.log for one in self._running.values()]
        try:
            make_room(disk / STEP_LOGS, most_logs(self._facts.disk_bytes), in_use)
        except OSError as error:
            logger.warning("no room made error=%s", error)

    def _after_failure(self, step: Step) -> None:
        if step.spec.action_on_failure is ActionOnFailure.CONTINUE:
            return
        why = f"step {step.id} failed"
        for one in self._store.steps():
            if one.state is StepState.PENDING:
                self._cancel(one, why)

    def _cancel(self, step: Step, why: str) -> None:
        now = time.time()
        try:
            self._store.change_step(
                step.id,
                lambda old: replace(old, state=StepState.CANCELLED, message=why, ended_at=now),
            )
        except Conflict:
            return  # it began or ended meanwhile

    def _is_work_waiting(self, steps: dict[str, Step]) -> bool:
        states = [one.state for one in steps.values() if one.id not in self._running]
        return any(not state.is_over for state in states)

    def _take_one(self) -> None:
        steps = self._store.steps()
        begun = [one for one in steps if one.state in (StepState.RUNNING, StepState.CANCEL_PENDING)]
        for step in begun:
            if step.id in self._running:
                continue
            # A lease may be left of a start of ours that was cut short.
            if self._store.lease_holder(step.id) in (None, self._facts.id):
                self._take_over(step)
                return
        pending = [one for one in steps if one.state is StepState.PENDING]
        found = self._store.desired()
        if pending and found is not None and len(begun) < found[0].spec.step_concurrency:
            self._begin(pending[0])

    def _take_over(self, step: Step) -> None:
        """Go on with a step whose primary was lost."""
        now = time.time()
        if step.state is StepState.CANCEL_PENDING:
            self._cancel(step, "cancelled; the primary it ran on was lost")
            return
        if step.attempts >= MOST_ATTEMPTS:
            why = f"the primary it ran on was lost {step.attempts} times"
            failed = self._store.change_step(
                step.id,
                lambda old: replace(old, state=StepState.FAILED, message=why, ended_at=now),
            )
            self._store.tell([Event(now, "STEP_FAILED", step.id, why, is_warning=True)])
            self._after_failure(failed)
            return
        why = f"step {step.spec.name}: {step.machine_id} was lost; {self._facts.id} goes on with it"
        self._store.tell([Event(now, "STEP_MOVED", step.id, why, is_warning=True)])
        self._begin(step)

    def _begin(self, step: Step) -> None:
        if not self._store.lease_step(step.id, self._facts.id):
            return
        now = time.time()
        attempt = step.attempts + 1
        log = Path(self._facts.disk) / on_disk(step.id, attempt)
        begun = self._store.change_step(
            step.id,
            lambda old: replace(
                old,
                state=StepState.RUNNING,
                attempts=attempt,
                started_at=old.started_at or now,
                machine_id=self._facts.id,
                log=str(log),
            ),
        )
        try:
            running = _Running(self._start(begun, log), log, attempt)
        except OSError as error:
            self._could_not_start(begun, error)
            return
        self._running[step.id] = running
        self._keep(step.id, running)
        self._store.tell([Event(now, "STEP_RUNNING", step.id, f"step {step.spec.name} runs")])

    def _could_not_start(self, step: Step, error: OSError) -> None:
        now = time.time()
        why = f"{step.spec.args[0]} cannot be started: {error}"
        failed = self._store.change_step(
            step.id, lambda old: replace(old, state=StepState.FAILED, message=why, ended_at=now)
        )
        self._store.end_lease(step.id)
        self._delivery.keep(step_folder(step.id, step.attempts), Path(step.log), _told(failed))
        self._clean(step.id, step.attempts)
        self._store.tell([Event(now, "STEP_FAILED", step.id, why, is_warning=True)])
        self._after_failure(failed)


def _told(step: Step) -> str:
    return f"{step.state.value}: {step.message}" if step.message else step.state.value
