"""The commands of collections: thin edges that call the service."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from atoll.core.config import Settings
from atoll.core.errors import Incomplete, InvalidInput
from atoll.core.resources import parse_bytes
from atoll.core.terminal import progress_bars
from atoll.core.text import counted, printable, sized
from atoll.vectors.calibration import choose
from atoll.vectors.model import (
    DEVICES,
    DISTANCE_TYPES,
    DTYPES,
    INDEX_KINDS,
    ON_BAD_ROW,
    BuildOptions,
    Calibration,
    CompactOptions,
    Embedder,
    RetrainOptions,
    SearchOptions,
)
from atoll.vectors.output import FORMATS, describe_search, write_hits, write_table

uri_argument = click.argument("uri")
# What people ask for, and what `calibrate` shows.
SHOWN_WISHES = (0.9, 0.95, 0.99)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
version_option = click.option(
    "--version", type=click.IntRange(1), metavar="N", help="An older version, as it was."
)


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


def build_options(command: Any) -> Any:
    """Add what create, add and plan have in common."""
    for option in reversed(
        (
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
            click.option("--calibrate/--no-calibrate", default=True,
                         help="Measure recall at the end, or leave that for later."),
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
                         help="How vectors are stored; float16 halves them, its error is printed."),
            click.option("--index", type=click.Choice(INDEX_KINDS), default="rabitq",
                         show_default=True, help="Atoll's own, Lance's, or no index at all."),
            click.option("--num-partitions", type=click.IntRange(1),
                         help="Partitions per bucket.  [default: rows / 500; ivf_pq: sqrt(rows)]"),
            click.option("--num-sub-vectors", type=click.IntRange(1),
                         help="ivf_pq only.  [default: dim / 16]"),
            click.option("--bits", type=click.IntRange(1, 8),
                         help="Bits per dimension of a rabitq code: 1, 2, 4, 8.  [default: 1]"),
            click.option("--device", type=click.Choice(DEVICES), default="cpu", show_default=True,
                         help="Where the index is trained and rows are assigned."),
            click.option("--seed", type=int, default=0, show_default=True,
                         help="Picks the training sample and the rotation."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@uri_argument
@click.argument("sources", nargs=-1, required=True)
@build_options
@index_options
@json_option
@click.pass_obj
def plan(
    settings: Settings, /, uri: str, sources: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Show which rows would go into which bucket of URI, and what it costs. Writes nothing."""
    from atoll.vectors.forecast import forecast
    from atoll.vectors.service import plan_collection

    planned = plan_collection(uri, sources, options=BuildOptions(**given), settings=settings)
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
    write_table(pa.Table.from_pylist(lines), sys.stdout, max_width=None)
    click.echo(
        f"{counted(buckets.rows, 'row')} of {spec.dim} x {spec.dtype} in "
        f"{counted(len(buckets.buckets), 'bucket')}, "
        f"largest/smallest {buckets.ratio:.3f}; index {_index_text(vars(spec.index))}\n"
    )
    write_table(pa.table(cost.table()), sys.stdout, max_width=None)
    for note in cost.notes:
        click.echo(printable(note))
    for warning in cost.warnings:
        click.echo(printable(f"WARNING {warning}"))


@click.command("bench-here")
@click.option("--dim", "dims", type=click.IntRange(2), multiple=True,
              help="Also measure vectors of this length; may be repeated.")  # fmt: skip
@click.option("--uri", help="Also measure how fast this store takes bytes.")
@json_option
@click.pass_obj
def bench_here(
    settings: Settings, /, dims: tuple[int, ...], uri: str | None, as_json: bool
) -> None:
    """Measure what a build costs on this machine and keep it for `atoll plan`."""
    import msgspec

    from atoll.vectors.benchhere import measure
    from atoll.vectors.machine import save_rates

    with progress_bars(settings.quiet) as on_progress:
        rates = measure(settings, dims=dims, uri=uri, on_progress=on_progress)
    if settings.rates:
        save_rates(settings.rates, rates)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rates), indent=2).decode())
        return
    lines = [
        {
            "stage": each.stage,
            "dim": each.dim,
            "partitions": str(each.partitions or ""),
            "CPU us a row": each.cpu_s.mid * 1e6,
            "from": each.cpu_s.low * 1e6,
            "to": each.cpu_s.high * 1e6,
            "us by the clock": each.wall_s.mid * 1e6,
        }
        for each in rates.timings
    ]
    write_table(pa.Table.from_pylist(lines), sys.stdout)
    for store, second in rates.stores.items():
        click.echo(f"{store}: {1e-6 / second.mid:,.0f} MB/s ({1e-6 / second.high:,.0f} to "
                   f"{1e-6 / second.low:,.0f})")  # fmt: skip
    click.echo(f"{rates.machine}; kept in {settings.rates}")


