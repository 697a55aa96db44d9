"""The one error tree of Atoll.

    AtollError
      InvalidInput    a value, file or option is wrong; mend it and try again
      NotFound        there is no such thing (or you may not know of it)
      Forbidden       credentials or permissions do not allow it
        Unauthenticated   there are no credentials, or they are not valid (any more)
      Conflict        somebody else did, or is doing, something that excludes this
      TooManyRequests you try too often; wait, then try again
      Unavailable     a store, server or process did not answer; try again later
      Corrupt         stored bytes are not what was written
      Incomplete      part of an answer is missing; what is missing is named

Python raises these, the command line prints them and exits with `exit_code`, HTTP answers with
`status`.
"""

from __future__ import annotations

from typing import Any


class AtollError(Exception):
    """Any error Atoll raises on purpose.

    Attributes:
        message: what was wrong, which input, how to mend it; one line.
        details: the facts behind the message, JSON-ready (paths, rows, counts, names).
    """

    code = "error"
    status = 500
    exit_code = 1

    def __init__(self, message: str, **details: Any) -> None:
        """Keep message and facts."""
        super().__init__(message)
        self.message = message
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell pickle how to rebuild it."""
        # Exceptions cross process borders; the default would lose the keyword arguments.
        return _rebuild, (type(self), self.message, self.details)


def _rebuild(kind: type[AtollError], message: str, details: dict[str, Any]) -> AtollError:
    return kind(message, **details)


class InvalidInput(AtollError):
    """A value, file or option is wrong."""

    code = "invalid_input"
    status = 400


class NotFound(AtollError):
    """There is no such thing, or the caller may not know of it."""

    code = "not_found"
    status = 404


class Forbidden(AtollError):
    """Credentials or permissions do not allow it."""

    code = "forbidden"
    status = 403


class Unauthenticated(Forbidden):
    """Credentials are missing, or not valid any more."""

    code = "unauthenticated"
    status = 401


class Conflict(AtollError):
    """Somebody else's work excludes this."""

    code = "conflict"
    status = 409


class TooManyRequests(AtollError):
    """Somebody tries too often; `details` say how long to wait, as `retry_after_s`."""

    code = "too_many_requests"
    status = 429


class Unavailable(AtollError):
    """A store, server or process did not answer."""

    code = "unavailable"
    status = 503


class Corrupt(AtollError):
    """Stored bytes are not what was written."""

    code = "corrupt"
    status = 500


class Incomplete(AtollError):
    """Part of an answer is missing; `details` name the part.

    Attributes:
        partial: the answer without it, for whoever can use that.
    """

    code = "incomplete"
    status = 502
    exit_code = 3
    partial: Any = None
