"""`atoll demo`: the main job on real proteins, from a FASTA file to neighbours and their recall."""

from __future__ import annotations

import base64
import html
import io
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import click
import pyarrow as pa
import pyarrow.compute as pc

from atoll.core.config import Settings
from atoll.core.errors import Conflict, InvalidInput
from atoll.core.files import writing
from atoll.core.progress import OnProgress, Progress
from atoll.core.terminal import progress_bars

BUCKET_ROWS = 1000
NUM_PARTITIONS = 16
K = 10
NPROBES = (1, 2, 4, 8, 16)
REFINE_FACTORS = (1, 5, 20)
STORED_QUERIES = 180
# Beyond this distance randconv's neighbours are mostly unrelated proteins.
NEAR = 0.7
SHOWN_HITS = 3
DEFAULT_REFINE_FACTOR = 5
MARKER = "atoll-demo.json"


@dataclass(frozen=True)
class RecallPoint:
    """Recall at one setting, of the true 10 and of those among them nearer than `NEAR`."""

    nprobes: int
    refine_factor: int
    recall: float
    near_recall: float


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder for everything the demo makes; an earlier demo there is replaced.",
)
@click.pass_obj
def demo(settings: Settings, /, out: Path) -> None:
    """Embed 4,000 real proteins, build a collection, find neighbours, measure recall."""
    from atoll.vectors.embed.service import embed
    from atoll.vectors.options import BuildOptions
    from atoll.vectors.service import create_collection

    began = time.monotonic()
    proteins, queries = out / "proteins.fasta.gz", out / "queries.fasta.gz"
    with writing(out):
        _start_over(out)
        for path in (proteins, queries):
            with resources.as_file(resources.files("atoll.app") / "data" / path.name) as packaged:
                shutil.copyfile(packaged, path)

    def say(text: str) -> None:
        if not settings.quiet:
            click.echo(text)

    with progress_bars(settings.quiet) as on_progress:
        say(f"1. embed {proteins.name} with randconv, which needs no weights")
        embed([proteins], out / "proteins.h5", settings=settings, on_progress=on_progress)
        say("2. build a collection: plan, train once, four buckets of 1,000 rows each")
        collection = create_collection(
            out / "collection",
            [out / "proteins.h5"],
            options=BuildOptions(bucket_rows=BUCKET_ROWS, num_partitions=NUM_PARTITIONS),
            settings=settings,
            on_progress=on_progress,
        )
        say("3. search 20 proteins that are not in it")
        hits = collection.search(queries, k=K, columns=["description"], on_progress=on_progress)
        say("4. measure recall@10 against exact search")
        points = _recall_curve(collection, out, on_progress)
    from atoll.vectors.output import write_hits

    write_hits(hits, out / "hits.csv", force=True)
    names = _descriptions(queries)
    picture = _draw(points)
    with writing(out):
        (out / "recall.png").write_bytes(picture)
        (out / "hits.html").write_text(_page(hits, names, picture, len(collection)))
    _print_hits(hits, names)
    _print_recall(points)
    _print_next(out, time.monotonic() - began)


