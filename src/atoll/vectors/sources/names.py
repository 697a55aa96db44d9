"""Which column holds the vectors and which the ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.core.errors import InvalidInput
from atoll.core.text import some_of

VECTOR_NAMES = ("embedding", "embeddings", "vector", "vectors")
ID_NAMES = ("id", "ids")
# What search returns or Lance and the index keep beside the columns.
RESERVED_NAMES = ("_code", "_distance", "_rowid", "_rowaddr", "query_id", "rank")
_SHOWN = 20


@dataclass(frozen=True)
class Names:
    """What the caller calls the columns; None looks for the usual names."""

    vector: str | None = None
    id: str | None = None

    def vector_in(self, columns: Mapping[str, str], uri: str) -> str:
        """Choose the vector column among the columns of a file (name to description).

        Raises:
            InvalidInput: it has none; lists what is there.
        """
        return _choose(self.vector, VECTOR_NAMES, columns, uri, "vectors", "--vector-column")

    def id_in(self, columns: Mapping[str, str], uri: str) -> str:
        """Choose the id column, as `vector_in`."""
        return _choose(self.id, ID_NAMES, columns, uri, "ids", "--id-column")


def check_extra_names(names: Sequence[str], uri: str, taken: Sequence[str]) -> None:
    """Refuse further columns whose names mean something else.

    Args:
        names: the further columns.
        uri: the file, for messages.
        taken: names that vectors and ids go by.

    Raises:
        InvalidInput: a column has such a name.
    """
    for name in names:
        if name in RESERVED_NAMES or name in taken:
            why = "reserved" if name in RESERVED_NAMES else "what the vectors or ids are called"
            raise InvalidInput(
                f"{uri}: column '{name}' cannot be kept: its name is {why}; rename it in the file",
                file=uri,
                column=name,
            )


def _choose(
    wanted: str | None,
    usual: Sequence[str],
    columns: Mapping[str, str],
    uri: str,
    what: str,
    option: str,
) -> str:
    for name in (wanted,) if wanted else usual:
        if name in columns:
            return name
    raise InvalidInput(
        f"{uri} has no column '{wanted or usual[0]}' for the {what};"
        f" it has {some_of(list(columns.values()), _SHOWN) or 'none'}: name one with {option}",
        file=uri,
        columns=list(columns),
    )
