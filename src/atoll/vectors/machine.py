"""What the rates measured on a machine depend on, and the file that keeps them."""

from __future__ import annotations

import logging
import platform
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np  # noqa: F401  # its BLAS is asked for below
from threadpoolctl import threadpool_info

from atoll.core.files import reading, whole_file, writing
from atoll.core.records import decoded
from atoll.core.resources import available_threads
from atoll.core.text import counted
from atoll.storage import Storage
from atoll.vectors.rates import Rates

logger = logging.getLogger(__name__)

CPUINFO = Path("/proc/cpuinfo")
LOCAL = "local disk"


def this_machine() -> str:
    """Name the processor and the libraries that decide how fast a build is."""
    parts = [
        _processor(),
        counted(available_threads(), "core"),
        f"numpy {version('numpy')}",
        *sorted({_library(found) for found in threadpool_info() if found["user_api"] == "blas"}),
        f"pylance {version('pylance')}",
        f"atoll {version('atoll')}",
    ]
    return ", ".join(parts)


def _processor() -> str:
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine() or "unknown processor"


def _library(found: dict[str, str]) -> str:
    text = f"{found['internal_api']} {found['version']}"
    return f"{text} {found['architecture']}" if found.get("architecture") else text


def load_rates(path: Path, machine: str) -> Rates | None:
    """Read what was measured on a machine; None where nothing was.

    Raises:
        Forbidden, Unavailable: the file cannot be read.
    """
    return _read(path).get(machine)


def save_rates(path: Path, rates: Rates) -> None:
    """Keep what was measured on a machine, in place of what was measured there before.

    A home folder may be shared: rates of other machines stay.

    Raises:
        Forbidden, Unavailable, InvalidInput: the file cannot be written.
    """
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    kept = _read(path) | {rates.machine: rates}
    with whole_file(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode(kept), indent=1))


def _read(path: Path) -> dict[str, Rates]:
    if not path.exists():
        return {}
    with reading(path):
        data = path.read_bytes()
    try:
        return decoded(data, dict[str, Rates])
    except msgspec.MsgspecError as error:
        # Another Atoll's, or damaged: what can be measured again is no reason to stop.
        logger.warning("rates not readable, measure again file=%s error=%s", path, error)
        return {}


def store_of(storage: Storage) -> str:
    """Name what decides how fast bytes are taken: the local disk, or the bucket in S3."""
    if storage.url.startswith("file://"):
        return LOCAL
    return "/".join(storage.url.split("/")[:3])
