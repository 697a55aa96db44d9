"""What changed between two schemas of one table, and whether that breaks its readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.core.text import shortened, some_of
from atoll.mesh.harvest.model import Column

# From each type to those behind it no value is lost and no reader is surprised.
_WIDENING = (
    ("int8", "int16", "int32", "int64"),
    ("uint8", "uint16", "uint32", "uint64"),
    ("halffloat", "float", "double"),
    ("string", "large_string"),
    ("binary", "large_binary"),
)
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class SchemaChange:
    """What changed from one schema to another; columns are told by their names.

    Attributes:
        added, removed: columns that are new, or gone.
        retyped: columns of another type: before and after.
        loosened: names of columns in which values may be missing now.
        tightened: names of columns in which they may not any more.
        is_reordered: whether the columns in both stand in another order.
    """

    added: tuple[Column, ...] = ()
    removed: tuple[Column, ...] = ()
    retyped: tuple[tuple[Column, Column], ...] = ()
    loosened: tuple[str, ...] = ()
    tightened: tuple[str, ...] = ()
    is_reordered: bool = False

    def __bool__(self) -> bool:
        """Tell whether anything changed."""
        return self != SchemaChange()

    @property
    def is_breaking(self) -> bool:
        """Whether a reader of the old schema may fail.

        A column is gone, has nulls now, or has a type that is not merely a wider one.
        """
        narrowed = any(not _widens(before.type, after.type) for before, after in self.retyped)
        return bool(self.removed or self.loosened or narrowed)

    def sentence(self) -> str:
        """Say it in one line.

        >>> schema_diff([Column("a", "int32", True)], [Column("a", "int64", True)]).sentence()
        "retyped 'a' int32 -> int64"
        """
        said = {
            "added": [_named(one) for one in self.added],
            "removed": [_named(one) for one in self.removed],
            "retyped": [f"{_named(one)} -> {_short(other.type)}" for one, other in self.retyped],
            "now nullable": [_short(repr(name)) for name in self.loosened],
            "no longer nullable": [_short(repr(name)) for name in self.tightened],
        }
        parts = [f"{what} {some_of(which)}" for what, which in said.items() if which]
        parts += ["columns reordered"] if self.is_reordered else []
        return "; ".join(parts) or "nothing changed"


def schema_diff(old: Sequence[Column], new: Sequence[Column]) -> SchemaChange:
    """Compare two schemas; in neither two columns have the same name."""
    before, after = ({one.name: one for one in columns} for columns in (old, new))
    both = [(one, after[one.name]) for one in old if one.name in after]
    kept = [one.name for one in new if one.name in before]
    return SchemaChange(
        added=tuple(one for one in new if one.name not in before),
        removed=tuple(one for one in old if one.name not in after),
        retyped=tuple((one, other) for one, other in both if one.type != other.type),
        loosened=tuple(one.name for one, other in both if other.nullable and not one.nullable),
        tightened=tuple(one.name for one, other in both if one.nullable and not other.nullable),
        is_reordered=[one.name for one, _ in both] != kept,
    )


def _widens(before: str, after: str) -> bool:
    return any(
        before in chain and after in chain and chain.index(before) < chain.index(after)
        for chain in _WIDENING
    )


def _named(column: Column) -> str:
    return f"{_short(repr(column.name))} {_short(column.type)}"


def _short(text: str) -> str:
    return shortened(text, _SHOWN_CHARACTERS)
