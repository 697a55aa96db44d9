"""Which ids were met before, while a run goes on: exact, 24 bytes an id, on disk beyond a limit.

The duplicate check of a whole collection (`atoll.vectors.duplicates`) sorts once at the end; a run
that writes as it reads must know at each id. Ids are kept as 128-bit hashes, equal by chance in one
of 10**20 runs over a billion ids.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from atoll.core.files import OTHER_SCRATCH, scratch_folder, writing

NEW = np.uint64(2**64 - 1)
_ENTRY_BYTES = 24
# A run is merged into the one before it while that is not this many times larger.
_MERGE_RATIO = 2

Column = NDArray[np.uint64]


def id_hash(name: str) -> int:
    """Hash an id to 128 bits; the same on every machine."""
    return xxhash.xxh3_128_intdigest(name.encode("utf-8", "surrogateescape"))


@dataclass(frozen=True)
class _Run:
    """Entries ordered by `high`; three columns of one length, in memory or mapped from a file."""

    high: Column
    low: Column
    place: Column


class SeenIds:
    """A growing set of id hashes, each with the place where it was met first."""

    def __init__(self, scratch: Path | None, memory_bytes: int) -> None:
        """Start empty.

        Args:
            scratch: folder for what does not fit; None is the system's temporary folder.
            memory_bytes: what the set may hold in memory.
        """
        self._scratch = scratch
        self._limit = max(1024, memory_bytes // (2 * _ENTRY_BYTES))  # merging holds entries twice
        self._runs: list[_Run] = []
        self._spilled: list[_Run] = []
        self._folder: Path | None = None
        self._opened = ExitStack()

    def __enter__(self) -> SeenIds:
        """Return the set itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was spilled."""
        self._spilled = []
        self._opened.close()

    def add(self, hashes: list[int], places: list[int]) -> list[int | None]:
        """Add ids.

        Args:
            hashes: from `id_hash`.
            places: where each stands; any number below 2**64 - 1.

        Returns:
            For each the place where it was met first, in this call or before; None where it is new.

        Raises:
            InvalidInput, Forbidden, Unavailable: the scratch folder cannot be written or is full.
        """
        first: list[int | None] = []
        fresh: dict[int, int] = {}
        for key, place, known in zip(hashes, places, self._find(hashes), strict=True):
            first.append(known if known is not None else fresh.get(key))
            if first[-1] is None:
                fresh[key] = place
        if fresh:
            self._insert(_run(fresh))
        return first

    def _find(self, hashes: list[int]) -> list[int | None]:
        high, low = _split(hashes)
        place = np.full(len(hashes), NEW)
        for run in (*self._spilled, *self._runs):
            at = np.searchsorted(run.high, high)
            # Two ids may share the upper half; none in practice share it with more than one.
            for index in (at, at + 1):
                inside = np.minimum(index, len(run.high) - 1)
                equal = (run.high[inside] == high) & (run.low[inside] == low) & (place == NEW)
                place[equal] = run.place[inside[equal]]
        return [None if value == NEW else int(value) for value in place]

    def _insert(self, run: _Run) -> None:
        while self._runs and len(self._runs[-1].high) < _MERGE_RATIO * len(run.high):
            run = _merged(self._runs.pop(), run)
        self._runs.append(run)
        if sum(len(each.high) for each in self._runs) > self._limit:
            whole = self._runs[0]
            for each in self._runs[1:]:
                whole = _merged(whole, each)
            self._runs = []
            self._spilled.append(self._spill(whole))

    def _spill(self, run: _Run) -> _Run:
        if not self._folder:
            self._folder = self._opened.enter_context(scratch_folder(self._scratch, "seen"))
        path = self._folder / f"{len(self._spilled):05}.npy"
        with writing(path, mend=OTHER_SCRATCH):
            np.save(path, np.stack((run.high, run.low, run.place)))
        return _Run(*np.load(path, mmap_mode="r"))


def _split(hashes: list[int]) -> tuple[Column, Column]:
    high = np.fromiter((key >> 64 for key in hashes), np.uint64, len(hashes))
    low = np.fromiter((key & (2**64 - 1) for key in hashes), np.uint64, len(hashes))
    return high, low


def _run(entries: dict[int, int]) -> _Run:
    high, low = _split(list(entries))
    place = np.fromiter(entries.values(), np.uint64, len(entries))
    order = np.argsort(high, kind="stable")
    return _Run(high[order], low[order], place[order])


def _merged(old: _Run, new: _Run) -> _Run:
    at = np.searchsorted(old.high, new.high)
    return _Run(
        np.insert(old.high, at, new.high),
        np.insert(old.low, at, new.low),
        np.insert(old.place, at, new.place),
    )
