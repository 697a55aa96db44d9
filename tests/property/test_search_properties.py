from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vectordata import (
    DISTANCE_TYPES,
    clustered,
    distances,
    hit_ids,
    nearest,
    write_parquet,
)
from vectordata import settings as atoll_settings

import atoll
from atoll.vectors import search as searching
from atoll.vectors.collection import Collection

ROWS, DIM, PARTITIONS = 540, 24, 12
BUCKETS = {1: ROWS, 7: 78, 18: 30}
EVERYTHING = 1 << 20
quickly = settings(max_examples=12, deadline=None)


_shared = {}


@pytest.fixture(scope="module", autouse=True)
def _folder():
    with tempfile.TemporaryDirectory() as folder:
        _shared["folder"] = Path(folder)
        yield
        built.cache_clear()


def data():
    """Clumps of vectors with every fifth there three times, and columns to filter on."""
    vectors = clustered(ROWS, DIM)
    vectors[::5] = vectors[1::5]
    vectors[2::5] = vectors[1::5]
    ids = [f"p{number:05d}" for number in np.random.default_rng(1).permutation(ROWS)]
    number = np.arange(ROWS)
    tags = [None if n % 11 == 0 else f"t{n % 4}" for n in range(ROWS)]
    return vectors, ids, number, tags


@cache
def built(index, distance_type, buckets, dtype="float32"):
    """One of the collections that all examples share; the same rows and model in each."""
    folder = _shared["folder"]
    vectors, ids, number, tags = data()
    file = folder / "rows.parquet"
    if not file.exists():
        write_parquet(file, vectors, ids, n=pa.array(number), tag=tags)
    partitions = {} if index == "flat" else {"num_partitions": PARTITIONS}
    return atoll.create(
        folder / f"{index}-{distance_type}-{buckets}-{dtype}",
        file,
        index=index,
        distance_type=distance_type,
        dtype=dtype,
        bucket_rows=BUCKETS[buckets],
        workers=1,
        settings=atoll_settings(folder / "scratch"),
        **partitions,
    )


@cache
def queries():
    found = clustered(60, DIM, seed=2)
    found[::3] = data()[0][100:120]
    return found


some_queries = st.lists(st.integers(0, 59), min_size=1, max_size=12)
kinds = st.sampled_from(DISTANCE_TYPES)


# -- exact ----------------------------------------------------------------------------------------

grid = st.sampled_from([-1.5, -0.5, 0.5, 1.5])


@st.composite
def small_worlds(draw):
    """Few vectors on a coarse grid: sums are exact and ties are everywhere."""
    dim = draw(st.integers(1, 3))
    rows, asked = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    values = draw(st.lists(grid, min_size=(rows + asked) * dim, max_size=(rows + asked) * dim))
    vectors = np.array(values, np.float32).reshape(-1, dim)
    ids = draw(st.permutations([f"p{n}" for n in range(rows)]))
    return vectors[:rows], ids, vectors[rows:]


@given(
    small_worlds(),
    kinds,
    st.sampled_from(["float32", "float16"]),
    st.sampled_from(["rabitq", "flat"]),
    st.integers(1, 45),
    st.integers(1, 20),
)
@settings(max_examples=25, deadline=None)
def test_exact_search_is_brute_force_with_ties_by_id(world, kind, dtype, index, k, bucket_rows):
    vectors, ids, asked = world
    with tempfile.TemporaryDirectory() as folder:
        collection = atoll.create(
            Path(folder) / "c",
            write_parquet(Path(folder) / "x.parquet", vectors, ids),
            index=index,
            distance_type=kind,
            dtype=dtype,
            bucket_rows=bucket_rows,
            workers=1,
            settings=atoll_settings(Path(folder)),
        )
        hits = collection.search(asked, k=k, exact=True)
    assert hit_ids(hits) == nearest(vectors, ids, asked, kind, k)
    true = np.sort(distances(asked, vectors, kind), axis=1)[:, :k]
    np.testing.assert_array_equal(hits["_distance"], true.reshape(-1))
    assert hits["rank"].to_pylist() == list(range(1, true.shape[1] + 1)) * len(asked)


