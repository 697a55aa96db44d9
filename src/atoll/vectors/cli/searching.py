"""Commands that bring rows out of a collection: search, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from atoll.core.config import Settings
from atoll.core.terminal import progress_bars
from atoll.core.text import counted, printable, sized
from atoll.vectors.cli.common import (
    json_option,
    print_bill,
    uri_argument,
    version_option,
)
from atoll.vectors.options import AUTO, CLOUDS, LOCAL, SearchOptions
from atoll.vectors.output import FORMATS, describe_search, is_csv, write_hits
from atoll.vectors.work import watched

_SETTINGS = (
    click.option("-k", type=int, default=SearchOptions.k, show_default=True,
                 help="Hits per query."),
    click.option("--nprobes", type=int,
                 help="Partitions read per bucket.  [default: 20, more until k are found]"),
    click.option("--refine-factor", type=int,
                 help="k x this many candidates get exact distances.  [default: 5]"),
    click.option("--recall", type=float, metavar="SHARE",
                 help="Find this share of the true neighbours, e.g. 0.95."),
    click.option("--exact", is_flag=True, help="Compare with every row."),
    click.option("--max-distance", type=float, help="Leave out hits beyond this distance."),
    click.option("--where", metavar="SQL", help="Only rows that pass this predicate."),
    click.option("--columns", help="Further columns, comma-separated."),
    click.option("--with-vectors", is_flag=True, help="Return the stored vectors."),
    click.option("--exclude-self", is_flag=True, help="Leave out the hit with the query's own id."),
    click.option("--allow-partial", is_flag=True,
                 help="Accept an answer without failed buckets."),
    click.option("--version", type=click.IntRange(1), metavar="N",
                 help="An older version, as it was."),
    click.option("--ids", metavar="FILE", help="Ids, one a line, for .npy or .fvecs queries."),
    click.option("--model-path", type=click.Path(path_type=Path),
                 help="Weights for FASTA queries."),
)  # fmt: skip


def search_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Add what may be said of a search, however it is carried out."""
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


def names_of(columns: str | None) -> tuple[str, ...]:
    """Read names that commas separate."""
    return tuple(name.strip() for name in columns.split(",")) if columns else ()


@click.command()
@uri_argument
@click.argument("queries", required=False)
@click.option("--id", "stored", multiple=True, help="Query with a stored vector; may be repeated.")
@search_settings
@click.option("--group-by", metavar="COLUMN", help="Best hit per value of this column only.")
@click.option("--via", type=click.Choice((LOCAL, AUTO, *CLOUDS)), default=LOCAL, show_default=True,
              help="Who searches: this machine, what `atoll deploy aws` set up, or whoever is "
              "cheapest.")  # fmt: skip
@click.option("--budget", type=click.FloatRange(0), metavar="USD",
              help="Begin nothing that costs more by estimate; a search from here also stops once "
              "it is spent, one that a cloud has begun goes on.")  # fmt: skip
@click.option("--stack", metavar="NAME", help="CloudFormation stack of --via.  [default: atoll]")
@click.option("--results", metavar="URL", help="Where --via leaves its results.  [default: the "
              "stack's bucket]")  # fmt: skip
@click.option("--bill", is_flag=True, help="Say what the search asked of the store, and took.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
              help=f"Write hits to a file: {', '.join(FORMATS)}.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the output file.")
@json_option
@click.pass_obj
def search(
    settings: Settings,
    /,
    uri: str,
    queries: str | None,
    stored: tuple[str, ...],
    columns: str | None,
    ids: str | None,
    model_path: Path | None,
    via: Any,
    stack: str | None,
    results: str | None,
    budget: float | None,
    bill: bool,
    output: Path | None,
    force: bool,
    version: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Find the nearest neighbours of QUERIES (FASTA, HDF5, Parquet, .npy, .fvecs) in URI."""
    from atoll.vectors.pricing.budget import spending
    from atoll.vectors.service import open_collection, stored_queries
    from atoll.vectors.ways import Search, find_stack

    if (queries is None) == (not stored):
        raise click.UsageError("give QUERIES or --id, one of the two")
    if stored and ids:
        raise click.UsageError("--ids names the rows of a QUERIES file; it does not go with --id")
    if output and as_json:
        raise click.UsageError("--json prints the hits; give it or --output, not both")
    if (results or stack) and via == LOCAL:
        raise click.UsageError("--results and --stack go with --via")
    if stack:
        settings = replace(settings, aws=replace(settings.aws, stack=stack))
    write_hits(None, output, force=force)
    tell = partial(click.echo, err=True)
    with watched("open and search") as watch, progress_bars(settings.quiet) as on_progress:
        with spending(budget, uri, settings):
            collection = open_collection(uri, settings, version)
            if stored:
                batch = stored_queries(collection, stored)
            else:
                batch = collection.queries(queries, ids=ids, model_path=model_path)
            given["columns"] = names_of(columns)
            if via == AUTO and collection.is_here:
                via = LOCAL
            stack_of = None if via == LOCAL else find_stack(settings, tell, is_needed=via != AUTO)
            asked = Search(collection, batch, given, settings, stack_of, on_progress, tell)
            if via == AUTO or budget is not None:
                via = asked.chosen(via, budget)
            found = asked.here() if via == LOCAL else None
        if found is None:
            found = asked.by(via, results, is_csv=is_csv(output, as_json=as_json))
        works = [watch.taken()]
    write_hits(found.hits, output, force=force, as_json=as_json)
    if not settings.quiet:
        click.echo(describe_search(found.facts, found.count), err=True)
    if bill:
        print_bill(
            works,
            settings,
            elsewhere=found.works,
            is_free=collection.is_here,
            transitions=found.transitions,
            job_vcpus=found.job_vcpus,
        )
    if found.incomplete is not None:
        raise found.incomplete


@click.command()
@uri_argument
@click.argument("out")
@click.option("--format", "format_", type=click.Choice(("parquet", "hdf5")),
              help="Kind of files.  [default: by OUT; in folders parquet]")  # fmt: skip
@click.option("--where", metavar="SQL", help="Only rows that pass this predicate.")
@click.option("--columns", help="Further columns, comma-separated.  [default: all]")
@click.option("--rows-per-file", type=click.IntRange(1),
              help="Make OUT a folder of files of so many rows.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace an earlier export or a file.")
@version_option
@json_option
@click.pass_obj
def export(
    settings: Settings,
    /,
    uri: str,
    out: str,
    format_: Any,
    columns: str | None,
    version: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Write the rows of URI to OUT, a Parquet or HDF5 file that `create` reads, or a folder."""
    from atoll.vectors.service import open_collection

    names = None if columns is None else [name.strip() for name in columns.split(",") if name]
    with progress_bars(settings.quiet) as on_progress:
        report = open_collection(uri, settings, version).export(
            out, format=format_, columns=names, on_progress=on_progress, **given
        )
    if as_json:
        click.echo(json.dumps(vars(report), indent=2))
        return
    click.echo(
        f"{counted(report.rows, 'row')} of version {report.version} in "
        f"{counted(len(report.files), 'file')}, {sized(report.size_bytes)}: {printable(out)}"
    )
