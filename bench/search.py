"""Search: the same answers from any number of buckets; latency and recall at the post's values."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import sets
from bench.measure import fresh
from bench.report import Row, compared, measured
from bench.sizes import Sizes

NAME = "search"
K = 10
# nprobes and refine factor: the post's example call, our default, and a generous one.
SETTINGS = ((1, 1), (20, 5), (20, 20))
WARM_UP = 10
# Beyond this cosine distance randconv's neighbours are hardly better than chance (docs).
NEAR = 0.5
ROUNDING = 1e-5
ROWS_PER_PARTITION = 500

Answers = list[list[tuple[str, float]]]


def layout(
    uri: str,
    paths: list[str],
    queries: str,
    timed: int,
    bucket_rows: int,
    index: str,
    num_partitions: int | None,
) -> dict[str, Any]:
    """Build one collection and search it in every setting.

    Returns:
        answers to all queries by setting, "all" probing everything and "exact" comparing with
        every row; p50 in ms of single queries by setting; num_partitions; names of the buckets.
    """
    import atoll

    collection = atoll.create(
        uri, paths, bucket_rows=bucket_rows, index=index, num_partitions=num_partitions
    )
    asked = np.load(queries)
    batch = atoll.QueryBatch([str(number) for number in range(len(asked))], asked)
    answers, p50 = {}, {}
    for nprobes, refine in SETTINGS:
        chosen = {"nprobes": nprobes, "refine_factor": refine}
        name = f"{nprobes}/{refine}"
        p50[name] = _p50([_one(collection, query, chosen) for query in asked[:timed]])
        answers[name] = _answers(collection.search(batch, k=K, **chosen), len(asked))
    whole = {"nprobes": collection.spec.index.num_partitions, "refine_factor": 20}
    answers["all"] = _answers(collection.search(batch, k=K, **whole), len(asked))
    answers["exact"] = _answers(collection.search(batch, k=K, exact=True), len(asked))
    return {
        "answers": answers,
        "p50_ms": p50,
        "num_partitions": whole["nprobes"],
        "buckets": [bucket.name for bucket in collection.buckets],
    }


def _one(collection: Any, query: Any, chosen: dict[str, int]) -> Callable[[], None]:
    return lambda: collection.search(query[None], k=K, **chosen)


def _p50(calls: list[Callable[[], Any]]) -> float:
    """Time calls one by one, after a few to warm up."""
    for call in calls[:WARM_UP]:
        call()
    taken = []
    for call in calls:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return round(1000 * float(np.median(taken)), 2)


def _answers(table: Any, count: int) -> Answers:
    found: Answers = [[] for _ in range(count)]
    columns = (table[name].to_pylist() for name in ("query_id", "id", "_distance"))
    for query, name, distance in zip(*columns, strict=True):
        found[int(query)].append((name, distance))
    return found


def stock(uri: str, names: list[str], queries: str, timed: int) -> dict[str, Any]:
    """Run the post's own query through lancedb: per bucket, together, sort, head."""
    import lancedb

    asked = np.load(queries)

    async def run() -> dict[str, Any]:
        """Ask every query at every setting; time those after the warm-up."""
        database = await lancedb.connect_async(uri)
        tables = [await database.open_table(name) for name in names]

        async def search(query: Any, nprobes: int, refine: int) -> list[tuple[str, float]]:
            """Ask all buckets at once and keep the K nearest."""
            chains = [
                table.query()
                .nearest_to(query)
                .column("embedding")
                .distance_type("cosine")
                .nprobes(nprobes)
                .refine_factor(refine)
                .limit(K)
                for table in tables
            ]
            hits = []
            for part in await asyncio.gather(*(chain.to_arrow() for chain in chains)):
                hits += zip(part["id"].to_pylist(), part["_distance"].to_pylist(), strict=True)
            return sorted(hits, key=lambda hit: (hit[1], hit[0]))[:K]

        answers, p50 = {}, {}
        for nprobes, refine in SETTINGS:
            found, taken = [], []
            for query in [*asked[:WARM_UP], *asked]:
                start = time.perf_counter()
                found.append(await search(query, nprobes, refine))
                taken.append(time.perf_counter() - start)
            name = f"{nprobes}/{refine}"
            answers[name] = found[len(found) - len(asked) :]
            p50[name] = round(1000 * float(np.median(taken[-len(asked) :][:timed])), 2)
        return {"answers": answers, "p50_ms": p50}

    return asyncio.run(run())


