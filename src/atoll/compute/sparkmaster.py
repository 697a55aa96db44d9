"""Asks a Spark master how it is, by the JSON of its web page."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from atoll.compute.asking import TIMEOUT_SECONDS, ask
from atoll.core.errors import Corrupt
from atoll.core.records import decoded

MASTER_UI_PORT = 8080

Told = TypeVar("Told")


class SeenWorker(msgspec.Struct, frozen=True):
    """A worker as a master sees it; the master's own page is its source.

    Attributes:
        id: Spark's; a worker that starts again gets a new one.
        host: its address.
        state: ALIVE, DECOMMISSIONED, DEAD, or UNKNOWN until it has answered a new master.
        cores: what it offers.
        coresused: of them, by executors.
        memory: MiB, for all its executors.
        memoryused: MiB, by executors.
    """

    id: str
    host: str
    state: str
    cores: int
    coresused: int
    memory: int
    memoryused: int


class SeenApp(msgspec.Struct, frozen=True):
    """An application as a master sees it."""

    id: str
    name: str
    state: str
    cores: int


class MasterHealth(msgspec.Struct, frozen=True):
    """What a master says of itself; a standby knows no workers and no applications.

    Attributes:
        status: of the active one, ALIVE, or for seconds before that RECOVERING (or
            COMPLETING_RECOVERY): it holds the leadership and waits for workers and drivers.
        workers: those that are gone stay listed for some minutes.
        activeapps: running or waiting.
    """

    status: Literal["ALIVE", "STANDBY", "RECOVERING", "COMPLETING_RECOVERY"]
    workers: tuple[SeenWorker, ...]
    activeapps: tuple[SeenApp, ...]

    @property
    def is_active(self) -> bool:
        """Whether it gives out work."""
        return self.status == "ALIVE"

    @property
    def is_elected(self) -> bool:
        """Whether it holds the leadership, working or about to."""
        return self.status != "STANDBY"


def probe_master(address: str, *, timeout_s: float = TIMEOUT_SECONDS) -> MasterHealth:
    """Ask the master at `address`.

    Raises:
        Unavailable: it did not answer in time.
        Corrupt: what answered is no Spark master.
    """
    return parse(page(address, MASTER_UI_PORT, "Spark master", timeout_s), MasterHealth)


def page(address: str, port: int, what: str, timeout_s: float) -> bytes:
    """Fetch the JSON of a daemon's web page.

    Raises:
        Unavailable: it did not answer in time.
    """
    # HTTP/1.0: the answer comes in one piece and ends with the connection.
    question = f"GET /json/ HTTP/1.0\r\nHost: {address}\r\n\r\n".encode()
    return ask(address, port, question, what=what, timeout_s=timeout_s)


def parse(answer: bytes, kind: type[Told]) -> Told:
    """Read an HTTP answer with JSON.

    Args:
        answer: status line, headers and body.
        kind: what it should tell, such as `MasterHealth`.

    Raises:
        Corrupt: it is something else, or cut short.
    """
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line = head.split(b"\r\n", 1)[0].split()
    if len(status_line) < 2 or status_line[1] != b"200":
        raise _nonsense(answer, "its status is not 200")
    try:
        return decoded(body, kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _nonsense(answer, str(error)) from error


def _nonsense(answer: bytes, why: str) -> Corrupt:
    told = answer[:60].decode("ascii", errors="replace")
    return Corrupt(
        f"the answer is no Spark daemon's ({why}): {told!r}; another program may have its port",
        answer=told,
    )
