"""Stock LanceDB beside Atoll: it reads our tables, and what it does to them harms no search."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import lance
import lancedb
import numpy as np
import pyarrow as pa
import pytest
from vectordata import (
    clustered,
    gaussian,
    hit_ids,
    names,
    nearest,
    recall,
    settings,
    stored,
    write_h5,
)

import atoll

DIM, ROWS, K = 64, 6000, 10


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Four buckets with the post's index, forty queries, and the true neighbours."""
    folder = tmp_path_factory.mktemp("parity")
    vectors = clustered(ROWS, DIM, clusters=60)
    queries = vectors[:40] + gaussian(40, DIM, seed=7) * np.float32(0.5)
    collection = atoll.create(
        folder / "c",
        write_h5(folder / "x.h5", vectors),
        index="ivf_pq",
        bucket_rows=1500,
        workers=1,
        settings=settings(folder / "scratch"),
    )
    return collection, queries, nearest(vectors, names(ROWS), queries, "cosine", K)


async def the_posts_search(uri, queries, *, n_probes, refine_factor):
    """Per bucket: nearest_to, nprobes, refine_factor, cosine. Then concat, sort, head."""
    db = await lancedb.connect_async(uri)
    tables = [await db.open_table(name) for name in (await db.list_tables()).tables]
    found = []
    for query in queries:
        parts = []
        for table in tables:
            search = await table.search(query, vector_column_name="embedding")
            parts.append(
                await search.column("embedding")
                .nprobes(n_probes)
                .refine_factor(refine_factor)
                .distance_type("cosine")
                .limit(K)
                .select(["id", "_distance"])
                .to_arrow()
            )
        best = pa.concat_tables(parts).sort_by([("_distance", "ascending"), ("id", "ascending")])
        found.append(best["id"].to_pylist()[:K])
    return found


@pytest.mark.parametrize(("n_probes", "refine_factor"), [(1, 1), (20, 5)])
def test_the_posts_own_query_finds_what_atoll_search_finds(world, n_probes, refine_factor):
    collection, queries, true = world
    theirs = asyncio.run(
        the_posts_search(
            collection.uri.removeprefix("file://"),
            queries,
            n_probes=n_probes,
            refine_factor=refine_factor,
        )
    )
    hits = collection.search(queries, k=K, nprobes=n_probes, refine_factor=refine_factor)
    ours = hit_ids(hits)
    # Both order by distances of their own rounding, so compare sets; a query may tie at the cut.
    assert recall(ours, theirs) > 0.99
    print(
        f"recall@{K} at nprobes {n_probes}, refine factor {refine_factor}: "
        f"stock LanceDB {recall(theirs, true):.3f}, atoll {recall(ours, true):.3f}"
    )
    assert recall(ours, true) > (0.4 if n_probes == 1 else 0.9)


def test_stock_lancedb_lists_and_reads_every_bucket(world):
    collection, *_ = world
    db = lancedb.connect(collection.uri.removeprefix("file://"))
    assert sorted(db.list_tables().tables) == sorted(bucket.name for bucket in collection.buckets)
    found = {}
    for name in db.list_tables().tables:
        table = db.open_table(name).to_arrow()
        assert table.schema.field("embedding").type == pa.list_(pa.float32(), DIM)
        assert table.schema.field("id").type == pa.string()
        found |= dict(zip(table["id"].to_pylist(), table["embedding"].to_pylist(), strict=True))
    vectors = clustered(ROWS, DIM, clusters=60)
    np.testing.assert_array_equal([found[name] for name in names(ROWS)], vectors)


def test_stock_lancedb_reads_int8_as_levels(tmp_path):
    vectors = gaussian(50, 16)
    source = write_h5(tmp_path / "x.h5", vectors)
    atoll.create(tmp_path / "c", source, dtype="int8", settings=settings(tmp_path / "scratch"))
    db = lancedb.connect(tmp_path / "c")
    (name,) = db.list_tables().tables
    table = db.open_table(name).to_arrow().sort_by("id")
    assert table.schema.field("embedding").type == pa.list_(pa.int8(), 16)
    np.testing.assert_array_equal(table["embedding"].to_pylist(), stored(vectors, "int8"))


@pytest.mark.parametrize("index", ["rabitq", "ivf_pq"])
def test_what_stock_lancedb_does_to_tables_harms_no_search(tmp_path, index):
    vectors = clustered(900, 32)
    collection = atoll.create(
        tmp_path / "c",
        write_h5(tmp_path / "x.h5", vectors),
        index=index,
        bucket_rows=450,
        workers=1,
        settings=settings(tmp_path / "scratch"),
    )
    before = collection.search(vectors[:20], k=5, with_vectors=True)
    db = lancedb.connect(tmp_path / "c")
    optimized, changed = db.list_tables().tables
    db.open_table(changed).add(db.open_table(changed).to_arrow().slice(0, 10))
    db.open_table(changed).delete("id LIKE 'p0%5'")
    with pytest.warns(UserWarning, match="removes every version except"):
        db.open_table(optimized).optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    # Lance refuses to remove a version that carries a tag: ours.
    with (
        pytest.warns(UserWarning, match="removes every version except"),
        pytest.raises(RuntimeError, match=r'tag.*"atoll-\d+"'),
    ):
        db.open_table(changed).optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    for handle in (collection, atoll.open(tmp_path / "c")):
        after = handle.search(vectors[:20], k=5, with_vectors=True)
        assert after.equals(before)
        report = handle.verify()
        assert report.is_clean
        assert changed in {note.bucket for note in report.notes}
        assert all("another writer made version" in note.what for note in report.notes)
    collection.gc()
    assert atoll.open(tmp_path / "c").search(vectors[:20], k=5, with_vectors=True).equals(before)
    assert atoll.open(tmp_path / "c").verify().is_clean


def test_the_index_keeps_the_posts_rule(world):
    collection, *_ = world
    assert collection.spec.index.num_partitions == int(1500**0.5)
    assert collection.spec.index.num_sub_vectors == DIM // 16
    for bucket in collection.buckets:
        table = lance.dataset(f"{collection.uri.removeprefix('file://')}/{bucket.name}.lance")
        (statistics,) = [table.stats.index_stats(index.name) for index in table.describe_indices()]
        (part,) = statistics["indices"]
        assert statistics["num_unindexed_rows"] == 0
        assert part["metric_type"] == "cosine"
        assert part["num_partitions"] == int(1500**0.5)
        assert part["sub_index"]["num_sub_vectors"] == DIM // 16


@pytest.mark.parametrize("distance_type", ["cosine", "l2", "dot"])
def test_distances_are_those_lancedb_reports(tmp_path, distance_type):
    vectors = gaussian(200, 16)
    collection = atoll.create(
        tmp_path / "c",
        write_h5(tmp_path / "x.h5", vectors),
        distance_type=distance_type,
        workers=1,
        settings=settings(tmp_path / "scratch"),
    )
    query = gaussian(1, 16, seed=1)[0]
    (name,) = lancedb.connect(tmp_path / "c").list_tables().tables
    table = lancedb.connect(tmp_path / "c").open_table(name)
    theirs = table.search(query).distance_type(distance_type).limit(200).to_arrow()
    ours = collection.search(query, k=200, exact=True)
    mine = dict(zip(ours["id"].to_pylist(), ours["_distance"].to_pylist(), strict=True))
    found = [mine[name] for name in theirs["id"].to_pylist()]
    np.testing.assert_allclose(found, theirs["_distance"].to_pylist(), rtol=1e-4, atol=1e-5)
