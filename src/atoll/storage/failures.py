"""What a store said when it failed, as one of Atoll's errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore import exceptions as obstore_errors

from atoll.core.errors import (
    AtollError,
    Corrupt,
    Forbidden,
    InvalidInput,
    NotFound,
    Unavailable,
)
from atoll.core.files import system_failure

# S3 sends these with status 400; the others that concern keys come with 401 or 403.
_KEY_PROBLEMS = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired"}

# Before what our own credential provider raised, class and message.
_NO_KEYS_CAME = "External AWS credential provider: "
_BEYOND_THE_END = re.compile("range was invalid|Invalid range")


@contextmanager
def translated(place: str, *, endpoint: str | None = None) -> Iterator[None]:
    """Raise whatever a store raises inside the block as an error of Atoll's tree.

    Args:
        place: the path or URL of the object, for the message.
        endpoint: the S3 endpoint that was asked; None for local folders.
    """
    try:
        yield
    except (OSError, ValueError, obstore_errors.BaseError) as error:
        raise as_atoll_error(error, place, endpoint) from error


def as_atoll_error(error: Exception, place: str, endpoint: str | None) -> AtollError:
    """Translate one exception of obstore or the operating system.

    obstore tells most causes only in its text: the number of the system's error, or the status and
    S3 code of the server's answer.
    """
    text = str(error).split("\n\nDebug source", 1)[0].strip()
    if "NoSuchBucket" in text:
        return NotFound(
            f"{place}: there is no such bucket at {endpoint}; create it or mend the URL"
        )
    if isinstance(error, FileNotFoundError | obstore_errors.NotFoundError):
        return NotFound(f"{place} does not exist")
    if isinstance(error, obstore_errors.InvalidPathError):
        return InvalidInput(f"{place}: {' '.join(text.split())}; rename or remove that object")
    if endpoint is None:
        return _local_error(error, text, place)
    return _s3_error(error, text, place, endpoint)


def _local_error(error: Exception, text: str, place: str) -> AtollError:
    said = re.search(r"os error (\d+)", text)
    number = int(said[1]) if said else getattr(error, "errno", None)
    if number is None and (isinstance(error, ValueError) or "not supported" in text):
        return InvalidInput(f"{place} cannot be a file there: {text}")
    if _BEYOND_THE_END.search(text):
        return Corrupt(f"{place} is shorter than expected; it was cut off or overwritten")
    return system_failure(number, text, place)


def _s3_error(error: Exception, text: str, place: str, endpoint: str) -> AtollError:
    status_said = re.search(r"status code: (\d+)", text)
    code_said = re.search(r"<Code>(\w+)</Code>", text)
    status = int(status_said[1]) if status_said else 0
    code = code_said[1] if code_said else ""
    if _NO_KEYS_CAME in text:
        return Forbidden(f"{place}: {text.split(_NO_KEYS_CAME)[1].split(': ', 1)[-1]}")
    if "169.254.169.254" in text:
        return Forbidden(
            f"{place}: no credentials were found; give access_key_id and secret_access_key, or a "
            "profile"
        )
    if status in (401, 403) or code in _KEY_PROBLEMS:
        return Forbidden(
            f"{place}: {endpoint} refused the credentials ({code or status}); check access_key_id, "
            "secret_access_key and session_token, and what they may do there"
        )
    if status == 416 or _BEYOND_THE_END.search(text):
        return Corrupt(f"{place} is shorter than expected; it was cut off or overwritten")
    if status in (301, 307) or code == "AuthorizationHeaderMalformed" or "redirect" in text:
        return InvalidInput(f"{place} lives in another region; set region: {text}")
    if status in (400, 405, 501) or isinstance(error, ValueError):
        return InvalidInput(f"{place}: {endpoint} does not accept the request ({code}): {text}")
    return Unavailable(
        f"{place}: {endpoint} did not serve the request ({_reason(text)}); check the endpoint and "
        "the network, then try again"
    )


def _reason(text: str) -> str:
    """Keep the part of obstore's sentence after the request it names."""
    return text.rsplit(" - ", 1)[-1].removeprefix("Generic S3 error: ")[:300]
