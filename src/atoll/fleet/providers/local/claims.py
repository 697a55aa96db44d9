"""Which home uses which network: a file for each, in a folder that all users of this host share."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from atoll.core.errors import Unavailable
from atoll.core.files import locked, writing

_FOLDER = "atoll-fleet-networks"
# 127.0 and 127.1 are what everybody else takes; 10.0 to 10.15 what hosts often have.
_FIRST = 16
_COUNT = 240


def home_key(home: Path) -> str:
    """Return what marks a home's processes, links and networks on this host: 8 letters."""
    return hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:8]


def claim_network(
    home: Path, first_octet: int, *, is_foreign: Callable[[str], bool] = lambda network: False
) -> str:
    """Take a network that no other home of this host has; the same home gets the same.

    Args:
        home: the home.
        first_octet: 127 or 10.
        is_foreign: tells of a network, "10.77", whether the host uses it for something else.

    Raises:
        Unavailable: all are taken.
    """
    folder = _folder()
    resolved = str(home.resolve())
    with locked(folder / "lock"):
        # The lock is everybody's, as the folder is.
        with suppress(PermissionError):
            (folder / "lock").chmod(0o666)
        for network in _candidates(home, first_octet):
            claim = folder / network
            owner = _owner(claim)
            if owner == resolved:
                return network
            if owner is None and not is_foreign(network) and _take(claim, resolved):
                return network
    raise Unavailable(
        f"all {_COUNT} networks {first_octet}.x are used by other homes; remove old ones with "
        "`atoll fleet gc`",
        folder=str(folder),
    )


def release_network(home: Path) -> list[str]:
    """Give a home's networks back and name them."""
    folder, resolved = _folder(), str(home.resolve())
    mine = [claim for claim in folder.iterdir() if claim.name != "lock"]
    mine = [claim for claim in mine if _text(claim) == resolved]
    for claim in mine:
        claim.unlink(missing_ok=True)
    return [claim.name for claim in mine]


def _folder() -> Path:
    folder = Path(tempfile.gettempdir(), _FOLDER)
    with writing(folder):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            # As /tmp: all may claim, nobody may take another's claim away.
            folder.chmod(0o1777)
    return folder


def _candidates(home: Path, first_octet: int) -> Iterator[str]:
    """Begin where the home's key says, so that homes rarely meet."""
    start = int(home_key(home), 16)
    for step in range(_COUNT):
        yield f"{first_octet}.{_FIRST + (start + step) % _COUNT}"


def _owner(claim: Path) -> str | None:
    """Return the home that holds a claim; None: nobody, or one that is gone."""
    text = _text(claim)
    return text if text and Path(text).is_dir() else None


def _text(claim: Path) -> str:
    try:
        return claim.read_text().strip()
    except FileNotFoundError:
        return ""


def _take(claim: Path, home: str) -> bool:
    """Write a claim; one left by another user's home that is gone cannot be taken."""
    try:
        claim.unlink(missing_ok=True)
        claim.write_text(home)
    except PermissionError:
        return False
    return True