@click.command()
@uri_argument
@click.argument("sources", nargs=-1, required=True)
@build_options
@index_options
@click.option("--force", is_flag=True, help="Replace a collection that is there.")
@json_option
@click.pass_obj
def create(
    settings: Settings,
    /,
    uri: str,
    sources: tuple[str, ...],
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Build a collection at URI from SOURCES: files, folders, globs or URLs of vectors.

    Killed or interrupted, the same command continues where it stopped.
    """
    from atoll.vectors.service import create_collection

    with progress_bars(settings.quiet) as on_progress:
        collection = create_collection(
            uri,
            sources,
            options=BuildOptions(**given),
            settings=settings,
            force=force,
            on_progress=on_progress,
        )
    _print_info(collection.info(), as_json)


@click.command()
@uri_argument
@click.argument("sources", nargs=-1, required=True)
@build_options
@json_option
@click.pass_obj
def add(
    settings: Settings, /, uri: str, sources: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Add SOURCES to the collection at URI as new buckets; no old object is touched."""
    from atoll.vectors.service import open_collection

    collection = open_collection(uri, settings)
    with progress_bars(settings.quiet) as on_progress:
        collection.add(sources, options=BuildOptions(**given), on_progress=on_progress)
    _print_info(collection.info(), as_json)


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
    _print_info(collection.info(), as_json)


@click.command()
@uri_argument
@click.argument("sources", nargs=-1, required=True)
@build_options
@json_option
@click.pass_obj
def upsert(
    settings: Settings, /, uri: str, sources: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Add SOURCES to the collection at URI; rows whose ids are there replace the old ones."""
    from atoll.vectors.service import open_collection

    collection = open_collection(uri, settings)
    with progress_bars(settings.quiet) as on_progress:
        report = collection.upsert(sources, options=BuildOptions(**given), on_progress=on_progress)
    if as_json:
        click.echo(json.dumps({**vars(report), "added": report.added}, indent=2))
        return
    click.echo(
        f"{counted(report.added, 'row')} added, {counted(report.replaced, 'row')} replaced; "
        f"version {report.version} has {counted(len(collection), 'row')}"
    )
    _tell_cost(report.requests, report.size_bytes)


@click.command()
@uri_argument
@click.option("--id", "named", multiple=True, metavar="ID", help="Delete this row; may repeat.")
@click.option("--ids", "listed", metavar="FILE", help="Delete these rows: ids, one a line.")
@click.option("--where", metavar="SQL", help="Delete the rows that pass this predicate.")
@click.option("--allow-missing", is_flag=True, help="Accept ids that are not there.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
@click.pass_obj
def delete(
    settings: Settings,
    /,
    uri: str,
    named: tuple[str, ...],
    listed: str | None,
    where: str | None,
    allow_missing: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete rows of the collection at URI; `atoll compact` and `atoll gc` free their space."""
    from atoll.vectors.service import open_collection
    from atoll.vectors.sources.textids import read_ids

    if bool(named or listed) == (where is not None):
        raise click.UsageError("give ids (--id, --ids) or --where, one of the two")
    ids = [*named, *(read_ids(listed, settings.storage) if listed else ())]
    collection = open_collection(uri, settings)
    report = collection.delete(
        None if where is not None else ids,
        where=where,
        allow_missing=allow_missing,
        dry_run=dry_run,
    )
    if as_json:
        click.echo(json.dumps(vars(report), indent=2))
        return
    for name in report.missing:
        click.echo(printable(f"not there: {name}"), err=True)
    done = "would delete" if dry_run else "deleted"
    click.echo(
        f"{done} {counted(report.rows, 'row')} of {counted(report.buckets, 'bucket')}; "
        f"version {report.version} has {counted(len(collection), 'row')}"
    )
    _tell_cost(report.requests, report.size_bytes)


def _tell_cost(requests: int, size_bytes: int) -> None:
    if requests:
        cost = f"{counted(requests, 'read')} of {counted(size_bytes, 'byte')} in all"
        click.echo(f"looking up the ids took {cost}", err=True)


@click.command()
@uri_argument
@click.option("--bucket-rows", type=click.IntRange(1), default=CompactOptions.bucket_rows,
              show_default=True, help="Rows a merged bucket holds at most.")  # fmt: skip
@click.option(
    "--min-rows",
    type=click.IntRange(1),
    help="Buckets with fewer rows take part.  [default: half of --bucket-rows]",
)
@click.option("--bucket", "buckets", multiple=True, metavar="NAME",
              help="Only this one takes part, whatever its size; may repeat.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would become one.")
@json_option
@click.pass_obj
def compact(settings: Settings, /, uri: str, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Merge small buckets of URI, and those with many deleted rows; searches find the same.

    Killed or interrupted, the same command continues where it stopped. `atoll gc` then frees the
    space of the old buckets.
    """
    from atoll.vectors.service import open_collection

    collection = open_collection(uri, settings)
    with progress_bars(settings.quiet) as on_progress:
        report = collection.compact(dry_run=dry_run, on_progress=on_progress, **given)
    merges = [{"buckets": merge.names, "rows": merge.rows} for merge in report.merges]
    if as_json:
        click.echo(json.dumps({"version": report.version, "merges": merges}, indent=2))
        return
    for merge in report.merges:
        click.echo(f"{', '.join(merge.names)}: {counted(merge.rows, 'row')}")
    now = f"version {report.version} has {counted(len(collection.buckets), 'bucket')}"
    if not report.merges:
        click.echo(f"nothing to merge; {now}")
        return
    before = sum(len(merge.buckets) for merge in report.merges)
    done = "would merge" if dry_run else "merged"
    click.echo(f"{done} {counted(before, 'bucket')} into {len(merges)}; {now}")


@click.command()
@uri_argument
@click.option(
    "--num-partitions",
    type=click.IntRange(1),
    help="Partitions per bucket.  [default: rows of the largest bucket / 500]",
)
@click.option("--bits", type=click.IntRange(1, 8), help="Bits per dimension of a code: 1, 2, 4, 8.")
@click.option("--seed", type=int, default=RetrainOptions.seed, show_default=True,
              help="Picks the training sample and the rotation.")  # fmt: skip
@json_option
@click.pass_obj
def retrain(settings: Settings, /, uri: str, as_json: bool, **given: Any) -> None:
    """Train the index of URI anew and rebuild its buckets one by one, while searches go on.

    Killed or interrupted, the same command continues where it stopped.
    """
    from atoll.vectors.service import open_collection

    collection = open_collection(uri, settings)
    with progress_bars(settings.quiet) as on_progress:
        collection.retrain(on_progress=on_progress, **given)
    _print_info(collection.info(), as_json)


@click.command()
@uri_argument
@click.argument("columns", nargs=-1, required=True)
@click.option("--drop", is_flag=True, help="Drop the indexes of COLUMNS instead.")
@json_option
@click.pass_obj
def index(
    settings: Settings, /, uri: str, columns: tuple[str, ...], drop: bool, as_json: bool
) -> None:
    """Index COLUMNS of the collection at URI, so that --where need not read all of them.

    Buckets that come later get the indexes, too. Hits stay the same.
    """
    from atoll.vectors.service import open_collection

    collection = open_collection(uri, settings)
    with progress_bars(settings.quiet) as on_progress:
        collection.index(columns, drop=drop, on_progress=on_progress)
    _print_info(collection.info(), as_json)


@click.command()
@uri_argument
@json_option
@click.pass_obj
def history(settings: Settings, /, uri: str, as_json: bool) -> None:
    """List the versions of the collection at URI, the newest first."""
    from atoll.vectors.service import open_collection

    versions = [vars(past) for past in open_collection(uri, settings).history()]
    if as_json:
        click.echo(json.dumps(versions, indent=2))
        return
    columns = ("version", "created_at", "action", "rows", "buckets")
    lines = [
        {name: past[name] for name in columns}
        | {"can be opened": "yes" if past["is_kept"] else "no"}
        for past in versions
    ]
    write_table(pa.Table.from_pylist(lines), sys.stdout, max_width=None)


@click.command()
@uri_argument
@click.argument("version", type=click.IntRange(1))
@click.pass_obj
def restore(settings: Settings, /, uri: str, version: int) -> None:
    """Make VERSION of the collection at URI current again, as a new version."""
    from atoll.vectors.service import open_collection

    collection = open_collection(uri, settings).restore(version)
    click.echo(
        f"version {collection.version} is what version {version} was: "
        f"{counted(len(collection), 'row')}"
    )


@click.command()
@uri_argument
@click.option("--tables", is_flag=True, help="List the live tables only.")
@version_option
@json_option
@click.pass_obj
def info(settings: Settings, /, uri: str, tables: bool, version: int | None, as_json: bool) -> None:
    """Describe the collection at URI."""
    from atoll.vectors.service import open_collection

    found = open_collection(uri, settings, version).info()
    if tables:
        names = [bucket["table"] for bucket in found["buckets"]]
        click.echo(json.dumps(names, indent=2) if as_json else "\n".join(names))
        return
    _print_info(found, as_json)


@click.command()
@uri_argument
@version_option
@json_option
@click.pass_obj
def verify(settings: Settings, /, uri: str, version: int | None, as_json: bool) -> None:
    """Read every live bucket of URI and hold it against the manifest; exit 1 on any fault."""
    from atoll.vectors.service import open_collection

    with progress_bars(settings.quiet) as on_progress:
        report = open_collection(uri, settings, version).verify(on_progress)
    if as_json:
        facts = {
            "version": report.version,
            "buckets": report.buckets,
            "rows": report.rows,
            "clean": report.is_clean,
            "issues": [vars(issue) for issue in report.issues],
            "notes": [vars(note) for note in report.notes],
        }
        click.echo(json.dumps(facts, indent=2))
    else:
        for kind, found in (("FAULT", report.issues), ("note", report.notes)):
            for issue in found:
                click.echo(printable(f"{kind} {issue.bucket}: {issue.what}"))
        state = "clean" if report.is_clean else counted(len(report.issues), "fault")
        click.echo(
            f"version {report.version}: {counted(report.buckets, 'bucket')}, "
            f"{counted(report.rows, 'row')}: {state}"
        )
    if not report.is_clean:
        sys.exit(1)


@click.command("drop-bucket")
@uri_argument
@click.argument("name")
@click.pass_obj
def drop_bucket(settings: Settings, /, uri: str, name: str) -> None:
    """Take bucket NAME out of the collection at URI; `atoll gc` then frees its space."""
    from atoll.vectors.service import open_collection

    collection = open_collection(uri, settings).drop_bucket(name)
    click.echo(
        f"dropped {name}; version {collection.version} has {counted(len(collection), 'row')}"
    )


@click.command()
@uri_argument
@click.option("--keep-versions", type=click.IntRange(1), default=1, show_default=True,
              metavar="N", help="How many versions can be opened afterwards.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
@click.pass_obj
def gc(settings: Settings, /, uri: str, keep_versions: int, dry_run: bool, as_json: bool) -> None:
    """Remove what no kept version of URI needs: dropped tables, unfinished builds, orphans."""
    from atoll.vectors.service import collect_garbage

    report = collect_garbage(uri, settings, keep_versions=keep_versions, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(vars(report), indent=2))
        return
    for path in (*report.tables, *report.objects):
        click.echo(printable(path))
    done = "would free" if dry_run else "freed"
    click.echo(
        f"{done} {counted(report.size_bytes, 'byte')}: {counted(len(report.tables), 'table')}, "
        f"{counted(len(report.objects), 'other object')}"
    )


@click.command()
@uri_argument
@click.argument("queries", required=False)
@click.option("--id", "stored", multiple=True, help="Query with a stored vector; may be repeated.")
@click.option("-k", type=int, default=SearchOptions.k, show_default=True, help="Hits per query.")
@click.option(
    "--nprobes",
    type=int,
    help="Partitions read per bucket.  [default: 20, more until k are found]",
)
@click.option("--refine-factor", type=int,
              help="k x this many candidates get exact distances.  [default: 5]")  # fmt: skip
@click.option("--recall", type=float, metavar="SHARE",
              help="Find this share of the true neighbours, e.g. 0.95.")  # fmt: skip
@click.option("--exact", is_flag=True, help="Compare with every row.")
@click.option("--max-distance", type=float, help="Leave out hits beyond this distance.")
@click.option("--where", metavar="SQL", help="Only rows that pass this predicate.")
@click.option("--columns", help="Further columns, comma-separated.")
@click.option("--with-vectors", is_flag=True, help="Return the stored vectors.")
@click.option("--exclude-self", is_flag=True, help="Leave out the hit with the query's own id.")
@click.option("--group-by", metavar="COLUMN", help="Best hit per value of this column only.")
@click.option("--allow-partial", is_flag=True, help="Accept an answer without failed buckets.")
@version_option
@click.option("--ids", metavar="FILE", help="Ids, one a line, for .npy or .fvecs queries.")
@click.option("--model-path", type=click.Path(path_type=Path), help="Weights for FASTA queries.")
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
    output: Path | None,
    force: bool,
    version: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Find the nearest neighbours of QUERIES (FASTA, HDF5, Parquet, .npy, .fvecs) in URI."""
    from atoll.vectors.service import open_collection, stored_queries

    if (queries is None) == (not stored):
        raise click.UsageError("give QUERIES or --id, one of the two")
    if stored and ids:
        raise click.UsageError("--ids names the rows of a QUERIES file; it does not go with --id")
    if output and as_json:
        raise click.UsageError("--json prints the hits; give it or --output, not both")
    write_hits(None, output, force=force)
    collection = open_collection(uri, settings, version)
    if stored:
        batch = stored_queries(collection, stored)
    else:
        batch = collection.queries(queries, ids=ids, model_path=model_path)
    names = [name.strip() for name in columns.split(",")] if columns else []
    incomplete = None
    with progress_bars(settings.quiet) as on_progress:
        try:
            hits = collection.search(batch, columns=names, on_progress=on_progress, **given)
        except Incomplete as error:
            hits, incomplete = error.partial, error
    write_hits(hits, output, force=force, as_json=as_json)
    if not settings.quiet:
        click.echo(describe_search(hits), err=True)
    if incomplete is not None:
        raise incomplete


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
@json_option
@click.pass_obj
def export(
    settings: Settings,
    /,
    uri: str,
    out: str,
    format_: Any,
    columns: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Write the rows of URI to OUT, a Parquet or HDF5 file that `create` reads, or a folder."""
    from atoll.vectors.service import open_collection

    names = None if columns is None else [name.strip() for name in columns.split(",") if name]
    with progress_bars(settings.quiet) as on_progress:
        report = open_collection(uri, settings).export(
            out, format=format_, columns=names, on_progress=on_progress, **given
        )
    if as_json:
        click.echo(json.dumps(vars(report), indent=2))
        return
    click.echo(
        f"{counted(report.rows, 'row')} of version {report.version} in "
        f"{counted(len(report.files), 'file')}, {sized(report.size_bytes)}: {printable(out)}"
    )


@click.command()
@uri_argument
@click.argument("queries", required=False)
@click.option("-k", "ks", type=click.IntRange(1), multiple=True,
              help="Hits per query; may be repeated.  [default: 1, 10, 100]")  # fmt: skip
@click.option("--num-queries", type=click.IntRange(1), default=1000, show_default=True,
              help="Stored rows to query with, where no QUERIES are given.")  # fmt: skip
@click.option("--max-rows", type=click.IntRange(1), default=20_000_000, show_default=True,
              help="Search only some buckets, of at most so many rows together.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Draws rows and buckets.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.png",
              help="Draw recall against bytes read.")  # fmt: skip
@json_option
@click.pass_obj
def calibrate(
    settings: Settings,
    /,
    uri: str,
    queries: str | None,
    ks: tuple[int, ...],
    plot: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure what share of the true neighbours searches of URI find, for `search --recall`.

    Searches with stored rows, or with QUERIES (as for `search`), at many settings, and exactly. The
    result is stored with the collection.
    """
    from atoll.vectors.service import open_collection

    if plot is not None:
        from atoll.vectors.recallplot import check_can_draw, draw

        check_can_draw(plot)
    if ks:
        given["k"] = ks
    collection = open_collection(uri, settings)
    with progress_bars(settings.quiet) as on_progress:
        found = collection.calibrate(queries, on_progress=on_progress, **given)
    if plot is not None:
        draw(found, plot)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        _print_calibration(found)


def _print_calibration(found: Calibration) -> None:
    lines = []
    for k in sorted({point.k for point in found.points}):
        for wish in SHOWN_WISHES:
            line: dict[str, Any] = {"k": k, "recall": f"{wish:.2f}"}
            try:
                point = choose(found, k, wish)
            except InvalidInput as error:
                line |= {"measured": f"{error.details['best']:.3f} at best"}
            else:
                near = "" if point.near_recall is None else f"{point.near_recall:.3f}"
                line |= {
                    "measured": f"{point.recall:.3f} ({point.low:.3f} to {point.high:.3f})",
                    "near": near,
                    "nprobes": point.nprobes,
                    "refine_factor": point.refine_factor,
                    "MB": f"{point.bytes / 1e6:.2f}",
                    "requests": f"{point.requests:.0f}",
                }
            lines.append(line)
    names = list(dict.fromkeys(name for line in lines for name in line))
    rows = [{name: line.get(name) for name in names} for line in lines]
    write_table(pa.Table.from_pylist(rows), sys.stdout)
    part = "" if found.searched_rows == found.rows else f"{found.searched_rows:,} of "
    click.echo(
        f"measured with {counted(found.queries, 'query', 'queries')} ({printable(found.source)}) "
        f"on {part}{counted(found.rows, 'row')} in {found.cpu_s:.1f} CPU seconds; near: true "
        f"neighbours within distance {found.within:.3f}"
    )


def _index_text(index: dict[str, Any]) -> str:
    text = str(index["kind"])
    if index["num_partitions"]:
        text += f", {counted(index['num_partitions'], 'partition')} per bucket"
    if index["num_sub_vectors"]:
        text += f", {counted(index['num_sub_vectors'], 'sub-vector')}"
    return text


def _print_info(info: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(info, indent=2))
        return
    embedder = Embedder(**info["embedder"]) if info["embedder"] else "not recorded"
    click.echo(f"{info['uri']}, version {info['version']} of {info['created_at']}")
    click.echo(
        f"{counted(info['rows'], 'row')} of {info['dim']} x {info['dtype']}, "
        f"{info['distance_type']} distance"
    )
    click.echo(f"index     {_index_text(info['index'])}")
    click.echo(f"embedder  {printable(str(embedder))}")
    columns = [info["id_column"], info["vector_column"], *info["columns"]]
    click.echo(f"columns   {printable(', '.join(columns))}")
    if info["indexed"]:
        click.echo(f"indexed   {printable(', '.join(info['indexed']))}")
    shown = ["name", "rows", "skipped"]
    if any(bucket["deleted"] for bucket in info["buckets"]):
        shown.insert(2, "deleted")
    if info["dtype"] != "float32":
        shown.append("float16_error")
    rows = [{key: bucket[key] for key in shown} for bucket in info["buckets"]]
    if any(bucket["adopted"] for bucket in info["buckets"]):
        for row, bucket in zip(rows, info["buckets"], strict=True):
            row["index"] = _index_text(bucket["index"])
    for line in _recall_lines(info["recall"]):
        click.echo(line)
    if any(bucket["skipped"] for bucket in info["buckets"]):
        click.echo(f"skipped   invalid rows are listed in {info['uri']}/_atoll/reports/")
    if rows:
        write_table(pa.Table.from_pylist(rows), sys.stdout)


def _recall_lines(recall: dict[str, Any] | None) -> Iterator[str]:
    if recall is None:
        return
    if "defaults" in recall:
        at = recall["defaults"]
        yield (
            f"recall    {at['recall']:.3f} ({at['low']:.3f} to {at['high']:.3f}) of the "
            f"{at['k']} nearest at the default settings"
        )
        for each in recall["drift"]:
            yield (
                f"          {each['recall']:.3f} ({each['low']:.3f} to {each['high']:.3f}) for "
                f"rows of {each['bucket']}, added later"
            )
    todo = {"nothing": "retrain   no"}.get(recall["advice"], f"{recall['advice']:<9} advised")
    yield f"{todo}: {recall['why']}"


COMMANDS = (
    plan, bench_here, create, add, upsert, delete, compact, retrain, adopt, index, info, verify,
    history, restore, export, drop_bucket, gc, calibrate, search,
)  # fmt: skip
