"""Looks tables through for personal data where foreign files may be read: in another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.compute.deadlines import in_worker
from atoll.compute.port import Executor
from atoll.core.config import StorageOptions
from atoll.core.errors import AtollError, InvalidInput
from atoll.mesh.harvest.model import Technical
from atoll.mesh.harvest.sampling import sample_of
from atoll.mesh.pii import Column, Proposal, propose

SECONDS = 120  # for the first rows of one table


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
    executor: Executor, assets: Sequence[Technical], options: StorageOptions
) -> list[Findings]:
    """Look assets through, tables with their first rows, others by the names of their columns.

    Args:
        executor: where rows are read, and looked at; none of them comes back.
        assets: as they were harvested, all of one store.
        options: how to reach it.

    Returns:
        What was found in each, in their order.
    """
    tables = [one for one in assets if one.kind == "table"]
    outcomes = executor.map(_looked, [(one, options) for one in tables], name=_location)
    found = {
        one.location: outcome.value or _by_names(one, outcome.error)
        for one, outcome in zip(tables, outcomes, strict=True)
    }
    return [found.get(one.location) or _by_names(one) for one in assets]


def _location(asked: tuple[Technical, StorageOptions]) -> str:
    return asked[0].location


def _looked(asked: tuple[Technical, StorageOptions]) -> Findings:
    table, options = asked
    try:
        return in_worker(
            lambda: Findings(tuple(propose(_columns(table), sample_of(table, options)))),
            SECONDS,
            table.location,
        )
    except AtollError as error:
        return _by_names(table, error)


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
