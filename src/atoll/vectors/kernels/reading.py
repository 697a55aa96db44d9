"""Rows of a local file, each read by itself."""
# Types of arguments are numba's to infer.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from numba.core import types

from atoll.vectors.kernels.compiling import compiled

# Reads (descriptor, address, bytes, position), the system call itself.
read_at = types.ExternalFunction(
    "pread", types.int64(types.int32, types.int64, types.int64, types.int64)
)


@compiled
def read_rows(descriptor, at, out):
    """Read rows of a file, from bytes `at` (n,), into `out` (n, width) uint8.

    Returns:
        How many were read before some could not be, or not whole.
    """
    width = out.shape[1]
    start = 0
    while start < len(at):
        stop = start + 1
        while stop < len(at) and at[stop] == at[stop - 1] + width:
            stop += 1
        size = (stop - start) * width
        if read_at(descriptor, out.ctypes.data + start * width, size, at[start]) != size:
            break
        start = stop
    return start
