"""Embeds by many workers: each reads all the input and makes its part of the vectors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from atoll.compute.port import Executor, Outcome, settings_for
from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.progress import OnProgress, Progress, silent
from atoll.storage import Storage, open_storage
from atoll.vectors.embed.fasta import STDIN
from atoll.vectors.embed.job import SINGLE_PART
from atoll.vectors.embed.service import (
    DEFAULT_SHARD_ROWS,
    EmbedOptions,
    EmbedReport,
    absolute,
    embed,
)
from atoll.vectors.reach import require_shared
from atoll.vectors.sharing import raise_failures


@dataclass(frozen=True)
class _Part:
    """One part, for a worker."""

    inputs: tuple[str, ...]
    output: Storage
    options: EmbedOptions
    settings: Settings

    def __str__(self) -> str:
        index, count = self.options.part
        return f"part {index}/{count}"


def embed_parts(
    inputs: Sequence[str | Path] | str | Path,
    output: str | Path,
    *,
    parts: int,
    executor: Executor,
    options: EmbedOptions | None = None,
    settings: Settings | None = None,
    on_progress: OnProgress = silent,
) -> EmbedReport:
    """Embed the proteins of FASTA files in parts, as many at once as the executor has workers.

    Args:
        inputs: paths or storage URLs, which every worker reads.
        output: folder or its URL. The same call goes on after the last whole file of each part.
        parts: how many; the same for every call.
        executor: where they are made.
        options: as for `embed`, without `part`.
        settings: threads and memory, for all workers together; how to reach stores.
        on_progress: told as parts end.

    Returns:
        The report of all parts.

    Raises:
        InvalidInput: standard input cannot be shared, a place is out of the executor's reach, or
            as `embed`. Its other errors, too.
    """
    options, settings = options or EmbedOptions(), settings or Settings()
    names = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    paths = tuple(absolute(str(name)) for name in names)
    _check(paths, options, parts)
    require_shared(executor, [*paths, str(output)])
    # A task may run again after it has ended; a store's folder does not mind.
    target = open_storage(output, settings.storage)
    began = time.monotonic()
    mine = settings_for(executor, settings, min(executor.workers, parts))
    shared = replace(
        options,
        shard_rows=options.shard_rows or DEFAULT_SHARD_ROWS,
        model_path=options.model_path and options.model_path.absolute(),
    )
    tasks = [
        _Part(paths, target, replace(shared, part=(number, parts)), mine)
        for number in range(1, parts + 1)
    ]
    ended = 0

    def report(_: int, __: Outcome[EmbedReport]) -> None:
        nonlocal ended
        ended += 1
        on_progress(Progress("embed", ended, parts, "parts"))

    on_progress(Progress("embed", 0, parts, "parts"))
    outcomes = executor.map(_embed, tasks, on_done=report)
    raise_failures([one.error for one in outcomes if one.error is not None], parts, "parts")
    made = [one.value for one in outcomes if one.value is not None]
    return replace(_together(made), seconds=time.monotonic() - began)


def _check(paths: Sequence[str], options: EmbedOptions, parts: int) -> None:
    if parts < 1:
        raise InvalidInput(f"parts={parts} embeds nothing; give 1 or more")
    if STDIN in paths:
        raise InvalidInput("standard input cannot be read by many workers; give a file")
    if options.part != SINGLE_PART:
        raise InvalidInput("all parts are embedded here; leave part out")


def _embed(part: _Part) -> EmbedReport:
    return embed(part.inputs, part.output, options=part.options, settings=part.settings)


def _together(reports: Sequence[EmbedReport]) -> EmbedReport:
    return EmbedReport(
        files=tuple(file for report in reports for file in report.files),
        rows=sum(report.rows for report in reports),
        resumed_rows=sum(report.resumed_rows for report in reports),
        proteins=sum(report.proteins for report in reports),
        skipped=sum(report.skipped for report in reports),
        # Each has read the whole input, and so notes the same.
        notes=tuple(dict.fromkeys(note for report in reports for note in report.notes)),
        embedder=reports[0].embedder,
        seconds=0.0,
    )
