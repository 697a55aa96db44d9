"""Buckets beside each other, rows numbered over all of them: codes, vectors and ids at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.arrays import IntArray
from atoll.core.cache import ByteCache
from atoll.storage import Storage
from atoll.vectors import byteranges, names
from atoll.vectors.layout import Pages
from atoll.vectors.model import CollectionSpec
from atoll.vectors.rabitq import ROWS_TOGETHER
from atoll.vectors.scan import Codes, arranged

if TYPE_CHECKING:
    from atoll.vectors.openbucket import OpenBucket

T = TypeVar("T")
Mask = NDArray[np.bool_] | None
# Of each piece, ascending: which file, its first byte there, its length.
Pieces = tuple[IntArray, IntArray, IntArray]
# So few ids are picked one by one sooner than by Arrow's calls.
FEW_ROWS = 64
BLOCKS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Group:
    """The buckets of a shelf that share an index model.

    Attributes:
        model: its hash.
        members: their places on the shelf.
        first, rows: (members, num_partitions) the number of the first row of each partition, and
            how many rows are stored there.
        codes: where their codes lie, by number.
    """

    model: str
    members: list[int]
    first: IntArray
    rows: IntArray
    codes: Pages

    @cached_property
    def stored(self) -> IntArray:
        """Rows stored in each partition, over all buckets: (num_partitions,)."""
        found: IntArray = self.rows.sum(axis=0)
        return found

    @cached_property
    def held(self) -> IntArray:
        """Rows for which there is room in memory, in each partition: scans want whole blocks."""
        found: IntArray = (-(-self.rows // ROWS_TOGETHER) * ROWS_TOGETHER).sum(axis=0)
        return found


class Shelf:
    """Buckets side by side, their rows numbered over all of them; for several threads at once.

    What was read is kept in a cache that all buckets share: codes by partition, ids by block.
    """

    def __init__(
        self, storage: Storage, spec: CollectionSpec, opened: Sequence[OpenBucket], cache: ByteCache
    ) -> None:
        """Read nothing yet."""
        self._storage, self._spec, self.opened, self._cache = storage, spec, opened, cache
        rows = [each.bucket.stored_rows for each in opened]
        self.starts: IntArray = np.cumsum([0, *rows], dtype=np.int64)
        self.live_rows = sum(each.bucket.rows for each in opened)
        self._is_raw = not any(each.bucket.is_adopted for each in opened)

    def __len__(self) -> int:
        """Count the buckets."""
        return len(self.opened)

    def place(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Tell which bucket each row is in, and its number there."""
        bucket = np.searchsorted(self.starts, rows, "right") - 1
        return bucket, rows - self.starts[bucket]

    def split(self, rows: IntArray) -> dict[int, IntArray]:
        """Sort ascending rows out: by bucket, numbered there."""
        edges = np.searchsorted(rows, self.starts)
        return {
            place: rows[edges[place] : edges[place + 1]] - self.starts[place]
            for place in np.flatnonzero(np.diff(edges)).tolist()
        }

    @cached_property
    def groups(self) -> list[Group]:
        """The buckets with codes, by model."""
        places: dict[str, list[int]] = {}
        for place, each in enumerate(self.opened):
            if each.bucket.model is not None and self._spec.index_of(each.bucket).kind == "rabitq":
                places.setdefault(each.bucket.model, []).append(place)
        return [self._group(model, members) for model, members in places.items()]

    def _group(self, model: str, members: list[int]) -> Group:
        layouts = [self.opened[place].layout for place in members]
        starts = self.starts[members]
        return Group(
            model,
            members,
            np.stack([layout.offsets[:-1] for layout in layouts]) + starts[:, None],
            np.stack([self.opened[place].partition_rows for place in members]),
            self._joined([layout.codes for layout in layouts if layout.codes], members),
        )

    @cached_property
    def live(self) -> list[Mask]:
        """Which rows are not deleted, by bucket; see `OpenBucket.live`."""
        return [each.live for each in self.opened]

    @cached_property
    def _live_in(self) -> dict[str, IntArray]:
        return {group.model: self.count(group, self.live) for group in self.groups}

    def live_in(self, group: Group) -> IntArray:
        """Count the rows of each partition that are not deleted: (num_partitions,)."""
        return self._live_in[group.model]

    def count(self, group: Group, masks: Sequence[Mask]) -> IntArray:
        """Count the rows of each partition that may be hits; `masks` by bucket, None for all."""
        total = np.zeros_like(group.stored)
        for member, place in enumerate(group.members):
            if (mask := masks[place]) is None:
                total += group.rows[member]
            else:
                running = np.concatenate([[0], np.cumsum(mask, dtype=np.int64)])
                total += np.diff(running[self.opened[place].layout.offsets])
        return total

    @cached_property
    def _files(self) -> list[str]:
        return [path for each in self.opened for path in each.files]

    @cached_property
    def _vectors(self) -> Pages:
        return self._joined([each.layout.vectors for each in self.opened], range(len(self)))

    def _joined(self, parts: Sequence[Pages], places: Sequence[int]) -> Pages:
        """Put the pages of buckets together, rows and files numbered over the shelf."""
        files = np.cumsum([0, *(len(each.files) for each in self.opened)])
        first = [each.first[:-1] + self.starts[i] for each, i in zip(parts, places, strict=True)]
        return Pages(
            parts[0].width,
            np.concatenate([*first, self.starts[-1:]]),
            np.concatenate([each.file + files[i] for each, i in zip(parts, places, strict=True)]),
            np.concatenate([each.at for each in parts]),
        )

    def codes(self, group: Group, partitions: IntArray, bits: int, masks: Sequence[Mask]) -> Codes:
        """Read the codes of whole partitions, in all buckets of a group.

        Args:
            group: of this shelf.
            partitions: (m,) ascending.
            bits: of a code.
            masks: which rows may be hits, for each bucket of the shelf; None for all of them.
        """
        wanted = partitions.tolist()
        buckets = [self.opened[place] for place in group.members]
        keys = [(bucket, "codes", number) for bucket in buckets for number in wanted]
        first, rows = group.first[:, partitions], group.rows[:, partitions]
        held = self._held(keys, lambda missing: self._read_codes(group, first, rows, bits, missing))
        address = np.array([at for _, at in held], np.int64).reshape(first.shape)
        allowed = np.zeros_like(first)
        for member, place in enumerate(group.members):
            if (mask := masks[place]) is not None:
                allowed[member] = mask.ctypes.data + first[member] - self.starts[place]
        return Codes((held, masks), address, rows, first.astype(np.uint64), allowed)

    def code_pieces(self, group: Group, partitions: IntArray) -> Pieces:
        """Tell where the codes of partitions lie, ascending."""
        first, rows = (each[:, partitions].ravel() for each in (group.first, group.rows))
        start, stop, _ = group.codes.pieces(first, first + rows)
        file, at = group.codes.locate(start)
        return file, at, (stop - start) * group.codes.width

    def _read_codes(
        self, group: Group, first: IntArray, rows: IntArray, bits: int, missing: list[int]
    ) -> list[tuple[tuple[NDArray[np.uint8], int], int]]:
        start, stop = first.ravel()[missing], (first + rows).ravel()[missing]
        spans = list(zip(start.tolist(), stop.tolist(), strict=True))
        width = group.codes.width
        found = []
        for data in byteranges.get_spans(self._storage, self._files, group.codes, spans):
            # A copy: a view would keep all alive that the same request brought.
            codes = arranged(np.frombuffer(data, np.uint8).reshape(-1, width), bits)
            found.append(((codes, codes.ctypes.data), codes.nbytes))
        return found

    def vector_pieces(self, rows: IntArray) -> Pieces:
        """Tell where the vectors of rows, ascending, lie; no bucket is adopted."""
        return *self._vectors.locate(rows), np.full(len(rows), self._vectors.width)

    def vectors(self, rows: IntArray) -> NDArray[np.generic]:
        """Read vectors of rows, ascending, each once: (n, dim) in the stored dtype.

        NaN where one of an adopted table has no distances.
        """
        if self._is_raw:
            raw = byteranges.get_rows(self._storage, self._files, self._vectors, rows)
            return raw.view(self._spec.dtype)
        parts = [self.opened[place].vectors(mine) for place, mine in self.split(rows).items()]
        none = np.empty((0, self._spec.dim), self._spec.dtype)
        return np.concatenate(parts) if parts else none

    def id_pieces(self, rows: IntArray) -> Pieces:
        """Tell where the blocks of ids of rows lie; no bucket is adopted."""
        bucket, row = self.place(rows)
        blocks = np.unique(self._first_block[bucket] + row // names.BLOCK_ROWS)
        start, stop = self._block_ends[:, blocks]
        return np.searchsorted(self._first_block, blocks, "right") - 1, start, stop - start

    def ids(self, rows: IntArray) -> pa.Array:
        """Read ids, in the order of `rows`."""
        if not self._is_raw:
            return self._ids_by_bucket(rows)
        bucket, row = self.place(rows)
        block, at = np.divmod(row, names.BLOCK_ROWS)
        number = self._first_block[bucket] + block
        if len(rows) <= FEW_ROWS:
            wanted = number.tolist()
            held = self._id_blocks(sorted(set(wanted)))
            picked = [held[n][i].as_py() for n, i in zip(wanted, at.tolist(), strict=True)]
            return pa.array(picked, pa.string())
        numbers, which = np.unique(number, return_inverse=True)
        if len(numbers) > BLOCKS_AT_ONCE:
            return self._ids_in_rounds(rows, which // BLOCKS_AT_ONCE)
        blocks = list(self._id_blocks(numbers.tolist()).values())
        starts = np.cumsum([0, *(len(part) for part in blocks)])[:-1]
        return pa.concat_arrays(blocks).take(pa.array(starts[which] + at))

    def _ids_in_rounds(self, rows: IntArray, number: IntArray) -> pa.Array:
        """Read ids round after round, given the number of each row's: blocks take memory."""
        order = np.argsort(number, kind="stable")
        edges = np.flatnonzero(np.diff(number[order])) + 1
        parts = [self.ids(rows[mine]) for mine in np.split(order, edges)]
        return pa.concat_arrays(parts).take(pa.array(np.argsort(order, kind="stable")))

    def _ids_by_bucket(self, rows: IntArray) -> pa.Array:
        order = np.argsort(rows, kind="stable")
        parts = [self.opened[place].ids(mine) for place, mine in self.split(rows[order]).items()]
        whole = pa.concat_arrays([pa.array([], pa.string()), *parts])
        return whole.take(pa.array(np.argsort(order, kind="stable")))

    @cached_property
    def _first_block(self) -> IntArray:
        return np.cumsum([0, *(len(each.layout.names) - 1 for each in self.opened)])

    @cached_property
    def _block_ends(self) -> IntArray:
        """First byte of each block of ids, and of what follows it: (2, blocks)."""
        ends = [np.stack([at[:-1], at[1:]]) for at in (e.layout.names for e in self.opened)]
        return np.concatenate(ends, axis=1)

    def _id_blocks(self, numbers: list[int]) -> dict[int, pa.Array]:
        """Read blocks of ids, by number over the shelf, ascending."""
        place = (np.searchsorted(self._first_block, numbers, "right") - 1).tolist()
        block = (np.array(numbers) - self._first_block[place]).tolist()
        keys = [(self.opened[i], "ids", n) for i, n in zip(place, block, strict=True)]

        def read(missing: list[int]) -> list[tuple[pa.Array, int]]:
            return self._read_ids([place[i] for i in missing], [block[i] for i in missing])

        return dict(zip(numbers, self._held(keys, read), strict=True))

    def _read_ids(self, places: list[int], blocks: list[int]) -> list[tuple[pa.Array, int]]:
        ends = np.array(
            [self.opened[i].layout.names[n : n + 2] for i, n in zip(places, blocks, strict=True)]
        )
        paths = [blob.path if (blob := each.bucket.names) else "" for each in self.opened]
        frames = byteranges.get_pieces(
            self._storage, paths, np.array(places), ends[:, 0], ends[:, 1] - ends[:, 0]
        )
        found = []
        for place, number, frame in zip(places, blocks, frames, strict=True):
            stored = self.opened[place].bucket.stored_rows
            rows = min(names.BLOCK_ROWS, stored - number * names.BLOCK_ROWS)
            ids = names.read_block(frame, rows, paths[place])
            found.append((ids, ids.nbytes))
        return found

    def _held(
        self, keys: Sequence[Hashable], read: Callable[[list[int]], list[tuple[T, int]]]
    ) -> list[T]:
        """Look values up in the cache; those that are missing are read, all together.

        Args:
            keys: of the values.
            read: reads values, given their places among the keys; tells their sizes in bytes.
        """
        found: list[T | None] = self._cache.get_all(keys)
        missing = [place for place, value in enumerate(found) if value is None]
        if missing:
            for place, (value, size) in zip(missing, read(missing), strict=True):
                found[place] = value
                self._cache.put(keys[place], value, size)
        return [value for value in found if value is not None]
