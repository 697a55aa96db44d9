"""Compiles functions by numba and keeps what was compiled for the next process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

# What is compiled, and constants in it, outside this folder.
BESIDE = ("pairs.py", "probes.py", "rabitq.py")


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, or load from numba's cache where there is a writable one."""
    try:
        made = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # numba: "no locator available", neither package nor home is writable
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]
    # numba looks only at the file a function is in, and would keep code whose parts have changed.
    made._cache._cache_file._source_stamp = _sources()
    return made  # type: ignore[no-any-return]


@cache
def _sources() -> str:
    """Hash the files that compiled code is made of."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *map(here.parent.joinpath, BESIDE)]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def inner(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile as a part of the functions that call it."""
    return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]
