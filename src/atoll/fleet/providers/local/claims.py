"""Which home uses which network: a file for each, in a folder that all users of this host share.

Anybody may write there, so nothing in it is trusted: no link is followed, no pipe is waited for,
and all is done below one folder that was looked at when it was open.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network
from pathlib import Path

from atoll.core.errors import Conflict, Forbidden, Unavailable
from atoll.core.files import writing
from atoll.core.text import some_of

FOLDER = Path("/var/tmp/atoll-fleet-networks")
# 127.0 and 127.1 are what everybody else takes; 10.0 to 10.15 what hosts often have.
_FIRST = 16
_COUNT = 240
_LONGEST = 4096
_LOCK_SECONDS = 10.0
# As /tmp: all may claim, nobody may take another's claim away.
_MODE = 0o1777


def home_key(home: Path) -> str:
    """Return what marks a home's processes, links and networks on this host: 8 letters."""
    return hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:8]


def claim_network(
    home: Path,
    first_octet: int,
    *,
    kept: str | None = None,
    foreign: Sequence[IPv4Network] = (),
) -> str:
    """Take a network that no other home of this host has; the same home gets the same.

    Args:
        home: the home.
        first_octet: 127 or 10.
        kept: the network, "10.77", that the home had before: its machines may live there.
        foreign: what the host uses for something else; a new home stays away from it.

    Raises:
        Conflict: another home has what this one had.
        Unavailable: all are taken, or somebody holds the folder.
        Forbidden: the folder is not to be trusted.
    """
    resolved = str(home.resolve())
    with _held() as folder:
        owners = {name: _owner(folder, name) for name in _names(folder)}
        if kept is not None:
            _reclaim(folder, kept, resolved, owners)
            return kept
        names = [f"{first_octet}.{number}" for number in _numbers(home)]
        for network in names:
            if owners.get(network) == resolved:
                return network
        free = [one for one in names if owners.get(one) is None]
        for network in free:
            if not _overlapping(network, foreign) and _take(folder, network, resolved):
                return network
    used = [str(one) for one in foreign if any(_overlapping(name, [one]) for name in free)]
    raise Unavailable(
        f"none of the networks {first_octet}.{_FIRST} to {first_octet}.{_FIRST + _COUNT - 1} is "
        f"free: {_COUNT - len(free)} are other homes' (`atoll fleet gc --everything` removes one)"
        + (f", and this host uses {some_of(used)}; take --provider loopback" if used else ""),
        folder=str(FOLDER),
    )


def release_network(home: Path) -> list[str]:
    """Give a home's networks back and name them."""
    resolved = str(home.resolve())
    with _held() as folder:
        mine = [name for name in _names(folder) if _text(folder, name) == resolved]
        return [name for name in mine if _drop(folder, name)]


@contextmanager
def _held() -> Iterator[int]:
    """Make the folder if need be, look whose it is, and hold it for the block."""
    with writing(FOLDER):
        with suppress(FileExistsError):
            FOLDER.mkdir()
        folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _check_trust(folder)
        _lock(folder)
        yield folder
    finally:
        os.close(folder)


def _check_trust(folder: int) -> None:
    """Refuse a folder in which somebody else may take claims away; root makes it root's."""
    found, me = os.fstat(folder), os.geteuid()
    # Inside a user namespace root has another number: that of whoever owns "/".
    root = Path("/").stat().st_uid
    if me in (found.st_uid, root):
        with writing(FOLDER):
            os.fchown(folder, me, -1)
            os.fchmod(folder, _MODE)
    elif found.st_uid != root or stat.S_IMODE(found.st_mode) != _MODE:
        raise Forbidden(
            f"{FOLDER}, where homes say which network is theirs, is another user's or not open to "
            f"all; as root: rm -r {FOLDER}; install -d -m {_MODE:o} {FOLDER}",
            path=str(FOLDER),
        )


def _lock(folder: int) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"another process has held {FOLDER} for {_LOCK_SECONDS:g} s; find it with "
                    f"`fuser {FOLDER}`",
                    path=str(FOLDER),
                ) from error
            time.sleep(0.05)
        else:
            return


def _names(folder: int) -> list[str]:
    return os.listdir(folder)


def _numbers(home: Path) -> Iterator[int]:
    """Begin where the home's key says, so that homes rarely meet."""
    start = int(home_key(home), 16)
    for step in range(_COUNT):
        yield _FIRST + (start + step) % _COUNT


def _overlapping(network: str, others: Sequence[IPv4Network]) -> bool:
    own = IPv4Network(f"{network}.0.0/16")
    return any(own.overlaps(one) for one in others)


def _reclaim(folder: int, network: str, home: str, owners: Mapping[str, str | None]) -> None:
    """Take the network a home had; its claim may have been swept away meanwhile."""
    owner = owners.get(network)
    if owner == home or (owner is None and _take(folder, network, home)):
        return
    raise Conflict(
        f"{home} had the network {network}, which is now {owner or 'claimed by another user'}'s; "
        f"end what runs there (`atoll fleet gc --everything` with its folder) or remove {home}",
        network=network,
        owner=owner,
    )


def _owner(folder: int, name: str) -> str | None:
    """Return the home that holds a claim; None: nobody, or one that is gone."""
    text = _text(folder, name)
    if text is None:
        return "another user"
    try:
        return text if text and Path(text).is_dir() else None
    except (OSError, ValueError):
        # Below another user's private folder: it cannot be seen, and may well be there.
        return text


def _text(folder: int, name: str) -> str | None:
    """Read a claim; None: it is not ours to read, or no file of ours."""
    try:
        # O_NONBLOCK: one that is a pipe would be waited for.
        claim = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return ""
    except OSError:
        return None
    try:
        is_file = stat.S_ISREG(os.fstat(claim).st_mode)
        return os.fsdecode(os.read(claim, _LONGEST)).strip() if is_file else None
    finally:
        os.close(claim)


def _take(folder: int, name: str, home: str) -> bool:
    """Write a claim; one left by another user's home that is gone cannot be taken."""
    if not _drop(folder, name):
        return False
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with writing(FOLDER / name):
        claim = os.open(name, flags, dir_fd=folder)
        try:
            os.fchmod(claim, 0o644)
            os.write(claim, os.fsencode(home))
        finally:
            os.close(claim)
    return True


def _drop(folder: int, name: str) -> bool:
    """Remove a claim, if there is one; tell whether it may be."""
    try:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
    except (PermissionError, IsADirectoryError):
        return False
    return True
