"""Leases: who builds and who collects garbage, told by objects that expire.

A build's files look like garbage until its manifest is committed, so the two exclude each other.
Each writes its own lease first and looks for the other's afterwards: of two that start together at
least one sees the other. A lease is renewed while its holder lives and is ignored once expired, so
a killed process blocks nobody for longer than `LEASE_SECONDS`.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import msgspec

from atoll.core.errors import AtollError, Conflict, NotFound
from atoll.storage import Storage

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


@contextmanager
def hold(storage: Storage, kind: Kind, holder: str) -> Iterator[None]:
    """Hold a lease for the length of the block.

    Args:
        storage: the collection.
        kind: "build" excludes "gc" and the other way round; several builds may run at once.
        holder: who this is, for the other's error message.

    Raises:
        Conflict: the other kind is held by somebody alive.
    """
    path = f"{FOLDER}/{uuid.uuid4().hex}.json"
    _write(storage, path, kind, holder)
    stop = threading.Event()
    keeper = threading.Thread(target=_renew, args=(storage, path, kind, holder, stop), daemon=True)
    try:
        for other in alive(storage):
            if other.kind != kind:
                raise Conflict(
                    f"{storage.url} is in use: {other.holder} ({other.kind}); wait for it to end. "
                    f"If it was killed, its lease ends by itself within {LEASE_SECONDS:.0f} s",
                    holder=other.holder,
                )
        keeper.start()
        yield
    finally:
        stop.set()
        if keeper.is_alive():
            keeper.join()
        storage.delete(path)


def alive(storage: Storage) -> list[Lease]:
    """Read the leases that have not expired."""
    found = []
    for entry in storage.list(FOLDER):
        try:
            lease = msgspec.json.decode(storage.get(entry.path), type=Lease)
        except (NotFound, msgspec.MsgspecError):
            continue  # released, or half a write of a process that died
        if lease.expires_at + SKEW_SECONDS > time.time():
            found.append(lease)
    return found


def _write(storage: Storage, path: str, kind: Kind, holder: str) -> None:
    lease = Lease(kind, holder, time.time() + LEASE_SECONDS)
    storage.put(path, msgspec.json.encode(lease))


def _renew(storage: Storage, path: str, kind: Kind, holder: str, stop: threading.Event) -> None:
    while not stop.wait(RENEW_SECONDS):
        try:
            _write(storage, path, kind, holder)
        except AtollError:
            continue  # the store may come back before the lease ends
