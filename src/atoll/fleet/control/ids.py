"""Identifiers as EMR writes them."""

from __future__ import annotations

import secrets
import string

_LETTERS = string.ascii_uppercase + string.digits


def new_cluster_id() -> str:
    """Return an id such as "j-2AL4XXXXXX5T9"."""
    return "j-" + _random(13)


def new_fleet_id() -> str:
    """Return an id such as "if-1XDVB8V2V1Q2N"."""
    return "if-" + _random(13)


def new_step_id() -> str:
    """Return an id such as "s-3SFFH4QBXBNTB"."""
    return "s-" + _random(13)


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
