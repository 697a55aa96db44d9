"""Connections to PostgreSQL that are not waited for without end.

`statement_timeout` is the server's to keep. One whose machine is frozen, or whose disk hangs, keeps
nothing, and yet its system acknowledges what it is sent: so we look at the clock ourselves.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen

ANSWER_S = 75.0  # longer than the server's own time for a statement: it says more


class Connection(psycopg.Connection[Any]):
    """A connection that is closed where an answer takes too long."""

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """Wait for an answer.

        Raises:
            OperationalError: none comes.
        """
        return super().wait(self._watched(gen), *args, **kwargs)

    def _watched(self, gen: PQGen[RV]) -> Generator[Any, Any, RV]:
        until = time.monotonic() + ANSWER_S
        try:
            wanted = next(gen)
            while True:
                # Nothing for a tenth of a second: the driver asks whether it should go on.
                ready = yield wanted
                if not ready and time.monotonic() > until:
                    # What still comes would be taken for the next answer.
                    self.close()
                    raise psycopg.OperationalError(f"no answer within {ANSWER_S:g} s")
                wanted = gen.send(ready)
        except StopIteration as ended:
            found: RV = ended.value
            return found


def connected(
    _dialect: object, _record: object, args: list[Any], given: dict[str, Any]
) -> Connection:
    """Connect, as SQLAlchemy asks."""
    return Connection.connect(*args, **given)
