"""Lance tables, by their manifest and some of their rows.

What Lance believes of a file it allocates, and where it cannot, it ends the process
(`memory allocation of 4278190400 bytes failed`): whoever reads tables of others does it in another
process than his own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from atoll.core.errors import (
    AtollError,
    Conflict,
    Corrupt,
    Forbidden,
    InvalidInput,
    NotFound,
    Unavailable,
)
from atoll.core.text import counted
from atoll.mesh.harvest.content import Content
from atoll.mesh.harvest.model import Column
from atoll.mesh.harvest.schemas import columns_of, is_bytes
from atoll.mesh.harvest.statistics import Statistics, fingerprint, is_flat, statistics_of
from atoll.storage import Storage
from atoll.storage.lancefiles import refers_outside

# A table of no more rows is measured whole, a larger one by a sample.
WHOLE_ROWS, SAMPLE_ROWS = 200_000, 1000
_BATCH_ROWS = 10_000


def read_lance(table: tuple[Storage, str]) -> Content:
    """Describe the newest version of a Lance table.

    Args:
        table: a storage, and the path of the table below it.

    Raises:
        InvalidInput: it refers to files outside its folder.
        Corrupt, NotFound, Forbidden, Unavailable: as Lance says.
    """
    with _lance_errors():
        found = _opened(table)
        columns_of(found.schema)
        rows = int(found.count_rows())
        is_whole = rows <= WHOLE_ROWS
        statistics = _of_all(found) if is_whole else _of_sample(found, rows)
    types = {one.name: one.type for one in found.schema}
    return Content(
        found.schema,
        rows,
        fingerprint(types, rows, statistics, of="all rows" if is_whole else "some rows in order"),
        remarks=() if is_whole else (f"{counted(SAMPLE_ROWS, 'row')} stand for its content",),
        version=int(found.version),
    )


def first_rows(table: tuple[Storage, str], most: int) -> pa.Table:
    """Read the first rows of the newest version of a Lance table, without vectors and raw bytes.

    Args:
        table: as of `read_lance`.
        most: rows.

    Raises:
        InvalidInput, Corrupt, NotFound, Forbidden, Unavailable: as `read_lance`.
    """
    with _lance_errors():
        found = _opened(table)
        return found.head(most, columns=[one.name for one in found.schema if _is_read(one.type)])


def some_rows(
    table: tuple[Storage, str], most: int, names: Sequence[str], columns: Sequence[Column]
) -> pa.Table:
    """Read some columns of the first rows of the newest version of a Lance table.

    Args:
        table: as of `read_lance`.
        most: rows.
        names: of the columns to read.
        columns: that the table must have.

    Raises:
        Conflict: it has others.
        InvalidInput, Corrupt, NotFound, Forbidden, Unavailable: as `read_lance`.
    """
    with _lance_errors():
        found = _opened(table)
        if columns_of(found.schema) != tuple(columns):
            raise Conflict("its columns are others than were harvested; harvest it again")
        return found.head(most, columns=list(names))


def _opened(table: tuple[Storage, str]) -> Any:
    # A second or more, which whoever hands this to another process need not spend.
    import lance

    storage, path = table
    found: Any = lance.dataset(storage.lance_uri(path), storage_options=storage.lance_options())
    if refers_outside(found):
        raise InvalidInput("it refers to files outside its folder; register a copy that does not")
    return found


def _is_read(kind: pa.DataType) -> bool:
    return not (is_bytes(kind) or pt.is_fixed_size_list(kind))


def _of_all(found: Any) -> dict[str, Statistics]:
    names = _flat(found)
    known = dict.fromkeys(names, Statistics())
    for batch in found.to_batches(columns=names, batch_size=_BATCH_ROWS) if names else ():
        of_batch = statistics_of(pa.Table.from_batches([batch]))
        known = {name: known[name].joined(of_batch[name]) for name in names}
    return known


def _of_sample(found: Any, rows: int) -> dict[str, Statistics]:
    names = _flat(found)
    chosen = np.linspace(0, rows - 1, SAMPLE_ROWS, dtype=np.int64).tolist()
    return statistics_of(found.take(chosen, columns=names)) if names else {}


def _flat(found: Any) -> list[str]:
    return [one.name for one in found.schema if is_flat(one.type)]


@contextmanager
def _lance_errors() -> Iterator[None]:
    """Turn what Lance raises into our errors, without its words: they name files and functions."""
    try:
        yield
    except AtollError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, pa.ArrowException) as error:
        said = str(error)
        for pattern, kind, why in _LANCE_ERRORS:
            if re.search(pattern, said, re.IGNORECASE):
                raise kind(f"Lance cannot read it: {why}") from error
        raise Corrupt("Lance cannot read it: its files are damaged") from error
    except BaseException as error:
        # A panic of Lance's, whose class cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise Corrupt("Lance stumbled over it: its files are damaged") from error


_LANCE_ERRORS: tuple[tuple[str, type[AtollError], str], ...] = (
    (r"permission denied|access ?denied|forbidden|signaturedoesnotmatch|invalidaccesskey|"
     r"expired ?token", Forbidden, "access was refused; check keys and permissions"),
    (r"status code: (429|5\d\d)|slow ?down|timed? ?out|connect|error sending request", Unavailable,
     "the store did not answer; try again"),
    (r"not found|does not exist", NotFound, "a file of it is gone; write it anew"),
)  # fmt: skip
