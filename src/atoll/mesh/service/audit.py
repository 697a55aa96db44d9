"""The audit, read: what was done, who had access when, whether all of it is still there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from atoll.core.errors import Corrupt, InvalidInput
from atoll.core.records import decoded
from atoll.mesh.audit.access import Access, change_of, who
from atoll.mesh.audit.anchors import Anchor, check, latest_anchor, put_anchor, read_anchors, thin
from atoll.mesh.audit.chain import head_after
from atoll.mesh.audit.export import Format, export
from atoll.mesh.audit.model import GENESIS, AuditEvent, Head
from atoll.mesh.audit.verify import Fault, Problem, verify
from atoll.mesh.model.access import Subscription
from atoll.mesh.model.catalog import Asset, AssetFilter, Listing
from atoll.mesh.model.jobs import Cursor, Job
from atoll.mesh.model.organisation import Domain, Project
from atoll.mesh.model.people import UserProfile
from atoll.mesh.model.record import Moment
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import ANCHORS, Attendant, job
from atoll.mesh.operations.registry import Ask, Download, Page, Right, operation, viewing
from atoll.mesh.service.telling import rewind
from atoll.mesh.service.terms import listed_assets

logger = logging.getLogger(__name__)

Key = Annotated[str, Meta(max_length=200)]  # of what events are looked up by
ANCHOR_EVERY_US = 300_000_000
ANCHORS_STAY_US = 7 * 86_400_000_000
ANCHOR_PER_US = 86_400_000_000
CONTRADICTED = "contradicted-anchor"  # the cursor at the last one that was told
_JOB = "anchor"


class Events(Page, frozen=True, kw_only=True):
    """Which events.

    Attributes:
        since, until: at or after the one and before the other, microseconds since the epoch; 0:
            whenever.
        principal: who did it.
    """

    since: Moment = 0
    until: Moment = 0
    operation: Key = ""
    outcome: Key = ""
    principal: Key = ""


class AllEvents(Events, frozen=True, kw_only=True):
    """Which events of the whole domain."""

    project: Key = ""
    asset_id: Key = ""
    resource_id: Key = ""


class At(Ask, frozen=True, kw_only=True):
    """At which moment.

    Attributes:
        at: microseconds since the epoch; 0: now.
    """

    at: Moment = 0


class Whose(At, frozen=True, kw_only=True):
    """Access to what, or whose, and when.

    Attributes:
        asset_id, project_id: one of them, or both; of one that is no more, too.
    """

    asset_id: Key = ""
    project_id: Key = ""


class From(Ask, frozen=True, kw_only=True):
    """From where on.

    Attributes:
        after: the number of the last event that is left out; 0: none is.
    """

    after: Annotated[int, Meta(ge=0, lt=1 << 62)] = 0


class Export(From, frozen=True, kw_only=True):
    """What to export, and how."""

    format: Format = "jsonl"


class Event(msgspec.Struct, frozen=True):
    """An event, to be read.

    Attributes:
        id: its number in the chain.
        at: microseconds since the epoch.
    """

    id: str
    at: int
    operation: str
    outcome: str
    principal: str
    via: str
    project: str | None
    resource_kind: str
    resource_id: str
    asset_id: str | None
    details: dict[str, Any]
    policies: list[str]


class Holder(msgspec.Struct, frozen=True):
    """Somebody's access to an asset at a moment.

    Attributes:
        filters: names of the filters through which it is read; none: the whole table.
        unmasked: columns with personal data that are shown as they are.
        since, until: microseconds since the epoch; None: it does not end by itself.
        granted_by: who allowed it, by name.
        why: the reason of the request.
    """

    asset_id: str
    asset: str
    project_id: str
    project: str
    subscription_id: str
    filters: list[str]
    unmasked: list[str]
    since: int
    until: int | None
    granted_by: str
    why: str


class AccessThen(msgspec.Struct, frozen=True):
    """Who had access.

    Attributes:
        at: when, microseconds since the epoch.
    """

    at: int
    access: list[Holder]


class Verified(msgspec.Struct, frozen=True):
    """What is known of the audit.

    Attributes:
        is_whole: whether nothing is wrong with it.
        events: how many are in order.
        head: number and hash of the last of them.
        anchors: how many anchors outside the database they agree with.
        seq, fault, message: what is wrong first, where something is.
    """

    is_whole: bool
    events: int
    head: str
    anchors: int
    seq: int = 0
    fault: str = ""
    message: str = ""


@operation("GET", "/audit-events", Right.GOVERN)
def list_audit_events(call: Call, domain: Domain, ask: AllEvents) -> Iterator[Event]:
    """List what was done and refused in the whole domain, in its order."""
    wanted = {"project": ask.project, "asset_id": ask.asset_id, "resource_id": ask.resource_id}
    return _events(call, ask, **wanted)


@operation("GET", "/projects/{project_id}/audit-events", Right.OVERSEE)
def list_project_events(call: Call, project: Project, ask: Events) -> Iterator[Event]:
    """List what was done in a project, in its order."""
    return _events(call, ask, project=project.id)


@operation("GET", "/assets/{asset_id}/audit-events", Right.OVERSEE)
def list_asset_events(call: Call, asset: Asset, ask: Events) -> Iterator[Event]:
    """List what concerns an asset's contents and access to it, in its order."""
    return _events(call, ask, asset_id=asset.id)


