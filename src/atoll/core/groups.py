"""Much, a few at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def in_groups(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield items in lists of at most so many, each read when it is asked for.

    >>> list(in_groups("abc", 2))
    [['a', 'b'], ['c']]
    """
    waiting = iter(items)
    while some := list(islice(waiting, most)):
        yield some
