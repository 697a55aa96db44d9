"""A worker process: started anew, given one task after the other through a pipe of its own."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from atoll.compute.deadlines import is_any_going_on
from atoll.compute.packing import answer
from atoll.core.resources import limit_threads

_FAREWELL_SECONDS = 5.0
_READY = b"ready"
# Obstore and Lance hang in forked children.
_spawn = multiprocessing.get_context("spawn")


class Worker:
    """One process and the parent's end of its pipe.

    Attributes:
        threads: that its libraries may use.
        memory_bytes: of data that it may hold in memory; None: any number.
        is_ready: whether it has said that it can take a task.
    """

    def __init__(self, threads: int, memory_bytes: int | None = None) -> None:
        """Start it."""
        self.threads, self.memory_bytes = threads, memory_bytes
        self.connection, theirs = _spawn.Pipe()
        self.process: BaseProcess = _spawn.Process(
            target=_serve, args=(theirs, threads, memory_bytes), name="atoll-worker", daemon=True
        )
        with _interrupts_held():
            self.process.start()
        theirs.close()
        self.is_ready = False

    def hear(self) -> bytes | None:
        """Read one message; None when the worker is dead."""
        try:
            return self.connection.recv_bytes()
        except (EOFError, OSError):
            return None

    def send(self, packed: bytes) -> None:
        """Give it a task; one that is dead already shows it when it is heard."""
        with suppress(OSError):
            self.connection.send_bytes(packed)

    def dismiss(self) -> None:
        """Let it end by itself."""
        self.connection.close()
        self.process.join(_FAREWELL_SECONDS)

    def kill(self) -> None:
        """End it; one that the system cannot end, as its mount hangs, is left to it."""
        self.process.kill()
        self.process.join(_FAREWELL_SECONDS)
        self.connection.close()

    def how_it_ended(self) -> str:
        """Name the signal or the exit code."""
        self.process.join(_FAREWELL_SECONDS)
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while a process starts: it inherits the mask, and dies only by our hand."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, threads: int, memory_bytes: int | None) -> None:
    """Be a worker: answer each task until the parent hangs up or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    limit_threads(threads)
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    with suppress(EOFError, OSError):
        # With what was given up it would share its memory: the next task gets another process.
        while not is_any_going_on():
            connection.send_bytes(_READY)
            connection.send_bytes(answer(connection.recv_bytes()))


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