@operation("GET", "/assets/{asset_id}/access", Right.OVERSEE)
def list_asset_access(call: Call, asset: Asset, ask: At) -> AccessThen:
    """Tell who has, or had, access to an asset: since when, granted by whom, for what."""
    return _access(call, ask.at, asset_id=asset.id)


@operation("GET", "/projects/{project_id}/access", Right.OVERSEE)
def list_project_access(call: Call, project: Project, ask: At) -> AccessThen:
    """Tell what a project may read, or might at a moment."""
    return _access(call, ask.at, project=project.id)


@operation("GET", "/access", Right.GOVERN)
def list_access(call: Call, domain: Domain, ask: Whose) -> AccessThen:
    """Tell who had access to an asset, or what a project might read; of removed ones, too."""
    if not ask.asset_id and not ask.project_id:
        raise InvalidInput("say whose access is meant: give asset_id, project_id, or both")
    return _access(call, ask.at, asset_id=ask.asset_id, project=ask.project_id)


@operation("GET", "/audit/verification", Right.GOVERN)
def verify_audit(call: Call, domain: Domain, ask: From) -> Verified:
    """Go through the audit and tell whether all of it is there, unchanged.

    It takes a second for every hundred thousand events; `after` leaves out what was verified.
    """
    sealing = call.tools.sealing
    anchors = read_anchors(sealing.anchors)
    flags = _Flags(call.events(after=ask.after, is_access=True))
    events = flags.compared(call.events(after=ask.after))
    found = verify(events, [sealing.key], anchors, after=_head_at(call, ask.after))
    problem = found.problem
    if problem is None and flags.wrong:
        said = f"event {flags.wrong} is kept wrongly as a change of access, or as none"
        problem = Problem(flags.wrong, Fault.EDITED, said)
    return Verified(
        is_whole=problem is None,
        events=found.events,
        head=f"{found.head.seq} {found.head.hash}",
        anchors=found.anchors,
        seq=problem.seq if problem else 0,
        fault=problem.fault if problem else "",
        message=problem.message if problem else "",
    )


def _write_first(call: Call, domain: Domain, ask: Export) -> Download:
    events, key = call.events(after=ask.after), call.tools.sealing.key
    with call.tools.new_file("export") as (path, file):
        export(events, file, key, ask.format, after=_head_at(call, ask.after))
    return Download(str(path), f"audit.{ask.format}")


@operation("POST", "/audit/exports", Right.GOVERN, before=_write_first)
def export_audit(call: Call, domain: Domain, made: Download) -> Download:
    """Write the audit, or what came after an event, into a file that can be verified by itself."""
    return made


@job(_JOB, lane=ANCHORS, is_standing=True)
def anchor(attendant: Attendant, _: Job) -> int:
    """Write down outside the database where the audit's chain ends, and look whether it did before.

    What contradicts an anchor is told, and anchored all the same: what follows must not be lost,
    too. The anchor that shows it stays.
    """
    sealing = attendant.tools.sealing
    # Before the chain is looked at: other servers anchor what they have added meanwhile.
    last = latest_anchor(sealing.anchors)
    with attendant.reading() as reader:
        head = reader.event_head()
        event = reader.event(last.head.seq) if last else None
    if last:
        _compare(attendant, last, event)
    if head.seq and (last is None or head != last.head):
        put_anchor(sealing.anchors, head, sealing.key)
        limits = {"before_us": head.at - ANCHORS_STAY_US, "every_us": ANCHOR_PER_US}
        thin(sealing.anchors, [sealing.key], partial(_is_held, attendant), **limits)
    return attendant.now() + ANCHOR_EVERY_US


def _compare(attendant: Attendant, last: Anchor, event: AuditEvent | None) -> None:
    """Say loudly where the chain is not the one that was anchored."""
    try:
        check(last, event, [attendant.tools.sealing.key])
    except Corrupt as error:
        why = error.message
        logger.error("the audit contradicts its last anchor: %s", why)
        seq = min(last.head.seq, 1 << 62)  # a forged one names any number
        attendant.act("ContradictAnchor", _JOB, lambda call: _contradicted(call, seq, why))


