"""Buckets that do not answer: what steps note of them, and when nobody is left to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from atoll.core.errors import AtollError, Corrupt, Forbidden, InvalidInput, NotFound, Unavailable
from atoll.vectors.distributed.run import Run
from atoll.vectors.mapreduce import BucketsFailed

# Whoever asks has to mend these; no bucket is to blame.
_CALLERS = (InvalidInput, Forbidden)


def given_up(run: Run, said: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Tell which buckets steps have given up, and why.

    The state machine passes on the name of the error; what it said stands in the run's folder.

    Raises:
        InvalidInput, Forbidden: a step refused what was asked.
    """
    found = {}
    for each in said:
        if error := each.get("error"):
            position = int(each["bucket"])
            found[position] = why_failed(run, position, str(error.get("Error", "failed")))
    return found


def why_failed(run: Run, position: int, name: str = "") -> str:
    """Tell why a bucket failed: what its step noted, else the name of its error.

    Raises:
        InvalidInput, Forbidden: the step refused what was asked.
    """
    noted = run.failure(position)
    if isinstance(noted, _CALLERS):
        raise noted
    return name if noted is None else noted.message


def note(run: Run, failure: BucketsFailed, failed: dict[int, str]) -> None:
    """Take buckets for failed that cannot be read; what may pass is raised."""
    for position, error in failure.errors.items():
        if not isinstance(error, Corrupt | NotFound):
            raise error from failure
        run.put_failure(position, error)
        failed[position] = error.message


def require_some(run: Run, failed: Mapping[int, str], buckets: int) -> None:
    """Raise why where no bucket is left."""
    if failed and len(failed) == buckets:
        first = min(failed)
        raise run.failure(first) or Unavailable(f"no bucket answers: {failed[first]}")


@contextmanager
def noting_failure(run: Run, position: int) -> Iterator[None]:
    """Write down why a bucket does not answer, for whoever merges what the others say."""
    try:
        yield
    except AtollError as error:
        with suppress(AtollError):
            run.put_failure(position, error)
        raise
