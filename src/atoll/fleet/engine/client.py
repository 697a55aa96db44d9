"""A client of an ensemble that never waits for ever.

Kazoo's calls have no deadline, and a request that is handed in just as a session ends may get no
answer at all: whoever waited for it, a controller at worst, hung for good while its session lived.
"""

from __future__ import annotations

from typing import Any

from kazoo.client import KazooClient
from kazoo.handlers.threading import AsyncResult, SequentialThreadingHandler

ANSWER_SECONDS = 10.0


class _Answer(AsyncResult):  # type: ignore[misc]
    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        return super().get(block, ANSWER_SECONDS if timeout is None else timeout)


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]
    def async_result(self) -> _Answer:
        return _Answer(self)


def ensemble_client(hosts: str, *, session_s: float, most_pause_s: float = 1.0) -> KazooClient:
    """Return a client; start it to connect.

    It connects again for as long as it takes, and tries no call twice: who calls decides. A call
    that gets no answer within `ANSWER_SECONDS` raises `KazooTimeoutError`.

    Args:
        hosts: as ZooKeeper writes them, "10.0.0.4:2181,...".
        session_s: after so long without connection its session, and all that hangs on it, ends.
        most_pause_s: between two tries to connect.
    """
    return KazooClient(
        hosts=hosts,
        timeout=session_s,
        handler=_Handler(),
        connection_retry={"max_tries": -1, "max_delay": most_pause_s},
        command_retry={"max_tries": 0},
    )
