"""Changes: one thread makes them all, several in one commit, each of them whole.

Who changes something hands in a function. Those that wait are carried out one after another within
one transaction of the database, each behind a savepoint of its own, and one commit makes all of
them last: the disk is waited for once for many. Between processes (PostgreSQL) batches wait for
each other. So a function sees everything that was changed before it, nobody comes between what
it reads and what it writes, and two of them never race. It must not wait for anything itself.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import msgspec
import sqlalchemy as sa

from atoll.core.errors import AtollError, Conflict, Corrupt, Unavailable
from atoll.core.threads import left_after
from atoll.mesh.model.record import Record
from atoll.mesh.store.database import NO_ANSWER, reaching, writing_to
from atoll.mesh.store.reading import Reader
from atoll.mesh.store.tables import (
    CHANGES,
    FOLLOWED,
    KEEPING_HISTORY,
    KEYS,
    NAMED,
    PAST,
    TABLES,
    VALUES,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R", bound=Record)
N = TypeVar("N")
BATCH = 64


class Transaction(Reader, Generic[N]):
    """Reads and changes records; all of it lasts, or nothing.

    Attributes:
        notes: what the audit shall say, in order.
        touched: kinds and ids of followed records that were changed.
    """

    def __init__(self, connection: sa.Connection) -> None:
        """Change through a connection, within its transaction."""
        super().__init__(connection)
        self.notes: list[N] = []
        self.touched: dict[tuple[str, str], None] = {}

    def add(self, record: R) -> R:
        """Keep a new record.

        Raises:
            Conflict: there is one with these unique keys.
        """
        with _keeping(record):
            values = {"id": record.id, **_columns(record)}
            self._connection.execute(TABLES[type(record)].insert().values(values))
            self._index(record)
            self._remember(record)
        return record

    def put(self, record: R) -> R:
        """Keep a changed record, whose version is one more than what is kept.

        Raises:
            Conflict: somebody else changed it since, or its unique keys are another's.
        """
        table = TABLES[type(record)]
        before = (table.c.id == record.id) & (table.c.version == record.version - 1)
        with _keeping(record):
            done = self._connection.execute(table.update().where(before).values(_columns(record)))
        if done.rowcount != 1:
            raise Conflict(
                f"the {record.KIND} '{record.id}' was changed meanwhile; read it again",
                kind=record.KIND,
                id=record.id,
            )
        self._forget(record)
        self._index(record)
        self._remember(record)
        return record

    def remove(self, record: Record) -> None:
        """Keep a record no longer."""
        table = TABLES[type(record)]
        with reaching():
            self._connection.execute(table.delete().where(table.c.id == record.id))
        self._forget(record)
        if type(record) in FOLLOWED:
            self.touched[record.KIND, record.id] = None

    def _remember(self, record: Record) -> None:
        if type(record) in FOLLOWED:
            self.touched[record.KIND, record.id] = None
        if type(record) in KEEPING_HISTORY:
            body = msgspec.json.encode(record).decode()
            values = {"id": record.id, "version": record.version, "body": body}
            self._connection.execute(PAST.insert().values(values))

    def _index(self, record: Record) -> None:
        for key, table in VALUES[type(record)].items():
            if values := set(getattr(record, key)):
                rows = [{"value": one, "id": record.id} for one in sorted(values)]
                self._connection.execute(table.insert(), rows)

    def _forget(self, record: Record) -> None:
        for table in VALUES[type(record)].values():
            self._connection.execute(table.delete().where(table.c.id == record.id))


@contextmanager
def _keeping(record: Record) -> Iterator[None]:
    """Tell what an error of the database means, and which name is taken."""
    try:
        with reaching():
            yield
    except Conflict as error:
        if type(record) not in NAMED:
            raise
        name = getattr(record, "name", "")
        raise Conflict(
            f"the name '{name}' is taken by another {record.KIND}; choose another", name=name
        ) from error


def _columns(record: Record) -> dict[str, Any]:
    keys = {key: getattr(record, key) for key in KEYS[type(record)]}
    return {
        "version": record.version,
        **{key: value if isinstance(value, int) else str(value) for key, value in keys.items()},
        "body": msgspec.json.encode(record).decode(),
    }


@dataclass
class _Change(Generic[N]):
    work: Callable[[Transaction[N]], Any]
    done: Future[Any] = field(default_factory=Future)
    result: Any = None
    error: Exception | None = None

    def settle(self, lost: AtollError | None) -> None:
        if error := self.error or lost:
            self.done.set_exception(error)
        else:
            self.done.set_result(self.result)


class Store(Generic[N]):
    """The database, as the rest of the mesh sees it; safe from any thread.

    Attributes:
        engine: the database itself.
        listeners: called after each commit; they only take note that there was one.
    """

    def __init__(self, engine: sa.Engine, append: Callable[[sa.Connection, list[N]], None]) -> None:
        """Keep records in a database.

        Args:
            engine: the database; its tables are there.
            append: called with the notes of each batch, within its transaction.
        """
        self.engine, self._append = engine, append
        self.listeners: list[Callable[[], None]] = []
        self._waiting: queue.SimpleQueue[_Change[N] | None] = queue.SimpleQueue()
        self._is_closed, self._closing = False, threading.Lock()
        self._thread = threading.Thread(target=self._run, name="mesh-writer", daemon=True)
        self._thread.start()

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Read; all calls within the block see the same moment.

        Raises:
            Unavailable: the database does not answer.
        """
        with reaching(), self.engine.connect() as connection, connection.begin():
            yield Reader(connection)

    def write(self, work: Callable[[Transaction[N]], T]) -> T:
        """Carry out a change, and wait until it lasts.

        Args:
            work: reads and changes records; waits for nothing else. What it raises is raised
                here, and nothing of what it did lasts.

        Raises:
            Unavailable: the database does not answer; it is not known to have changed.
        """
        change = _Change(work)
        with self._closing:
            if self._is_closed:
                raise Unavailable("the server is stopping; try again later")
            self._waiting.put(change)
        return cast(T, change.done.result())

    def close(self) -> None:
        """Let what waits be done, for a while, then let go of the database."""
        with self._closing:
            self._is_closed = True
            self._waiting.put(None)
        if left_after([self._thread]):
            logger.error("a change is left unfinished: the database does not answer")
        self.engine.dispose()

    def _run(self) -> None:
        is_ending = False
        while not is_ending:
            batch, is_ending = self._next()
            lost = None
            try:
                if batch:
                    self._commit(batch)
            except AtollError as error:
                lost = error
            # Whatever it is: who waits must hear of it, and the thread must live on.
            except Exception:
                logger.exception("a batch of changes failed")
                lost = Unavailable("the change could not be kept; see the server's log")
            for one in batch:
                one.settle(lost)
            for listener in self.listeners:
                listener()

    def _next(self) -> tuple[list[_Change[N]], bool]:
        found: list[_Change[N]] = []
        while len(found) < BATCH:
            try:
                one = self._waiting.get(block=not found)
            except queue.Empty:
                break
            if one is None:
                return found, True
            found.append(one)
        return found, False

    def _commit(self, batch: list[_Change[N]]) -> None:
        with reaching(), writing_to(self.engine) as connection:
            notes: list[N] = []
            touched: dict[tuple[str, str], None] = {}
            for one in batch:
                _carry_out(one, connection, notes, touched)
            self._append(connection, notes)
            _number(connection, list(touched))


