"""Small pieces of sentences that messages share."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, unit: str, plural: str | None = None) -> str:
    """Write a number with its unit; `plural` where that is not `unit` with an s.

    >>> counted(1, "row"), counted(2000, "row"), counted(3, "query", "queries")
    ('1 row', '2,000 rows', '3 queries')
    """
    return f"{number:,} {unit if number == 1 else plural or unit + 's'}"


def printable(text: str) -> str:
    """Replace what could steer a terminal: stored text is anybody's.

    >>> printable("a\\x1b[31mb")
    'a [31mb'
    """
    return "".join(char if char.isprintable() else " " for char in text)


def some_of(
    items: Sequence[object], shown: int = 5, *, total: int | None = None, separator: str = ", "
) -> str:
    """List the first items, and how many more there are.

    Args:
        items: what to list; not all of them need be at hand.
        shown: how many to name.
        total: how many there are in all, where that is more than `items`.
        separator: between two.

    >>> some_of(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    named = separator.join(map(str, items[:shown]))
    left = (len(items) if total is None else total) - min(shown, len(items))
    return f"{named} and {left:,} more" if left else named
