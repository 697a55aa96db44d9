"""Records as one moment of the database shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa

from atoll.core.errors import NotFound
from atoll.core.records import decoded
from atoll.mesh.audit.model import AuditEvent, Head
from atoll.mesh.model.record import Record
from atoll.mesh.store.events import event, events, head
from atoll.mesh.store.tables import CHANGES, KEEPING_HISTORY, PAST, TABLES, VALUES

R = TypeVar("R", bound=Record)
PAGE_ROWS = 500
_SEVERAL = (list, tuple, set, frozenset)
Keys = frozenset[tuple[str, bool]]  # fields that have a column, and whether any of several will do
NEWEST_ROWS = 20  # most who ask for the newest want one or two


class Reader:
    """Reads records; all calls see the same moment."""

    def __init__(self, connection: sa.Connection) -> None:
        """Read through a connection, within its transaction."""
        self._connection = connection

    def find(self, kind: type[R], id_: str) -> R | None:
        """Return a record, or None where there is none with that id."""
        row = self._connection.execute(_BY_ID[kind], {"wanted_id": id_}).first()
        return decoded(row.body, kind) if row else None

    def get(self, kind: type[R], id_: str) -> R:
        """Return a record.

        Raises:
            NotFound: there is none with that id.
        """
        found = self.find(kind, id_)
        if found is None:
            raise NotFound(f"there is no {kind.KIND} '{id_}'", kind=kind.KIND, id=id_)
        return found

    def past(self, kind: type[R], id_: str, version: int) -> R | None:
        """Return a record as it was, of a kind whose history is kept; None if it never was so."""
        wanted = (PAST.c.id == id_) & (PAST.c.version == version)
        row = self._connection.execute(sa.select(PAST.c.body).where(wanted)).first()
        return decoded(row.body, kind) if row else None

    def pasts(self, kind: type[R], wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], R]:
        """Return records as they were, by their ids and versions; those that never were are not."""
        ids = sa.tuple_(PAST.c.id, PAST.c.version).in_(list(wanted))
        rows = self._connection.execute(PAST.select().where(ids))
        return {(row.id, row.version): decoded(row.body, kind) for row in rows}

    def history(self, kind: type[R], id_: str, *, since: int = 0) -> Iterator[R]:
        """Yield a record as it was and is, from a version on; after its removal, too."""
        wanted = (PAST.c.id == id_) & (PAST.c.version >= since)
        asked = sa.select(PAST.c.body).where(wanted).order_by(PAST.c.version)
        for row in self._connection.execute(asked):
            yield decoded(row.body, kind)

    def latest(self, kind: type[R], id_: str) -> R | None:
        """Return a record as it is, or, of a kind whose history is kept, was at last."""
        if found := self.find(kind, id_):
            return found
        asked = sa.select(PAST.c.body).where(PAST.c.id == id_).order_by(PAST.c.version.desc())
        row = self._connection.execute(asked.limit(1)).first()
        return decoded(row.body, kind) if row and kind in KEEPING_HISTORY else None

    def one(self, kind: type[R], /, **keys: Any) -> R | None:
        """Return the record with these keys, None where there is none."""
        return next(self.all(kind, **keys), None)

    def find_or_other(self, kind: type[R], id_: str) -> R | None:
        """Return a record, or, where there is none with that id, another of its kind."""
        table = TABLES[kind]
        wanted = sa.select(table.c.body, sa.literal(0).label("place")).where(table.c.id == id_)
        other = sa.select(table.c.body, sa.literal(1).label("place")).limit(1).subquery()
        both = wanted.union_all(sa.select(other)).order_by("place").limit(1)
        row = self._connection.execute(both).first()
        return decoded(row.body, kind) if row else None

    def any(self, kind: type[R]) -> R | None:
        """Return one record, whichever; None where there is none of that kind."""
        table = TABLES[kind]
        row = self._connection.execute(sa.select(table.c.body).limit(1)).first()
        return decoded(row.body, kind) if row else None

    def all(self, kind: type[R], /, *, after: str = "", **keys: Any) -> Iterator[R]:
        """Yield the records with these keys, in the order of their ids.

        Args:
            kind: of what kind.
            after: ids up to this one are left out.
            keys: field names to a value, or to a list of which any will do. A field with several
                values needs only one that is asked for.
        """
        asked, values = _chosen(kind, keys)
        while True:
            rows = self._connection.execute(asked, {**values, "after": after}).all()
            for row in rows:
                yield decoded(row.body, kind)
            if len(rows) < PAGE_ROWS:
                return
            after = rows[-1].id

    def until(
        self, kind: type[R], key: str, last: int, /, *, most: int = PAGE_ROWS, **keys: Any
    ) -> list[R]:
        """List records with these keys whose number in another is above 0 and at most `last`.

        Returns:
            Up to `most` of them, the lowest number first.
        """
        table = TABLES[kind]
        column = table.c[key]
        asked = sa.select(table.c.body).where(column > 0, column <= last, *_conditions(kind, keys))
        rows = self._connection.execute(asked.order_by(column).limit(most))
        return [decoded(row.body, kind) for row in rows]

    def values_until(self, kind: type[Record], of: str, key: str, last: int, /) -> list[str]:
        """List, each once, what records as `until` finds them have in a field with a column."""
        table = TABLES[kind]
        column = table.c[key]
        asked = sa.select(table.c[of]).distinct().where(column > 0, column <= last)
        return list(self._connection.execute(asked).scalars())

    def values(self, kind: type[Record], key: str, /, **keys: Any) -> list[str]:
        """List what records with these keys have in one text field that has a column."""
        asked = sa.select(TABLES[kind].c[key]).where(*_conditions(kind, keys))
        return list(self._connection.execute(asked).scalars())

    def overlaps(self, kind: type[Record], key: str, place: str, /) -> list[str]:
        """List the locations in one key that lie in a place, or that it lies in, itself too.

        Args:
            kind: of what kind.
            key: a text field that has a column and holds normalised locations.
            place: a normalised location.
        """
        column = TABLES[kind].c[key]
        around = [place, *(place[:at] for at, letter in enumerate(place) if letter == "/")]
        # By letters, and with no wildcard: `LIKE` and `<` depend on the database.
        is_below = sa.func.substr(column, 1, len(place) + 1) == f"{place}/"
        asked = sa.select(column).where(is_below | column.in_(around))
        return list(self._connection.execute(asked).scalars())

    def events(self, **wanted: Any) -> Iterator[AuditEvent]:
        """Yield events of the audit; `store.events.events` tells how to ask for them."""
        return events(self._connection, **wanted)

    def event(self, seq: int) -> AuditEvent | None:
        """Return the audit's event of a number; None where there is none."""
        return event(self._connection, seq)

    def event_head(self) -> Head:
        """Return where the audit's chain ends."""
        return head(self._connection)

    def changes(self, after: int) -> Iterator[tuple[int, str, str]]:
        """Yield numbers, kinds and ids of followed records that were changed, or removed, since.

        Args:
            after: number of the last change that is known; each record comes with its newest.
        """
        asked = CHANGES.select().where(CHANGES.c.number > after).order_by(CHANGES.c.number)
        for row in self._connection.execute(asked):
            yield row.number, row.kind, row.id

    def last_change(self, *kinds: type[Record]) -> int:
        """Return the number of the last change of a followed record, of some kinds or of any.

        Returns:
            0 where there is none.
        """
        return self._connection.execute(_last_change(kinds)).scalar() or 0

    def newest(self, kind: type[R], by: str, /, **keys: Any) -> Iterator[R]:
        """Yield the records with these keys, those with the greatest number first.

        Args:
            kind: of what kind.
            by: a key whose numbers no two of them share.
            keys: as of `all`.
        """
        table = TABLES[kind]
        column = table.c[by]
        asked = sa.select(column, table.c.body).order_by(column.desc()).limit(NEWEST_ROWS)
        asked = asked.where(*_conditions(kind, keys))
        rows = self._connection.execute(asked).all()
        while rows:
            for row in rows:
                yield decoded(row.body, kind)
            rows = self._connection.execute(asked.where(column < rows[-1][0])).all()

    def newest_of(
        self, kind: type[R], by: str, of: str, wanted: Iterable[str], /, **keys: Any
    ) -> dict[str, R]:
        """Return for each value of a key the record with the greatest number, where there is one.

        Args:
            kind: of what kind.
            by: a key whose numbers no two of one value share.
            of: the key with these values.
            wanted: the values.
            keys: as of `all`; they hold for all of them.
        """
        asked = (
            kind,
            by,
            of,
            frozenset((key, isinstance(one, _SEVERAL)) for key, one in keys.items()),
        )
        if asked not in _NEWEST:
            _NEWEST[asked] = _newest_of(*asked)
        values = {f"wanted_{key}": one for key, one in keys.items()}
        rows = self._connection.execute(_NEWEST[asked], {**values, "among": list(wanted)})
        return {row[0]: decoded(row.body, kind) for row in rows}

    def count(self, kind: type[Record], /, **keys: Any) -> int:
        """Count the records with these keys."""
        table = TABLES[kind]
        asked = sa.select(sa.func.count()).select_from(table).where(*_conditions(kind, keys))
        return self._connection.execute(asked).scalar_one()


