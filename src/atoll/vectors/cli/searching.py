"""Commands that bring rows out of a collection: search, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from atoll.core.config import Settings
from atoll.core.errors import Incomplete
from atoll.core.terminal import progress_bars
from atoll.core.text import counted, printable, sized
from atoll.vectors.cli.common import json_option, uri_argument, version_option
from atoll.vectors.options import SearchOptions
from atoll.vectors.output import FORMATS, describe_search, write_hits


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
