"""How a task travels to a worker process, and its outcome back: by pickle, with clear errors."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from atoll.core.errors import AtollError, InvalidInput

T = TypeVar("T")


def pack(task: Callable[[T], Any], item: T, label: str) -> bytes:
    """Make a task ready to be sent.

    Raises:
        InvalidInput: it cannot be.
    """
    try:
        return pickle.dumps((task, item), pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise _unsendable(label, "sent to", error) from error


def answer(packed: bytes) -> bytes:
    """Carry a task out; return what became of it, ready to be sent back."""
    try:
        task, item = pickle.loads(packed)
        return _packed_result(task(item))
    # Whatever a task raises is its outcome; that is the port's promise.
    except Exception as error:
        told = "" if isinstance(error, AtollError) else traceback.format_exc()
        return _packed_error(error, told)


def _packed_result(value: Any) -> bytes:
    try:
        return pickle.dumps((value, None, ""), pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise _unsendable(f"a {type(value).__name__}", "sent back by", error) from error


def _packed_error(error: Exception, told: str) -> bytes:
    try:
        packed = pickle.dumps((None, error, told), pickle.HIGHEST_PROTOCOL)
        pickle.loads(packed)
    # An exception class may forbid either step in any way it likes.
    except Exception:
        stand_in = AtollError(f"{type(error).__name__}: {error}")
        return pickle.dumps((None, stand_in, told), pickle.HIGHEST_PROTOCOL)
    return packed


def unpack(message: bytes, label: str) -> tuple[Any, Exception | None]:
    """Read what `answer` returned: a value or an error."""
    try:
        value, error, told = pickle.loads(message)
    # What a foreign class does when it is rebuilt here is anybody's guess.
    except Exception as broken:
        return None, _unsendable(label, "sent back by", broken)
    if error is not None and told:
        error.add_note(told)
    return value, error


def _unsendable(label: str, direction: str, error: Exception) -> AtollError:
    return InvalidInput(
        f"{label} cannot be {direction} a worker process: {type(error).__name__}: {error}; use a "
        "function at the top of a module, and plain data"
    )