# Statements are built once: to build one takes longer than most answers.
_BY_ID = {
    kind: sa.select(table.c.body).where(table.c.id == sa.bindparam("wanted_id"))
    for kind, table in TABLES.items()
}
_PAGES: dict[tuple[type[Record], Keys], sa.Select[Any]] = {}
_NEWEST: dict[tuple[type[Record], str, str, Keys], sa.Select[Any]] = {}


def _chosen(kind: type[Record], keys: dict[str, Any]) -> tuple[sa.Select[Any], dict[str, Any]]:
    """Return what asks for a page of records with these keys, and its parameters."""
    several = {key: list(one) for key, one in keys.items() if isinstance(one, _SEVERAL)}
    by = kind, frozenset((key, key in several) for key in keys)
    if by not in _PAGES:
        _PAGES[by] = _page_of(*by)
    return _PAGES[by], {f"wanted_{key}": one for key, one in (keys | several).items()}


def _page_of(kind: type[Record], keys: Keys) -> sa.Select[Any]:
    table = TABLES[kind]
    asked = sa.select(table.c.id, table.c.body).order_by(table.c.id).limit(PAGE_ROWS)
    return asked.where(table.c.id > sa.bindparam("after"), *_wanted(kind, keys))


def _newest_of(kind: type[Record], by: str, of: str, keys: Keys) -> sa.Select[Any]:
    table = TABLES[kind]
    among = table.c[of].in_(sa.bindparam("among", expanding=True))
    conditions = (*_wanted(kind, keys), among)
    greatest = sa.select(table.c[of], sa.func.max(table.c[by])).where(*conditions)
    is_newest = sa.tuple_(table.c[of], table.c[by]).in_(greatest.group_by(table.c[of]))
    return sa.select(table.c[of], table.c.body).where(*conditions, is_newest)


