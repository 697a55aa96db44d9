"""Reads how a mesh reaches stores: a file of names, each with an endpoint, a region, keys.

[lake]
endpoint = "https://store.example.com"
access_key_id = "..."
secret_access_key = "..."
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path

from atoll.app.settings import storage_options
from atoll.core.config import StorageOptions
from atoll.core.errors import InvalidInput

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def read_credentials(place: Path) -> dict[str, StorageOptions]:
    """Read a file of credentials; associations of storage name one of them.

    Args:
        place: a TOML file with a table for each name, of the settings that `[storage]` has.

    Raises:
        InvalidInput: it cannot be read, others than its owner may read it, or it makes no sense.
    """
    try:
        with place.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077:
                raise InvalidInput(f"others may read the keys in {place}; chmod 600 {place}")
            found = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no TOML"
        # Not all that is said: it may quote a key.
        raise InvalidInput(f"the credentials in {place} cannot be read: {why}") from error
    for name, one in found.items():
        if not _NAME.fullmatch(name) or not isinstance(one, dict):
            raise InvalidInput(
                f"{place}: '{name[:64]}' is no table, or no name of letters, digits, '_', '.', '-'"
            )
    return {name: storage_options(one, f"{place}: {name}") for name, one in found.items()}
