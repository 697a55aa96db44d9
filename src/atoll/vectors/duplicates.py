"""Find duplicate ids among billions of rows in bounded memory: a hash sort that spills to disk.

Each id becomes its 64-bit hash; its place is implied by the order of adding. Hashes that outgrow
the memory are partitioned by their top bits into files, so that equal ones meet in one file; a
file that is still too large is partitioned again by the next bits. Equal hashes are only
candidates: the ids themselves are looked up before a duplicate is reported.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from atoll.core.files import OTHER_SCRATCH, scratch_folder, writing

_RADIX_BITS = 8
_HASH_BITS = 64
# Hash, place, partition number, order of the partitions, and the partitioned copy: 33 bytes a row.
_BYTES_PER_ROW = 40
_OBJECTS_AT_ONCE = 1 << 16
_RECORD = np.dtype([("hash", "<u8"), ("at", "<u8")])

Lookup = Callable[[str, int], str]
"""Reads the id at (source, row)."""


@dataclass(frozen=True)
class Place:
    """Where an id stands: the source's name as it was added, and the row in it."""

    source: str
    row: int


@dataclass(frozen=True)
class Duplicate:
    """An id that stands at two places.

    Attributes:
        id_hash: its hash, as `hash_ids` gives it.
        id: the id.
        first: where it was added first.
        second: another place; an id at n places makes n - 1 duplicates with the same `first`.
    """

    id_hash: int
    id: str
    first: Place
    second: Place


def hash_ids(ids: Sequence[str] | pa.Array) -> NDArray[np.uint64]:
    """Hash ids: 64-bit xxh3 of their UTF-8 bytes, seed 0; the same on every machine.

    Args:
        ids: strings, or a pyarrow string array without nulls.

    Returns:
        (len(ids),) uint64. 100 ns an id measured, a third of it for leaving Arrow.

    >>> hex(int(hash_ids(["P12345"])[0]))
    '0xf960f5fe7ce1751d'
    """
    encoded: Iterator[bytes]
    if isinstance(ids, pa.Array):
        kind = pa.large_binary() if pa.types.is_large_string(ids.type) else pa.binary()
        # A Python object an id, so not for all of them at once.
        encoded = chain.from_iterable(
            ids.slice(at, _OBJECTS_AT_ONCE).cast(kind).to_numpy(zero_copy_only=False)
            for at in range(0, len(ids), _OBJECTS_AT_ONCE)
        )
    else:
        encoded = map(str.encode, ids)
    return np.fromiter(map(xxhash.xxh3_64_intdigest, encoded), np.uint64, len(ids))


