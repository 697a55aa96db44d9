"""One SQLite file of a host, as one subject's tables see it."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atoll.core.errors import Corrupt, Unavailable
from atoll.core.files import writing

BUSY_SECONDS = 30.0


class Database:
    """A connection of its own to the file. Calls may come from any thread.

    Any call may raise `Unavailable` where the file cannot be read or written, and `Corrupt` where
    it is damaged.
    """

    def __init__(self, path: Path, schema: str) -> None:
        """Open the file; it is made if need be, and so are the schema's tables.

        Raises:
            Unavailable, Forbidden, InvalidInput: it cannot be opened or written.
            Corrupt: it is damaged.
        """
        self._path = path
        self._lock = threading.RLock()
        with writing(path):
            # It holds tokens, and the folder may have been there before, readable for all.
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            path.chmod(0o600)
        with self.reaching():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(schema)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def ask(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement, and return its rows."""
        with self.reaching():
            return self._connection.execute(query, values).fetchall()

    def write(self, query: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row."""
        with self.reaching():
            self._connection.executemany(query, rows)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Do all that the block writes, or nothing; nobody comes between.

        Within another such block it is part of that.
        """
        with self.reaching():
            if self._is_within():
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # Where the disk is full, SQLite may have rolled back by itself.
                if self._is_within():
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Keep other threads out; turn SQLite's errors into Atoll's."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                # Those of a damaged file are of this class, all others of one below it.
                if type(error) is sqlite3.DatabaseError:
                    raise Corrupt(
                        f"{self._path} is damaged: {error}; restore it from a backup, or begin "
                        "anew: `atoll fleet gc --everything` removes all of this machine that it "
                        "stood for; end what is on EC2 by its tag, atoll:cluster",
                        path=str(self._path),
                    ) from error
                is_reach = isinstance(error, sqlite3.OperationalError)
                advice = "; free some room on its disk, or see who else holds it" * is_reach
                raise Unavailable(
                    f"{self._path} cannot be read or written: {error}{advice}",
                    path=str(self._path),
                ) from error

    def _is_within(self) -> bool:
        return self._connection.in_transaction
