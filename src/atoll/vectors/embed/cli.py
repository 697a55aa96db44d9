"""The command `atoll embed`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from atoll.core.config import Settings
from atoll.core.terminal import progress_bars
from atoll.core.text import counted
from atoll.vectors.cli.executing import executor_option, is_elsewhere, opened_executor
from atoll.vectors.cli.onbatch import (
    Portable,
    Stage,
    batch_options,
    require_reachable,
    step_index_option,
    submit,
    taken,
    words_of,
)
from atoll.vectors.embed.devices import PRECISIONS
from atoll.vectors.embed.models import DEFAULT_BATCH_TOKENS, DEFAULT_MODEL, REGISTRY
from atoll.vectors.embed.service import DEFAULT_SHARD_ROWS, EmbedOptions, EmbedReport
from atoll.vectors.embed.service import embed as embed_service


def _part(context: click.Context, option: click.Parameter, value: str) -> tuple[int, int]:
    """Read text such as "3/7"."""
    index, _, count = value.partition("/")
    if not index.isdecimal() or not count.isdecimal():
        raise click.BadParameter(f"{value!r} is not like 3/7", context, option)
    return int(index), int(count)


@click.command(cls=Portable)
@click.argument("inputs", nargs=-1, required=True, metavar="FASTA...")
@click.option(
    "-o",
    "--output",
    required=True,
    help="HDF5 file; with --shard-rows or --part a folder; or a folder's URL.",
)
@click.option(
    "--model",
    type=click.Choice(list(REGISTRY)),
    default=DEFAULT_MODEL,
    show_default=True,
    help="What makes the vectors.",
)
@click.option(
    "--model-path", type=click.Path(path_type=Path), help="Folder of the model's published weights."
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Arithmetic of the model; bfloat16 is for GPUs.",
)
@click.option(
    "--batch-tokens",
    type=click.IntRange(1),
    default=DEFAULT_BATCH_TOKENS,
    show_default=True,
    help="Residues, padding included, in a batch of a torch model.",
)
@click.option(
    "--tile",
    type=click.IntRange(1),
    metavar="RESIDUES",
    help="One vector per so many residues, instead of one per protein.",
)
@click.option(
    "--tile-overlap",
    type=click.IntRange(0),
    metavar="RESIDUES",
    help="Residues that neighbouring tiles share.  [default: half a tile]",
)
@click.option(
    "--shard-rows",
    type=click.IntRange(1),
    metavar="ROWS",
    help="Make OUTPUT a folder of files with so many rows each."
    f"  [default with --part: {DEFAULT_SHARD_ROWS}]",
)
@click.option(
    "--part",
    callback=_part,
    metavar="I/N",
    default="1/1",
    show_default=True,
    help="Embed part i of n, for n machines.",
)
@click.option(
    "--parts",
    type=click.IntRange(1),
    metavar="N",
    help="Embed the part of n that --step-index or AWS Batch says; with --executor all n.",
)
@step_index_option
@click.option(
    "--on-duplicate",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="Ids met before.",
)
@click.option("--force", is_flag=True, help="Replace what is there.")
@executor_option
@batch_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def embed(
    context: click.Context,
    /,
    inputs: tuple[str, ...],
    output: str,
    parts: int | None,
    step_index: int | None,
    executor: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Turn the proteins of FASTA files (or - for standard input) into vectors.

    Files may be plain, gzip, bzip2, xz or zstd. Killed at any point, the same command continues.
    """
    settings: Settings = context.obj
    on_batch = taken(settings, given)
    is_shared = is_elsewhere(context, executor)
    _check_parts(context, parts, is_shared)
    if on_batch is not None:
        require_reachable(*inputs, output)
        submit([Stage("embed", words_of(context), parts)], on_batch, as_json=as_json)
        return
    if is_shared:
        assert parts is not None
        report = _embed_elsewhere(context, executor, parts, EmbedOptions(**given))
        _tell(report, output, settings, as_json)
        return
    if parts is not None:
        if step_index is None:
            raise click.UsageError("--parts needs --step-index")
        given["part"] = (step_index + 1, parts)
        given["shard_rows"] = given["shard_rows"] or DEFAULT_SHARD_ROWS
    with progress_bars(settings.quiet) as on_progress:
        report = embed_service(
            inputs,
            output,
            options=EmbedOptions(**given),
            settings=settings,
            on_progress=on_progress,
        )
    _tell(report, output, settings, as_json)


def _embed_elsewhere(
    context: click.Context, executor: str, parts: int, options: EmbedOptions
) -> EmbedReport:
    """Have all parts made by the workers of an executor."""
    from atoll.vectors.embed.distributing import embed_parts

    settings: Settings = context.obj
    with opened_executor(context, executor) as where, progress_bars(settings.quiet) as on_progress:
        assert where is not None
        return embed_parts(
            context.params["inputs"],
            context.params["output"],
            parts=parts,
            executor=where,
            options=options,
            settings=settings,
            on_progress=on_progress,
        )


def _tell(report: EmbedReport, output: str, settings: Settings, as_json: bool) -> None:
    """Print what an embed did."""
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        click.echo(json.dumps(_facts(report, output), indent=2))
    elif not settings.quiet:
        click.echo(_sentence(report, output))


def _check_parts(context: click.Context, parts: int | None, is_shared: bool) -> None:
    """Refuse options of parts that do not fit together."""
    said = click.core.ParameterSource.COMMANDLINE
    if parts is not None and context.get_parameter_source("part") is said:
        raise click.UsageError("give --part or --parts, not both")
    if is_shared and parts is None:
        raise click.UsageError("--executor needs --parts: how many its workers share")
    if context.get_parameter_source("step_index") is not said:
        return
    if parts is None:
        raise click.UsageError("--step-index goes with --parts")
    if context.params["via"] == "batch":
        raise click.UsageError("--via batch embeds all parts; leave --step-index out")
    if is_shared:
        raise click.UsageError("--executor embeds all parts; leave --step-index out")


def _facts(report: EmbedReport, output: str) -> dict[str, Any]:
    return {**asdict(report), "output": output, "files": [str(path) for path in report.files]}


def _sentence(report: EmbedReport, output: str) -> str:
    made = report.rows - report.resumed_rows
    speed = f", {made / report.seconds:,.0f} a second" if report.seconds > 0 and made else ""
    resumed = f" ({report.resumed_rows:,} from before)" if report.resumed_rows else ""
    skipped = f"; {counted(report.skipped, 'duplicate')} left out" if report.skipped else ""
    return (
        f"{counted(report.rows, 'vector')} of {report.embedder.dim}{resumed} from"
        f" {counted(report.proteins, 'protein')} in {output} ({counted(len(report.files), 'file')},"
        f" {report.embedder.name} {report.embedder.revision}, {report.embedder.precision})"
        f"{speed}{skipped}"
    )
