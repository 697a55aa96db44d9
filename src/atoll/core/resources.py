"""What this process may use of the machine: processors and memory, cgroup limits included."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

from threadpoolctl import ThreadpoolController, threadpool_limits

# Read by the libraries when they first start threads, which is after this; the BLAS libraries
# already loaded by then are told through threadpoolctl. Lance's LANCE_IO_THREADS stays as it is:
# those wait for the store and use no processor.
_THREAD_VARIABLES = (
    "LANCE_CPU_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
_FALLBACK_MEMORY_BYTES = 2 << 30
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def available_threads(cgroup: Path = CGROUP) -> int:
    """Count the processors this process may use: affinity mask and cgroup v2 quota, at least 1."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def limit_threads(threads: int) -> None:
    """Let the libraries of this process use no more than `threads` processors from now on."""
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    threadpool_limits(threads)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[object]:
    """Keep matrix products within the block to one thread each.

    Small ones gain nothing from more, and those that wait for work burn a processor meanwhile.
    """
    limited: AbstractContextManager[object] = _libraries().limit(limits=1, user_api="blas")
    return limited


def available_memory(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int:
    """Return the bytes of memory still free to this process: the smaller of the machine's
    available memory and what its cgroup v2 limit leaves."""
    free = _FALLBACK_MEMORY_BYTES
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        if limit != "max":
            used = int((cgroup / "memory.current").read_text())
            free = min(free, max(0, int(limit) - used))
    except (OSError, ValueError):
        pass
    return free


def parse_bytes(text: str) -> int:
    """Read a size such as "512M", "8GiB" or "1000000" (powers of 1024).

    Raises:
        ValueError: it is not a size.

    >>> parse_bytes("1.5G")
    1610612736
    """
    word = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = word[-1:] if word[-1:] in _UNITS and not word[-1:].isdigit() else ""
    value = float(word.removesuffix(unit) if unit else word) * _UNITS[unit]
    if not 0 < value < 1 << 62:
        raise ValueError(f"{text!r} is not a size")
    return int(value)
