"""A client of an ensemble that is never stuck.

Kazoo's calls have no deadline, and a request that is handed in just as a session ends may get no
answer at all: whoever waited for it, a controller at worst, hung for good while its session lived.
And servers refuse whoever has seen more than they have: rightly where one lags behind, but those of
an ensemble that was begun anew would refuse the clients of the lost one for good.
"""

from __future__ import annotations

import time
from typing import Any

from kazoo.client import KazooClient
from kazoo.handlers.threading import AsyncResult, SequentialThreadingHandler

ANSWER_SECONDS = 10.0
CONNECT_SECONDS = 0.5
"""A server whose machine is gone does not refuse: a session must not pass while we wait for it."""
FORGET_SECONDS = 15.0
"""Longer than any session of ours: whoever heard nothing for so long has none left to lose."""


class _Answer(AsyncResult):  # type: ignore[misc]
    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        return super().get(block, ANSWER_SECONDS if timeout is None else timeout)


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]
    def create_connection(self, *, timeout: float, **where: Any) -> Any:
        return super().create_connection(timeout=min(timeout, CONNECT_SECONDS), **where)

    def async_result(self) -> _Answer:
        return _Answer(self)


class _Client(KazooClient):  # type: ignore[misc]
    """Forgets how far an ensemble was that it has not heard of for long."""

    @property
    def last_zxid(self) -> int:
        """The last transaction it saw; 0: none that matters."""
        is_over = time.monotonic() - self._heard_at > FORGET_SECONDS
        return 0 if is_over else self._last_zxid

    @last_zxid.setter
    def last_zxid(self, zxid: int) -> None:
        self._last_zxid, self._heard_at = zxid, time.monotonic()


def ensemble_client(hosts: str, *, session_s: float, most_pause_s: float = 1.0) -> KazooClient:
    """Return a client; start it to connect.

    It connects again for as long as it takes, and tries no call twice: who calls decides. A call
    that gets no answer within `ANSWER_SECONDS` raises `KazooTimeoutError`.

    Args:
        hosts: as ZooKeeper writes them, "10.0.0.4:2181,...".
        session_s: after so long without connection its session, and all that hangs on it, ends.
        most_pause_s: between two tries to connect.
    """
    return _Client(
        hosts=hosts,
        timeout=session_s,
        handler=_Handler(),
        connection_retry={"max_tries": -1, "max_delay": most_pause_s},
        command_retry={"max_tries": 0},
    )
