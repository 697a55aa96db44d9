"""Commands that search by many processes: batch-search, and the single steps of a search."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import click

from atoll.core.config import Settings
from atoll.core.terminal import progress_bars
from atoll.core.text import counted
from atoll.storage import local_path
from atoll.vectors.cli.common import json_option, print_bill, uri_argument
from atoll.vectors.cli.executing import executor_option, opened_executor
from atoll.vectors.cli.searching import names_of, search_settings
from atoll.vectors.options import INDEX_VARIABLES, STEPS
from atoll.vectors.output import describe_search
from atoll.vectors.work import Work


@click.command("batch-search")
@uri_argument
@click.argument("queries")
@search_settings
@click.option("-o", "--output", required=True, metavar="FOLDER",
              help="Folder or URL for the hits; empty, or of the same search.")  # fmt: skip
@click.option("--format", "format_", type=click.Choice(("csv", "parquet")), default="csv",
              show_default=True, help="Kind of files.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True,
              help="Buckets searched at once.")  # fmt: skip
@executor_option
@click.option("--plan-only", is_flag=True, help="Leave the searching to others: `atoll step`.")
@click.option("--bill", is_flag=True, help="Say what the search asked of the store, and took.")
@json_option
@click.pass_context
def batch_search(
    context: click.Context,
    /,
    uri: str,
    queries: str,
    output: str,
    format_: str,
    workers: int,
    executor: str,
    plan_only: bool,
    bill: bool,
    columns: str | None,
    ids: str | None,
    model_path: Path | None,
    version: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Answer many QUERIES: each bucket of URI is copied to --scratch and searched for all."""
    from atoll.vectors.distributed import workers as local
    from atoll.vectors.distributed.clouds import require_whole
    from atoll.vectors.options import search_options
    from atoll.vectors.service import open_collection

    settings: Settings = context.obj
    collection = open_collection(uri, settings, version)
    found = collection.queries(queries, ids=ids, model_path=model_path)
    options = search_options(columns=names_of(columns), **given)
    run = collection.begin_run(output, found, options, suffix=f".{format_}", is_refined_early=True)
    if plan_only:
        told = local.planned(run, settings)
        shown = {"run": run.storage.url} | {name: told[name] for name in ("buckets", "groups")}
        click.echo(json.dumps(shown))
        return
    with opened_executor(context, executor) as where, progress_bars(settings.quiet) as on_progress:
        summary = local.batch_search(
            run, settings, workers=workers, executor=where, on_progress=on_progress
        )
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    elif not settings.quiet:
        files = counted(len(run.request.blocks), "file")
        click.echo(f"{describe_search(summary, summary['hits'])}; {files} in {run}", err=True)
    if bill:
        works = [Work(**each) for each in summary["works"]]
        print_bill(works, settings, is_free=collection.is_here)
    require_whole(run, summary)


@click.command()
@click.argument("name", type=click.Choice(STEPS), metavar="STEP")
@click.argument("run")
@click.option("--index", type=click.IntRange(0), envvar=INDEX_VARIABLES,
              help="Which bucket or group, from 0.")  # fmt: skip
@click.option("--download", is_flag=True, help="Copy the bucket to --scratch first.")
@click.pass_obj
def step(settings: Settings, /, name: str, run: str, index: int | None, download: bool) -> None:
    """Carry out one STEP of the search in the folder RUN.

    plan, filter, search, fold, measure or refine.
    """
    from atoll.vectors.distributed.dispatch import carry_out

    if download and name != "search":
        raise click.UsageError("--download goes with the step search")
    event: dict[str, Any] = {"step": name, "run": run}
    if name not in ("plan", "refine"):
        if index is None:
            raise click.UsageError(f"step {name} needs --index, or {INDEX_VARIABLES[0]}")
        event["group" if name == "fold" else "bucket"] = index
    if download:
        event["copy"] = str(settings.scratch or gettempdir())
    click.echo(json.dumps(carry_out(event, settings)))


@click.command()
@uri_argument
@click.option("--codes", is_flag=True, help="Also all codes: what a search by index reads most.")
@click.option("--vectors", is_flag=True,
              help="Also all codes, vectors and ids: all that a search reads.")  # fmt: skip
@click.pass_obj
def warm(settings: Settings, /, uri: str, codes: bool, vectors: bool) -> None:
    """Keep in the disk cache what every search of URI reads, so that the next one need not."""
    from atoll.core.errors import InvalidInput
    from atoll.vectors.service import open_collection

    if settings.disk_cache is None:
        raise InvalidInput("disk_cache is off, so nothing can be kept; set it to a folder")
    if local_path(uri) is not None:
        raise InvalidInput(f"{uri} lies on this machine; only what an object store holds is kept")
    with progress_bars(settings.quiet) as on_progress:
        report = open_collection(uri, settings).warm(
            codes=codes, vectors=vectors, on_progress=on_progress
        )
    click.echo(
        f"{counted(report.gets, 'read')} of {counted(report.bytes_read, 'byte')}; kept in "
        f"{settings.disk_cache}"
    )
