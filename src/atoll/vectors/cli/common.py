"""What several commands of collections take and print."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import click
import pyarrow as pa

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.text import counted, printable, sized
from atoll.vectors.calibration import choose
from atoll.vectors.forecast import POST_CORES
from atoll.vectors.model import Calibration, Embedder, PartitionChoice
from atoll.vectors.output import write_table
from atoll.vectors.work import Work, together

uri_argument = click.argument("uri")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
version_option = click.option(
    "--version", type=click.IntRange(1), metavar="N", help="An older version, as it was."
)


def print_info(info: dict[str, Any], as_json: bool) -> None:
    """Print what is known of a collection."""
    if as_json:
        click.echo(json.dumps(info, indent=2))
        return
    embedder = Embedder(**info["embedder"]) if info["embedder"] else "not recorded"
    click.echo(f"{info['uri']}, version {info['version']} of {info['created_at']}")
    click.echo(
        f"{counted(info['rows'], 'row')} of {info['dim']} x {info['dtype']}, "
        f"{info['distance_type']} distance"
    )
    click.echo(f"index     {index_text(info['index'])}")
    if info["partitions"]:
        click.echo(f"          {info['partitions']['why']}")
    click.echo(f"embedder  {printable(str(embedder))}")
    columns = [info["id_column"], info["vector_column"], *info["columns"]]
    click.echo(f"columns   {printable(', '.join(columns))}")
    if info["indexed"]:
        click.echo(f"indexed   {printable(', '.join(info['indexed']))}")
    shown = ["name", "rows", "skipped"]
    if any(bucket["deleted"] for bucket in info["buckets"]):
        shown.insert(2, "deleted")
    if info["dtype"] != "float32":
        shown.append("rounding_error")
    rows = [{key: bucket[key] for key in shown} for bucket in info["buckets"]]
    if any(bucket["adopted"] for bucket in info["buckets"]):
        for row, bucket in zip(rows, info["buckets"], strict=True):
            row["index"] = index_text(bucket["index"])
    for line in _recall_lines(info["recall"]):
        click.echo(line)
    if any(bucket["skipped"] for bucket in info["buckets"]):
        click.echo(f"skipped   invalid rows are listed in {info['uri']}/_atoll/reports/")
    if rows:
        counts = ["rows", "deleted", "skipped"]
        write_table(pa.Table.from_pylist(rows), sys.stdout, counts=counts)


def index_text(index: dict[str, Any]) -> str:
    """Describe an index in a few words."""
    text = str(index["kind"])
    if index["num_partitions"]:
        text += f", {counted(index['num_partitions'], 'partition')} per bucket"
    if index["num_sub_vectors"]:
        text += f", {counted(index['num_sub_vectors'], 'sub-vector')}"
    return text


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
    if recall.get("wanted_bits"):
        yield (
            "codes     rank roughly: search with --recall, which refines more, or give them more "
            f"bits once, `atoll retrain --bits {recall['wanted_bits']}`"
        )


def tell_cost(requests: int, size_bytes: int) -> None:
    """Say what looking up ids took."""
    if requests:
        cost = f"{counted(requests, 'read')} of {counted(size_bytes, 'byte')} in all"
        click.echo(f"looking up the ids took {cost}", err=True)


def at_wish(found: Calibration, k: int, wish: float) -> dict[str, Any]:
    """Describe the setting that holds a recall at least cost."""
    try:
        point = choose(found, k, wish)
    except InvalidInput as error:
        return {"measured": f"{error.details['best']:.3f} at best"}
    return {
        "measured": f"{point.recall:.3f} ({point.low:.3f} to {point.high:.3f})",
        "near": "" if point.near_recall is None else f"{point.near_recall:.3f}",
        "nprobes": point.nprobes,
        "refine_factor": point.refine_factor,
        "rows": f"{point.rows:.0f}",
        "MB": f"{point.bytes / 1e6:.2f}",
        "requests": f"{point.requests:.0f}",
    }


def print_lines(lines: list[dict[str, Any]]) -> None:
    """Print a table whose lines may lack some of its columns."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    rows = [{name: line.get(name) for name in names} for line in lines]
    write_table(pa.Table.from_pylist(rows), sys.stdout)


def print_choice(choice: PartitionChoice | None) -> None:
    """Print which numbers of partitions were tried, and which was chosen."""
    if choice is None:
        return
    if choice.trials:
        print_lines(
            [
                {
                    "partitions": trial.num_partitions,
                    **at_wish(trial.measured, choice.k, choice.recall),
                }
                for trial in choice.trials
            ]
        )
        click.echo(
            f"tried with {counted(choice.sample_rows, 'row')} of {choice.rows:,} and "
            f"{counted(choice.queries, 'query', 'queries')} in {choice.cpu_s:.1f} CPU seconds"
        )
    click.echo(f"{counted(choice.num_partitions, 'partition')} per bucket: {choice.why}\n")


def print_bill(
    works: Sequence[Work],
    settings: Settings,
    *,
    elsewhere: Sequence[Work] = (),
    is_free: bool = False,
    transitions: int = 0,
    job_vcpus: int = 0,
) -> None:
    """Say what works took and asked of the store, and what that costs, on standard error.

    Args:
        works: of this machine, a line each.
        settings: say which prices hold.
        elsewhere: those that a cloud has done, in the store's region.
        is_free: whether the store is a disk of this machine.
        transitions: of the state machine that had them done.
        job_vcpus: processors of each job that did what was done elsewhere; 0 where none did.
    """
    from atoll.vectors.pricing.bill import bill_of, dollars, price, total
    from atoll.vectors.pricing.prices import load_prices

    lines = []
    for work in [*works, *elsewhere, *_in_all([*works, *elsewhere])]:
        usage = work.usage
        lines.append(
            {
                "step": work.step,
                "times": work.times,
                "seconds": round(work.seconds, 2),
                "cpu_s": round(work.cpu_s, 2),
                "GET": usage["gets"],
                "LIST": usage["lists"],
                "PUT": usage["puts"],
                "retries": usage["retries"],
                "read": sized(usage["bytes_read"]),
                "written": sized(usage["bytes_written"]),
            }
        )
    write_table(pa.Table.from_pylist(lines), sys.stderr)
    if is_free:
        return
    prices = load_prices(settings.aws.prices)
    bill = bill_of(works, is_leaving=settings.is_leaving_region)
    bill += bill_of(elsewhere, transitions, instance_share=job_vcpus / POST_CORES)
    priced = price(bill, prices)
    for line in priced.values():
        if line.usd:
            click.echo(f"{line.what}: {line}", err=True)
    if job_vcpus:
        click.echo(
            f"of instances the seconds of steps are counted, {job_vcpus} of {POST_CORES} "
            "processors each; starting them and copying buckets come on top",
            err=True,
        )
    click.echo(f"in all {dollars(total(priced))}, at prices of {prices.date}", err=True)


def _in_all(works: Sequence[Work]) -> list[Work]:
    if len(works) == 1:
        return []
    return together(replace(work, step="in all") for work in works)
