"""Says what a planned build will cost here, on so many workers, and on the machine of the post."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from atoll.core.config import Settings
from atoll.core.resources import available_memory
from atoll.core.text import counted, duration, sized
from atoll.storage import local_path
from atoll.vectors.calibrate import AT_CREATE
from atoll.vectors.costs import Place, Sizes, Times, Work, sizes, times
from atoll.vectors.machine import LOCAL, load_rates, store_of, this_machine
from atoll.vectors.planning import Planned
from atoll.vectors.rates import STAGES, Rates
from atoll.vectors.search import NARROW_ROWS
from atoll.vectors.teams import MIN_SHARED_ROWS
from atoll.vectors.training import training_rows

# A build may use half of what is free, see `Settings`.
MEMORY_SHARE = 0.5
# One vCPU is a hyperthread: half a core, or more where cores wait for memory. Instance facts: AWS.
POST_CORES = 32
POST_VCPU_SPEED = 0.5
POST_MEMORY_BYTES = 256 << 30
POST = Place(
    "i4i.8xlarge", POST_CORES, POST_VCPU_SPEED, POST_CORES, int(POST_MEMORY_BYTES * MEMORY_SHARE)
)
# 3.5 billion vectors of 960 in 108 hours of that instance, at 14,142 partitions.
POST_ROWS_PER_S = 9_002
# A process with the libraries loaded, and what all of them have in common, where nothing was
# measured.
BASE_BYTES, LIBRARY_BYTES = 130 << 20, 150 << 20


@dataclass(frozen=True)
class Estimate:
    """What a build costs at one place; no times where no rates are known."""

    place: Place
    sizes: Sizes
    times: Times | None


@dataclass(frozen=True)
class Forecast:
    """What a build costs.

    Attributes:
        estimates: by place, this machine first.
        rates: what they rest on; None where nothing was measured.
        disk_s: seconds that this machine's store and scratch disk need for the bytes alone; None
            where that is not known.
        warnings: what does not fit here.
        notes: what the figures leave out.
    """

    estimates: tuple[Estimate, ...]
    rates: Rates | None
    disk_s: float | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """Return all figures, JSON-ready: bytes and seconds, spreads as low, mid, high."""
        return {
            "rates": self.rates
            and {"machine": self.rates.machine, "measured_at": self.rates.measured_at},
            "places": [asdict(each) for each in self.estimates],
            "disk_s": self.disk_s,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }

    def table(self) -> dict[str, list[str]]:
        """Return the figures as columns of text, the first with what they are."""
        rows = list(self._rows())
        table = {"": [name for name, _ in rows]}
        for number, each in enumerate(self.estimates):
            table[each.place.name] = [cells[number] for _, cells in rows]
        return table

    def _rows(self) -> Iterator[tuple[str, list[str]]]:
        known = [each.times for each in self.estimates if each.times is not None]
        if known:
            for stage in STAGES:
                if stage in known[0].wall_s:
                    yield stage, [duration(each.wall_s[stage].mid) for each in known]
            yield "time", [duration(each.total_s.mid) for each in known]
            yield "at best", [duration(each.total_s.low) for each in known]
            yield "at worst", [duration(each.total_s.high) for each in known]
        found = [each.sizes for each in self.estimates]
        yield "workers", [str(each.workers) for each in found]
        yield "buckets at once", [str(1 if e.is_shared else e.workers) for e in found]
        yield "memory per worker", [sized(each.worker_memory) for each in found]
        yield "memory in all", [sized(each.memory) for each in found]
        yield "scratch", [sized(each.spill) for each in found]
        yield "written", [sized(each.written) for each in found]


def forecast(planned: Planned, settings: Settings) -> Forecast:
    """Project a build from the rates measured on this machine.

    Raises:
        Forbidden, Unavailable: the file of rates cannot be read.
    """
    rates = load_rates(settings.rates, this_machine()) if settings.rates else None
    work = _work(planned)
    timed = rates if work.index != "ivf_pq" else None
    bytes_of_process = (
        (rates.base_bytes, rates.library_bytes) if rates else (BASE_BYTES, LIBRARY_BYTES)
    )
    estimates = tuple(
        Estimate(
            place,
            sizes(work, place, *bytes_of_process),
            times(work, place, timed) if timed else None,
        )
        for place in _places(planned, settings)
    )
    disk_s = _disk_s(planned, estimates[0].sizes, rates) if timed else None
    return Forecast(
        estimates,
        rates,
        disk_s,
        tuple(_warnings(planned, estimates[0], settings)),
        tuple(_notes(work, planned, estimates[0], rates, disk_s)),
    )


def _work(planned: Planned) -> Work:
    spec = planned.spec
    rows = tuple(bucket.rows for bucket in planned.buckets.buckets)
    sample = 0
    if spec.index.kind != "flat":
        sample = min(training_rows(spec.index), sum(rows))
    return Work(
        bucket_rows=rows,
        dim=spec.dim,
        dtype=spec.dtype,
        index=spec.index.kind,
        num_partitions=spec.index.num_partitions,
        sample_rows=sample,
        batch_rows=planned.options.batch_rows,
        calibrated_rows=_calibrated_rows(planned),
    )


def _calibrated_rows(planned: Planned) -> int:
    """Count the rows among which `create` measures recall: whole buckets, at least one."""
    rows = [bucket.rows for bucket in planned.buckets.buckets]
    wanted = planned.options.calibrate and planned.spec.index.kind == "rabitq"
    if not wanted or sum(rows) <= NARROW_ROWS:
        return 0
    return max(max(rows), min(sum(rows), AT_CREATE.max_rows))


def _places(planned: Planned, settings: Settings) -> Iterator[Place]:
    cores, wanted = settings.threads, planned.options.workers
    yield Place("this machine", cores, 1.0, wanted or cores, settings.memory_bytes)
    if wanted:
        memory = settings.memory_bytes * wanted // cores
        yield Place(counted(wanted, "worker"), wanted, 1.0, wanted, memory)
    yield POST


def _disk_s(planned: Planned, needed: Sizes, rates: Rates | None) -> float | None:
    if rates is None or (store := rates.stores.get(store_of(planned.storage))) is None:
        return None
    return needed.written * store.mid + 2 * needed.spill * rates.stores[LOCAL].mid


def _warnings(planned: Planned, here: Estimate, settings: Settings) -> Iterator[str]:
    needed = here.sizes
    if needed.memory > (free := available_memory()):
        yield (
            f"{sized(needed.memory)} of memory do not fit here, {sized(free)} are free; "
            "give a smaller --memory, fewer --workers or a smaller --bucket-rows"
        )
    places = [(_existing(settings.scratch or Path(gettempdir())), needed.spill)]
    if (target := local_path(planned.storage.url)) is not None:
        places.append((_existing(target), needed.written))
    by_disk: dict[int, list[tuple[Path, int]]] = {}
    for path, size_bytes in places:
        by_disk.setdefault(path.stat().st_dev, []).append((path, size_bytes))
    for mine in by_disk.values():
        wanted, free = sum(size for _, size in mine), shutil.disk_usage(mine[0][0]).free
        if wanted > free:
            where = " and ".join(dict.fromkeys(str(path) for path, size in mine if size))
            yield (
                f"{sized(wanted)} do not fit in {where}, {sized(free)} are free; "
                "choose another place, --scratch or --dtype float16"
            )


def _existing(path: Path) -> Path:
    """Return the nearest folder that is there already."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())


