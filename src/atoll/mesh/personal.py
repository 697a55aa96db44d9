"""Looks tables through for personal data where foreign files may be read: in another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa

from atoll.compute.deadlines import in_worker
from atoll.compute.port import Executor, Outcome
from atoll.core.config import StorageOptions
from atoll.core.errors import AtollError, InvalidInput, Unavailable
from atoll.mesh.harvest.losses import Losses
from atoll.mesh.harvest.model import CollectionReader, Technical
from atoll.mesh.harvest.sampling import sample_of
from atoll.mesh.pii import Column, Proposal, propose

Asked: TypeAlias = tuple[Technical, StorageOptions, CollectionReader | None]
SAMPLE_SECONDS = 120  # for the first rows of one table


@dataclass(frozen=True)
class Findings:
    """What speaks for personal data in one asset.

    Attributes:
        proposals: for people to decide on.
        remark: why its values were not looked at, so that at most names spoke; empty: they were.
    """

    proposals: tuple[Proposal, ...] = ()
    remark: str = ""


NOT_LOOKED_AT = Findings((), "personal data were not looked for: it was changed meanwhile")


def look_through(
    executor: Executor,
    assets: Sequence[Technical],
    options: StorageOptions,
    collections: CollectionReader | None = None,
) -> list[Findings]:
    """Look assets through, whatever has rows with its first ones.

    Args:
        executor: where rows are read, and looked at; none of them comes back.
        assets: as they were harvested, all of one store.
        options: how to reach it.
        collections: reads vector collections.

    Returns:
        What was found in each, in their order.
    """
    tables = [one for one in assets if one.kind != "file set"]
    work = [(one, options, collections) for one in tables]
    found: dict[str, Findings] = {}
    losses = Losses()

    def done(index: int, outcome: Outcome[Findings]) -> None:
        one = tables[index]
        found[one.location] = outcome.value or _by_names(one, outcome.error)
        losses.told(index, outcome)

    gone: Unavailable | None = None
    try:
        executor.map(_looked, work, name=_location, on_done=done)
    except Unavailable as error:
        gone = error
    return [
        found.get(one.location) or _by_names(one, gone if one in tables else None) for one in assets
    ]


def _location(asked: Asked) -> str:
    return asked[0].location


def _looked(asked: Asked) -> Findings:
    table, options, collections = asked
    return in_worker(
        lambda: _with_values(table, sample_of(table, options, collections)),
        SAMPLE_SECONDS,
        table.location,
    )


def _with_values(table: Technical, values: pa.Table) -> Findings:
    return Findings(tuple(propose(_columns(table), values)))


def _by_names(asset: Technical, error: Exception | None = None) -> Findings:
    remark = ""
    if error is not None:
        why = error.message if isinstance(error, AtollError) else "its files are damaged"
        remark = f"personal data were looked for by the names of columns alone: {why}"
    try:
        return Findings(tuple(propose(_columns(asset))), remark)
    except InvalidInput as refused:
        return Findings((), f"personal data were not looked for: {refused.message}")


def _columns(asset: Technical) -> list[Column]:
    return [Column(one.name, one.type) for one in asset.schema]
