"""Find duplicate ids among billions of rows in bounded memory: a hash sort that spills to disk.

Each id becomes its 64-bit hash; its place is implied by the order of adding. Hashes that outgrow
the memory are partitioned by their top bits into files, so that equal ones meet in one file; a
file that is still too large is partitioned again by the next bits. Equal hashes are only
candidates: the ids themselves are looked up before a duplicate is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from atoll.core.files import OTHER_SCRATCH, scratch_folder, writing
from atoll.core.text import counted, sized

_RADIX_BITS = 8
_HASH_BITS = 64
# Hash, place, partition number, order of the partitions, and the partitioned copy: 33 bytes a row.
_BYTES_PER_ROW = 40
_OBJECTS_AT_ONCE = 1 << 16
# Looking up takes one pass over the ids of a source, so it is done for many candidates together.
_LOOKUPS_AT_ONCE = 1 << 20
_RECORD = np.dtype([("hash", "<u8"), ("at", "<u8")])

Lookup = Callable[[str, NDArray[np.int64]], Sequence[str]]
"""Reads the ids at rows of a source, given in ascending order."""


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

    def __exit__(self, *_: object) -> None:
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
            lookup: reads the ids at places; called for candidates only, for many at a time.

        Yields:
            Duplicates ordered by the hash of the id, then by order of adding. Two different ids
            with equal hashes are never taken for one.

        Raises:
            InvalidInput, Forbidden, Unavailable: the scratch folder cannot be written or is full.
        """
        if not self._spilled:
            yield from self._confirm([_repeated(self._held_records())], lookup)
            return
        self._spill()
        yield from self._confirm(self._candidates(self._require_folder(), 0), lookup)

    def _note_run(self, source: str, first_row: int) -> None:
        at = len(self)
        if self._runs:
            start, last, row = self._runs[-1]
            if last == source and row + (at - start) == first_row:
                return
        self._runs.append((at, source, first_row))

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
        needed = f"{counted(len(self), 'id')} take {sized(len(self) * _RECORD.itemsize)} there"
        with writing(folder, mend=f"{needed}: {OTHER_SCRATCH}"):
            for number, end in enumerate(ends.tolist()):
                if end > start:
                    with (folder / f"{number:03}").open("ab") as file:
                        file.write(ordered[start:end].data)
                start = end

    def _candidates(self, path: Path, bits_used: int) -> Iterator[NDArray[np.void]]:
        """Yield the records of equal hash in one file or folder, whose first bits agree."""
        if path.is_dir():
            for part in sorted(path.iterdir()):
                yield from self._candidates(part, bits_used + _RADIX_BITS)
        elif path.stat().st_size <= self._limit * _RECORD.itemsize:
            yield _repeated(np.fromfile(path, _RECORD))
        elif bits_used == _HASH_BITS:
            yield from self._chunks(path)
        else:
            whole = path.rename(path.with_name(path.name + ".whole"))
            path.mkdir()
            for chunk in self._chunks(whole):
                self._append_partitioned(chunk, path, bits_used)
            whole.unlink()
            yield from self._candidates(path, bits_used)

    def _chunks(self, path: Path) -> Iterator[NDArray[np.void]]:
        with path.open("rb") as file:
            while len(chunk := np.fromfile(file, _RECORD, self._limit)):
                yield chunk

    def _confirm(
        self, candidates: Iterable[NDArray[np.void]], lookup: Lookup
    ) -> Iterator[Duplicate]:
        """Compare ids among records ordered by hash, then by order of adding."""
        last = None
        first: dict[str, tuple[str, int]] = {}
        for records in _gathered(candidates, max(1, min(self._limit // 8, _LOOKUPS_AT_ONCE))):
            places = self._places(records["at"])
            names = _looked_up(places, lookup)
            for id_hash, place, name in zip(records["hash"].tolist(), places, names, strict=True):
                if id_hash != last:
                    last, first = id_hash, {}
                if name in first:
                    yield Duplicate(id_hash, name, Place(*first[name]), Place(*place))
                else:
                    first[name] = place

    def _places(self, at: NDArray[np.uint64]) -> list[tuple[str, int]]:
        starts = np.array([start for start, _, _ in self._runs], np.int64)
        rows = np.array([row for _, _, row in self._runs], np.int64)
        run = np.searchsorted(starts, at.astype(np.int64), "right") - 1
        found = rows[run] + at.astype(np.int64) - starts[run]
        sources = [self._runs[number][1] for number in run.tolist()]
        return list(zip(sources, found.tolist(), strict=True))


def _gathered(parts: Iterable[NDArray[np.void]], rows: int) -> Iterator[NDArray[np.void]]:
    """Join and cut arrays to `rows` each, the last to what is left."""
    held: list[NDArray[np.void]] = []
    missing = rows
    for part in parts:
        while len(part):
            held.append(part[:missing])
            part = part[missing:]
            missing -= len(held[-1])
            if not missing:
                yield np.concatenate(held)
                held, missing = [], rows
    if held:
        yield np.concatenate(held)


def _looked_up(places: list[tuple[str, int]], lookup: Lookup) -> list[str]:
    """Read the ids at places, those of each source together and in the order of its rows."""
    names = [""] * len(places)
    order = sorted(range(len(places)), key=places.__getitem__)
    for source, group in groupby(order, key=lambda number: places[number][0]):
        numbers = list(group)
        rows = np.array([places[number][1] for number in numbers], np.int64)
        for number, name in zip(numbers, lookup(source, rows), strict=True):
            names[number] = name
    return names


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
