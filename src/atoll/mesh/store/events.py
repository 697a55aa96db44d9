"""The audit's table: rows are added, one batch at a time, and never changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from atoll.mesh.audit.access import change_of
from atoll.mesh.audit.chain import extend, head_after
from atoll.mesh.audit.keys import Key
from atoll.mesh.audit.model import GENESIS, AuditEvent, Head
from atoll.mesh.store.tables import METADATA

PAGE_ROWS = 1000
# So few that the collection of garbage, a fifth of verifying otherwise, finds nothing to do.
ROWS_AT_ONCE = 100
_NUMBERS = ("seq", "at", "clock_behind_us")
_EMPTY = ("project", "asset_id")
_NAMES = AuditEvent.__struct_fields__
_POLICIES = _NAMES.index("policies")
_fields = attrgetter(*_NAMES)

EVENTS = sa.Table(
    "event",
    METADATA,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    *(
        sa.Column(name, sa.BigInteger if name in _NUMBERS else sa.Text, nullable=name in _EMPTY)
        for name in _NAMES
        if name != "seq"
    ),
    # Derived from the rest, which alone is sealed: whether it changed somebody's access.
    sa.Column("is_access", sa.Boolean, nullable=False),
    sa.Index("ix_event_asset_id_is_access_seq", "asset_id", "is_access", "seq"),
    sa.Index("ix_event_project_is_access_seq", "project", "is_access", "seq"),
    sa.Index("ix_event_principal_seq", "principal", "seq"),
    sa.Index("ix_event_at", "at"),
)
# Its fields, in their order.
_EVENT = sa.select(*(EVENTS.c[name] for name in _NAMES))


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
    last = connection.execute(_EVENT.order_by(EVENTS.c.seq.desc()).limit(1)).first()
    return head_after(_event(last)) if last else GENESIS


def event(connection: sa.Connection, seq: int) -> AuditEvent | None:
    """Return the event of a number; None where there is none."""
    if seq >= 1 << 63:  # a forged anchor names any number
        return None
    row = connection.execute(_EVENT.where(EVENTS.c.seq == seq)).first()
    return _event(row) if row else None


def events(
    connection: sa.Connection,
    *,
    after: int = 0,
    since: int = 0,
    until: int = 0,
    is_access: bool | None = None,
    **values: str,
) -> Iterator[AuditEvent]:
    """Yield events in their order, a page at a time.

    Args:
        connection: within a transaction.
        after: numbers up to this one are left out.
        since, until: only those at or after the one and before the other, microseconds since the
            epoch; 0: whenever.
        is_access: only those that changed somebody's access, or only the others.
        values: only those with these values of columns; empty ones are passed over.
    """
    asked = _EVENT.where(*_conditions(since, until, is_access, values))
    asked = asked.order_by(EVENTS.c.seq).limit(PAGE_ROWS)
    while True:
        read = 0
        for rows in connection.execute(asked.where(EVENTS.c.seq > after)).partitions(ROWS_AT_ONCE):
            yield from map(_event, rows)
            read, after = read + len(rows), rows[-1].seq
        if read < PAGE_ROWS:
            return


def _conditions(
    since: int, until: int, is_access: bool | None, values: dict[str, str]
) -> Iterator[sa.ColumnElement[bool]]:
    if since:
        yield EVENTS.c.at >= since
    if until:
        yield EVENTS.c.at < until
    if is_access is not None:
        yield EVENTS.c.is_access == is_access
    for key, value in values.items():
        if value:
            yield EVENTS.c[key] == value


def _row(event: AuditEvent) -> dict[str, object]:
    row = dict(zip(_NAMES, _fields(event), strict=True))
    is_access = change_of(event) is not None
    return {**row, "policies": " ".join(event.policies), "is_access": is_access}


def _event(row: sa.Row[Any]) -> AuditEvent:
    values = list(row)
    values[_POLICIES] = tuple(str(values[_POLICIES]).split())
    return AuditEvent(*values)
