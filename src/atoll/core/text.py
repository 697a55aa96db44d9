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


def shortened(text: str, most: int) -> str:
    """Cut a text after so many characters, and show that it goes on.

    >>> shortened("weld", 4), shortened("welds", 4)
    ('weld', 'weld...')
    """
    return text if len(text) <= most else f"{text[:most]}..."


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


def duration(seconds: float) -> str:
    """Write a time span with the two units that matter.

    >>> duration(0.42), duration(75), duration(5400), duration(200_000)
    ('0.42 s', '1 min 15 s', '1 h 30 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds) if seconds < 3600 else round(seconds / 60) * 60
    for size, unit, part_size, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part_size} {part}"
    return f"{whole // 60} min {whole % 60} s"


def sized(size_bytes: float) -> str:
    """Write a size in powers of 1024.

    >>> sized(900), sized(1536), sized(80_009_325), sized(14.2e12)
    ('900 B', '1.5 KiB', '76.3 MiB', '12.9 TiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:,.1f} TiB"
