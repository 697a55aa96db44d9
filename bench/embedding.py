"""randconv: proteins per CPU-second, and what its neighbours are worth on SCOPe40."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import sets
from bench.measure import Figures, Meter, alternate, fresh, median
from bench.report import Row, compared, measured
from bench.sizes import Sizes

NAME = "randconv"
# What the prototype reached at 960 dimensions.
FAMILY, SUPERFAMILY = 0.353, 0.400
WARM_UP = 200
PLAIN_PROTEINS = 300
BLOCK_ROWS = 512


def embed(fasta: str, limit: int) -> Figures:
    """Measure the compiled kernel, after a warm-up that compiles it."""
    from atoll.core.resources import available_threads
    from atoll.vectors.embed.models import ModelOptions, load_model

    model = load_model(options=ModelOptions(threads=available_threads()))
    sequences = _sequences(fasta, limit)
    model.embed((sequences * WARM_UP)[:WARM_UP])
    with Meter() as meter:
        model.embed(sequences)
    return _rates(sequences, meter)


def embed_plainly(fasta: str, limit: int) -> Figures:
    """Measure the matrix product that embeds little, as compiling would take longer."""
    from atoll.vectors.embed import randconv
    from atoll.vectors.embed.models import ModelOptions

    model = randconv.RandConv(ModelOptions(threads=1))
    codes = [randconv.encode(sequence) for sequence in _sequences(fasta, limit)]
    randconv.product_pool(model.table, codes[:5])
    with Meter() as meter:
        randconv.product_pool(model.table, codes)
    return _rates(codes, meter)


def _sequences(fasta: str, limit: int) -> list[str]:
    from atoll.vectors.embed.fasta import read_fasta

    return [record.sequence for record in islice(read_fasta(fasta), limit)]


def _rates(sequences: list[Any], meter: Meter) -> Figures:
    residues = sum(map(len, sequences))
    return {"proteins": len(sequences), "residues": residues, **meter.figures}


def scope(fasta: str) -> dict[str, Any]:
    """Embed the labelled domains and score their nearest neighbours."""
    from atoll.core.resources import available_threads
    from atoll.vectors.embed.models import ModelOptions, load_model

    labels, sequences = _labelled(fasta)
    start = time.perf_counter()
    vectors = load_model(options=ModelOptions(threads=available_threads())).embed(sequences)
    seconds = time.perf_counter() - start
    nearest = nearest_other(vectors)
    return {
        "domains": len(labels),
        "wall_s": round(seconds, 1),
        "family": precision_at_1(labels, nearest),
        "superfamily": precision_at_1([label.rsplit(".", 1)[0] for label in labels], nearest),
    }


def _labelled(fasta: str) -> tuple[list[str], list[str]]:
    """Read `>domain class.fold.superfamily.family` headers and their sequences."""
    labels: list[str] = []
    sequences: list[str] = []
    with gzip.open(fasta, "rt") as lines:
        for line in lines:
            if line.startswith(">"):
                labels.append(line.split()[1])
                sequences.append("")
            else:
                sequences[-1] += line.strip()
    return labels, sequences


def nearest_other(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Find for each unit vector the one nearest to it, itself left out."""
    found = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), BLOCK_ROWS):
        likeness = vectors[start : start + BLOCK_ROWS] @ vectors.T
        rows = np.arange(len(likeness))
        likeness[rows, start + rows] = -np.inf
        found[start : start + BLOCK_ROWS] = likeness.argmax(axis=1)
    return found


def precision_at_1(labels: list[str], nearest: NDArray[np.int64]) -> float:
    """Measure how often the nearest bears the same label, over those that share theirs."""
    _, number, members = np.unique(labels, return_inverse=True, return_counts=True)
    has_others = members[number] > 1
    return float((number[nearest] == number)[has_others].mean())


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    fasta = sets.find(data, sets.UNIPROT) or sets.shipped_proteins()
    labelled = sets.find(data, sets.SCOPE)
    result: dict[str, Any] = {"runs": {}}
    rows = []
    if fasta:
        plain = min(sizes.proteins, PLAIN_PROTEINS)
        runs = alternate(
            sizes.repeats,
            {
                "compiled": lambda: fresh(embed, fasta=str(fasta), limit=sizes.proteins),
                "matrix product": lambda: fresh(embed_plainly, fasta=str(fasta), limit=plain),
            },
            say,
        )
        result = {"set": f"UniProt entries, {fasta.name}", "runs": runs}
        rows += _speed(runs)
    else:
        rows.append(Row(NAME, "proteins per CPU-second", note="skipped: no UniProt proteins here"))
    if labelled:
        say("SCOPe40")
        found = result["scope40"] = fresh(scope, fasta=str(labelled))
        note = f"{found['domains']:,} domains, 960-d"
        for level, bar in (("family", FAMILY), ("superfamily", SUPERFAMILY)):
            what = f"SCOPe40 precision@1, {level}"
            rows.append(measured(NAME, what, found[level], least=bar, note=note))
    else:
        note = f"skipped: {sets.SCOPE} is not ours to ship; give the folder that has it as DATA"
        rows.append(Row(NAME, "SCOPe40 precision@1", note=note))
    return result, rows


def _speed(runs: dict[str, list[Figures]]) -> list[Row]:
    def rate(name: str, what: str) -> float:
        return runs[name][0][what] / median(runs[name], "cpu_s")

    proteins, residues = runs["compiled"][0]["proteins"], runs["compiled"][0]["residues"]
    note = f"{proteins:,} full-length, mean {residues / proteins:.0f} residues"
    return [
        measured(NAME, "proteins per CPU-second", rate("compiled", "proteins"), note=note),
        compared(
            NAME,
            "residues per CPU-second, pooling by numba (with the reduction) against by numpy",
            rate("compiled", "residues"),
            rate("matrix product", "residues"),
        ),
    ]
