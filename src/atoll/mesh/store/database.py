"""One database, SQLite or PostgreSQL: how it is opened, and what its errors mean."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from atoll.core.errors import Conflict, Corrupt, InvalidInput, Unavailable
from atoll.core.files import writing

logger = logging.getLogger(__name__)

BUSY_MS = 5_000
LOCK_MS = 15_000
IDLE_MS = 30_000  # a change never waits so long: who made it is frozen, or cut off
# No statement of ours takes so long; a server that is stuck in one is waited for no longer.
STATEMENT_MS = 60_000
NO_ANSWER = "does not answer; try again, the server's log says more"
# A server that is cut off says nothing, and would be waited for for hours.
_POSTGRES = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
_LOCK = 0x61746F6C6C  # any number that no other program locks


def opened(url: str) -> sa.Engine:
    """Open a database.

    Args:
        url: `sqlite:///PATH` or `postgresql://USER@HOST/NAME`.

    Raises:
        InvalidInput: it is neither.
        Unavailable, Forbidden: a SQLite file cannot be made.
    """
    try:
        found = sa.make_url(url)
    except exc.ArgumentError as error:
        raise InvalidInput("this is no database URL: sqlite:///PATH or postgresql://...") from error
    match found.get_backend_name():
        case "sqlite":
            return _sqlite(found)
        case "postgresql":
            # Late: who has SQLite need not wait for its driver.
            from atoll.mesh.store.postgres import connected

            engine = sa.create_engine(
                found.set(drivername="postgresql+psycopg"),
                connect_args={
                    "options": f"-c lock_timeout={LOCK_MS} -c statement_timeout={STATEMENT_MS}",
                    **{key: value for key, value in _POSTGRES.items() if key not in found.query},
                },
                hide_parameters=True,
                pool_pre_ping=True,
                pool_size=20,
                max_overflow=30,
                isolation_level="REPEATABLE READ",
            )
            event.listen(engine, "do_connect", connected)
            return engine
        case other:
            raise InvalidInput(f"no database of the kind '{other}' is known: sqlite or postgresql")


def _sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise InvalidInput("name a file for the database: sqlite:///PATH")
    path = Path(url.database)
    with writing(path):
        # It holds hashes of tokens, and the folder may be readable for all.
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        path.chmod(0o600)
    engine = sa.create_engine(
        url.set(drivername="sqlite"),
        connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False},
        hide_parameters=True,
        pool_size=20,
        max_overflow=30,
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: Any, record: object) -> None:
    # The driver's own BEGIN comes too late: a read would see two states.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: sa.Connection) -> None:
    is_writing = connection.get_execution_options().get("is_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


@contextmanager
def writing_to(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a transaction that changes things; all of them, of all processes, wait in line."""
    is_sqlite = engine.dialect.name == "sqlite"
    options = {"is_writing": True} if is_sqlite else {"isolation_level": "READ COMMITTED"}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        if not is_sqlite:
            alone = sa.func.pg_advisory_xact_lock(_LOCK)
            patience = sa.func.set_config("idle_in_transaction_session_timeout", str(IDLE_MS), True)
            connection.execute(sa.select(alone, patience))
        yield connection


@contextmanager
def reaching(what: str = "the database") -> Iterator[None]:
    """Tell what an error of the database means; what it says goes to the log: it names places.

    Raises:
        Conflict: two records may not share what these share.
        InvalidInput: it can neither keep nor find such a value.
        Unavailable: it is locked, gone or full.
        Corrupt: the file is damaged.
    """
    try:
        yield
    except exc.IntegrityError as error:
        raise Conflict("there is one like it already, or it was made at the same moment") from error
    except exc.DataError as error:
        raise InvalidInput(f"{what} takes no such value: {_reason(error)}") from error
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        logger.warning("%s does not answer: %s", what, _reason(error))
        raise Unavailable(f"{what} {NO_ANSWER}") from error
    except exc.DatabaseError as error:
        told = _reason(error)
        logger.error("%s refuses: %s", what, told)
        if "malformed" in told or "not a database" in told:
            raise Corrupt(f"{what} is damaged; restore it from a backup") from error
        raise Unavailable(f"{what} refuses; the server's log says why") from error


def _reason(error: exc.SQLAlchemyError) -> str:
    # The whole message shows statements and their values.
    cause = getattr(error, "orig", None) or error
    return str(cause).splitlines()[0][:200] if str(cause) else type(cause).__name__
