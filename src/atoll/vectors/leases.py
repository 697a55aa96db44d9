"""Leases: who builds and who collects garbage, told by objects that expire.

A build's files look like garbage until its manifest is committed, so the two exclude each other.
Each writes its own lease first and looks for the other's afterwards: of two that start together at
least one sees the other. A lease is renewed while its holder lives and is ignored once expired, so
a killed process blocks nobody for longer than `LEASE_SECONDS` and the clocks' difference.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import msgspec

from atoll.core.errors import AtollError, Conflict, NotFound, Unavailable
from atoll.core.records import decoded
from atoll.storage import Storage, StoredObject

FOLDER = "_atoll/leases"
LEASE_SECONDS = 120.0
RENEW_SECONDS = 30.0
# Clocks of two machines may differ by this much.
SKEW_SECONDS = 60.0

Kind = Literal["build", "gc"]


@dataclass(frozen=True)
class Lease:
    """Who holds what until when (seconds since the epoch, the holder's clock)."""

    kind: Kind
    holder: str
    expires_at: float


class Held:
    """A lease in hand."""

    def __init__(self, storage: Storage, path: str, kind: Kind, holder: str) -> None:
        """Write the lease."""
        self._storage, self._path, self._kind, self._holder = storage, path, kind, holder
        self._lapsed = False
        self._renewed_at = time.time()
        self.renew()

    def renew(self) -> None:
        """Write the lease again, for another while."""
        now = time.time()
        self._note(now)
        lease = Lease(self._kind, self._holder, now + LEASE_SECONDS)
        self._storage.put(self._path, msgspec.json.encode(lease))
        self._renewed_at = now

    def require(self) -> None:
        """Make sure that the lease was never let go, before something final is done.

        Raises:
            Unavailable: it was, because the store or this machine stood still for long.
        """
        self._note(time.time())
        if self._lapsed:
            raise Unavailable(
                f"{self._storage} was out of reach for more than {LEASE_SECONDS:.0f} s, so others "
                "may have removed what was built; run the same command again"
            )

    def _note(self, now: float) -> None:
        self._lapsed |= now - self._renewed_at > LEASE_SECONDS


@contextmanager
def hold(storage: Storage, kind: Kind) -> Iterator[Held]:
    """Hold a lease for the length of the block.

    Args:
        storage: the collection.
        kind: "build" excludes "gc" and the other way round; several builds may run at once.

    Raises:
        Conflict: the other kind is held by somebody alive.
    """
    # Of the same kind there may be ten thousand, one of each job of an array: the name tells it.
    path = f"{FOLDER}/{kind}-{uuid.uuid4().hex}.json"
    held = Held(storage, path, kind, f"process {os.getpid()} on {socket.gethostname()}")
    stop = threading.Event()
    keeper = threading.Thread(target=_renew, args=(held, stop), daemon=True)
    try:
        for _, other in _leases(storage, but=kind):
            if other and other.kind != kind and _is_alive(other):
                raise Conflict(
                    f"{storage} is in use by {other.kind}, {other.holder}; wait for it to end. "
                    "If it was killed, its lease ends by itself within "
                    f"{LEASE_SECONDS + SKEW_SECONDS:.0f} s",
                    holder=other.holder,
                )
        keeper.start()
        yield held
    finally:
        stop.set()
        if keeper.is_alive():
            keeper.join()
        # A store that is gone would hide why the block failed; the lease expires by itself.
        with suppress(AtollError):
            storage.delete(path)


def alive(storage: Storage) -> list[Lease]:
    """Read the leases that have not expired."""
    return [lease for _, lease in _leases(storage) if lease and _is_alive(lease)]


def expired(storage: Storage) -> list[StoredObject]:
    """List what killed holders left behind."""
    found = [entry for entry, lease in _leases(storage) if not (lease and _is_alive(lease))]
    # Who is killed while it writes its lease leaves a part of one.
    unfinished = storage.list_unfinished(older_than_s=LEASE_SECONDS + SKEW_SECONDS)
    return found + [entry for entry in unfinished if entry.path.startswith(f"{FOLDER}/")]


def _leases(
    storage: Storage, *, but: Kind | None = None
) -> Iterator[tuple[StoredObject, Lease | None]]:
    """Read leases; None where one is unreadable. Those named as `but` are not looked at."""
    for entry in storage.list(FOLDER):
        if but is not None and entry.path.startswith(f"{FOLDER}/{but}-"):
            continue
        try:
            yield entry, decoded(storage.get(entry.path), Lease)
        except NotFound:
            continue  # released meanwhile
        except msgspec.MsgspecError:
            yield entry, None


def _is_alive(lease: Lease) -> bool:
    return lease.expires_at + SKEW_SECONDS > time.time()


def _renew(held: Held, stop: threading.Event) -> None:
    while not stop.wait(RENEW_SECONDS):
        try:
            held.renew()
        except AtollError:
            continue  # the store may come back before the lease ends
