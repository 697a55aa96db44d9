"""Atoll turns an object store into a platform for billions of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atoll.app.api import adopt, create, open
    from atoll.core.config import Settings, StorageOptions
    from atoll.core.errors import (
        AtollError,
        Conflict,
        Corrupt,
        Forbidden,
        Incomplete,
        InvalidInput,
        NotFound,
        Unavailable,
    )
    from atoll.vectors.collection import Collection
    from atoll.vectors.options import BuildOptions
    from atoll.vectors.queries import QueryBatch

__all__ = [
    "AtollError",
    "BuildOptions",
    "Collection",
    "Conflict",
    "Corrupt",
    "Forbidden",
    "Incomplete",
    "InvalidInput",
    "NotFound",
    "QueryBatch",
    "Settings",
    "StorageOptions",
    "Unavailable",
    "adopt",
    "create",
    "open",
]

_HOMES = {
    "adopt": "atoll.app.api",
    "create": "atoll.app.api",
    "open": "atoll.app.api",
    "Settings": "atoll.core.config",
    "StorageOptions": "atoll.core.config",
    "BuildOptions": "atoll.vectors.options",
    "QueryBatch": "atoll.vectors.queries",
    "Collection": "atoll.vectors.collection",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: a spawned worker or `atoll --version` should not pay for all of Lance.
    if name not in __all__:
        raise AttributeError(f"module 'atoll' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "atoll.core.errors")), name)
