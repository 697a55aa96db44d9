"""A cluster's records in its own ZooKeeper, below /fleet.

/fleet/desired          what it shall be; compared and set by whoever asks for a change
/fleet/epoch            its version is the epoch of the controller, counted up by each new one
/fleet/status           written by the controller of the newest epoch only
/fleet/instances/<id>   the same, one for each machine
/fleet/hearts/<id>      ephemeral, one for each living agent
/fleet/orders/<id>      what an agent is told: to drain
/fleet/events/e-<n>     the last thousand
/fleet/steps/<id>       steps, and below each the lease of who runs it
/fleet/choosing-steps   ephemeral, whose turn it is to take steps
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    ConnectionClosedError,
    ConnectionLoss,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError

from atoll.core.errors import Conflict, NotFound, Unavailable
from atoll.fleet.codec import decode, encode
from atoll.fleet.engine.latch import release_latches
from atoll.fleet.life.records import (
    ClusterStatus,
    Desired,
    Event,
    Heartbeat,
    InstanceRecord,
    Known,
    Step,
)
from atoll.fleet.states import STEP_EDGES, can_become

logger = logging.getLogger(__name__)

ROOT = "/fleet"
ELECTION = f"{ROOT}/election"
EVENTS_KEPT = 1000
ENDED_STEPS_KEPT = 300
"""More than may be unfinished at once: a host that was away still sees how each of those ended."""
_DESIRED, _EPOCH, _STATUS = f"{ROOT}/desired", f"{ROOT}/epoch", f"{ROOT}/status"
_INSTANCES, _HEARTS, _ORDERS = f"{ROOT}/instances", f"{ROOT}/hearts", f"{ROOT}/orders"
_EVENTS, _STEPS = f"{ROOT}/events", f"{ROOT}/steps"
_CHOOSING = f"{ROOT}/choosing-steps"
_FOLDERS = (_EPOCH, _INSTANCES, _HEARTS, _ORDERS, _EVENTS, _STEPS)
_GONE = (ConnectionLoss, ConnectionClosedError, SessionExpiredError, KazooTimeoutError)


@contextmanager
def reaching() -> Iterator[None]:
    """Turn a lost connection into `Unavailable`."""
    try:
        yield
    except _GONE as error:
        raise Unavailable(
            "the cluster's ZooKeeper does not answer; it needs two of its three servers",
            cause=type(error).__name__,
        ) from error


class ClusterStore:
    """Reads and writes the records of one cluster."""

    def __init__(self, client: KazooClient) -> None:
        """Take a started client of the cluster's ensemble."""
        self.client = client
        self._ended_steps: dict[str, Step] = {}
        self._steps_born = 0

    def prepare(self) -> None:
        """Make the folders; the first controller does."""
        with reaching():
            for folder in _FOLDERS:
                self.client.ensure_path(folder)

    # What it shall be.

    def desired(self) -> tuple[Desired, int] | None:
        """Read what the cluster shall be, and the version to change it by; None: not written."""
        with reaching():
            try:
                data, stat = self.client.get(_DESIRED)
            except NoNodeError:
                return None
        return decode(data, Desired, what="what the cluster shall be"), stat.version

    def found(self, desired: Desired) -> None:
        """Write what the cluster shall be, unless that is written."""
        with reaching():
            try:
                self.client.create(_DESIRED, encode(desired), makepath=True)
            except NodeExistsError:
                return

    def change(self, desired: Desired, version: int) -> None:
        """Write what the cluster shall be.

        Raises:
            Conflict: somebody else changed it since it was read.
        """
        with reaching():
            try:
                self.client.set(_DESIRED, encode(desired), version=version)
            except BadVersionError as error:
                raise Conflict("somebody else changed the cluster just now; try again") from error

    # What it is: the controller writes.

    def next_epoch(self) -> int:
        """Count the epoch up: whoever holds an older one can write no more."""
        with reaching():
            return int(self.client.set(_EPOCH, b"").version)

    def raise_epoch(self, least: int) -> None:
        """Count the epoch up to `least`: the provider has seen that one, and refuses lower ones."""
        with reaching():
            while self.next_epoch() < least:
                continue

    def epoch(self) -> int:
        """Read the epoch of the newest controller."""
        with reaching():
            _, stat = self.client.get(_EPOCH)
        return int(stat.version)

    def known(self) -> Known | None:
        """Read status and instances; None: no controller has written any."""
        with reaching():
            try:
                status, _ = self.client.get(_STATUS)
            except NoNodeError:
                return None
            instances = {
                id_: decode(data, InstanceRecord, what=f"the record of instance {id_}")
                for id_, data in self._below(_INSTANCES).items()
            }
        return Known(decode(status, ClusterStatus, what="the status of the cluster"), instances)

    def save(self, known: Known, before: Known | None, *, epoch: int) -> None:
        """Write what changed, all or nothing.

        Raises:
            Conflict: a controller of a newer epoch took over.
        """
        old = before.instances if before else {}
        transaction = self.client.transaction()
        transaction.check(_EPOCH, epoch)
        if before is None:
            transaction.create(_STATUS, encode(known.status))
        elif known.status != before.status:
            transaction.set_data(_STATUS, encode(known.status))
        for id_, record in known.instances.items():
            if id_ not in old:
                transaction.create(f"{_INSTANCES}/{id_}", encode(record))
            elif record != old[id_]:
                transaction.set_data(f"{_INSTANCES}/{id_}", encode(record))
        for id_ in old.keys() - known.instances.keys():
            transaction.delete(f"{_INSTANCES}/{id_}")
        with reaching():
            results = transaction.commit()
        failed = [one for one in results if isinstance(one, Exception)]
        if failed:
            raise Conflict("another controller took over", epoch=epoch) from failed[0]

    # Hearts and orders.

    def beat(self, heartbeat: Heartbeat) -> None:
        """Show that an agent lives; gone by itself when its session ends."""
        path = f"{_HEARTS}/{heartbeat.machine_id}"
        with reaching():
            try:
                stat = self.client.set(path, encode(heartbeat))
            except NoNodeError:
                self.client.create(path, encode(heartbeat), ephemeral=True, makepath=True)
                return
            if stat.ephemeralOwner != self.client.client_id[0]:
                # Left by an earlier session of this agent, it would vanish under us, and may have.
                with suppress(NoNodeError):
                    self.client.delete(path)
                self.client.create(path, encode(heartbeat), ephemeral=True)

    def heart(self, machine_id: str) -> Heartbeat | None:
        """Read one agent's last heartbeat; None: its session has ended."""
        with reaching():
            try:
                data, _ = self.client.get(f"{_HEARTS}/{machine_id}")
            except NoNodeError:
                return None
        return decode(data, Heartbeat, what=f"the heartbeat of {machine_id}")

    def hearts(self) -> dict[str, Heartbeat]:
        """Read the last heartbeat of each agent whose session lives, by machine id."""
        with reaching():
            return {
                id_: decode(data, Heartbeat, what=f"the heartbeat of {id_}")
                for id_, data in self._below(_HEARTS).items()
            }

    def order_drain(self, machine_id: str, reason: str) -> None:
        """Tell an agent to take no new work."""
        with reaching():
            try:
                self.client.create(f"{_ORDERS}/{machine_id}", reason.encode(), makepath=True)
            except NodeExistsError:
                return

    def drain_order(self, machine_id: str) -> str | None:
        """Read whether an agent shall drain, and why."""
        with reaching():
            try:
                return str(self.client.get(f"{_ORDERS}/{machine_id}")[0].decode())
            except NoNodeError:
                return None

    def candidates(self) -> list[str]:
        """List the machines that stand for controller; the first of them is it."""
        with reaching():
            return [id_ for _, id_ in self._candidates()]

    def withdraw(self, machine_id: str) -> None:
        """Take the candidacy of a machine that is gone out of the queue."""
        with reaching():
            for node, id_ in self._candidates():
                if id_ == machine_id:
                    with suppress(NoNodeError):
                        self.client.delete(node)
        logger.info("candidacy withdrawn machine=%s", machine_id)

    def _candidates(self) -> Iterator[tuple[str, str]]:
        """List the nodes of kazoo's recipe, and in them who stands, in the order of the queue."""
        with suppress(NoNodeError):
            names = self.client.get_children(ELECTION)
            for name in sorted(names, key=lambda name: name.rpartition("__")[2]):
                with suppress(NoNodeError):
                    node = f"{ELECTION}/{name}"
                    yield node, self.client.get(node)[0].decode()

    def release_leadership(self, sessions: Collection[int]) -> None:
        """Take the leadership from a Spark master that is gone; see `engine.latch`."""
        if sessions:
            with reaching():
                deleted = release_latches(self.client, sessions)
            logger.info("leadership released sessions=%s nodes=%s", sorted(sessions), deleted)

    # Events.

    def tell(self, events: Sequence[Event]) -> None:
        """Append events, and drop the oldest beyond `EVENTS_KEPT`."""
        if not events:
            return
        with reaching():
            for event in events:
                last = self.client.create(f"{_EVENTS}/e-", encode(event), sequence=True)
            newest = int(last.rpartition("-")[2])
            for name in self.client.get_children(_EVENTS):
                if int(name.rpartition("-")[2]) <= newest - EVENTS_KEPT:
                    self.client.delete(f"{_EVENTS}/{name}")

    def born(self) -> int:
        """Tell when this ensemble's records began; another ensemble counts events anew."""
        with reaching():
            stat = self.client.exists(_EVENTS)
        return int(stat.ctime) if stat is not None else 0

    def events(self, *, after: int = -1) -> list[tuple[int, Event]]:
        """Read events in order, those with a number above `after`."""
        with reaching():
            found = self._below(_EVENTS, lambda name: int(name.rpartition("-")[2]) > after)
        return sorted(
            (int(name.rpartition("-")[2]), decode(data, Event, what=f"event {name}"))
            for name, data in found.items()
        )

    # Steps.

    def add_step(self, step: Step) -> None:
        """Hand in work; the same id again changes nothing."""
        with reaching():
            try:
                self.client.create(f"{_STEPS}/{step.id}", encode(step), makepath=True)
            except NodeExistsError:
                return

    def steps(self) -> list[Step]:
        """Read the steps, the oldest first; those that ended before, which never change, once."""
        with reaching():
            try:
                names, stat = self.client.get_children(_STEPS, include_data=True)
            except NoNodeError:
                return []
            # Another ensemble may have a step again that ended in the one before.
            ended = self._ended_steps if stat.ctime == self._steps_born else {}
            found = self._read(_STEPS, [name for name in names if name not in ended])
        steps = {id_: ended[id_] for id_ in names if id_ in ended}
        steps |= {id_: decode(data, Step, what=f"step {id_}") for id_, data in found.items()}
        self._ended_steps = {id_: one for id_, one in steps.items() if one.state.is_over}
        self._steps_born = stat.ctime
        return sorted(steps.values(), key=lambda one: (one.created_at, one.id))

    def forget_steps(self, steps: Sequence[Step]) -> None:
        """Remove what ended first of these, beyond `ENDED_STEPS_KEPT`."""
        ended = sorted(
            (one for one in steps if one.state.is_over),
            key=lambda one: (one.ended_at or 0.0, one.id),
        )
        with reaching():
            for step in ended[:-ENDED_STEPS_KEPT]:
                # Others do the same; and whoever runs it still has a lease below it.
                with suppress(NoNodeError, NotEmptyError):
                    self.client.delete(f"{_STEPS}/{step.id}")

    def change_step(self, step_id: str, change: Callable[[Step], Step]) -> Step:
        """Read a step, change it, write it; anew where somebody else was quicker.

        Raises:
            Conflict: the change is not one that EMR's state machine has.
            NotFound: there is no such step.
        """
        path = f"{_STEPS}/{step_id}"
        with reaching():
            while True:
                try:
                    data, stat = self.client.get(path)
                    old = decode(data, Step, what=f"step {step_id}")
                    new = change(old)
                    _check_edge(old, new)
                    self.client.set(path, encode(new), version=stat.version)
                except BadVersionError:
                    continue
                except NoNodeError as error:
                    raise NotFound(f"there is no step {step_id}", step_id=step_id) from error
                return new

    def begin_choosing(self) -> bool:
        """Become the only one who chooses steps, until `end_choosing`; False: another is."""
        return self._owned(_CHOOSING, b"")

    def end_choosing(self) -> None:
        """Let others choose."""
        with reaching(), suppress(NoNodeError):
            self.client.delete(_CHOOSING)

    def lease_step(self, step_id: str, machine_id: str) -> bool:
        """Become who runs a step, as long as this session lives; False: another, or gone."""
        return self._owned(f"{_STEPS}/{step_id}/lease", machine_id.encode())

    def _owned(self, path: str, data: bytes) -> bool:
        """Make a node that ends with this session; one that this session made before is as good."""
        with reaching():
            try:
                self.client.create(path, data, ephemeral=True)
            except NoNodeError:
                return False  # a step that ended long ago
            except NodeExistsError:
                seen = self.client.exists(path)
                return seen is not None and seen.ephemeralOwner == self.client.client_id[0]
        return True

    def lease_holder(self, step_id: str) -> str | None:
        """Tell which machine runs a step now; None: none does."""
        with reaching():
            try:
                return str(self.client.get(f"{_STEPS}/{step_id}/lease")[0].decode())
            except NoNodeError:
                return None

    def end_lease(self, step_id: str) -> None:
        """Give a step's lease back."""
        with reaching(), suppress(NoNodeError):
            self.client.delete(f"{_STEPS}/{step_id}/lease")

    def _below(
        self, folder: str, wanted: Callable[[str], bool] = lambda _: True
    ) -> dict[str, bytes]:
        try:
            names = [name for name in self.client.get_children(folder) if wanted(name)]
        except NoNodeError:
            return {}
        return self._read(folder, names)

    def _read(self, folder: str, names: Sequence[str]) -> dict[str, bytes]:
        found = {}
        # All are asked for before the first answer is awaited.
        asked = [(name, self.client.get_async(f"{folder}/{name}")) for name in names]
        for name, answer in asked:
            with suppress(NoNodeError):
                found[name] = answer.get()[0]
        return found


def _check_edge(old: Step, new: Step) -> None:
    is_late = old.state.is_over and new != old
    if is_late or not can_become(STEP_EDGES, old.state, new.state):
        raise Conflict(
            f"step {old.id} is {old.state.value} and cannot become {new.state.value}",
            step_id=old.id,
            state=old.state.value,
        )
