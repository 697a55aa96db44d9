"""One place that turns a URL into an obstore store and the matching Lance options."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obstore import exceptions as obstore_errors

import obstore
from atoll.core.config import StorageOptions
from atoll.core.errors import AtollError, Conflict, Forbidden, InvalidInput, NotFound, Unavailable

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("file", "s3", "memory")


@dataclass(frozen=True)
class StoredObject:
    """One listed object: its path below the storage root and its size in bytes."""

    path: str
    size_bytes: int


@dataclass(frozen=True)
class Storage:
    """A folder or prefix that holds objects. Picklable: each process opens its own connection.

    Attributes:
        url: normalised, no trailing slash: "file:///abs/path", "s3://bucket/prefix", "memory://name".
        options: how to reach it.
    """

    url: str
    options: StorageOptions = StorageOptions()
