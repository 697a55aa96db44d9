"""Commands that look after a collection: what is there, what goes, what becomes better."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
import pyarrow as pa

from atoll.core.config import Settings
from atoll.core.terminal import progress_bars
from atoll.core.text import counted, printable
from atoll.vectors.cli.common import (
    json_option,
    print_info,
    tell_cost,
    uri_argument,
    version_option,
)
from atoll.vectors.options import CODE_BITS, CompactOptions, RetrainOptions
from atoll.vectors.output import write_table


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
    tell_cost(report.requests, report.size_bytes)


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
@click.option("--bits", type=click.Choice(CODE_BITS),
              help="Bits per dimension of a code.  [default: as it is]")  # fmt: skip
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
    print_info(collection.info(), as_json)


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
    print_info(collection.info(), as_json)


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
    counts = ["rows", "buckets"]
    write_table(pa.Table.from_pylist(lines), sys.stdout, max_width=None, counts=counts)


@click.command()
@uri_argument
@click.argument("version", type=click.IntRange(1))
@click.pass_obj
def restore(settings: Settings, /, uri: str, version: int) -> None:
    """Make VERSION of the collection at URI current again, as a new version."""
    from atoll.vectors.service import open_collection

    collection = open_collection(uri, settings)
    before = collection.version
    now = collection.restore(version).version
    if now == version:
        said = f"version {version} is current already"
    else:
        already = " already" if now == before else ""
        said = f"version {now} is what version {version} was{already}"
    click.echo(f"{said}: {counted(len(collection), 'row')}")


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
    print_info(found, as_json)


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
