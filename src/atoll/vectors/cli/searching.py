"""Commands that bring rows out of a collection: search, export."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pyarrow as pa

from atoll.core.config import Settings
from atoll.core.errors import AtollError, Incomplete, InvalidInput
from atoll.core.functions import JOB_VCPUS, FunctionMemory
from atoll.core.progress import OnProgress
from atoll.core.terminal import progress_bars
from atoll.core.text import counted, printable, sized
from atoll.vectors.cli.common import (
    json_option,
    print_bill,
    uri_argument,
    version_option,
)
from atoll.vectors.options import CLOUDS, SearchOptions
from atoll.vectors.output import FORMATS, describe_search, is_csv, write_hits
from atoll.vectors.work import Work, watched

if TYPE_CHECKING:
    from atoll.vectors.collection import Collection
    from atoll.vectors.distributed.deployment import Deployment
    from atoll.vectors.queries import QueryBatch


LOCAL, AUTO = "local", "auto"
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
    via: str,
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
            deployment = None if via == LOCAL else _deployment(settings, is_needed=via != AUTO)
            if via == AUTO or budget is not None:
                via = _chosen(via, collection, given, len(batch), budget, deployment, settings)
            if deployment is None or via == LOCAL:
                found = _searched_here(collection, batch, given, on_progress)
        if deployment is not None and via != LOCAL:
            found = _searched_by(
                via,
                collection,
                batch,
                given,
                results,
                deployment,
                settings,
                on_progress,
                is_csv=is_csv(output, as_json=as_json),
            )
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


def _deployment(settings: Settings, *, is_needed: bool) -> Deployment | None:
    """Look up what is deployed; None where nothing is, and nothing need be."""
    from atoll.vectors.distributed.deployment import find_deployment

    try:
        return find_deployment(settings)
    except AtollError as error:
        if is_needed:
            raise
        click.echo(f"nothing is deployed that could search: {error.message}", err=True)
        return None


def _chosen(
    via: str,
    collection: Collection,
    given: dict[str, Any],
    queries: int,
    budget: float | None,
    deployment: Deployment | None,
    settings: Settings,
) -> str:
    """Choose the cheapest way where that is asked for, and hold it against the budget."""
    from atoll.vectors.options import search_options
    from atoll.vectors.pricing.bill import dollars
    from atoll.vectors.pricing.prices import load_prices

    if collection.is_here:
        return LOCAL
    outputs = {} if deployment is None else deployment.outputs
    offers = collection.offers(
        search_options(**given),
        queries,
        load_prices(settings.aws.prices),
        clouds=() if deployment is None else deployment.clouds,
        memory=FunctionMemory.of_outputs(outputs),
    )
    if not offers.offers and via in (AUTO, LOCAL):
        click.echo(f"via local: {offers.text()}", err=True)
        return LOCAL
    offer = offers.offers[0] if via == AUTO else offers.of(via)
    if via == AUTO:
        click.echo(f"via {offer.via}: {offers.text()}", err=True)
    elif offers.notes:
        click.echo(f"by estimate {dollars(offer.usd)}: {'; '.join(offers.notes)}", err=True)
    if budget is not None and offer.usd > budget:
        raise InvalidInput(
            f"by estimate this search costs {dollars(offer.usd)} via {offer.via}, more than the "
            f"budget of {dollars(budget)}: {offer.why}; nothing was searched",
            usd=offer.usd,
        )
    return offer.via


@dataclass(frozen=True)
class _Answer:
    """What a search found, how, what others did for it, and what it lacks."""

    hits: pa.Table | Iterator[bytes]
    count: int
    facts: dict[str, Any]
    works: list[Work]
    incomplete: Incomplete | None = None
    transitions: int = 0
    job_vcpus: int = 0


def _searched_here(
    collection: Collection, batch: QueryBatch, given: dict[str, Any], on_progress: OnProgress
) -> _Answer:
    from atoll.vectors.view import METADATA_KEY

    incomplete = None
    try:
        hits = collection.search(batch, on_progress=on_progress, **given)
    except Incomplete as error:
        hits, incomplete = error.partial, error
    facts = json.loads(hits.schema.metadata[METADATA_KEY])
    return _Answer(hits, len(hits), facts, [], incomplete)


def _searched_by(
    via: Any,
    collection: Collection,
    batch: QueryBatch,
    given: dict[str, Any],
    results: str | None,
    deployment: Deployment,
    settings: Settings,
    on_progress: OnProgress,
    *,
    is_csv: bool,
) -> _Answer:
    from atoll.vectors.distributed import clouds
    from atoll.vectors.distributed.grouping import is_filtered_first
    from atoll.vectors.options import search_options
    from atoll.vectors.pricing.bill import transitions_of

    run = collection.begin_run(
        results or deployment.new_run(),
        batch,
        search_options(**given),
        suffix=".csv" if is_csv else ".parquet",
        is_refined_early=via == "batch",
    )
    # Before it begins: whoever stops waiting knows where to look.
    click.echo(f"results: {run}", err=True)
    summary = clouds.carried_out(run, via, deployment, settings, on_progress)
    incomplete = None
    try:
        clouds.require_whole(run, summary)
    except Incomplete as error:
        incomplete = error
    works = [Work(**each) for each in summary["works"]]
    job_vcpus = 0
    if via == "batch":
        job_vcpus = int(deployment.outputs.get("JobVcpus", JOB_VCPUS))
        # Planned here, where it is counted.
        works = [work for work in works if work.step != "plan"]
    transitions = 0
    if via == "stepfunctions":
        transitions = transitions_of(
            run.target.buckets,
            len(run.plan.groups),
            is_filtered=is_filtered_first(run.request.options, run.target.spec),
            is_measured_apart=run.plan.is_measured_apart,
        )
    hits, count = run.csv() if is_csv else run.hits(), summary["hits"]
    return _Answer(hits, count, summary, works, incomplete, transitions, job_vcpus)


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
