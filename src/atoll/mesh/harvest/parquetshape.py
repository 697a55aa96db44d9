"""How large and deep a Parquet file's schema is, told before Arrow makes one of it.

Arrow keeps about a kilobyte for each element, which may take seven bytes in a footer, and of each
column the names of all that it is nested in.
"""

from __future__ import annotations

from atoll.core.errors import InvalidInput
from atoll.core.text import sized
from atoll.mesh.harvest import thrift
from atoll.mesh.harvest.thrift import CompactReader

MAX_ELEMENTS = 100_000
MAX_DEPTH = 200
# Of the paths of all columns together.
PATHS_BYTES = 16 << 20


def count_leaves(reader: CompactReader) -> int:
    """Count the columns that a schema may store; as many as it does, or more.

    Args:
        reader: at the list of Thrift's `SchemaElement`: groups, each before what is in it.

    Raises:
        InvalidInput: it is larger or deeper than tables are. Corrupt: it makes no sense.

    Source: Apache Parquet, parquet.thrift, `SchemaElement`.
    """
    leaves = paths_bytes = 0
    # Of each group that is not complete: what is missing, bytes of its path, its depth.
    groups: list[tuple[int, int, int]] = []
    for elements, _ in enumerate(reader.elements(thrift.STRUCT), 1):
        path_bytes, children = _element(reader)
        depth = 1
        if groups:
            missing, above_bytes, above = groups.pop()
            groups += [(missing - 1, above_bytes, above)] if missing > 1 else []
            path_bytes, depth = path_bytes + above_bytes, above + 1
        if children > 0:
            groups.append((children, path_bytes, depth))
        else:
            leaves += 1
            paths_bytes += path_bytes
        if elements > MAX_ELEMENTS or depth > MAX_DEPTH or paths_bytes > PATHS_BYTES:
            raise InvalidInput(
                f"its columns, with those nested in them, are more than {MAX_ELEMENTS:,}, nested"
                f" more than {MAX_DEPTH} deep, or their names take more than {sized(PATHS_BYTES)}"
            )
    return leaves


def _element(reader: CompactReader) -> tuple[int, int]:
    """Read one element: bytes of its name, and how many it has in it."""
    name_bytes = children = 0
    for number, kind in reader.fields():
        match number, kind:
            case 4, thrift.BINARY:
                name_bytes = len(reader.binary()) + 1
            case 5, thrift.I32:
                children = reader.integer()
            case _:
                reader.skip(kind)
    return name_bytes, children
