"""Work that the mesh does by itself: after a change, or at a time, until it went well.

A job is kept in the same transaction as the change that wants it, so neither is there without the
other. Whoever takes one holds it by a lease, which is made longer for as long as it takes; a server
that dies lets go of it by that lease, or, where it is started again, at once. So a job may be begun
twice: handlers look what stands first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from atoll.core.errors import AtollError, Unavailable
from atoll.core.threads import left_after
from atoll.mesh.audit.model import AuditEvent, new_event
from atoll.mesh.identity import tokens
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.record import Record, new_id
from atoll.mesh.operations.calls import Call, project_of
from atoll.mesh.operations.tools import Tools
from atoll.mesh.policies.decisions import Authorizer, Standing
from atoll.mesh.store.reading import Reader
from atoll.mesh.store.writing import Store, Transaction

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)
SYSTEM = Standing("Service", "system", frozenset(), tokens.EVERYTHING)
# Lanes: jobs of one wait for each other, and for no others. What takes no time but the database's
# is quick: the ends of access by the clock, above all.
QUICK = "quick"
GRANTS, GRANTS_AGAIN = "grants", "grants again"  # wait for the stores that data lie in
REVIEWS = "reviews"  # of all access below a unit, or of all requests
RUNS = "runs"  # for hours, where there is much
HOUSEKEEPING = "housekeeping"  # of any number of records
ANCHORS = "anchors"  # wait for a store outside, for minutes
LEASE_S = 60.0
POLL_S = 1.0  # other servers' jobs, and leases that ran out
FIRST_RETRY_S = 1.0
LAST_RETRY_S = 300.0
CLOCK_BACK_US = 10_000_000  # what schedules are late by is not worth a change


class Attendant:
    """Acts for the mesh itself, not for a person.

    Attributes:
        tools: what it needs of the world outside.
    """

    def __init__(self, store: Store[AuditEvent], authorizer: Authorizer, tools: Tools) -> None:
        """Act in a store."""
        self._store, self._authorizer, self.tools = store, authorizer, tools

    @staticmethod
    def now() -> int:
        """Tell the time, microseconds since the epoch."""
        return _now()

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Read; all calls within the block see the same moment."""
        with self._store.reading() as reader:
            yield reader

    @contextmanager
    def looking(self, via: str) -> Iterator[Call]:
        """Look, as `act` does, without changing anything."""
        with self._store.reading() as reader:
            yield Call(reader, SYSTEM, via, self._authorizer, self.tools)

    def act(self, operation: str, via: str, work: Callable[[Call], R | None]) -> R | None:
        """Change something in one transaction, and have the audit say so.

        Args:
            operation: what the audit calls it, such as "ExpireSubscription".
            via: what for: a job's kind.
            work: changes things through a call; returns what it was about, or None where there
                was nothing to do, which the audit says nothing of.
        """

        def done(changes: Transaction[AuditEvent]) -> R | None:
            call = Call(changes, SYSTEM, via, self._authorizer, self.tools)
            record = work(call)
            if record is not None:
                changes.notes.append(
                    new_event(
                        operation,
                        "ALLOWED",
                        principal=SYSTEM.id,
                        via=via,
                        project=project_of(record),
                        resource_kind=record.KIND,
                        resource_id=record.id,
                        details=call.told,
                    )
                )
            return record

        return self._store.write(done)


# Does what a job is about, and returns when it is due again, in microseconds since the epoch, or
# None where all is done. What it raises makes it due again, later each time.
Handle = Callable[[Attendant, Job], int | None]


@dataclass(frozen=True)
class Handler:
    """Who does the jobs of a kind.

    Attributes:
        lane: jobs of one wait for each other, and for no others.
        is_standing: whether there is always one, about nothing: a schedule.
    """

    run: Handle
    lane: str
    is_standing: bool


HANDLERS: dict[str, Handler] = {}


def job(kind: str, *, lane: str = QUICK, is_standing: bool = False) -> Callable[[Handle], Handle]:
    """Make a function the handler of a kind of jobs.

    Args:
        kind: its name.
        lane: one of its own for each thing that may take long, so that nobody else waits for it.
        is_standing: whether there is always one, about nothing: a schedule.
    """

    def register(run: Handle) -> Handle:
        assert kind not in HANDLERS, kind
        HANDLERS[kind] = Handler(run, lane, is_standing)
        return run

    return register


