"""Finds the first thing that is wrong with a chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from atoll.mesh.audit.anchors import Anchor, is_signed
from atoll.mesh.audit.chain import is_handed_over, is_sealed, key_after
from atoll.mesh.audit.keys import Key, by_id
from atoll.mesh.audit.model import GENESIS, ROTATION, AuditEvent, Head


class Fault(StrEnum):
    """What can have happened to a chain."""

    EDITED = "edited"
    MISSING = "missing"
    REORDERED = "reordered"
    INSERTED = "inserted"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"
    WRONG_KEY = "wrong key"
    TIME_BACK = "time going back"
    WRONG_ANCHOR = "wrong anchor"


@dataclass(frozen=True)
class Problem:
    """The first thing that is wrong.

    Attributes:
        seq: the number in the chain at which the right event does not stand.
        fault: what happened there.
        message: the same in words.
    """

    seq: int
    fault: Fault
    message: str


@dataclass(frozen=True)
class Verdict:
    """What is known of a chain.

    Attributes:
        events: how many are in order, from the first on.
        head: where those end.
        anchors: how many anchors they agree with.
        problem: what comes then; None where all is whole.
    """

    events: int
    head: Head
    anchors: int
    problem: Problem | None


def verify(
    events: Iterable[AuditEvent],
    keys: Iterable[Key],
    anchors: Iterable[Anchor] = (),
    *,
    after: Head = GENESIS,
) -> Verdict:
    """Go through a chain, in memory that does not grow with it, up to the first thing wrong.

    Found is whatever somebody without the keys did to events that others follow, or an anchor;
    and of what somebody with the keys did, what contradicts an anchor.

    Args:
        events: in their order, as they are stored.
        keys: all that sealed them.
        anchors: of the same chain; those before `after` are passed over.
        after: where the part before these events ends.
    """
    ahead = [anchor for anchor in anchors if anchor.head.seq >= after.seq]
    ahead.sort(key=lambda anchor: anchor.head.seq, reverse=True)
    walk = _Walk(by_id(keys), ahead, after, after.key_id)
    problem, stream = walk.compare(), iter(events)
    while problem is None and (event := next(stream, None)) is not None:
        problem = walk.step(event, stream)
    return Verdict(walk.head.seq - after.seq, walk.head, walk.agreed, problem or walk.end())


@dataclass
class _Walk:
    """How far a chain is in order.

    Attributes:
        keys: by id.
        anchors: those still ahead, the nearest last.
        last: the last event in order, or what lies before the first.
        key_id: of the key in force after it.
        agreed: how many anchors it agreed with.
    """

    keys: dict[str, Key]
    anchors: list[Anchor]
    last: AuditEvent | Head
    key_id: str
    agreed: int = 0

    @property
    def head(self) -> Head:
        """Where the part in order ends."""
        return Head(self.last.seq, self.last.at, self.key_id, self.last.hash)

    def step(self, event: AuditEvent, rest: Iterator[AuditEvent]) -> Problem | None:
        """Go on to an event, unless it is not the right one; `rest` may tell why."""
        last, seq = self.last, self.last.seq + 1
        if not self._follows(event):
            return self._misplaced(event, rest)
        if self.key_id not in ("", event.key_id):
            what = f"event {seq} is sealed with key {event.key_id}, which no rotation made valid"
            return Problem(seq, Fault.WRONG_KEY, what)
        if event.at < last.at:
            what = f"event {seq} has a time before that of event {last.seq}"
            return Problem(seq, Fault.TIME_BACK, what)
        if event.operation == ROTATION and not is_handed_over(event, self.keys):
            what = f"event {seq} hands over to a key that did not sign it, or was not given"
            return Problem(seq, Fault.WRONG_KEY, what)
        self.last, self.key_id = event, key_after(event)
        return self.compare()

    def compare(self) -> Problem | None:
        """Hold the head against the anchors of its number."""
        seq = self.last.seq
        while self.anchors and self.anchors[-1].head.seq == seq:
            anchor = self.anchors.pop()
            if not is_signed(anchor, self.keys):
                return _wrong_anchor(seq)
            if anchor.head != self.head:
                what = f"event {seq} is another than was anchored; it, or more, was written anew"
                return Problem(seq, Fault.REWRITTEN, what)
            self.agreed += 1
        return None

    def end(self) -> Problem | None:
        """Say what is missing behind the last event."""
        if not self.anchors:
            return None
        signed = [anchor.head.seq for anchor in self.anchors if is_signed(anchor, self.keys)]
        if not signed:
            return _wrong_anchor(self.anchors[-1].head.seq)
        seq = self.last.seq + 1
        what = f"the chain ends before event {seq}, but was anchored at event {max(signed)}"
        return Problem(seq, Fault.TRUNCATED, what)

    def _misplaced(self, event: AuditEvent, rest: Iterator[AuditEvent]) -> Problem:
        """Tell why an event is not the one that comes next."""
        seq = self.last.seq + 1
        is_genuine = self._is_genuine(event)
        if any(map(self._follows, rest)):
            if is_genuine and event.seq > seq:
                what = f"event {event.seq} stands before event {seq}"
                return Problem(seq, Fault.REORDERED, what)
            what = f"something that is not event {seq} stands before it"
            return Problem(seq, Fault.INSERTED, what)
        if is_genuine and event.seq > seq:
            what = f"events {seq} to {event.seq - 1} are missing"
            return Problem(seq, Fault.MISSING, what)
        if is_genuine and event.seq < seq:
            what = f"event {event.seq} stands there again instead of event {seq}"
            return Problem(seq, Fault.INSERTED, what)
        if is_genuine:
            what = f"event {seq} does not follow this event {seq - 1}; one of them was written anew"
            return Problem(seq, Fault.REWRITTEN, what)
        if event.key_id not in self.keys:
            what = f"event {seq} names key {event.key_id!s:.64}, which was not given"
            return Problem(seq, Fault.WRONG_KEY, what)
        return Problem(seq, Fault.EDITED, f"event {seq} is not as it was sealed")

    def _follows(self, event: AuditEvent) -> bool:
        last = self.last
        is_next = event.seq == last.seq + 1 and event.previous == last.hash
        return is_next and self._is_genuine(event)

    def _is_genuine(self, event: AuditEvent) -> bool:
        key = self.keys.get(event.key_id)
        return key is not None and is_sealed(event, key)


def _wrong_anchor(seq: int) -> Problem:
    what = f"the anchor of event {seq} is not signed by a key of this chain"
    return Problem(seq, Fault.WRONG_ANCHOR, what)
