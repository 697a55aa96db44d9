"""Keeps where the chain ended outside the database, so that its end cannot be cut off unseen.

An anchor is an object that is created once and never changed, signed with the key in force and
named by its event's number. Each stands for all of the chain before it: a store that was out of
reach for a while is made good by the next anchor, and no older one is needed to trust a newer.

What is not found is the loss, or the rewriting by somebody with the key, of events after the last
anchor; and, by whoever may also delete here, of those after the last one left. So keep anchors
under other hands than the database: best where nothing can be deleted for a time (S3 Object Lock).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import takewhile

import msgspec

from atoll.core.errors import Corrupt, InvalidInput
from atoll.core.records import decoded
from atoll.mesh.audit.chain import head_after
from atoll.mesh.audit.keys import Key, by_id, message
from atoll.mesh.audit.model import AuditEvent, Head
from atoll.storage import Storage, StoredObject, Threads

FOLDER = "anchors"
MAX_BYTES = 4096
READS_AT_ONCE = 16
_NAME = re.compile(rf"{FOLDER}/(\d{{20}})\.json")


@dataclass(frozen=True)
class Anchor:
    """Where a chain ended once.

    Attributes:
        head: where; the key that it names signed.
        signature: of the head, 64 hexadecimal digits.
    """

    head: Head
    signature: str


def put_anchor(storage: Storage, head: Head, key: Key) -> Anchor:
    """Write down where the chain ends. Two that do so at once write the same object.

    Where the store is away it tries for minutes: call it beside the work, now and then, never
    within a commit. A call that failed need not be made again, the next one covers it.

    Args:
        storage: refuses to create what exists (`probe_conditional_put` tells).
        head: the stored chain's.
        key: the one in force.

    Raises:
        InvalidInput: another key is in force.
        Corrupt: another chain is anchored at that number.
        Unavailable, Forbidden: the store did not take it.
    """
    if head.key_id != key.id:
        raise InvalidInput(
            f"key {head.key_id or 'of the first event'} is in force after event {head.seq}, so "
            f"{key.id} cannot sign its anchor; give that key",
            key_id=head.key_id,
        )
    anchor = Anchor(head, key.sign(_signed_form(head)))
    path, data = _path(head.seq), msgspec.json.encode(anchor)
    # What is there may be another process's, or our own first attempt, whose answer was lost.
    if not storage.put_new(path, data) and storage.get(path) != data:
        raise Corrupt(
            f"{storage}/{path} anchors another event {head.seq} than the chain has: one of them "
            "was rewritten, or two installations share this folder; verify the chain",
            path=path,
        )
    return anchor


def latest_anchor(storage: Storage) -> Anchor | None:
    """Read the anchor with the highest number; None where there is none.

    Raises:
        Corrupt: it does not read as one.
    """
    found = _listed(storage)
    return _read(storage, found[-1]) if found else None


def read_anchors(storage: Storage) -> list[Anchor]:
    """Read all anchors, ascending.

    Raises:
        Corrupt: one does not read as such.
    """
    with Threads(READS_AT_ONCE) as pool:
        found = pool.map(partial(_read, storage), _listed(storage))
        return [anchor for anchor in found if anchor is not None]


def is_signed(anchor: Anchor, keys: Mapping[str, Key]) -> bool:
    """Tell whether one of these keys (by id), the one in force there, has signed an anchor."""
    key = keys.get(anchor.head.key_id)
    return key is not None and key.has_signed(_signed_form(anchor.head), anchor.signature)


def check(anchor: Anchor, event: AuditEvent | None, keys: Iterable[Key]) -> None:
    """Compare an anchor with the event of its number. That is quick; `verify` looks at all events.

    Args:
        anchor: any of the chain; the latest tells most.
        event: as the chain holds it; None where it has none.
        keys: all of the chain.

    Raises:
        Corrupt: the chain has lost or changed that event, or the anchor is not of these keys.
    """
    seq = anchor.head.seq
    _require_signed(anchor, by_id(keys))
    if event is None or head_after(event) != anchor.head:
        raise Corrupt(
            f"audit event {seq} {'is missing' if event is None else 'is another than was anchored'}"
            ": the end of the chain was cut off or rewritten, or the database comes from an older "
            "backup; verify the chain and restore what is missing",
            seq=seq,
        )


def thin(
    storage: Storage,
    keys: Iterable[Key],
    is_held: Callable[[Head], bool],
    *,
    before_us: int,
    every_us: int,
) -> list[Anchor]:
    """Remove old anchors but the last of each period. Those left vouch for the whole chain still.

    What contradicts the chain stays, whatever its age: it shows that the chain was cut off.

    Args:
        storage: where they are.
        keys: all of the chain; what they have not signed must not stand for what they have.
        is_held: tells whether the chain holds the event of that head; asked of those alone that
            might go.
        before_us: anchors from then on all stay, microseconds since the epoch.
        every_us: length of a period.

    Returns:
        The removed ones.

    Raises:
        Corrupt: an anchor does not read as one, or is not of these keys; then none is removed.
    """
    found = filter(None, map(partial(_read, storage), _listed(storage)))
    old = list(takewhile(lambda anchor: anchor.head.at < before_us, found))
    known = by_id(keys)
    for anchor in old:
        _require_signed(anchor, known)
    periods: dict[int, list[Anchor]] = {}
    for anchor in old:
        periods.setdefault(anchor.head.at // every_us, []).append(anchor)
    removed = list[Anchor]()
    for several in periods.values():
        if len(several) > 1:
            removed += [anchor for anchor in several if is_held(anchor.head)][:-1]
    for anchor in removed:
        storage.delete(_path(anchor.head.seq))
    return removed


def _require_signed(anchor: Anchor, keys: Mapping[str, Key]) -> None:
    if not is_signed(anchor, keys):
        raise Corrupt(
            f"the anchor of audit event {anchor.head.seq} is not signed by a key of this chain; "
            "give all its keys, or find out who wrote that anchor",
            seq=anchor.head.seq,
        )


def _listed(storage: Storage) -> list[StoredObject]:
    return [entry for entry in storage.list(FOLDER) if _NAME.fullmatch(entry.path)]


def _read(storage: Storage, entry: StoredObject) -> Anchor | None:
    """Read an anchor; None where it was thinned meanwhile."""
    try:
        if entry.size_bytes > MAX_BYTES:
            raise Corrupt(f"it has {entry.size_bytes:,} bytes")
        data = storage.find(entry.path)
        if data is None:
            return None
        anchor = decoded(data, Anchor)
        if _path(anchor.head.seq) != entry.path:
            raise Corrupt(f"it is that of event {anchor.head.seq}")
    except (msgspec.DecodeError, UnicodeDecodeError, Corrupt) as error:
        raise Corrupt(
            f"{storage}/{entry.path} is not an anchor of the audit chain: {error}; find out who "
            "wrote it, and move it away",
            path=entry.path,
        ) from error
    return anchor


def _path(seq: int) -> str:
    return f"{FOLDER}/{seq:020d}.json"


def _signed_form(head: Head) -> bytes:
    return message("atoll.audit.anchor/1", head.seq, head.at, head.key_id, head.hash)