def later(call: Call, kind: str, subject_id: str, *, due_at: int = 0) -> None:
    """Have something done after this transaction, or at a time, in microseconds since the epoch."""
    assert kind in HANDLERS, kind
    due = due_at or call.now
    found = call.find(Job, kind=kind, subject_id=subject_id)
    if found is None:
        call.add(Job, kind=kind, subject_id=subject_id, due_at=due)
    elif found.leased_until or found.due_at != due:
        call.changes.put(
            replace(
                found, version=found.version + 1, due_at=due, wanted=found.wanted + 1, attempts=0
            )
        )


class Worker:
    """Threads that do jobs until they are stopped: one for each lane.

    One more looks what is due and wakes them, and one makes the leases of what they do longer.
    """

    def __init__(self, store: Store[AuditEvent], attendant: Attendant, holder: str) -> None:
        """Begin.

        Args:
            store: where the jobs are.
            attendant: acts for them.
            holder: who works here, and nowhere else: what it held when it died is free again.
        """
        self._store, self._attendant, self._holder = store, attendant, holder
        self._is_stopping = False
        self._has_stopped = threading.Event()
        self._taken: dict[str, Job] = {}
        self._waker = threading.Event()
        self._lanes = {one.lane: threading.Event() for one in HANDLERS.values()}
        store.write(self._begin)
        store.listeners.append(self._waker.set)
        self._watch = threading.Thread(target=self._look, name="mesh-due", daemon=True)
        self._threads = [
            threading.Thread(target=self._run, args=(lane, waker), name="mesh-job", daemon=True)
            for lane, waker in self._lanes.items()
        ]
        self._keeper = threading.Thread(target=self._keep, name="mesh-leases", daemon=True)
        for thread in (self._watch, *self._threads, self._keeper):
            thread.start()

    def stop(self) -> None:
        """Let what is being done be finished, for a while, and do no more.

        What is not finished then is begun again by the next server, or when this one starts.
        """
        self._is_stopping = True
        for waker in (self._waker, *self._lanes.values()):
            waker.set()
        left = left_after((self._watch, *self._threads))
        going = [f"{one.kind} of {one.subject_id or 'all'}" for one in list(self._taken.values())]
        if left:
            logger.error("jobs are left unfinished: %s", ", ".join(going or ["none is known"]))
        self._has_stopped.set()
        left_after([self._keeper])

    def _begin(self, changes: Transaction[AuditEvent]) -> None:
        for one in list(changes.all(Job)):
            if one.holder == self._holder:
                changes.put(replace(one, version=one.version + 1, leased_until=0, holder=""))
        self._schedule(changes)

    def _schedule(self, changes: Transaction[AuditEvent]) -> None:
        """Have what there always is be due now."""
        there = {one.kind: one for one in changes.all(Job, subject_id="")}
        for kind in (kind for kind, one in HANDLERS.items() if one.is_standing):
            found = there.get(kind)
            if found is None:
                changes.add(_standing_job(kind, _now()))
            elif not found.holder:
                # Where the clock was set back it would be due in days.
                changes.put(replace(found, version=found.version + 1, due_at=_now()))

    def _look(self) -> None:
        before = _now()
        while not self._is_stopping:
            self._waker.clear()
            try:
                now = _now()
                if now < before - CLOCK_BACK_US:
                    logger.warning("the clock was set back by %d s", (before - now) // 1_000_000)
                    self._store.write(self._schedule)
                before = now
                with self._store.reading() as reader:
                    due = reader.values_until(Job, "kind", "due_at", _now())
                for kind in HANDLERS.keys() & due:
                    self._lanes[HANDLERS[kind].lane].set()
            except AtollError as error:
                logger.warning("nobody could look which jobs are due: %s", error.message)
            # Whatever it is, a panic of Rust's, too: it must go on.
            except BaseException:
                logger.exception("nobody could look which jobs are due")
            self._waker.wait(POLL_S)

    def _run(self, lane: str, waker: threading.Event) -> None:
        kinds = [kind for kind, one in HANDLERS.items() if one.lane == lane]
        while not self._is_stopping:
            waker.wait()
            waker.clear()
            try:
                while not self._is_stopping and self._do_one(kinds):
                    pass
            # Whatever it is, a panic of Rust's, too: the next job must be done all the same.
            except BaseException:
                logger.exception("a job could not be taken or put back")

    def _keep(self) -> None:
        while not self._has_stopped.wait(LEASE_S / 4):
            try:
                if self._taken:
                    self._store.write(self._renew)
            except BaseException:
                logger.exception("leases of jobs could not be made longer")

    def _renew(self, changes: Transaction[AuditEvent]) -> None:
        for id_ in list(self._taken):
            found = changes.find(Job, id_)
            if found and found.holder == self._holder:
                changes.put(replace(found, version=found.version + 1, leased_until=_lease()))

    def _do_one(self, kinds: list[str]) -> bool:
        """Take the job that has been due for longest, and do it; False if none is due."""
        with self._store.reading() as reader:
            if not _due(reader, kinds):
                return False
        taken = self._store.write(lambda changes: self._take(changes, kinds))
        if taken is None:
            return False
        self._taken[taken.id] = taken
        try:
            due_at, error = self._done(taken)
            self._end(taken, due_at, error)
        finally:
            del self._taken[taken.id]
        return True

    def _end(self, taken: Job, due_at: int | None, error: str) -> None:
        """Put a job back, as soon as the database is there: else its lease would run out first."""
        while True:
            try:
                self._store.write(lambda changes: _put_back(changes, taken, due_at, error))
            except Unavailable as lost:
                if self._is_stopping:
                    raise
                logger.warning("a job waits to be put back kind=%s: %s", taken.kind, lost.message)
                self._has_stopped.wait(POLL_S)
            else:
                return

    def _done(self, taken: Job) -> tuple[int | None, str]:
        """Do a job; returns when it is due again, and why it failed."""
        try:
            return HANDLERS[taken.kind].run(self._attendant, taken), ""
        except AtollError as raised:
            error = raised.message or raised.code
            logger.warning("a job failed kind=%s about=%s: %s", taken.kind, taken.subject_id, error)
        except BaseException:
            error = "a fault of ours; see the server's log"
            logger.exception("a job failed kind=%s about=%s", taken.kind, taken.subject_id)
        # After some days of doubling it would be no number any more.
        wait = min(FIRST_RETRY_S * 2 ** min(taken.attempts - 1, 20), LAST_RETRY_S)
        return _now() + int(wait * 1e6), error

    def _take(self, changes: Transaction[AuditEvent], kinds: list[str]) -> Job | None:
        due = _due(changes, kinds)
        if not due:
            return None
        first = min(due, key=lambda one: one.due_at)
        return changes.put(
            replace(
                first,
                version=first.version + 1,
                leased_until=_lease(),
                holder=self._holder,
                attempts=first.attempts + 1,
            )
        )


def _standing_job(kind: str, now: int) -> Job:
    return Job(
        id=new_id(Job.KIND),
        created_at=now,
        created_by=SYSTEM.id,
        updated_at=now,
        updated_by=SYSTEM.id,
        kind=kind,
        subject_id="",
        due_at=now,
    )


def _due(reader: Reader, kinds: list[str]) -> list[Job]:
    now = _now()
    due = reader.until(Job, "due_at", now, kind=kinds)
    return [one for one in due if one.leased_until <= now]


def _put_back(changes: Transaction[AuditEvent], taken: Job, due_at: int | None, error: str) -> None:
    found = changes.find(Job, taken.id)
    if found is None or found.holder != taken.holder:  # its lease ran out: it is another's
        return
    if found.wanted != taken.wanted:
        changes.put(replace(found, version=found.version + 1, leased_until=0, holder=""))
    elif due_at is None:
        changes.remove(found)
    else:
        changes.put(
            replace(
                found,
                version=found.version + 1,
                due_at=due_at,
                leased_until=0,
                holder="",
                attempts=found.attempts if error else 0,
                error=error,
            )
        )


def _lease() -> int:
    return _now() + int(LEASE_S * 1e6)


def _now() -> int:
    return time.time_ns() // 1000