def recall(answers: Answers, true_ids: Any, true_distances: Any, near: float = np.inf) -> float:
    """Measure the share of the true K nearest within `near` that was found, ties by distance."""
    found = wanted = 0
    for hits, ids, distances in zip(answers, true_ids, true_distances, strict=True):
        limit = min(near, distances[-1])
        count = int((distances <= limit).sum())
        names = set(ids[:count])
        right = sum(name in names or distance <= limit + ROUNDING for name, distance in hits)
        found, wanted = found + min(right, count), wanted + count
    return found / wanted if wanted else float("nan")


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    total = sizes.buckets * sizes.bucket_rows
    say("making the vectors and their true neighbours")
    made = fresh(
        sets.write_vectors,
        folder=str(scratch),
        data=data,
        files=sizes.buckets,
        rows=total,
        queries=sizes.queries,
    )
    answer = str(scratch / "truth.npz")
    fresh(sets.truth, paths=made["paths"], queries=made["queries"], k=K, answer=answer)
    partitions = max(4, total // ROWS_PER_PARTITION)
    plans = [(f"rabitq, {_count(n)} of one model", "rabitq", n, partitions) for n in sizes.layouts]
    plans += [
        (f"{index}, {sizes.buckets} buckets", index, sizes.buckets, None)
        for index in ("rabitq", "ivf_pq")
    ]
    found = {}
    for number, (name, index, buckets, fixed) in enumerate(plans):
        uri = str(scratch / f"collection-{number}")
        say(f"{name}: building and searching")
        found[name] = fresh(
            layout,
            uri=uri,
            paths=made["paths"],
            queries=made["queries"],
            timed=sizes.timed,
            bucket_rows=-(-total // buckets),
            index=index,
            num_partitions=fixed,
        )
    say("the post's query through lancedb")
    names = found[plans[-1][0]]["buckets"]
    found["post"] = fresh(stock, uri=uri, names=names, queries=made["queries"], timed=sizes.timed)
    true = np.load(answer)
    facts = {
        "set": made["name"],
        "queries": sizes.queries,
        "k": K,
        "near": NEAR,
        "near_neighbours": int((true["distances"] <= NEAR).sum()),
        "num_partitions": {name: found[name]["num_partitions"] for name, *_ in plans},
        "figures": {
            name: _figures(each, true["ids"], true["distances"]) for name, each in found.items()
        },
    }
    return facts, _rows(found, true, sizes)


def _rows(found: dict[str, dict[str, Any]], truth: Any, sizes: Sizes) -> list[Row]:
    ids, distances = truth["ids"], truth["distances"]
    rows = _same_everywhere(found, ids, distances, sizes)
    for name, each in found.items():
        for setting, figures in _figures(each, ids, distances).items():
            post = found["post"]["p50_ms"][setting] if name != "post" else None
            rows.append(_row(name, setting, figures, post))
    return [*rows, _parity(found[f"ivf_pq, {sizes.buckets} buckets"], found["post"])]


def _figures(each: dict[str, Any], ids: Any, distances: Any) -> dict[str, dict[str, float]]:
    """Sum up one collection: p50 and recalls by setting."""
    return {
        setting: {
            "p50_ms": p50,
            "recall": recall(each["answers"][setting], ids, distances),
            "recall_near": recall(each["answers"][setting], ids, distances, NEAR),
        }
        for setting, p50 in each["p50_ms"].items()
    }


def _row(name: str, setting: str, figures: dict[str, float], post: float | None) -> Row:
    what = "the post's query through lancedb" if post is None else name
    what += f", {setting}: p50 of single queries"
    note = f"recall@{K} {figures['recall']:.3f}, within {NEAR} {figures['recall_near']:.3f}"
    if post is None:
        return measured(NAME, what, figures["p50_ms"], "ms", note=note)
    return compared(NAME, what, figures["p50_ms"], post, "ms", note=note)


def _same_everywhere(
    found: dict[str, dict[str, Any]], ids: Any, distances: Any, sizes: Sizes
) -> list[Row]:
    """Hold the layouts of one model against each other, and exact search against numpy."""
    layouts = {name: each["answers"] for name, each in found.items() if name != "post"}
    exact = {name: _ids(answers["exact"]) for name, answers in layouts.items()}
    first, *others = [name for name in layouts if name.endswith("of one model")]
    for name in others:
        if _ids(layouts[name]["all"]) != _ids(layouts[first]["all"]):
            raise AssertionError(f"probing everything, {name} and {first} answer differently")
    for name, each in exact.items():
        if each != exact[first]:
            raise AssertionError(f"exact search: {name} and {first} answer differently")
        if (share := recall(layouts[name]["exact"], ids, distances)) < 1:
            raise AssertionError(f"exact search of {name} has recall {share} against numpy")
    counts = ", ".join(map(str, sizes.layouts))
    return [
        measured(
            NAME,
            f"same ids, same order, from {counts} buckets of rabitq probing everything",
            1.0,
            least=1,
            note=f"recall@{K} {recall(layouts[first]['all'], ids, distances):.4f}",
        ),
        measured(
            NAME,
            f"same ids, same order, by exact search of all {len(exact)} collections; as numpy",
            1.0,
            least=1,
        ),
    ]


def _count(buckets: int) -> str:
    return "1 bucket" if buckets == 1 else f"{buckets} buckets"


def _ids(answers: Answers) -> list[list[str]]:
    return [[name for name, _ in hits] for hits in answers]


def _parity(ours: dict[str, Any], post: dict[str, Any]) -> Row:
    """Count how many hits the post's query and ours share on the same tables."""
    name = "/".join(map(str, SETTINGS[1]))
    pairs = zip(_ids(ours["answers"][name]), _ids(post["answers"][name]), strict=True)
    shared = [len(set(a) & set(b)) / max(1, len(b)) for a, b in pairs]
    what = f"ivf_pq, {name}: hits of the post's query that ours finds, too"
    return measured(NAME, what, float(np.mean(shared)))
