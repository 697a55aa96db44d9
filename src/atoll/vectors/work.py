"""What a piece of work took: time, and what it asked of stores. Counted, not guessed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from atoll.storage import Usage, count_usage


@dataclass(frozen=True)
class Work:
    """One piece of work, or several of a kind together.

    Attributes:
        step: which kind.
        times: how often it was done.
        seconds: by the clock, one after the other; longest_s is that of the longest.
        cpu_s: of processors, of all threads of this process, whatever else it does meanwhile.
        memory_mb: what a function had, in MB; 0 where nothing says so.
        usage: requests of each kind and bytes, as `atoll.storage.Usage` names them.
    """

    step: str
    times: int
    seconds: float
    longest_s: float
    cpu_s: float
    memory_mb: int
    usage: dict[str, int] = field(default_factory=dict)


class Watch:
    """Measures what is done until somebody asks."""

    def __init__(self, step: str, usage: Usage, memory_mb: int) -> None:
        """Start now."""
        self._step, self._usage, self._memory_mb = step, usage, memory_mb
        self._times = 1
        self._start = self._now()

    def taken(self) -> Work:
        """Return what was done since the start, or since this was asked last: then 0 times."""
        before, now = self._start, self._now()
        self._start, times, self._times = now, self._times, 0
        seconds = now[0] - before[0]
        asked = {name: value - before[2][name] for name, value in now[2].items()}
        cpu_s = now[1] - before[1]
        return Work(self._step, times, seconds, seconds, cpu_s, self._memory_mb, asked)

    def _now(self) -> tuple[float, float, dict[str, int]]:
        return time.monotonic(), time.process_time(), self._usage.facts()


@contextmanager
def watched(step: str, memory_mb: int = 0) -> Iterator[Watch]:
    """Measure what is done within the block, by a function of so much memory if it is one."""
    with count_usage() as usage:
        yield Watch(step, usage, memory_mb)


def together(works: Iterable[Work]) -> list[Work]:
    """Sum up works of a kind, in the order in which the kinds first come."""
    found: dict[str, Work] = {}
    for work in works:
        one = found.get(work.step)
        if one is None:
            found[work.step] = work
            continue
        found[work.step] = Work(
            work.step,
            one.times + work.times,
            one.seconds + work.seconds,
            max(one.longest_s, work.longest_s),
            one.cpu_s + work.cpu_s,
            max(one.memory_mb, work.memory_mb),
            {name: one.usage[name] + value for name, value in work.usage.items()},
        )
    return list(found.values())


def described(works: Iterable[Work]) -> list[dict[str, Any]]:
    """Describe works, JSON-ready."""
    return [asdict(work) for work in works]
