"""The audit's table: rows are added, one batch at a time, and never changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields

import sqlalchemy as sa

from atoll.mesh.audit.chain import extend, head_after
from atoll.mesh.audit.keys import Key
from atoll.mesh.audit.model import GENESIS, AuditEvent, Head
from atoll.mesh.store.tables import METADATA

PAGE_ROWS = 1000
_NUMBERS = ("seq", "at", "clock_behind_us")
_EMPTY = ("project", "asset_id")
_NAMES = tuple(one.name for one in fields(AuditEvent))

EVENTS = sa.Table(
    "event",
    METADATA,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    *(
        sa.Column(name, sa.BigInteger if name in _NUMBERS else sa.Text, nullable=name in _EMPTY)
        for name in _NAMES
        if name != "seq"
    ),
    sa.Index("ix_event_asset_id_seq", "asset_id", "seq"),
    sa.Index("ix_event_project_seq", "project", "seq"),
    sa.Index("ix_event_principal_seq", "principal", "seq"),
)


def append(
    connection: sa.Connection, events: Sequence[AuditEvent], clock_us: int, key: Key
) -> None:
    """Seal events at the end of the chain; nobody else appends meanwhile.

    Args:
        connection: within a transaction of `writing_to`.
        events: from `new_event`.
        clock_us: microseconds since the epoch.
        key: the one in force.

    Raises:
        InvalidInput: another key is in force.
    """
    if not events:
        return
    made, _ = extend(head(connection), events, clock_us, key)
    connection.execute(EVENTS.insert(), [_row(one) for one in made])


def head(connection: sa.Connection) -> Head:
    """Return where the chain ends."""
    last = connection.execute(EVENTS.select().order_by(EVENTS.c.seq.desc()).limit(1)).first()
    return head_after(_event(last)) if last else GENESIS


def events(
    connection: sa.Connection, *, after: int = 0, asset_id: str = "", project: str = ""
) -> Iterator[AuditEvent]:
    """Yield events in their order, a page at a time.

    Args:
        connection: within a transaction.
        after: numbers up to this one are left out.
        asset_id, project: only those of it.
    """
    wanted = [EVENTS.c[key] == one for key, one in _given(asset_id=asset_id, project=project)]
    while True:
        asked = EVENTS.select().where(EVENTS.c.seq > after, *wanted)
        rows = connection.execute(asked.order_by(EVENTS.c.seq).limit(PAGE_ROWS)).all()
        yield from (_event(row) for row in rows)
        if len(rows) < PAGE_ROWS:
            return
        after = rows[-1].seq


def _given(**values: str) -> Iterator[tuple[str, str]]:
    return ((key, one) for key, one in values.items() if one)


def _row(event: AuditEvent) -> dict[str, object]:
    row = dict(zip(_NAMES, astuple(event), strict=True))
    return {**row, "policies": " ".join(event.policies)}


def _event(row: sa.Row[tuple[object, ...]]) -> AuditEvent:
    values = row._asdict()
    return AuditEvent(**{**values, "policies": tuple(str(values["policies"]).split())})