def _notes(
    work: Work, planned: Planned, here: Estimate, rates: Rates | None, disk_s: float | None
) -> Iterator[str]:
    yield (
        "sizes hold vectors, ids of 20 bytes and the index; further columns come on top"
        if planned.spec.columns
        else "sizes take ids for 20 bytes"
    )
    if rates is None:
        yield hint("plan says how long it takes")
        return
    if work.index == "ivf_pq":
        yield "how long Lance takes for its index is not projected"
        return
    yield f"rates measured {rates.measured_at} on {rates.machine}; sources were HDF5"
    if here.sizes.is_shared:
        yield (
            "workers build each bucket together: rows go once through files, in --scratch, and "
            "what workers start with is spent for each bucket"
        )
    elif here.sizes.workers < here.place.workers:
        yield (
            f"{counted(here.sizes.workers, 'worker')} of {here.place.workers} would be busy: "
            f"{counted(len(work.bucket_rows), 'bucket')} of fewer than {MIN_SHARED_ROWS:,} rows, "
            "or without an index, are built by one worker each"
        )
    dims = sorted({timing.dim for timing in rates.timings})
    if work.dim not in dims:
        measured = ", ".join(map(str, dims))
        yield (
            f"{work.dim} values a vector lie between or beyond what was measured ({measured}); "
            f"`atoll bench-here --dim {work.dim}` measures them"
        )
    if disk_s is None:
        yield (
            f"how fast {planned.storage} takes bytes is not known; "
            f"`atoll bench-here --uri {planned.storage}` measures it"
        )
    elif here.times and disk_s > here.times.total_s.mid:
        yield (
            f"the bytes alone take {duration(disk_s)} to write here: "
            "disk or network will be what the build waits for"
        )
    yield (
        f"{POST.name}: a vCPU counts as half a core of this machine, its disks and network are not "
        f"counted; the post took {duration(work.rows / POST_ROWS_PER_S)} for so many rows of 960"
    )


def hint(gain: str) -> str:
    """Say how rates are measured, and what is gained by it."""
    return f"run `atoll bench-here` once (half a minute) and {gain}"