@given(kinds, st.sampled_from(["float32", "float16"]), some_queries, st.integers(1, 30))
@quickly
def test_exact_search_of_real_values_is_brute_force(kind, dtype, chosen, k):
    vectors, ids, *_ = data()
    asked = queries()[chosen]
    hits = built("rabitq", kind, 7, dtype).search(asked, k=k, exact=True)
    stored = vectors.astype(dtype)
    true = np.sort(distances(asked, stored, kind), axis=1)[:, :k]
    np.testing.assert_allclose(hits["_distance"], true.reshape(-1), rtol=1e-6, atol=1e-6)
    near = distances(asked, stored, kind)
    place = {name: row for row, name in enumerate(ids)}
    for query, found in enumerate(hit_ids(hits)):
        mine = near[query, [place[name] for name in found]]
        np.testing.assert_allclose(mine, true[query], rtol=1e-6, atol=1e-6)
        assert len(set(found)) == k


# -- buckets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", ["rabitq", "flat"])
@given(kind=kinds, chosen=some_queries, k=st.integers(1, 25), refine=st.integers(1, 6))
@quickly
def test_buckets_find_what_one_table_finds_when_probing_everything(index, kind, chosen, k, refine):
    asked = queries()[chosen]
    found = [
        built(index, kind, buckets).search(asked, k=k, refine_factor=refine, nprobes=EVERYTHING)
        for buckets in BUCKETS
    ]
    assert found[0]["id"].to_pylist() == found[1]["id"].to_pylist() == found[2]["id"].to_pylist()
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])
    assert found[0].num_rows == k * len(chosen)


@given(kinds, some_queries, st.integers(1, 25), st.sampled_from([1, 3, None]))
@quickly
def test_the_order_of_buckets_does_not_matter(kind, chosen, k, nprobes):
    collection = built("rabitq", kind, 7)
    backwards = replace(collection._manifest, buckets=collection.buckets[::-1])
    other = Collection(collection._storage, backwards, collection._settings)
    asked = queries()[chosen]
    assert collection.search(asked, k=k, nprobes=nprobes).equals(
        other.search(asked, k=k, nprobes=nprobes)
    )


@given(kinds, some_queries, st.integers(1, 25), st.sampled_from([1, 3, None]), st.booleans())
@quickly
def test_a_query_gets_the_same_answer_alone_and_in_company(kind, chosen, k, nprobes, exact):
    collection, asked = built("rabitq", kind, 7), queries()[chosen]
    options = {"k": k, "nprobes": nprobes, "exact": exact}
    together = collection.search(asked, **options).drop_columns("query_id")
    alone = [collection.search(query, **options).drop_columns("query_id") for query in asked]
    assert together.equals(
        pa.concat_tables(alone).replace_schema_metadata(together.schema.metadata)
    )


@given(kinds, some_queries, st.integers(1, 40))
@quickly
def test_refining_everything_is_exact_search(kind, chosen, k):
    collection, asked = built("rabitq", kind, 18), queries()[chosen]
    refined = collection.search(asked, k=k, nprobes=EVERYTHING, refine_factor=ROWS)
    assert refined["id"].equals(collection.search(asked, k=k, exact=True)["id"])


def test_estimates_find_most_of_the_true_neighbours():
    vectors, ids, *_ = data()
    for kind in DISTANCE_TYPES:
        found = hit_ids(built("rabitq", kind, 7).search(queries(), k=10, refine_factor=10))
        true = nearest(vectors, ids, queries(), kind, 10)
        assert sum(len(set(a) & set(b)) for a, b in zip(found, true, strict=True)) > 0.9 * 600


# -- filters --------------------------------------------------------------------------------------