def _number(connection: sa.Connection, touched: list[tuple[str, str]]) -> None:
    """Give changes the next numbers: one per record, its newest."""
    if not touched:
        return
    last = connection.execute(sa.select(sa.func.max(CHANGES.c.number))).scalar() or 0
    rows = [
        {"kind": kind, "id": id_, "number": number}
        for number, (kind, id_) in enumerate(touched, last + 1)
    ]
    of_row = (CHANGES.c.kind == sa.bindparam("of_kind")) & (CHANGES.c.id == sa.bindparam("of_id"))
    keys = [{"of_kind": kind, "of_id": id_} for kind, id_ in touched]
    connection.execute(CHANGES.delete().where(of_row), keys)
    connection.execute(CHANGES.insert(), rows)


def _carry_out(
    change: _Change[N],
    connection: sa.Connection,
    notes: list[N],
    touched: dict[tuple[str, str], None],
) -> None:
    transaction: Transaction[N] = Transaction(connection)
    savepoint = connection.begin_nested()
    try:
        with reaching():
            change.result = change.work(transaction)
    except Exception as error:
        change.error = error
    # What Rust panics with is no Exception, and must not end the thread.
    except BaseException:
        logger.exception("a change ended in a panic")
        change.error = Unavailable("the change could not be made; see the server's log")
    if change.error:
        _undo(savepoint, connection, change.error)
        return
    savepoint.commit()
    notes += transaction.notes
    touched |= transaction.touched


def _undo(savepoint: sa.NestedTransaction, connection: sa.Connection, error: Exception) -> None:
    """Go back to where a change began.

    Args:
        savepoint: from where on.
        connection: that it is on.
        error: what the change failed of.

    Raises:
        AtollError: nothing of the batch is left either: what the change failed of, where that is
            of the database.
    """
    lost: Exception | None = None
    try:
        savepoint.rollback()
    # A full disk ends all of SQLite's transaction, a connection that goes PostgreSQL's.
    except sa.exc.SQLAlchemyError as failed:
        lost = failed
    if lost is None and not connection.invalidated:
        return
    is_of_database = isinstance(error.__cause__, sa.exc.SQLAlchemyError)
    if is_of_database and isinstance(error, Unavailable | Corrupt):
        raise error
    logger.warning("a batch of changes is lost: %s", lost or "its connection went")
    raise Unavailable(f"the database {NO_ANSWER}") from lost
