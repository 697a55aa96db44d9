"""Work that is not waited for without end: what a store or a mount never answers ends it, too."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from threading import Thread
from typing import TypeVar

from atoll.core.errors import Unavailable

T = TypeVar("T")
_given_up: list[Thread] = []


def in_worker(work: Callable[[], T], seconds: int, label: str) -> T:
    """Do some work in a worker process, which is ended where even that does not end the work.

    In any other process it is done as it is: nobody replaces that.

    Args:
        work: reads what belongs to others.
        seconds: that it may take.
        label: what it is, and where.

    Raises:
        Unavailable: it takes longer.
    """
    if multiprocessing.parent_process() is None:
        return work()
    # For what keeps the interpreter to itself; whoever is ended by it is tried again.
    signal.alarm(2 * seconds)
    try:
        return in_time(work, seconds, label)
    finally:
        signal.alarm(0)


def in_time(work: Callable[[], T], seconds: float, label: str) -> T:
    """Do some work, and let it go on by itself where it takes too long.

    Raises:
        Unavailable: it does.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        # Whatever it raises is raised by whoever waits.
        except Exception as error:
            done.set_exception(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        return done.result(seconds)
    except FutureTimeout as error:
        if done.done():
            raise
        _given_up[:] = [one for one in (*_given_up, thread) if one.is_alive()]
        raise Unavailable(
            f"{label} takes too long, more than {seconds:g} s: the store or the mount that it lies "
            "in does not answer, or it is too large; see to that, then try again",
            task=label,
        ) from error


def is_any_going_on() -> bool:
    """Tell whether work that was given up still goes on in this process, and takes its memory."""
    return any(one.is_alive() for one in _given_up)
