"""What processes that have just started ask of an object store; each is called by `fresh`.

Libraries are loaded before a clock starts: a small collection on this disk is searched first.
Nothing that was read is kept, but where a function says so.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import systems
from bench.measure import Figures

Store = dict[str, str]


def settings_of(store: Store, cache: str | None = None) -> Any:
    """Settings that reach a store, and keep what was read in a folder, or nowhere."""
    from atoll.core.config import Settings, StorageOptions

    options = StorageOptions(**store, allow_http=True)
    return Settings(threads=2, storage=options, disk_cache=Path(cache) if cache else None)


def load(small: str, queries: Any) -> None:
    """Load libraries and compiled code."""
    import atoll

    atoll.open(small).search(queries[:1], 1)


def cold(
    store: Store, uri: str, small: str, queries: str, number: int, k: int, setting: list[int]
) -> Figures:
    """Open a collection and ask it one query."""
    import atoll
    from atoll.storage import count_usage

    asked = np.array(np.load(queries, mmap_mode="r")[number : number + 1])
    load(small, asked)
    began = time.perf_counter()
    with count_usage() as usage:
        collection = atoll.open(uri, settings=settings_of(store))
        table = collection.search(asked, k, nprobes=setting[0], refine_factor=setting[1])
    seconds = time.perf_counter() - began
    names = systems.names_of(table, 1)[0]
    return {
        "requests": usage.reads,
        "bytes": usage.bytes_read,
        "seconds": seconds,
        "names": names,
    }


def cold_lance(
    store: Store, uri: str, queries: str, number: int, k: int, setting: list[int | None]
) -> Figures:
    """Open Lance's table and ask it one query; its requests are for the proxy to count."""
    import lance

    from atoll.storage import open_storage

    asked = np.array(np.load(queries, mmap_mode="r")[number])
    nprobes, refine = setting
    how = {"column": "embedding", "q": asked, "k": k, "nprobes": nprobes, "metric": "cosine"}
    how |= {"refine_factor": refine} if refine else {}
    storage = open_storage(uri, settings_of(store).storage)
    began = time.perf_counter()
    table = lance.dataset(storage.lance_uri(), storage_options=storage.lance_options())
    found = table.to_table(nearest=how, columns=["id", "_distance"])
    return {"seconds": time.perf_counter() - began, "names": found["id"].to_pylist()}


def steps(
    store: Store,
    uri: str,
    results: str,
    small: str,
    queries: str,
    numbers: list[int],
    k: int,
    nprobes: int | None,
    refine: int,
) -> list[Figures]:
    """Carry out each query in steps, one after the other, each with nothing open.

    Returns:
        Of each query: plan, search and measure (lists) and refine, with seconds, requests, puts,
        bytes_in, bytes_out; the bytes of each part; the hits' ids.
    """
    import atoll
    from atoll.vectors.options import search_options

    asked = np.load(queries, mmap_mode="r")
    load(small, np.array(asked[:1]))
    reach = settings_of(store)
    collection = atoll.open(uri, settings=reach)
    options = search_options(k=k, nprobes=nprobes, refine_factor=refine)
    found = []
    for number in numbers:
        batch = np.array(asked[number : number + 1])
        place = f"{results}/{uuid.uuid4().hex}"
        run = collection.begin_run(place, batch, options, suffix=".parquet")
        told, plan = _step(run, reach, "plan")
        assert not told["groups"], "the steps measured here are those without folds"
        search = [_step(run, reach, "search", bucket=bucket)[1] for bucket in told["buckets"]]
        measured = told["buckets"] if told["is_measured"] else ()
        measure = [_step(run, reach, "measure", bucket=bucket)[1] for bucket in measured]
        _, refined = _step(run, reach, "refine")
        parts = [part.size_bytes for part in run.storage.list("_run/parts")]
        names = run.hits()["id"].to_pylist()
        found.append(
            {
                "plan": plan, "search": search, "measure": measure, "refine": refined,
                "parts": parts, "names": names,
            }
        )  # fmt: skip
    return found


def _step(run: Any, reach: Any, name: str, **number: int) -> tuple[dict[str, Any], Figures]:
    from atoll.storage import count_usage
    from atoll.vectors.distributed import opened
    from atoll.vectors.distributed.dispatch import carry_out

    # What the last step had open is a neighbour's: each step is a function that has just started.
    opened._last.clear()
    began = time.perf_counter()
    with count_usage() as usage:
        told = carry_out({"step": name, "run": run.storage.url, **number}, reach)
    return told, {
        "seconds": time.perf_counter() - began,
        "requests": usage.reads + usage.puts,
        "gets": usage.reads,
        "puts": usage.puts,
        "bytes_in": usage.bytes_read,
        "bytes_out": usage.bytes_written,
    }


def fill(store: Store, uri: str, cache: str, vectors: bool) -> Figures:
    """Do `atoll warm` with --codes or --vectors: what it read, in what time."""
    import atoll

    began = time.perf_counter()
    usage = atoll.open(uri, settings=settings_of(store, cache)).warm(codes=True, vectors=vectors)
    seconds = time.perf_counter() - began
    return {"requests": usage.reads, "bytes": usage.bytes_read, "seconds": seconds}


def warm(
    store: Store | None, uri: str, cache: str, queries: str, before: int, count: int,
    k: int, setting: list[int], consistency_s: float = 0.0,
) -> Figures:  # fmt: skip
    """Ask a collection new queries, after others that have warmed this process.

    Args:
        store: where it lies; None for this disk.
        uri: of the collection.
        cache: folder of the disk cache, as `fill` has left it.
        queries: .npy of them.
        before: queries asked before the clock.
        count: others asked once each, under it.
        k: hits wanted.
        setting: nprobes and refine factor.
        consistency_s: seconds between two looks for a newer version; 0 has each search look.
    """
    import atoll
    from atoll.storage import count_usage

    asked = np.array(np.load(queries, mmap_mode="r")[: before + count])
    reach = None
    if store:
        reach = replace(settings_of(store, cache), read_consistency_s=consistency_s)
    collection = atoll.open(uri, settings=reach)
    nprobes, refine = setting
    seconds, requests = [], []
    for number, query in enumerate(asked):
        began = time.perf_counter()
        with count_usage() as usage:
            collection.search(query[None], k, nprobes=nprobes, refine_factor=refine)
        if number >= before:
            seconds.append(time.perf_counter() - began)
            requests.append(usage.reads)
    return {"p50_s": median(seconds), "requests": median(requests), "seconds": seconds}


def counted(
    store: Store, uri: str, queries: str, numbers: list[int], k: int, setting: list[int]
) -> list[tuple[int, int]]:
    """Count what cold searches read: requests and bytes of each."""
    import atoll
    from atoll.storage import count_usage

    asked = np.load(queries, mmap_mode="r")
    found = []
    for number in numbers:
        batch = np.array(asked[number : number + 1])
        with count_usage() as usage:
            collection = atoll.open(uri, settings=settings_of(store))
            collection.search(batch, k, nprobes=setting[0], refine_factor=setting[1])
        found.append((usage.reads, usage.bytes_read))
    return found


def exact(uri: str, queries: str, numbers: list[int], k: int) -> list[list[str]]:
    """Find the true neighbours among what a collection on this disk stores."""
    import atoll

    asked = np.array(np.load(queries, mmap_mode="r")[numbers])
    return systems.names_of(atoll.open(uri).search(asked, k, exact=True), len(numbers))


def partitions(uri: str) -> int:
    """Count the partitions of a bucket."""
    import atoll

    return int(atoll.open(uri).spec.index.num_partitions)
