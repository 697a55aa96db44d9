"""How long work tells how far it is: a callback the caller may give, silence otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One report of a running stage.

    Attributes:
        stage: what is being done, e.g. "embed" or "build buckets".
        done: units finished so far in this stage.
        total: units in all; None while unknown.
        unit: what is counted, plural ("rows", "sequences", "buckets").
    """

    stage: str
    done: int
    total: int | None
    unit: str


OnProgress = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Report nothing; the default of every library call."""
