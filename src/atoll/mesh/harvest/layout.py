"""Which files make which asset, by their paths alone.

The rules, in this order; names that begin with "." or "_" are passed over:

1. A folder that has `_atoll/` in it is a vector collection, one called `X.lance` is a table. A
   table of Delta Lake, Hudi or Iceberg is named and not read: rows that it has deleted still lie
   there.
2. Folders called `key=value` are partitions: the Parquet files below them are one table, which is
   the folder that the first of them is in.
3. The Parquet files of a folder are one table, the folder, if their columns agree. Where they do
   not, or other assets lie in the folder or below it, each file is one. A file alone at the
   source's location itself is one, too.
4. Each CSV file is a table.
5. A folder that is in none of these, and has none of them below it, but other files, is a file set.

Folders of others, which are not listed, count as assets that lie there. So no asset lies inside
another, and what may be read of one follows from its location.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from atoll.mesh.harvest.listing import Listing
from atoll.mesh.harvest.model import Format
from atoll.storage import StoredObject

_SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
}
_FOREIGN = {"_delta_log": "Delta Lake", ".hoodie": "Hudi", "metadata": "Iceberg"}
_ICEBERG_SUFFIX = ".metadata.json"
_PARTITION = re.compile(r"([^=]+)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Unit:
    """Files that are looked at together; Parquet files may turn out to be several tables.

    Attributes:
        path: of the folder or file, below the root of the listing; "" is the root.
        format: what to read them as.
        objects: the files, by path.
        is_partitioned: whether there are partitions, so that it is one table or none.
        is_loose: whether it cannot be one table, because of what else is there.
        note: whose format it is, where that is not ours to read.
    """

    path: str
    format: Format
    objects: tuple[StoredObject, ...]
    is_partitioned: bool = False
    is_loose: bool = False
    note: str = ""


@dataclass
class _Groups:
    """Files sorted into what they may be part of, each by the path of its folder or itself."""

    claimed: dict[str, list[StoredObject]] = field(default_factory=lambda: defaultdict(list))
    csv: list[StoredObject] = field(default_factory=list)
    parquet: dict[str, list[StoredObject]] = field(default_factory=lambda: defaultdict(list))
    partitioned: set[str] = field(default_factory=set)
    others: list[StoredObject] = field(default_factory=list)


def plan(listing: Listing) -> list[Unit]:
    """Group the files of a listing by the rules above, by path."""
    is_lance = not listing.is_file and listing.storage.url.endswith(".lance")
    claims: dict[str, tuple[Format, str]] = {"": ("lance", "")} if is_lance else {}
    for one in listing.objects:
        claims |= _claim(one.path)
    groups = _grouped(listing.objects, claims)
    loose = (one.path for one in groups.csv)
    assets = sorted({*groups.claimed, *groups.parquet, *loose, *listing.apart})
    units = [Unit(one.path, "csv", (one,)) for one in groups.csv]
    for path, objects in groups.claimed.items():
        units.append(Unit(path, claims[path][0], tuple(objects), note=claims[path][1]))
    for path, objects in groups.parquet.items():
        is_partitioned = path in groups.partitioned
        is_alone = path == "" and len(objects) == 1 and not is_partitioned
        is_loose = is_alone or _has_below(assets, path)
        units.append(Unit(path, "parquet", tuple(objects), is_partitioned, is_loose))
    for path, objects in _file_sets(groups.others, assets).items():
        units.append(Unit(path, "files", tuple(objects)))
    return sorted(units, key=lambda unit: unit.path)


def partitions_of(path: str) -> tuple[tuple[str, str], ...]:
    """Read names and values of partitions off the path of a file.

    >>> partitions_of("sales/year=2026/plant=wolfs%20burg/part-0.parquet")
    (('year', '2026'), ('plant', 'wolfs burg'))
    """
    found = (_PARTITION.fullmatch(part) for part in path.split("/")[:-1])
    return tuple((unquote(one[1]), unquote(one[2])) for one in found if one)


def folders_of(path: str) -> Iterator[str]:
    """Yield the folders that a path is in, outermost first, without the root.

    >>> list(folders_of("a/b/c.csv"))
    ['a', 'a/b']
    """
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def _claim(path: str) -> dict[str, tuple[Format, str]]:
    """Tell which folder is more than its files, to judge by the path of one of those."""
    parts = path.split("/")
    for at, part in enumerate(parts[:-1]):
        folder = "/".join(parts[:at])
        if part == "_atoll":
            return {folder: ("atoll", "")}
        if part.endswith(".lance"):
            return {f"{folder}/{part}".lstrip("/"): ("lance", "")}
        if part in _FOREIGN and (part != "metadata" or path.endswith(_ICEBERG_SUFFIX)):
            return {folder: ("foreign", _FOREIGN[part])}
        if part[0] in "._":
            return {}
    return {}


def _grouped(objects: Iterable[StoredObject], claims: dict[str, tuple[Format, str]]) -> _Groups:
    groups = _Groups()
    for one in objects:
        claimed = [each for each in ("", *folders_of(one.path)) if each in claims]
        if claimed:
            groups.claimed[claimed[0]].append(one)
        elif not any(part[0] in "._" for part in one.path.split("/")):
            _add(groups, one)
    return groups


def _add(groups: _Groups, one: StoredObject) -> None:
    name = one.path.lower()
    kind = next((_SUFFIXES[suffix] for suffix in _SUFFIXES if name.endswith(suffix)), "files")
    if kind == "csv":
        groups.csv.append(one)
    elif kind == "parquet":
        folder, is_partitioned = _table_folder(one.path)
        groups.parquet[folder].append(one)
        groups.partitioned |= {folder} if is_partitioned else set()
    elif one.size_bytes:  # object stores keep folders as empty objects
        groups.others.append(one)


def _table_folder(path: str) -> tuple[str, bool]:
    """Return the folder of the table that a Parquet file is part of, and if it has partitions."""
    parts = path.split("/")[:-1]
    for at, part in enumerate(parts):
        if _PARTITION.fullmatch(part):
            return "/".join(parts[:at]), True
    return "/".join(parts), False


def _has_below(assets: list[str], folder: str) -> bool:
    """Tell whether one of some paths, sorted, lies below a folder."""
    if not folder:
        return bool(assets) and assets[-1] != ""
    at = bisect_left(assets, f"{folder}/")
    return at < len(assets) and assets[at].startswith(f"{folder}/")


def _file_sets(others: Iterable[StoredObject], assets: list[str]) -> dict[str, list[StoredObject]]:
    taken, found = set(assets), defaultdict[str, list[StoredObject]](list)
    for one in others:
        for folder in ("", *folders_of(one.path)):
            if folder in taken:
                break
            if not _has_below(assets, folder):
                found[folder].append(one)
                break
    return found
