"""Long lists in pages: a marker tells where the next page begins, whatever came or went meanwhile.

A marker is the sort key of the last item of its page: what follows is what sorts after it, whether
that item is still there or not.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from atoll.core.errors import InvalidInput

T = TypeVar("T")
Key: TypeAlias = tuple[Any, ...]
"""Numbers and texts; those of one list have the same types in the same places."""

PAGE_ITEMS = 50
"""EMR's for clusters and steps."""


def page(
    items: Iterable[T],
    marker: str | None,
    *,
    key: Callable[[T], Key],
    wanted: Callable[[T], bool] = lambda _: True,
    size: int = PAGE_ITEMS,
) -> tuple[list[T], str | None]:
    """Cut a page out of a list.

    Args:
        items: all, wanted or not.
        marker: of the page before; None: the first.
        key: by which they are listed; no two have one key, and no item's changes.
        wanted: which items count.
        size: items on a page.

    Returns:
        The page, and the marker of the next; None: this is the last.

    Raises:
        InvalidInput: the marker is none of this list's.
    """
    ordered = sorted(items, key=key)
    if marker is not None and ordered:
        after = key_of(marker, like=key(ordered[0]))
        ordered = [one for one in ordered if key(one) > after]
    found = [one for one in ordered if wanted(one)]
    more = len(found) > size
    return found[:size], marker_of(key(found[size - 1])) if more else None


def marker_of(key: Key) -> str:
    """Return the marker of a page that ends with a key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def key_of(marker: str, *, like: Key) -> Key:
    """Return the key that a page ended with.

    Args:
        marker: of that page.
        like: a key of the same list.

    Raises:
        InvalidInput: the marker is none of this list's.
    """
    try:
        found = tuple(json.loads(base64.urlsafe_b64decode(marker)))
        if [type(one) for one in found] == [type(one) for one in like]:
            return found
    except (binascii.Error, ValueError, TypeError, RecursionError):
        pass
    raise InvalidInput(
        f"marker {marker[:60]!r} is not valid; begin again without one", marker=marker[:60]
    )