def _contradicted(call: Call, seq: int, why: str) -> Domain | None:
    """Have the audit say it once of each anchor; whoever follows the audit tells people."""
    known = call.find(Cursor, id=CONTRADICTED)
    if known and known.position == seq:
        return None
    if known:
        call.change(known, position=seq)
    else:
        call.add(Cursor, id_=CONTRADICTED, position=seq)
    rewind(call)
    call.tell(event=seq, why=why)
    return call.domain


def _is_held(attendant: Attendant, head: Head) -> bool:
    with attendant.reading() as reader:
        event = reader.event(head.seq)
    return event is not None and head_after(event) == head


def _events(call: Call, ask: Events, **wanted: str) -> Iterator[Event]:
    number = call.after[:18]
    after = int(number) if number.isascii() and number.isdigit() else 0
    found = call.events(
        after=after,
        since=ask.since,
        until=ask.until,
        operation=ask.operation,
        outcome=ask.outcome,
        principal=ask.principal,
        **wanted,
    )
    return map(_event, found)


def _event(one: AuditEvent) -> Event:
    return Event(
        id=str(one.seq),
        at=one.at,
        operation=one.operation,
        outcome=one.outcome,
        principal=one.principal,
        via=one.via,
        project=one.project,
        resource_kind=one.resource_kind,
        resource_id=one.resource_id,
        asset_id=one.asset_id,
        details=decoded(one.details, dict[str, Any]),
        policies=list(one.policies),
    )


def _access(call: Call, at: int, **whose: str) -> AccessThen:
    then = at or call.now
    found = who(call.events(is_access=True, until=then + 1, **whose), then)
    names = _Names(call)
    return AccessThen(then, [_holder(names, one) for one in found])


def _holder(names: _Names, one: Access) -> Holder:
    return Holder(
        asset_id=one.asset_id,
        asset=names.of_asset(one),
        project_id=one.project or one.principal or "",
        project=names.of(Project, one.project or ""),
        subscription_id=one.subscription,
        filters=[name for id_ in one.filters if (name := names.of(AssetFilter, id_))],
        unmasked=list(one.unmasked),
        since=one.since,
        until=one.until,
        granted_by=names.of(UserProfile, one.granted_by) or one.granted_by,
        why=one.why,
    )


class _Names:
    """Names of things, each looked up once; of those that are no more, too, where they are kept."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._known: dict[str, str] = {}
        self._shown: dict[str, Asset | None] = {}

    def of(self, kind: type[AssetFilter | Project | UserProfile], id_: str) -> str:
        """Return the name of a thing; empty where nothing is known of it."""
        if id_ not in self._known:
            found = self._call.reader.latest(kind, id_)
            self._known[id_] = found.name if found else ""
        return self._known[id_]

    def of_asset(self, one: Access) -> str:
        """Return an asset's name, as far as the caller may know: else that of what is listed."""
        if one.asset_id not in self._shown:
            asset = self._call.reader.latest(Asset, one.asset_id)
            is_shown = asset and self._call.decide(viewing(Asset), asset).is_allowed
            self._shown[one.asset_id] = asset if is_shown else None
        if asset := self._shown[one.asset_id]:
            return asset.name
        held = self._call.find(Subscription, id=one.subscription)
        listing = self._call.find(Listing, id=held.listing_id) if held else None
        listed = listed_assets(self._call, listing) if listing else []
        return next((each.name for each in listed if each.id == one.asset_id), "")


def _head_at(call: Call, seq: int) -> Head:
    if not seq:
        return GENESIS
    event = call.reader.event(seq)
    if event is None:
        raise InvalidInput(f"there is no audit event {seq}; the last is {call.event_head().seq}")
    return head_after(event)


class _Flags:
    """Compares which events are kept as changes of access with those that are.

    Only the events are sealed; which of them `who` looks at is written beside them.

    Attributes:
        wrong: number of the first event that is kept wrongly; 0: none so far.
    """

    def __init__(self, kept: Iterator[AuditEvent]) -> None:
        self._kept, self.wrong = kept, 0

    def compared(self, events: Iterator[AuditEvent]) -> Iterator[AuditEvent]:
        """Yield events, looking at each."""
        expected = next(self._kept, None)
        for event in events:
            yield event
            is_change = '"access"' in event.details and change_of(event) is not None
            is_kept = expected is not None and expected.seq == event.seq
            if is_change != is_kept and not self.wrong:
                self.wrong = event.seq
            if is_kept:
                expected = next(self._kept, None)