def _start_over(out: Path) -> None:
    """Empty a folder of an earlier demo; refuse any other that is not empty."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).exists():
            raise Conflict(f"{out} is not empty and no earlier demo; choose another --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).write_text('{"made by": "atoll demo"}\n')


def _recall_curve(collection: Any, out: Path, on_progress: OnProgress) -> list[RecallPoint]:
    """Search 20 new and 180 stored proteins at each setting, and exactly."""
    import numpy as np

    from atoll.vectors.queries import QueryBatch
    from atoll.vectors.recall import ids_by_query, recall_at_k
    from atoll.vectors.service import stored_queries

    new = collection.queries(out / "queries.fasta.gz")
    stored = stored_queries(collection, _some_ids(out / "proteins.h5"))
    batch = QueryBatch(
        [*new.ids, *stored.ids], np.concatenate([new.vectors, stored.vectors]), new.embedder
    )

    def found(**how: Any) -> pa.Table:
        return collection.search(batch, k=K, exclude_self=True, **how)

    exact = found(exact=True)
    near = exact.filter(pc.less(exact["_distance"], NEAR))
    asked = set(near["query_id"].to_pylist())
    with_near = [name for name in batch.ids if name in asked]
    points = []
    settings = [(n, r) for r in REFINE_FACTORS for n in NPROBES]
    for number, (nprobes, refine_factor) in enumerate(settings):
        hits = found(nprobes=nprobes, refine_factor=refine_factor)
        recalls = [
            recall_at_k(ids_by_query(hits, names), ids_by_query(true, names))
            for true, names in ((exact, batch.ids), (near, with_near))
        ]
        points.append(RecallPoint(nprobes, refine_factor, *recalls))
        on_progress(Progress("measure recall", number + 1, len(settings), "settings"))
    return points


def _some_ids(vectors: Path) -> list[str]:
    import h5py

    with h5py.File(vectors) as file:
        ids = file["id"].asstr()[:]
    return [str(name) for name in ids[:: len(ids) // STORED_QUERIES][:STORED_QUERIES]]


def _descriptions(queries: Path) -> dict[str, str]:
    from atoll.vectors.embed.fasta import read_fasta

    return {record.id: record.description for record in read_fasta(queries)}


def _draw(points: Sequence[RecallPoint]) -> bytes:
    """Draw recall against nprobes, one line per refine factor; a PNG."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise InvalidInput("the demo draws with matplotlib: install atoll[plot]") from error
    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for refine_factor, color in zip(REFINE_FACTORS, ("#c2410c", "#0e7490", "#1e3a5f"), strict=True):
        mine = [point for point in points if point.refine_factor == refine_factor]
        axes.plot(
            [point.nprobes for point in mine],
            [point.recall for point in mine],
            marker="o",
            color=color,
            label=f"refine factor {refine_factor}",
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(NPROBES, [str(n) for n in NPROBES])
    axes.set_ylim(0, 1.03)
    axes.set_xlabel(f"nprobes (of {NUM_PARTITIONS} partitions in each bucket)")
    axes.set_ylabel("recall@10 against exact search")
    axes.set_title("More partitions and more refining find more of the true neighbours")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    out = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(out, format="png")
    return out.getvalue()


def _page(hits: pa.Table, names: dict[str, str], picture: bytes, rows: int) -> str:
    """Write the hits and the picture as one self-contained page."""
    parts = []
    for query, mine in _by_query(hits):
        lines = "".join(
            f"<tr><td>{hit['rank']}</td><td class=id>{html.escape(hit['id'])}</td>"
            f"<td>{_bar(hit['_distance'])}</td>"
            f"<td class=num>{hit['_distance']:.3f}</td>"
            f"<td>{html.escape(hit['description'] or '')}</td></tr>"
            for hit in mine
        )
        parts.append(
            f"<h2>{html.escape(query)}</h2><p>{html.escape(names.get(query, ''))}</p><table>"
            "<tr><th>rank</th><th>id</th><th>similarity</th><th>distance</th><th>description</th>"
            f"</tr>{lines}</table>"
        )
    template = (resources.files("atoll.app") / "data" / "hits.html").read_text()
    return Template(template).substitute(
        rows=f"{rows:,}",
        queries=len(parts),
        picture=base64.b64encode(picture).decode(),
        hits="\n".join(parts),
    )


def _bar(distance: float) -> str:
    return f"<div class=bar style='width:{100 * max(0, 1 - distance):.0f}%'></div>"


def _by_query(hits: pa.Table) -> list[tuple[str, list[dict[str, Any]]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for hit in hits.to_pylist():
        groups.setdefault(hit["query_id"], []).append(hit)
    return list(groups.items())


def _print_hits(hits: pa.Table, names: dict[str, str]) -> None:
    click.echo(f"\nThe {SHOWN_HITS} nearest of each query (cosine distance, 0 is equal):")
    for query, mine in _by_query(hits):
        click.echo(f"\n{query}  {_name(names.get(query, ''))}")
        for hit in mine[:SHOWN_HITS]:
            click.echo(f"  {hit['_distance']:.3f}  {hit['id']:<32} {_name(hit['description'])}")


def _name(description: str | None) -> str:
    """Keep the protein's name and organism of a UniProt header."""
    text = (description or "").partition(" GN=")[0].partition(" PE=")[0]
    name, _, organism = text.partition(" OS=")
    return f"{name[:44]} [{organism[:30]}]" if organism else name[:76]


def _print_recall(points: Sequence[RecallPoint]) -> None:
    click.echo("\nrecall@10 of 200 queries, against exact search:")
    rows = [("nprobes", [f"{nprobes}" for nprobes in NPROBES])]
    for refine_factor in REFINE_FACTORS:
        mine = [point for point in points if point.refine_factor == refine_factor]
        rows.append((f"refine factor {refine_factor}", [f"{point.recall:.3f}" for point in mine]))
    mine = [point for point in points if point.refine_factor == DEFAULT_REFINE_FACTOR]
    rows.append((f"  nearer than {NEAR}", [f"{point.near_recall:.3f}" for point in mine]))
    for label, cells in rows:
        click.echo(f"{label:<18}" + "".join(f"{cell:>8}" for cell in cells))
    click.echo(
        f"Last line: refine factor {DEFAULT_REFINE_FACTOR}, true neighbours nearer than {NEAR} "
        "only; farther ones are mostly unrelated."
    )


def _command() -> str:
    """Say how this program is called from here: by its name, where that finds it."""
    program = Path(sys.argv[0])
    if shutil.which("atoll") is not None or not program.exists():
        return "atoll"
    return os.path.relpath(program)


def _print_next(out: Path, seconds: float) -> None:
    atoll = _command()
    click.echo(f"""
Done in {seconds:.0f} s. In {out}/:
  hits.html      the hits and the recall picture, one page to open
  recall.png     the picture alone
  hits.csv       20 x 10 hits
  proteins.h5    the vectors: datasets embedding, id, description
  collection/    four LanceDB tables and what Atoll keeps beside them

Next:
  {atoll} info {out}/collection
  {atoll} verify {out}/collection
  {atoll} search {out}/collection --id 'sp|P29172|TAU_BOVIN' --exclude-self --columns description
  {atoll} search {out}/collection {out}/queries.fasta.gz --where "description LIKE '%Arabidopsis%'"
  {atoll} embed YOUR.fasta -o yours.h5 && {atoll} create YOURS yours.h5""")
    sys.stdout.flush()
