"""What a Lance table's manifest says of where its files are."""

from __future__ import annotations

from typing import Any


def refers_outside(table: Any) -> bool:
    """Tell whether an open Lance table refers to files outside of its folder; asks no store.

    Whoever wrote it would have us read, with our keys, what is not its own.
    """
    if table.base_paths():
        return True
    paths = (path for one in table.get_fragments() for path in _paths(one.metadata))
    return any(part in ("", ".", "..") for path in paths for part in path.split("/"))


def _paths(fragment: Any) -> list[str]:
    overlays = [one.data_file for one in fragment.overlays]
    return [str(one.path) for one in (*fragment.files, *overlays)]
