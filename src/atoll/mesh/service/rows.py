"""The first rows of what is listed: for a look at the data, until the gateway answers queries.

Nothing is filtered or masked here, so whatever is not to be read as a whole is not read at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from atoll.core.errors import Conflict, Forbidden, InvalidInput, Unavailable
from atoll.core.text import some_of
from atoll.mesh import firstrows
from atoll.mesh.firstrows import FirstRows
from atoll.mesh.harvest.locations import lies_in
from atoll.mesh.harvest.model import Technical
from atoll.mesh.harvest.sampling import Wanted
from atoll.mesh.model.access import LIVE, Subscription, SubscriptionStatus
from atoll.mesh.model.catalog import (
    Asset,
    Classification,
    EntityType,
    Listing,
    ListingStatus,
    strictest,
)
from atoll.mesh.model.organisation import Association, Project
from atoll.mesh.model.record import Id
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Ask, Right, operation
from atoll.mesh.service.access import is_within_reach, may_ask_for, reads
from atoll.mesh.service.terms import Columns, columns_of

MOST_ROWS = 1000
WAIT_SECONDS = 2.0
# Each use of a subscription would be one more version of it.
USE_NOTED_EVERY_US = 3600 * 1_000_000
COLUMNS_TOLD, COLUMN_LETTERS = 50, 60


class RowsAsked(Ask, frozen=True, kw_only=True):
    """Which rows, and on whose behalf.

    Attributes:
        project_id: that reads, by its subscription or because it owns the data; left out: nobody
            in particular, of what is PUBLIC.
        columns: which; none: all that may be read.
        limit: rows.
    """

    project_id: Id | None = None
    columns: Columns = ()
    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS)] = 100


class ReadColumn(msgspec.Struct, frozen=True):
    """A column that was read; `type` is Arrow's text."""

    name: str
    type: str


class Rows(msgspec.Struct, frozen=True):
    """Rows as they are stored now.

    Attributes:
        rows: values in the order of the columns; bytes are base64, times ISO 8601, decimals text;
            what is no finite number is null.
        is_cut: whether there are, or may be, more.
    """

    columns: list[ReadColumn]
    rows: list[list[Any]]
    is_cut: bool


@dataclass(frozen=True)
class Leave:
    """What may be read, by which rules.

    Attributes:
        columns: in the order of the table.
        subscription_id: by which; empty: it is public, or the project's own.
    """

    asset_id: str
    association_id: str
    technical: Technical
    columns: tuple[str, ...]
    subscription_id: str = ""


@dataclass(frozen=True)
class Scanned:
    """Rows that were read while others went on."""

    ask: RowsAsked
    leave: Leave
    found: FirstRows


def _scan(call: Call, listing: Listing, ask: RowsAsked) -> Scanned:
    leave = _leave(call, listing, ask)
    storage = call.find(Association, id=leave.association_id)
    assert storage
    tools = call.tools
    wanted = Wanted(
        leave.technical,
        tools.options_of(storage),
        _projected(leave, ask),
        ask.limit,
        tools.collections,
    )
    if not tools.scans.acquire(timeout=WAIT_SECONDS):
        raise Unavailable("others are reading; try again in a few seconds")
    try:
        found = firstrows.read(tools.executor, wanted)
    finally:
        tools.scans.release()
    if isinstance(found, firstrows.Unshown):
        raise InvalidInput(found.why)
    return Scanned(ask, leave, found)


@operation("POST", "/listings/{listing_id}/rows", Right.DISCOVER, before=_scan)
def read_rows(call: Call, listing: Listing, scanned: Scanned) -> Rows:
    """Read the first rows of a table or vector collection, as far as you may read all of it.

    What is public is read by everybody, other data by a subscription without filters or unmasked
    columns, or by their owners. Confidential data, and tables with personal data, are not read at
    all.
    """
    leave, found = scanned.leave, scanned.found
    if _leave(call, listing, scanned.ask) != leave:
        raise Conflict("what may be read has changed meanwhile; ask again")
    held = call.find(Subscription, id=leave.subscription_id) if leave.subscription_id else None
    if held and call.now - held.last_used_at >= USE_NOTED_EVERY_US:
        call.change(held, last_used_at=call.now)
    names = [name for name, _ in found.columns]
    call.tell_of(leave.asset_id, scanned.ask.project_id)
    call.tell(
        subscription=leave.subscription_id,
        rows=len(found.rows),
        bytes=found.size_bytes,
        columns=some_of([repr(one)[:COLUMN_LETTERS] for one in names], COLUMNS_TOLD),
    )
    columns = [ReadColumn(name, kind) for name, kind in found.columns]
    return Rows(columns, found.rows, found.is_cut)