class IdChecker:
    """Collects ids, then tells which occur twice.

    Up to about `memory_bytes / 40` ids stay in memory; beyond, each takes 16 bytes below `scratch`,
    removed on leaving the context. Add everything first, then ask; from one thread.
    """

    def __init__(self, scratch: Path | None, memory_bytes: int) -> None:
        """Start empty; nothing is written before the first spill.

        Args:
            scratch: folder for spill files, which go into a sub-folder of their own; None is the
                system's temporary folder.
            memory_bytes: what hashes may take at once; at least 64 KiB are used.
        """
        self._scratch = scratch
        self._folder: Path | None = None
        self._opened = ExitStack()
        self._limit = max(memory_bytes, 1 << 16) // _BYTES_PER_ROW
        self._hashes: list[NDArray[np.uint64]] = []
        self._held = 0
        self._spilled = 0
        self._runs: list[tuple[int, str, int]] = []

    def __enter__(self) -> IdChecker:
        """Return the checker itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the spill files."""
        self._opened.close()

    def __len__(self) -> int:
        """Count the ids added so far."""
        return self._spilled + self._held

    def add(self, ids: Sequence[str] | pa.Array, source: str, first_row: int) -> None:
        """Take ids of consecutive rows of a source.

        Args:
            ids: strings or a pyarrow string array, without nulls.
            source: name of the source, given back in `Place` and to the lookup.
            first_row: the row of the first id in that source.

        Raises:
            InvalidInput, Forbidden, Unavailable: the scratch folder cannot be written or is full.
        """
        self.add_hashes(hash_ids(ids), source, first_row)

    def add_hashes(self, hashes: NDArray[np.uint64], source: str, first_row: int) -> None:
        """Take ids as `hash_ids` gave them; as `add` otherwise."""
        for start in range(0, len(hashes), self._limit):
            part = hashes[start : start + self._limit]
            if self._held + len(part) > self._limit:
                self._spill()
            self._note_run(source, first_row + start)
            self._hashes.append(np.array(part, dtype=np.uint64))
            self._held += len(part)

    def duplicates(self, lookup: Lookup) -> Iterator[Duplicate]:
        """Yield every id that was added more than once.

        Args:
            lookup: reads the id at a place; called for candidates only.

        Yields:
            Duplicates ordered by the hash of the id, then by order of adding; lazily, so the first
            few cost no more than their part of the sort. Two different ids with equal hashes are
            never taken for one.

        Raises:
            InvalidInput, Forbidden, Unavailable: the scratch folder cannot be written or is full.
        """
        if not self._spilled:
            yield from self._confirm(_repeated(self._held_records()), lookup)
            return
        self._spill()
        yield from self._within(self._require_folder(), 0, lookup)

    def _note_run(self, source: str, first_row: int) -> None:
        at = len(self)
        if self._runs:
            start, last, row = self._runs[-1]
            if last == source and row + (at - start) == first_row:
                return
        self._runs.append((at, source, first_row))

    def _place(self, at: int) -> Place:
        start, source, row = self._runs[bisect_right(self._runs, at, key=lambda run: run[0]) - 1]
        return Place(source, row + at - start)

    def _held_records(self) -> NDArray[np.void]:
        records = np.empty(self._held, _RECORD)
        if self._hashes:
            np.concatenate(self._hashes, out=records["hash"])
        records["at"] = np.arange(self._spilled, self._spilled + self._held, dtype=np.uint64)
        return records

    def _spill(self) -> None:
        records = self._held_records()
        self._hashes = []
        self._append_partitioned(records, self._require_folder(), 0)
        self._spilled += self._held
        self._held = 0

    def _require_folder(self) -> Path:
        if not self._folder:
            self._folder = self._opened.enter_context(scratch_folder(self._scratch, "ids"))
        return self._folder

    def _append_partitioned(self, records: NDArray[np.void], folder: Path, bits_used: int) -> None:
        """Append records to files of a folder by the next bits of their hashes, in their order."""
        shift = np.uint64(_HASH_BITS - _RADIX_BITS - bits_used)
        digit = (records["hash"] >> shift).astype(np.uint8)
        # One-byte keys are sorted by radix in numpy: 10 ns a row, a tenth of sorting the hashes.
        ordered = records[np.argsort(digit, kind="stable")]
        ends = np.cumsum(np.bincount(digit, minlength=1 << _RADIX_BITS))
        start = 0
        needed = f"{len(self)} ids take {len(self) * _RECORD.itemsize} bytes there"
        with writing(folder, mend=f"{needed}: {OTHER_SCRATCH}"):
            for number, end in enumerate(ends.tolist()):
                if end > start:
                    with (folder / f"{number:03}").open("ab") as file:
                        file.write(ordered[start:end].data)
                start = end

    def _within(self, path: Path, bits_used: int, lookup: Lookup) -> Iterator[Duplicate]:
        """Find the duplicates in one file or folder, whose hashes agree in their first bits."""
        if path.is_dir():
            for part in sorted(path.iterdir()):
                yield from self._within(part, bits_used + _RADIX_BITS, lookup)
        elif path.stat().st_size <= self._limit * _RECORD.itemsize:
            yield from self._confirm(_repeated(np.fromfile(path, _RECORD)), lookup)
        elif bits_used == _HASH_BITS:
            yield from self._confirm((r for chunk in self._chunks(path) for r in chunk), lookup)
        else:
            whole = path.rename(path.with_name(path.name + ".whole"))
            path.mkdir()
            for chunk in self._chunks(whole):
                self._append_partitioned(chunk, path, bits_used)
            whole.unlink()
            yield from self._within(path, bits_used, lookup)

    def _chunks(self, path: Path) -> Iterator[NDArray[np.void]]:
        with path.open("rb") as file:
            while len(chunk := np.fromfile(file, _RECORD, self._limit)):
                yield chunk

    def _confirm(self, records: Any, lookup: Lookup) -> Iterator[Duplicate]:
        """Compare ids among records ordered by hash, then by order of adding."""
        for id_hash, group in groupby(records, key=lambda record: int(record["hash"])):
            first: dict[str, Place] = {}
            for record in group:
                place = self._place(int(record["at"]))
                name = lookup(place.source, place.row)
                if name in first:
                    yield Duplicate(id_hash, name, first[name], place)
                else:
                    first[name] = place


def _repeated(records: NDArray[np.void]) -> NDArray[np.void]:
    """Select the records whose hash occurs more than once, ordered by hash, then place."""
    ordered = np.sort(records["hash"])
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(repeated):
        return records[:0]
    at = np.searchsorted(repeated, records["hash"])
    chosen = records[repeated[np.minimum(at, len(repeated) - 1)] == records["hash"]]
    by_hash: NDArray[np.void] = chosen[np.lexsort((chosen["at"], chosen["hash"]))]
    return by_hash
