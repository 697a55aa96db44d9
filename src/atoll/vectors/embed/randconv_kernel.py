"""The inner loop of randconv, compiled by numba; imported only where it pays."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import cast

import numba
import numpy as np
from numpy.typing import NDArray


def best_responses(
    codes: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    table: NDArray[np.int16],
    best: NDArray[np.int16],
) -> None:
    """Raise each row of `best` to the best response of each filter over that sequence.

    Args:
        codes: the sequences one after another, each with three unknown residues at either end.
        lengths: (n,) residues in each, padding not counted.
        table: (7 x 21, filters) as `response_table` makes it; 850 KB, so it stays in a core's L2.
        best: (n, filters), filled with the lowest int16.
    """
    start = 0
    for sequence in range(len(lengths)):
        row = best[sequence]
        for i in range(start, start + lengths[sequence]):
            r0 = table[codes[i]]
            r1 = table[21 + codes[i + 1]]
            r2 = table[42 + codes[i + 2]]
            r3 = table[63 + codes[i + 3]]
            r4 = table[84 + codes[i + 4]]
            r5 = table[105 + codes[i + 5]]
            r6 = table[126 + codes[i + 6]]
            # Seven loads and one store per 16 to 32 filters: LLVM vectorises this.
            for f in range(table.shape[1]):
                total = np.int16(r0[f] + r1[f] + r2[f] + r3[f] + r4[f] + r5[f] + r6[f])
                row[f] = max(row[f], total)
        start += lengths[sequence] + 6


@cache
def compiled() -> Callable[..., None]:
    """Compile `best_responses`, or load it from numba's cache where there is a writable one."""
    try:
        kernel = numba.njit(nogil=True, cache=True)(best_responses)
    except RuntimeError:  # numba: "no locator available", neither package nor home is writable
        kernel = numba.njit(nogil=True)(best_responses)
    return cast("Callable[..., None]", kernel)