@cache
def _last_change(kinds: tuple[type[Record], ...]) -> sa.Select[Any]:
    asked = sa.select(sa.func.max(CHANGES.c.number))
    return asked.where(CHANGES.c.kind.in_([one.KIND for one in kinds])) if kinds else asked


def _wanted(kind: type[Record], keys: Keys) -> Iterator[sa.ColumnElement[bool]]:
    """Yield conditions whose values come as parameters."""
    for key, is_several in keys:
        wanted: sa.BindParameter[Any] = sa.bindparam(f"wanted_{key}", expanding=is_several)
        yield _condition(kind, key, wanted, is_several=is_several)


def _condition(
    kind: type[Record], key: str, wanted: Any, *, is_several: bool
) -> sa.ColumnElement[bool]:
    table, values = TABLES[kind], VALUES[kind].get(key)
    column = table.c[key] if values is None else values.c.value
    found = column.in_(wanted) if is_several else column == wanted
    return found if values is None else table.c.id.in_(sa.select(values.c.id).where(found))


def _conditions(kind: type[Record], keys: dict[str, Any]) -> Iterator[sa.ColumnElement[bool]]:
    for key, value in keys.items():
        is_several = isinstance(value, _SEVERAL)
        wanted = list(value) if is_several else value
        yield _condition(kind, key, wanted, is_several=is_several)
