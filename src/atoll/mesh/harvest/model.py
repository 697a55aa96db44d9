"""The nouns of a harvest: frozen values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import pyarrow as pa

from atoll.core.config import StorageOptions

Kind = Literal["table", "vector collection", "file set"]
Format = Literal["parquet", "csv", "lance", "atoll", "files", "foreign"]


@dataclass(frozen=True)
class Source:
    """A place to harvest; what a data source says of where its assets are.

    Patterns hold the path of an asset below the location, or of a folder that it is in, against
    shell patterns: `*` stands for "/" as well, so "*.csv" is every CSV file and "raw" all in `raw`.
    An asset is taken whole or not at all.

    Attributes:
        location: path or URL of a folder, a prefix or one file.
        include: patterns of what is wanted; empty is everything.
        exclude: patterns of what is not, whatever `include` says.
        options: how to reach the store.
        apart: normalised locations of folders in it that are others': no look is taken at them.
    """

    location: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    options: StorageOptions = StorageOptions()
    apart: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: as the file spells it.
        type: Arrow's text for the type, whole where it is nested. A dictionary of values is its
            values, since files of one table need not agree on how they are encoded.
        nullable: whether values may be missing.
    """

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True)
class Fingerprint:
    """What finds the same table stored twice, or another one made like it.

    Independent of names, number and order of files, of row groups, row order, column order,
    compression, integer and decimal types, text encoding, of whether a column is a partition, and
    of the format: but for whole tables, not where `content` came of a sample.

    Attributes:
        schema: equal for tables with columns of the same names and families of types (numbers,
            text, dates, ...); None of a file set.
        content: equal for tables that also have the same number of rows and, per column, the same
            least and greatest value and number of nulls. None where nothing is known that tells
            two tables apart: no rows, or no statistics in Parquet footers. Of nested columns only
            the type counts, of text the first 32 bytes. A change that touches none of those (a
            value between the extremes) leaves it equal: it is a reason to look, no proof.
    """

    schema: str | None
    content: str | None


@dataclass(frozen=True)
class Technical:
    """An asset as its files describe it.

    Attributes:
        kind: what it is.
        format: what its files are; "atoll" of a vector collection.
        location: normalised URL. No asset's location lies inside another's.
        columns: in the order of the files, without partitions.
        partitions: columns whose values stand in folder names (`year=2026`).
        rows: exact; None where nobody counted.
        rows_estimate: of a CSV file too large to be read whole.
        size_bytes: of all files; of a Lance table those of older versions, too.
        files: how many.
        version: changes whenever a file does: a number where the format has one, else a hash.
        fingerprint: what finds duplicates.
        details: what else a reader must know: of CSV its encoding (as Python calls it), delimiter
            and decimal_point; of a collection its dim, dtype, distance_type, embedder.
        remarks: sentences for people: what was not looked at, and why.
    """

    kind: Kind
    format: Format
    location: str
    columns: tuple[Column, ...]
    partitions: tuple[Column, ...]
    rows: int | None
    rows_estimate: int | None
    size_bytes: int
    files: int
    version: str
    fingerprint: Fingerprint
    details: Mapping[str, str | int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def schema(self) -> tuple[Column, ...]:
        """Columns and partitions, those last."""
        return (*self.columns, *self.partitions)


@dataclass(frozen=True)
class Unreadable:
    """What looks like an asset, or hides what may be one, and could not be read.

    Attributes:
        location: normalised URL.
        code: of the error, as in `core/errors.py`; "forbidden" where access was refused.
        reason: for people: one line, without values of the data and without credentials.
    """

    location: str
    code: str
    reason: str


Outcome: TypeAlias = Technical | Unreadable


@dataclass(frozen=True)
class CollectionFacts:
    """What a vector collection says of itself.

    Attributes:
        schema: of its rows, as a user sees them.
        rows: how many.
        version: number of the manifest.
        digest: equal for collections that hold the same rows in the same buckets; None where that
            is not known.
        details: dim, dtype, distance_type, embedder.
    """

    schema: pa.Schema
    rows: int
    version: int
    digest: str | None
    details: Mapping[str, str | int]


class CollectionReader(Protocol):
    """Knows vector collections; the part that makes them hands it in."""

    def describe(self, location: str, options: StorageOptions) -> CollectionFacts:
        """Open the collection at a URL and describe its newest version.

        Raises:
            AtollError: it cannot be opened.
        """
        ...

    def first_rows(
        self, location: str, options: StorageOptions, columns: Sequence[str], most: int
    ) -> pa.Table:
        """Read some columns of the first rows of the collection at a URL.

        Raises:
            AtollError: it cannot be opened or read, or has no such column.
        """
        ...
