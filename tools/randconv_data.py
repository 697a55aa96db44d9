"""Make the data file of the randconv embedder: python tools/randconv_data.py OUT.npz

Peptides, similarities and mean come out the same everywhere: the random stream is SplitMix64 on
integers. The projection goes through an eigensolver; eigenvectors are sign-canonical, but the last
bits may round to a neighbouring int8 elsewhere, so the file is shipped, not derived.

BLOSUM62 is the public NCBI matrix; background frequencies are those of UniProtKB/Swiss-Prot.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atoll.vectors.embed.randconv import (
    GRAM_SCALE,
    MEAN_SCALE,
    RESIDUES,
    WIDTH,
    KernelPool,
    response_table,
)

REVISION = "1"
SEED = 7
FILTERS = 2880
DIM = 960
EIGENVECTORS = 8
SEQUENCES = 12_000
# A sequence draws its residues from this many drawn from the background, which gives it a
# composition of its own: variance p (1 - p) / 40 per residue.
COMPOSITION_DRAWS = 40
# Lengths are uniform inside octaves 40-80, 80-160, 160-320, 320-640, equally likely.
SHORTEST = 40
OCTAVES = 4
POWER = 0.3
SHRINK = 0.2
BLOSUM62 = """4
-1 5
-2 0 6
-2 -2 1 6
0 -3 -3 -3 9
-1 1 0 0 -3 5
-1 0 0 2 -4 2 5
0 -2 0 -1 -3 -2 -2 6
-2 0 1 -1 -3 0 0 -2 8
-1 -3 -3 -3 -1 -3 -3 -4 -3 4
-1 -2 -3 -4 -1 -2 -3 -4 -3 2 4
-1 2 0 -1 -3 1 1 -2 -1 -3 -2 5
-1 -1 -2 -3 -1 0 -2 -3 -2 1 2 -1 5
-2 -3 -3 -3 -2 -3 -3 -3 -1 0 0 -3 0 6
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4 7
1 -1 1 0 -1 0 0 0 -1 -2 -2 0 -1 -2 -1 4
0 -1 0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1 1 5
-3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1 1 -4 -3 -2 11
-2 -2 -2 -3 -2 -1 -2 -3 2 -1 -1 -2 -1 3 -3 -2 -2 2 7
0 -3 -3 -3 -1 -2 -2 -3 -3 3 1 -2 1 -1 -2 -2 0 -3 -1 4"""
# In the order of RESIDUES, in 1/10,000.
BACKGROUND = np.fromstring(
    "825 553 406 546 138 393 672 707 227 591 965 580 241 386 474 665 536 110 292 686",
    dtype=np.int64,
    sep=" ",
)


def random_bits(lane: int, count: int) -> NDArray[np.uint64]:
    """Draw 32-bit integers (as uint64) of a lane of the stream: SplitMix64, Steele et al. 2014."""
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(lane << 40)
        z = z * np.uint64(0x9E3779B97F4A7C15) + np.uint64(SEED)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z ^ (z >> np.uint64(31))) >> np.uint64(32)


def below(lane: int, count: int, limits: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Draw integers from 0 up to, not including, the limits (all under 2**31)."""
    bounds = np.asarray(limits, dtype=np.uint64)
    return ((random_bits(lane, count) * bounds) >> np.uint64(32)).astype(np.int64)


def synthetic_sequences() -> list[NDArray[np.uint8]]:
    """Make the sequences that give peptides, mean and projection."""
    octave = SHORTEST << below(1, SEQUENCES, OCTAVES)
    lengths = octave + below(2, SEQUENCES, octave)
    cumulative = np.cumsum(BACKGROUND)
    drawn = below(3, SEQUENCES * COMPOSITION_DRAWS, int(cumulative[-1]))
    palette = np.searchsorted(cumulative, drawn, side="right").astype(np.uint8)
    owner = np.repeat(np.arange(SEQUENCES), lengths)
    pick = below(4, len(owner), COMPOSITION_DRAWS)
    return np.split(palette[owner * COMPOSITION_DRAWS + pick], np.cumsum(lengths)[:-1])


def peptides(sequences: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Cut the filters out of the sequences, (FILTERS, WIDTH)."""
    source = below(5, FILTERS, len(sequences))
    room = np.array([len(sequences[i]) - WIDTH + 1 for i in source])
    offset = below(6, FILTERS, room)
    return np.stack([sequences[i][o : o + WIDTH] for i, o in zip(source, offset, strict=True)])


def gram() -> NDArray[np.int16]:
    """Compute the similarity of residues from the leading eigenvectors of BLOSUM62, in 1/4096.

    Centred and scaled so that a random residue has mean 0 and mean square 1. Products of
    eigenvectors do not depend on their signs.
    """
    matrix = np.zeros((20, 20))
    for row, line in enumerate(BLOSUM62.split("\n")):
        matrix[row, : row + 1] = matrix[: row + 1, row] = [int(x) for x in line.split()]
    values, vectors = np.linalg.eigh(matrix)
    order = np.argsort(-values)[:EIGENVECTORS]
    share = BACKGROUND / BACKGROUND.sum()
    residues = vectors[:, order] * np.sqrt(values[order])
    residues -= share @ residues
    residues /= np.sqrt((share[:, None] * residues**2).sum())
    return np.rint(residues @ residues.T * GRAM_SCALE).astype(np.int16)


def projection(responses: NDArray[np.int16]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute mean and (FILTERS, DIM) projection: principal axes, each scaled by variance**-0.3."""
    x = responses.astype(np.float64)
    mean = x.mean(axis=0)
    x -= mean
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    values = np.maximum(values, 0)
    values += SHRINK * values.mean()
    top = np.argsort(-values)[:DIM]
    axes = vectors[:, top] * values[top] ** -POWER
    return mean, axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(DIM)])


def main(target: Path) -> None:
    """Write the data file."""
    sequences = synthetic_sequences()
    chosen, similarity = peptides(sequences), gram()
    responses = KernelPool(response_table(similarity, chosen))(sequences)
    mean, axes = projection(responses)
    # int8 with a scale per axis: a quarter of float32, and no sensitivity lost (docs/embedding.md).
    scale = np.abs(axes).max(axis=0) / 127
    np.savez_compressed(
        target,
        revision=np.array(REVISION),
        residues=np.array(RESIDUES),
        gram=similarity,
        peptides=chosen,
        mean=np.rint(mean * MEAN_SCALE).astype(np.int32),
        projection=np.rint(axes / scale).astype(np.int8),
        axis_scale=scale.astype(np.float32),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
