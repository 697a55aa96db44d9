"""Compiled loops of encoding, search and reading.

Import its modules late: they import numba. Kernels take addresses where rows may come read-only,
from a file or from Arrow, since numba compiles a second time for an array that may not be written.
An array made in a kernel is freed after the last line that names it: its address does not hold it.
"""
