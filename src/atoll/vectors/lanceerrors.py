"""What Lance raises as errors of Atoll's tree; predicates checked before Lance sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from atoll.core.errors import (
    AtollError,
    Conflict,
    Corrupt,
    Forbidden,
    InvalidInput,
    NotFound,
    Unavailable,
)


@contextmanager
def lance_errors(what: str, *, user_input: bool = False) -> Iterator[None]:
    """Turn what Lance raises into our errors.

    Args:
        what: the table or action, for the message.
        user_input: whether a ValueError is the caller's fault (a predicate, a column name).
    """
    try:
        yield
    except AtollError:
        raise
    except (OSError, RuntimeError, ValueError, pa.ArrowException) as error:
        text = re.sub(r",? ?(/\S+)?/src/[\w/.-]+\.rs:\d+(:\d+)?", "", str(error)).strip()
        # First, since it may quote words of the caller's that read like a failure of the store.
        _, found, said = text.partition("Invalid user input: ")
        if user_input and found:
            raise InvalidInput(f"where: {_said_of_predicate(said)}") from error
        for pattern, kind, mend in _LANCE_ERRORS:
            if re.search(pattern, text, re.IGNORECASE):
                raise kind(f"{what}: {text[:600]}; {mend}") from error
        if user_input:
            raise InvalidInput(f"{what}: {text[:600]}") from error
        raise Unavailable(f"{what}: {text[:600]}") from error
    except BaseException as error:
        # A panic of Lance's, over bytes that make no sense; its class cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise Corrupt(f"{what}: Lance stumbled ({str(error)[:300]}); run `atoll verify`") from error


_LANCE_ERRORS: tuple[tuple[str, type[AtollError], str], ...] = (
    (r"status code: (429|5\d\d)|slow ?down|service ?unavailable|internal ?error", Unavailable,
     "the store is busy or failing; try again"),
    (r"expired ?token|token.{1,20}expired", Forbidden, "the credentials have expired; renew them"),
    (r"no space left|os error 28", Unavailable, "free some room, then run the same command again"),
    (r"read-only file system|os error 30", Forbidden, "the place is read-only"),
    (r"permission denied|access ?denied|forbidden|signaturedoesnotmatch|invalidaccesskey",
     Forbidden, "check keys and permissions"),
    (r"already exists|commit conflict|incompatible.*transaction",
     Conflict, "another writer was there first"),
    (r"(?=.*not found)(?=.*(\.lance|dataset|object|file))", NotFound,
     "the object is gone; run `atoll verify`"),
    (r"timed? ?out|connect|error sending request", Unavailable, "check the endpoint and try again"),
    (r"corrupt|invalid.*(footer|magic|metadata)|failed to fill|unexpected end|out of bounds|"
     r"range.*exceed|file size is too small|failed to decode", Corrupt, "run `atoll verify`"),
)  # fmt: skip


def predicate(where: str) -> str:
    """Enclose an SQL predicate, so that Lance reads it to its end: it ignores what follows one.

    Raises:
        InvalidInput: its parentheses do not match.
    """
    depth = 0
    for token in _SQL_TOKENS.findall(where):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth < 0:
            break
    if depth:
        raise InvalidInput(f"where: the parentheses of {where!r} do not match")
    return f"({where}\n)"


def _said_of_predicate(said: str) -> str:
    # Columns of Lance's and ours are none of the caller's, nor is what encloses his words.
    said = re.sub(r", _[a-z_]+", "", said)
    said = re.sub(r"(SELECT 1 FROM t WHERE )?\((.*)\n\)", r"\2", said, flags=re.DOTALL)
    return " ".join(said.split())[:600]


# Quoted text and comments first: parentheses inside them do not count.
_SQL_TOKENS = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|`[^`]*`|--[^\n]*|/\*.*?\*/|[()]""", re.DOTALL)
