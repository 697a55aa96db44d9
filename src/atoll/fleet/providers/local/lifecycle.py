"""The life of machines: started, stopped, ended, and taken up again where a process was killed.

Each act has three steps: the intent is written (by whoever asks), the ground acts, the result is
written. Every step may be done twice.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from atoll.core.errors import AtollError
from atoll.core.files import writing
from atoll.fleet.providers.facts import FILE, NOTICE, MachineFacts, write_facts
from atoll.fleet.providers.local.ground import Box, Ground
from atoll.fleet.providers.local.inventory import Intent, Inventory, Record
from atoll.fleet.providers.local.world import World
from atoll.fleet.providers.port import ENDED_ITSELF, MachineState

logger = logging.getLogger(__name__)

HOSTS = "hosts"
_TOLD_CHARACTERS = 400
MACHINES = "machines"


class Lifecycle:
    """Acts on machines of one home; whoever calls a change holds `changing`."""

    def __init__(
        self,
        home: Path,
        ground: Ground,
        inventory: Inventory,
        world: World,
        clock: Callable[[], float],
        changing: threading.RLock,
    ) -> None:
        """Take what a home is made of; see `LocalProvider`.

        Args:
            home, ground, inventory, world, clock: the same.
            changing: held while machines are changed.
        """
        self._home = home
        self._ground = ground
        self._inventory = inventory
        self._world = world
        self._clock = clock
        self._changing = changing

    def box(self, record: Record) -> Box:
        """Return what the ground must know of a machine."""
        machine = record.machine
        folder = self._home / MACHINES / machine.id
        return Box(machine.id, machine.private_ip, machine.private_dns, folder, record.disk_bytes)

    def intended(
        self, record: Record, intent: Intent, state: MachineState, reason: str = ""
    ) -> Record:
        """Write what is about to be done with a machine."""
        machine = replace(record.machine, state=state, reason=reason)
        changed = replace(record, machine=machine, intent=intent)
        self._inventory.put(changed)
        return changed

    def put_ends(self, records: Iterable[Record], reason: str) -> list[Record]:
        """Write that machines are to be ended; those that are over stay as they are."""
        return [
            self.intended(record, Intent.END, record.machine.state, reason)
            for record in records
            if not record.is_over
        ]

    def start_all(self, records: Sequence[Record]) -> tuple[list[Record], list[AtollError]]:
        """Start machines whose intent is written; one that fails is ended, the others go on."""
        started, failures = [], []
        for record in records:
            try:
                started.append(self._start(record))
            except AtollError as error:
                logger.warning("machine failed id=%s error=%s", record.machine.id, error)
                failures.append(error)
                self.end_all(self.put_ends([record], f"it could not be started: {error}"))
        return started, failures

    def stop(self, record: Record) -> None:
        """Stop a machine whose intent is written."""
        self._ground.stop(self.box(record), record.process)
        self._put_stopped(record, record.machine.reason)

    def end_all(self, records: Iterable[Record]) -> None:
        """End machines whose intent is written."""
        for record in records:
            box = self.box(record)
            self._ground.stop(box, record.process)
            self._ground.drop_disk(box)
            # What it was told may hold keys.
            (box.folder / FILE).unlink(missing_ok=True)
            (box.folder / NOTICE).unlink(missing_ok=True)
            machine = replace(record.machine, state=MachineState.TERMINATED, ended_at=self._clock())
            self._inventory.put(replace(record, machine=machine, intent=Intent.NONE, process=None))
            logger.info("machine ended id=%s reason=%s", machine.id, machine.reason)

    def recover(self) -> None:
        """Finish what a killed process began; adopt the machines that still run."""
        for record in self._inventory.living():
            if record.intent is Intent.NONE:
                continue
            logger.info("taken up machine=%s intent=%s", record.machine.id, record.intent)
            if record.intent is Intent.START:
                self.start_all([record])
            elif record.intent is Intent.STOP:
                self.stop(record)
            else:
                self.end_all([record])
        self.notice_stopped()

    def notice_stopped(self) -> None:
        """Stop for good what ended by itself or by somebody's hand, and write it down."""
        if not any(self._ended_itself(record) for record in self._inventory.living()):
            return
        with self._changing:
            for record in self._inventory.living():
                if self._ended_itself(record):
                    why = f"{ENDED_ITSELF}: {_last_words(self.box(record).console)}"
                    self.stop(self.intended(record, Intent.STOP, MachineState.RUNNING, why))

    def forget_before(self, oldest: float) -> None:
        """Drop machines that ended before a time, and what is left in their folders."""
        for record in self._inventory.records():
            if record.machine.ended_at is not None and record.machine.ended_at < oldest:
                shutil.rmtree(self.box(record).folder, ignore_errors=True)
                self._inventory.forget(record.machine.id)

    def _start(self, record: Record) -> Record:
        box = self.box(record)
        with writing(box.folder):
            box.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ground.make_disk(box)
        facts = write_facts(box.folder, self._facts(record, box))
        command = [*self._world.command, str(facts)]
        process = self._ground.start(box, command, self._world.environment)
        machine = replace(record.machine, state=MachineState.RUNNING, reason="")
        done = replace(record, machine=machine, intent=Intent.NONE, process=process)
        self._inventory.put(done)
        logger.info("machine runs id=%s ip=%s pid=%d", machine.id, box.ip, process.pid)
        return done

    def _facts(self, record: Record, box: Box) -> MachineFacts:
        machine, kind = record.machine, self._world.facts_of(record.machine.instance_type)
        return MachineFacts(
            id=machine.id,
            market=machine.market,
            private_ip=machine.private_ip,
            vcpus=min(kind.vcpus, self._world.vcpu_limit),
            memory_mib=min(int(kind.memory_gib * 1024), self._world.memory_limit_mib),
            disk=str(box.disk),
            disk_bytes=record.disk_bytes,
            hosts_file=str(self._home / HOSTS),
            has_own_hosts=self._ground.has_own_hosts,
            notice_file=str(box.folder / NOTICE),
            user_data=record.user_data,
        )

    def _ended_itself(self, record: Record) -> bool:
        """Whether a machine is said to run, nobody is changing that, and it does not."""
        said = record.machine.state is MachineState.RUNNING and record.intent is Intent.NONE
        return said and not (record.process and self._ground.is_running(record.process))

    def _put_stopped(self, record: Record, reason: str) -> None:
        """Write that a machine stopped; where its disk is gone as well (reboot), that it ended."""
        has_disk = self._ground.has_disk(self.box(record))
        machine = replace(record.machine, state=MachineState.STOPPED, reason=reason)
        if not has_disk:
            machine = replace(
                machine,
                state=MachineState.TERMINATED,
                ended_at=self._clock(),
                reason=f"{reason}; its disk is gone",
            )
        self._inventory.put(replace(record, machine=machine, intent=Intent.NONE, process=None))
        logger.warning("machine stopped id=%s reason=%s", machine.id, machine.reason)


def _last_words(console: Path) -> str:
    """Say that a machine's command ended, and what it said last: it may tell why."""
    try:
        said = console.read_text(errors="replace")[-_TOLD_CHARACTERS:].strip()
    except OSError:
        said = ""
    return f"its command ended; its console says: {said}" if said else "its command ended"