@st.composite
def predicates(draw, depth=2):
    """SQL text and the rows that pass it."""
    _, ids, number, tags = data()
    tags = np.array(tags, object)
    kind = draw(
        st.sampled_from(["n", "tag", "in", "null", "id", *(["and", "or"] if depth else [])])
    )
    if kind in ("and", "or"):
        (left, mine), (right, theirs) = draw(predicates(depth - 1)), draw(predicates(depth - 1))
        both = mine & theirs if kind == "and" else mine | theirs
        return f"({left}) {kind.upper()} ({right})", both
    if kind == "n":
        limit = draw(st.integers(-5, ROWS + 5))
        return f"n < {limit}", number < limit
    if kind == "tag":
        return "tag = 't1'", tags == "t1"
    if kind == "in":
        return "tag IN ('t0', 't3', 'none')", (tags == "t0") | (tags == "t3")
    if kind == "null":
        return "tag IS NULL", tags == None  # noqa: E711  # element by element
    return "id LIKE 'p0000%'", np.array([name.startswith("p0000") for name in ids])


@given(
    predicates(),
    kinds,
    some_queries,
    st.integers(1, 60),
    st.sampled_from(["exact", "masked", "narrow"]),
)
@settings(max_examples=40, deadline=None)
def test_filters_leave_what_brute_force_leaves(predicate, kind, chosen, k, way):
    vectors, *_ = data()
    where, allowed = predicate
    asked = queries()[chosen]
    collection = built("rabitq", kind, 7)
    with pytest.MonkeyPatch.context() as patch:
        if way == "masked":
            patch.setattr(searching, "NARROW_ROWS", 0)
        options = (
            {"exact": True} if way == "exact" else {"refine_factor": ROWS, "nprobes": EVERYTHING}
        )
        hits = collection.search(asked, k=k, where=where, columns=["n"], **options)
    true = np.where(allowed, distances(asked, vectors, kind), np.inf)
    expected = np.sort(true, axis=1)[:, :k]
    kept = np.isfinite(expected)
    np.testing.assert_allclose(hits["_distance"], expected[kept], rtol=1e-6, atol=1e-6)
    assert allowed[hits["n"].to_numpy()].all()
    assert collection.count(where) == allowed.sum()


@given(predicates(), kinds, st.integers(1, 700), st.booleans())
@quickly
def test_probing_widens_until_k_allowed_rows_are_found(predicate, kind, k, narrow):
    where, allowed = predicate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "NARROW_ROWS", searching.NARROW_ROWS if narrow else 0)
        patch.setattr(searching, "DEFAULT_NPROBES", 1)
        hits = built("rabitq", kind, 18).search(queries()[:3], k=k, where=where)
    assert [len(found) for found in hit_ids(hits)] == [min(k, allowed.sum())] * (3 * allowed.any())


@given(kinds, st.integers(1, 40), st.sampled_from(["rabitq", "flat"]))
@quickly
def test_one_hit_per_group_and_never_the_query_itself(kind, k, index):
    vectors, ids, _, tags = data()
    batch = atoll.QueryBatch(ids[:5], vectors[:5])
    hits = built(index, kind, 7).search(batch, k=k, exclude_self=True, group_by="tag", exact=True)
    true = distances(vectors[:5], vectors, kind)
    for query, found in enumerate(hit_ids(hits)):
        best = {}
        for row in np.lexsort((ids, true[query])):
            if row != query:
                best.setdefault(tags[row], true[query, row])
        assert len(found) == min(k, 5)
        assert len({tags[ids.index(name)] for name in found}) == len(found)
        mine = [true[query, ids.index(name)] for name in found]
        np.testing.assert_allclose(mine, sorted(best.values())[:k], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_queries_of_any_width_are_searched_as_float32(dtype):
    ids, vectors = ["a", "b"], queries()[:2].astype(dtype)
    hits = built("rabitq", "l2", 7).search(atoll.QueryBatch(ids, vectors), k=5, nprobes=2)
    same = built("rabitq", "l2", 7).search(vectors.astype("f4"), k=5, nprobes=2)
    assert hit_ids(hits) == hit_ids(same)


def test_names_of_hits_are_those_of_the_rows():
    vectors, ids, *_ = data()
    got = built("rabitq", "l2", 7).get(ids)
    np.testing.assert_array_equal(got["embedding"].combine_chunks().flatten(), vectors.reshape(-1))
