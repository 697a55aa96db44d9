"""Cutting sequences: tiles for what is too long, batches for what belongs together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from atoll.core.errors import InvalidInput


@dataclass(frozen=True)
class Tile:
    """Residues [start, end) of a sequence, of which [own_start, own_end) count as this tile's.

    The owned ranges of a sequence's tiles follow one another without gap or overlap: the middle of
    an overlap is where one tile's residues end and the next one's begin.
    """

    start: int
    end: int
    own_start: int
    own_end: int


def tiles(length: int, size: int, overlap: int) -> list[Tile]:
    """Cover a sequence with tiles of equal size that overlap.

    Args:
        length: residues in the sequence, at least 1.
        size: residues in a tile; a shorter sequence is one tile of its own length.
        overlap: residues that neighbours share; the last tile is moved back to end with the
            sequence, so the last two may share more.

    Raises:
        InvalidInput: overlap is not less than size, or either is out of range.

    >>> [(t.start, t.end) for t in tiles(10, 4, 2)]
    [(0, 4), (2, 6), (4, 8), (6, 10)]
    >>> [(t.own_start, t.own_end) for t in tiles(10, 4, 2)]
    [(0, 3), (3, 5), (5, 7), (7, 10)]
    """
    check_tile(size, overlap)
    if length <= size:
        return [Tile(0, length, 0, length)]
    starts = [*range(0, length - size, size - overlap), length - size]
    borders = [(left + size + right) // 2 for left, right in pairwise(starts)]
    return [
        Tile(start, start + size, own_start, own_end)
        for start, own_start, own_end in zip(starts, [0, *borders], [*borders, length], strict=True)
    ]


def check_tile(size: int, overlap: int) -> None:
    """Refuse a tile size and overlap that do not advance.

    Raises:
        InvalidInput: see `tiles`.
    """
    if size < 1 or not 0 <= overlap < size:
        raise InvalidInput(
            f"tiles of {size} residues cannot overlap by {overlap}: the size must be at least 1 and"
            " the overlap from 0 up to less than the size"
        )


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Group sequences of like length so that a padded batch stays within a budget.

    Args:
        lengths: tokens of each sequence.
        budget: tokens in a batch, padding included; one sequence beyond it is a batch of its own.

    Yields:
        Indices into `lengths`, longest first, so that the largest batch comes first.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