def _leave(call: Call, listing: Listing, ask: RowsAsked) -> Leave:
    """Tell what the caller may read of a listing.

    Raises:
        Forbidden: nothing; which rule it is that forbids it.
        Conflict: nothing now, as the table is another than was published.
        InvalidInput: it is no table.
    """
    if listing.entity_type is not EntityType.ASSET:
        raise InvalidInput(f"'{listing.name}' is a data product; read its assets, one by one")
    held = _held(call, listing, ask.project_id) if ask.project_id else None
    if not ask.project_id:
        _check_public(listing)
    asset = call.find(Asset, id=listing.entity_id)
    if asset is None or asset.is_archived:
        raise Conflict(f"'{listing.name}' is archived by its owners")
    shown = call.past(Asset, listing.entity_id, listing.entity_revision)
    _check_open(listing, shown, asset)
    technical = _as_published(call, listing, shown, asset)
    columns = columns_of(asset)
    if held:
        given = held.columns[asset.id]
        columns = tuple(one for one in columns if one in given)
    return Leave(asset.id, asset.association_id, technical, columns, held.id if held else "")


def _held(call: Call, listing: Listing, project_id: str) -> Subscription | None:
    """Return the subscription by which a project reads; None where the data are its own."""
    seen = call.seen_by(call.who.id)
    project = seen.get(Project, project_id)
    if not may_ask_for(seen, project):
        raise Forbidden(f"you may not read for '{project.name}'; that takes one of its consumers")
    if project.id == listing.owning_project_id:
        return None
    held = reads(call, project.id, listing.entity_id)
    if held is None:
        raise Forbidden(_why_not(call, listing, project))
    if held.terms.filter_ids or held.terms.unmasked:
        raise Forbidden(
            f"'{project.name}' reads '{listing.name}' through filters or with columns unmasked, "
            "which takes the gateway"
        )
    return held


def _why_not(call: Call, listing: Listing, project: Project) -> str:
    keys = {"project_id": project.id, "columns": listing.entity_id}
    held = max(
        call.each(Subscription, **keys),
        key=lambda one: (one.status in LIVE, one.created_at),
        default=None,
    )
    if held is None:
        why = "it has no subscription; ask for one"
    elif held.status is SubscriptionStatus.APPROVED:
        why = "its subscription does not hold now: see its grant, its end and its filters"
    else:
        why = f"its subscription is {held.status}"
    return f"'{project.name}' may not read '{listing.name}': {why}"


def _check_public(listing: Listing) -> None:
    if listing.status is not ListingStatus.ACTIVE:
        raise Forbidden(f"'{listing.name}' is {listing.status}: it is not shown to all any more")
    if listing.classification is not Classification.PUBLIC:
        raise Forbidden(
            f"'{listing.name}' is {listing.classification}; say for which project you read it"
        )


def _check_open(listing: Listing, *revisions: Asset) -> None:
    """Refuse what is masked or held back, as it was published or as it is now."""
    stated = [listing.classification, *(one.classification for one in revisions)]
    if strictest(stated) is Classification.CONFIDENTIAL:
        raise Forbidden(f"'{listing.name}' is CONFIDENTIAL; reading it takes the gateway")
    if listing.has_pii or any(one.personal for one in revisions):
        raise Forbidden(f"'{listing.name}' has personal data; reading it takes the gateway")


def _as_published(call: Call, listing: Listing, shown: Asset, asset: Asset) -> Technical:
    """Return what the files of an asset say, where that is as it was published."""
    technical = asset.technical
    storage = call.find(Association, id=asset.association_id)
    if storage is None or not is_within_reach(call.reader, asset):
        raise Forbidden(f"the storage of '{listing.name}' does not belong to the domain (any more)")
    if technical is None or shown.technical is None:
        raise Conflict(f"the files of '{listing.name}' were not read yet")
    if not lies_in(technical.location, storage.location):
        raise Forbidden(f"'{listing.name}' does not lie in its storage (any more)")
    before = (shown.technical.location, shown.technical.columns, shown.technical.partitions)
    if before != (technical.location, technical.columns, technical.partitions):
        raise Conflict(
            f"the columns of '{listing.name}' are others than were published; its owners publish "
            "it anew"
        )
    return technical


def _projected(leave: Leave, ask: RowsAsked) -> tuple[str, ...]:
    for name in ask.columns:
        if name not in leave.columns:
            raise InvalidInput(f"there is no column {name[:COLUMN_LETTERS]!r} that you may read")
    if not leave.columns:
        raise Forbidden("none of the columns that were granted is there any more")
    return tuple(dict.fromkeys(ask.columns)) or leave.columns
