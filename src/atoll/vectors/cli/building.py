"""Commands that bring rows into a collection: plan, create, add, upsert, adopt."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
import pyarrow as pa

from atoll.core.config import Settings
from atoll.core.resources import parse_bytes
from atoll.core.terminal import progress_bars
from atoll.core.text import counted, printable
from atoll.vectors.cli.buildsteps import check_steps, print_step, steps_options, submit_steps
from atoll.vectors.cli.common import (
    index_text,
    json_option,
    print_choice,
    print_info,
    tell_cost,
    uri_argument,
)
from atoll.vectors.cli.executing import executor_option, is_elsewhere, opened_executor
from atoll.vectors.cli.onbatch import Portable, taken
from atoll.vectors.model import DISTANCE_TYPES, DTYPES, INDEX_KINDS
from atoll.vectors.options import (
    AUTO,
    CODE_BITS,
    DEVICES,
    ON_BAD_ROW,
    BuildOptions,
    BuildStep,
)
from atoll.vectors.output import write_table


class Size(click.ParamType[int]):
    """A number of bytes such as 500G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        try:
            return value if isinstance(value, int) else parse_bytes(value)
        except ValueError:
            self.fail(f"{value!r} is not a size such as 500G", param, ctx)


SIZE = Size()


class Partitions(click.ParamType[Any]):
    """A number of partitions, or "auto"."""

    name = "auto|integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        return value if value == AUTO else click.IntRange(1).convert(value, param, ctx)


