"""Long lists in pages: a marker tells where the next page begins, whatever came meanwhile."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from atoll.core.errors import InvalidInput

T = TypeVar("T")

PAGE_ITEMS = 50
"""EMR's for clusters and steps."""


def page(
    items: Sequence[T],
    marker: str | None,
    *,
    key: Callable[[T], str],
    wanted: Callable[[T], bool] = lambda _: True,
    size: int = PAGE_ITEMS,
) -> tuple[list[T], str | None]:
    """Cut a page out of a list.

    Args:
        items: all, wanted or not, in an order in which newcomers stand at one end.
        marker: of the page before; None: the first.
        key: names an item; no two have one name.
        wanted: which items count.
        size: items on a page.

    Returns:
        The page, and the marker of the next; None: this is the last.

    Raises:
        InvalidInput: the marker is none of this list's.
    """
    rest = items if marker is None else items[_place(items, marker, key) + 1 :]
    found = [one for one in rest if wanted(one)]
    more = len(found) > size
    return found[:size], _marker(key(found[size - 1])) if more else None


def _marker(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _place(items: Sequence[T], marker: str, key: Callable[[T], str]) -> int:
    try:
        name = base64.urlsafe_b64decode(marker).decode()
        return [key(one) for one in items].index(name)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(
            f"marker {marker[:60]!r} is not valid; begin again without one", marker=marker[:60]
        ) from error
