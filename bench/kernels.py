"""The scan of 1-bit codes: ours, compiled by numba, beside numpy and a SIMD library, one thread.

Each takes one query, quantised to 6 bits, against 960-bit codes. numpy and NumKong only count bits:
the products of bit planes, which are most of an estimate. Ours goes on to the estimates and
the best 50 of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import Figures, Meter, alternate, fresh, median
from bench.report import Row, compared, measured
from bench.sizes import Sizes

NAME = "kernels"
DIM, PLANES, KEEP = 960, 6, 50
ROUNDS = 20


def ours(rows: int) -> Figures:
    """Scan with the kernel that searches use."""
    from atoll.vectors import rabitq, scan

    random = np.random.default_rng(0)
    centroid = np.zeros((1, DIM), np.float32)
    vectors = random.standard_normal((rows, DIM), np.float32)
    signs = rabitq.rotation_signs(DIM, 0)
    none = np.zeros(rows, np.uint32)
    codes = rabitq.encode(vectors, none, centroid, signs, "l2", random.integers(0, 99, rows, "u8"))
    one = np.zeros(1, np.int64)
    began = time.process_time()
    prepared = rabitq.prepare(vectors[:1], one, centroid, one, np.zeros(1, np.float32))
    block = np.zeros(1, scan.BLOCK)
    held = scan.arranged(codes.view(np.uint8).reshape(rows, -1), 1)
    block["address"], block["rows"] = held.ctypes.data, rows

    def work() -> None:
        scan.scan(block, prepared, scan.Best.of(1, KEEP), "l2", DIM)

    work()
    return {"first_s": time.process_time() - began, **_timed(work, rows)}


def by_numpy(rows: int) -> Figures:
    """Count bits with numpy."""
    codes, planes = _bits(rows, np.uint64)

    def work() -> None:
        total = np.zeros(rows, np.int64)
        for number, plane in enumerate(planes):
            total += np.bitwise_count(codes & plane).sum(axis=1, dtype=np.int64) << number

    return _timed(work, rows)


def by_numkong(rows: int) -> Figures:
    """Count bits with NumKong: and-counts follow from Hamming distances and the counts of ones."""
    import numkong

    codes, planes = _bits(rows, np.uint8)
    ones = np.bitwise_count(codes).sum(axis=1, dtype=np.int64)
    weights = np.int64(1) << np.arange(PLANES)
    own = np.bitwise_count(planes).sum(axis=1, dtype=np.int64)

    def work() -> None:
        apart = np.asarray(numkong.cdist(planes, codes, "hamming", dtype="uint1"))
        _ = weights @ ((own[:, None] + ones - apart) / 2)

    return _timed(work, rows)


def _bits(rows: int, kind: Any) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    width = DIM // 8
    drawn = (random.integers(0, 256, (n, width), np.uint8) for n in (rows, PLANES))
    codes, planes = (each.view(kind) for each in drawn)
    return codes, planes


def _timed(work: Callable[[], None], rows: int) -> Figures:
    work()
    with Meter() as meter:
        for _ in range(ROUNDS):
            work()
    return {"rows": rows * ROUNDS, **meter.figures}


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    rows = sizes.clustered_rows
    ways: dict[str, Callable[..., Figures]] = {"ours": ours, "numpy": by_numpy}
    if find_spec("numkong"):
        ways["NumKong"] = by_numkong
    variants = {name: lambda way=way: fresh(way, rows=rows) for name, way in ways.items()}
    runs = alternate(sizes.repeats, variants, say)
    rate = {name: each[0]["rows"] / median(each, "cpu_s") for name, each in runs.items()}
    first = median(runs["ours"], "first_s")
    note = f"loading numba and the first call: {first:.2f} CPU-s, compiled before"
    made = [measured(NAME, "codes scanned, 960 bits", rate["ours"], "codes/CPU-s", note=note)]
    for name in list(ways)[1:]:
        what = f"codes scanned, against counting bits with {name}"
        made.append(compared(NAME, what, rate["ours"], rate[name], "codes/CPU-s"))
    return {"runs": runs}, made