def build_options(command: Any) -> Any:
    """Add what plan, create, add and upsert have in common."""
    for option in reversed(
        (
            uri_argument,
            click.argument("sources", nargs=-1, required=True),
            click.option("--bucket-rows", type=click.IntRange(1), default=BuildOptions.bucket_rows,
                         show_default=True, help="Rows a bucket holds at most."),
            click.option("--bucket-bytes", type=SIZE, metavar="SIZE",
                         help="How much a bucket holds at most, in bytes, e.g. 500G."),
            click.option("--vector-column", help="Vectors, in sources and tables."),
            click.option("--id-column", help="Ids, in sources and tables."),
            click.option("--ids", metavar="FILE",
                         help="Ids, one a line, for one .npy or .fvecs source."),
            click.option("--batch-rows", type=click.IntRange(1), default=BuildOptions.batch_rows,
                         show_default=True, help="Rows handled at once."),
            click.option("--workers", type=click.IntRange(1), help="Worker processes."),
            click.option("--on-invalid", type=click.Choice(ON_BAD_ROW), default="error",
                         show_default=True, help="Refuse or leave out rows with NaN or infinity, "
                         "or only zeros under cosine."),
            click.option("--on-duplicate", type=click.Choice(ON_BAD_ROW), default="error",
                         show_default=True, help="Refuse or leave out rows with an id met before."),
            click.option("--calibrate/--no-calibrate", default=None,
                         help="Measure recall at the end, or leave that for later.  [default: "
                         "measure above 10,000 rows]"),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def index_options(command: Any) -> Any:
    """Add what is fixed when a collection is made."""
    for option in reversed(
        (
            click.option("--distance-type", type=click.Choice(DISTANCE_TYPES), default="cosine",
                         show_default=True, help="What near means, as LanceDB spells it."),
            click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True,
                         help="How vectors are stored; int8 is for cosine only."),
            click.option("--index", type=click.Choice(INDEX_KINDS), default="rabitq",
                         show_default=True, help="Atoll's own, Lance's, or no index at all."),
            click.option("--num-partitions", type=Partitions(), metavar="N|auto",
                         help="Partitions per bucket; auto tries several on a sample.  "
                         "[default: rows / 500; ivf_pq: sqrt(rows)]"),
            click.option("--recall", type=float, metavar="SHARE",
                         help="What --num-partitions auto must hold.  [default: 0.95]"),
            click.option("--num-sub-vectors", type=click.IntRange(1),
                         help="ivf_pq only.  [default: dim / 16]"),
            click.option("--bits", type=click.Choice(CODE_BITS),
                         help="Bits per dimension of a rabitq code.  [default: 1]"),
            click.option("--device", type=click.Choice(DEVICES), default="cpu", show_default=True,
                         help="Where the index is trained and rows are assigned."),
            click.option("--seed", type=int, default=0, show_default=True,
                         help="Picks the training sample and the rotation."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@build_options
@index_options
@json_option
@click.pass_obj
def plan(
    settings: Settings, /, uri: str, sources: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Show which rows would go into which bucket of URI, and what it costs. Writes nothing."""
    from atoll.vectors import partitions
    from atoll.vectors.forecast import forecast
    from atoll.vectors.service import plan_collection

    options = BuildOptions(**given)
    with progress_bars(settings.quiet) as on_progress:
        planned = plan_collection(
            uri, sources, options=options, settings=settings, on_progress=on_progress
        )
    cost = forecast(planned, settings)
    buckets, spec = planned.buckets, planned.spec
    facts = {
        "uri": str(planned.storage),
        "rows": buckets.rows,
        "buckets": [
            {"rows": b.rows, "slices": [[s.uri, s.start, s.stop] for s in b.slices]}
            for b in buckets.buckets
        ],
        "largest_to_smallest": buckets.ratio,
        "dim": spec.dim,
        "dtype": spec.dtype,
        "distance_type": spec.distance_type,
        "index": vars(spec.index),
        "columns": spec.columns,
        "partitions": None if planned.choice is None else partitions.facts(planned.choice),
        "forecast": cost.facts(),
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    lines = [
        {"bucket": number, "rows": b.rows, "file": s.uri, "from": s.start, "to": s.stop}
        for number, b in enumerate(buckets.buckets)
        for s in b.slices
    ]
    print_choice(planned.choice)
    write_table(pa.Table.from_pylist(lines), sys.stdout, max_width=None, counts=["rows"])
    click.echo(
        f"{counted(buckets.rows, 'row')} of {spec.dim} x {spec.dtype} in "
        f"{counted(len(buckets.buckets), 'bucket')}, "
        f"largest/smallest {buckets.ratio:.3f}; index {index_text(vars(spec.index))}\n"
    )
    write_table(pa.table(cost.table()), sys.stdout, max_width=None)
    for note in cost.notes:
        click.echo(printable(note))
    for warning in cost.warnings:
        click.echo(printable(f"WARNING {warning}"))


@click.command(cls=Portable)
@build_options
@index_options
@click.option("--force", is_flag=True, help="Replace a collection that is there.")
@executor_option
@steps_options
@json_option
@click.pass_context
def create(
    context: click.Context,
    /,
    uri: str,
    sources: tuple[str, ...],
    force: bool,
    executor: str,
    step: BuildStep | None,
    step_index: int | None,
    buckets: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Build a collection at URI from SOURCES: files, folders, globs or URLs of vectors.

    Killed or interrupted, the same command continues where it stopped.
    """
    from atoll.vectors import service

    settings: Settings = context.obj
    on_batch = taken(settings, given)
    options = BuildOptions(**given)
    check_steps(context, step, step_index, buckets, on_batch)
    is_elsewhere(context, executor)
    if on_batch is not None:

        def count() -> int:
            return service.count_buckets(uri, sources, options=options, settings=settings)

        submit_steps(context, on_batch, buckets, count, as_json=as_json)
        return
    with opened_executor(context, executor) as where, progress_bars(settings.quiet) as on_progress:
        if step is None:
            found: Any = service.create_collection(
                uri, sources, options=options, settings=settings, force=force,
                executor=where, on_progress=on_progress,
            )  # fmt: skip
        else:
            found = service.create_step(
                step, uri, sources, index=step_index, options=options, settings=settings,
                force=force, executor=where, on_progress=on_progress,
            )  # fmt: skip
    if isinstance(found, dict):
        print_step(found, as_json)
        return
    if not as_json:
        print_choice(found.partition_choice)
    print_info(found.info(), as_json)


@click.command(cls=Portable)
@build_options
@executor_option
@steps_options
@json_option
@click.pass_context
def add(
    context: click.Context,
    /,
    uri: str,
    sources: tuple[str, ...],
    executor: str,
    step: BuildStep | None,
    step_index: int | None,
    buckets: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Add SOURCES to the collection at URI as new buckets; no old object is touched."""
    from atoll.vectors.service import open_collection

    settings: Settings = context.obj
    on_batch = taken(settings, given)
    options = BuildOptions(**given)
    check_steps(context, step, step_index, buckets, on_batch)
    is_elsewhere(context, executor)
    if on_batch is not None:

        def count() -> int:
            return open_collection(uri, settings).count_new_buckets(sources, options=options)

        submit_steps(context, on_batch, buckets, count, as_json=as_json)
        return
    collection = open_collection(uri, settings)
    with opened_executor(context, executor) as where, progress_bars(settings.quiet) as on_progress:
        if step is None:
            collection.add(sources, options=options, executor=where, on_progress=on_progress)
            told = None
        else:
            told = collection.add_step(
                step, sources, index=step_index, options=options, executor=where,
                on_progress=on_progress,
            )  # fmt: skip
    if told is None:
        print_info(collection.info(), as_json)
    else:
        print_step(told, as_json)


@click.command()
@build_options
@executor_option
@json_option
@click.pass_context
def upsert(
    context: click.Context,
    /,
    uri: str,
    sources: tuple[str, ...],
    executor: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Add SOURCES to the collection at URI; rows whose ids are there replace the old ones."""
    from atoll.vectors.service import open_collection

    settings: Settings = context.obj
    collection, options = open_collection(uri, settings), BuildOptions(**given)
    with opened_executor(context, executor) as where, progress_bars(settings.quiet) as on_progress:
        report = collection.upsert(
            sources, options=options, executor=where, on_progress=on_progress
        )
    if as_json:
        click.echo(json.dumps({**vars(report), "added": report.added}, indent=2))
        return
    click.echo(
        f"{counted(report.added, 'row')} added, {counted(report.replaced, 'row')} replaced; "
        f"version {report.version} has {counted(len(collection), 'row')}"
    )
    tell_cost(report.requests, report.size_bytes)


@click.command()
@uri_argument
@click.option("--vector-column", help="Vectors; else the column by a usual name.")
@click.option("--id-column", help="Ids; else the column by a usual name.")
@click.option("--distance-type", type=click.Choice(DISTANCE_TYPES),
              help="What near means.  [default: as the indexes]")  # fmt: skip
@click.option("--table", "tables", multiple=True, metavar="NAME",
              help="Adopt this table only; may be repeated.")  # fmt: skip
@click.option("--skip-unfit", is_flag=True, help="Leave out tables that do not fit.")
@json_option
@click.pass_obj
def adopt(settings: Settings, /, uri: str, as_json: bool, **given: Any) -> None:
    """Make a collection of the LanceDB database at URI; no table is rewritten.

    Given again, it takes up tables that are new or have changed.
    """
    from atoll.vectors.fitting import AdoptOptions
    from atoll.vectors.service import adopt_collection

    with progress_bars(settings.quiet) as on_progress:
        collection = adopt_collection(
            uri, options=AdoptOptions(**given), settings=settings, on_progress=on_progress
        )
    print_info(collection.info(), as_json)
