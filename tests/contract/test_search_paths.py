"""Every path of a search gives the same ids in the same order: those of an oracle in NumPy.

Where all rows that matter get exact distances, the oracle says what is right. At other settings the
paths of our own index are held to each other: an answer does not depend on how it was found.
"""

import json
from dataclasses import dataclass

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lancedb.index import IvfPq
from vectordata import (
    DISTANCE_TYPES,
    clustered,
    distances,
    gaussian,
    hit_ids,
    names,
    nearest,
    settings,
    stored,
    write_parquet,
)

import atoll
from atoll.vectors import search
from atoll.vectors.collection import Collection

# One more than a number of many divisors: all candidates but one can be refined, so that a search
# by index is exact without being brute force.
ROWS, DIM, PARTITIONS, BUCKET_ROWS = 421, 16, 6, 61
KS = (1, 10, 60)
EVERYTHING = 1 << 20
# Ways a search may go, as its metadata names them.
BRUTE_FORCE, BY_LANCE = frozenset({"brute force"}), frozenset({"Lance"})
ALONE, TOGETHER = frozenset({"per query"}), frozenset({"grouped by partition"})
# As little at once as there can be.
FRUGAL = {
    "CODE_BYTES": 500,
    "PAIRS_AT_ONCE": 3,
    "SCAN_ROWS": 50,
    "REFINE_BYTES": 1,
    "ROWS_AT_ONCE": 40,
    "QUERIES_AT_ONCE": 4,
}


def rows():
    """Clumps, fifty rows three times each, and a coarse grid whose sums are exact: many ties."""
    random = np.random.default_rng(3)
    vectors = clustered(ROWS, DIM)
    vectors[50:100] = vectors[100:150] = vectors[:50]
    vectors[300:] = random.choice([-1.5, -0.5, 0.5, 1.5], (ROWS - 300, DIM))
    return vectors, [f"p{number:05d}" for number in random.permutation(ROWS)]


def queries():
    return np.concatenate([rows()[0][[0, 77, 310, 420]], clustered(6, DIM, seed=8)])


@dataclass
class World:
    """A collection, and what is in it according to the test."""

    collection: Collection
    vectors: np.ndarray
    ids: list

    def nearest(self, k, allowed=None):
        kind = self.collection.spec.distance_type
        return nearest(self.vectors, self.ids, queries(), kind, k, allowed)

    def without(self, gone):
        keep = np.array([name not in gone for name in self.ids])
        left = [name for name in self.ids if name not in gone]
        return World(self.collection, self.vectors[keep], left)

    def having(self, vectors, ids):
        left = self.without(ids)
        return World(self.collection, np.concatenate([left.vectors, vectors]), [*left.ids, *ids])


def built(folder, kind, **options):
    vectors, ids = rows()
    if kind == "int8":
        kind, options["dtype"] = "cosine", "int8"
    if options.get("index") != "flat":
        options = {"num_partitions": PARTITIONS} | options
    collection = atoll.create(
        folder / "c",
        write_parquet(folder / "rows.parquet", vectors, ids),
        distance_type=kind,
        settings=settings(folder / "scratch"),
        **{"bucket_rows": BUCKET_ROWS, "workers": 1} | options,
    )
    return World(collection, stored(vectors, collection.spec.dtype), ids)


def paths_of(hits):
    return set(json.loads(hits.schema.metadata[b"atoll"])["paths"])


def pytest_generate_tests(metafunc):
    if "world" in metafunc.fixturenames:
        metafunc.parametrize("world", metafunc.cls.kinds, indirect=True, scope="class")


@pytest.fixture(scope="class")
def world(tmp_path_factory, request):
    return request.cls().make(tmp_path_factory.mktemp("world"), request.param)


class SearchPathContract:
    """What holds of every collection, whatever is behind it.

    Attributes:
        kinds: distances to try; "int8" is cosine of vectors so stored.
        alone, together: the path of one query by index, and of several.
    """

    kinds = ("cosine",)
    alone, together = ALONE, TOGETHER

    def make(self, folder, kind):
        """Return a world that no other test uses."""
        raise NotImplementedError

    def by_index(self, world, k, asked=None, **more):
        """Probe all partitions, refine all candidates but one."""
        factor = (len(world.ids) - 1) // k
        asked = queries() if asked is None else asked
        return world.collection.search(asked, k=k, nprobes=EVERYTHING, refine_factor=factor, **more)

    @pytest.mark.parametrize("k", KS)
    def test_queries_one_by_one(self, world, k):
        found = [self.by_index(world, k, query) for query in queries()]
        assert [hit_ids(hits)[0] for hits in found] == world.nearest(k)
        assert set().union(*map(paths_of, found)) == self.alone

    @pytest.mark.parametrize("k", KS)
    def test_queries_together(self, world, k):
        hits = self.by_index(world, k)
        assert hit_ids(hits) == world.nearest(k)
        assert paths_of(hits) == self.together

    @pytest.mark.parametrize("k", [*KS, ROWS, EVERYTHING])
    def test_comparing_every_row(self, world, k):
        hits = world.collection.search(queries(), k=k, exact=True)
        assert hit_ids(hits) == world.nearest(k)
        assert paths_of(hits) == BRUTE_FORCE

    def test_distances_are_those_of_the_oracle(self, world):
        hits = self.by_index(world, 10)
        true = distances(queries(), world.vectors, world.collection.spec.distance_type)
        expected = np.sort(true, axis=1)[:, :10].reshape(-1)
        np.testing.assert_allclose(hits["_distance"], expected, rtol=1e-6, atol=1e-6)
        again = world.collection.search(queries(), k=10, exact=True)
        assert hits["_distance"].equals(again["_distance"])

    @pytest.mark.parametrize("k", [ROWS - 1, ROWS, ROWS + 5, EVERYTHING])
    def test_as_many_hits_as_rows_and_more(self, world, k):
        hits = world.collection.search(queries(), k=k, refine_factor=1 + ROWS // k)
        assert hit_ids(hits) == world.nearest(k)

    def test_full_recall(self, world):
        hits = world.collection.search(queries(), k=10, recall=1)
        assert hit_ids(hits) == world.nearest(10)
        assert paths_of(hits) == BRUTE_FORCE

    @pytest.mark.parametrize("narrow", [True, False])
    def test_filtered(self, world, narrow, monkeypatch):
        if not narrow:
            monkeypatch.setattr(search, "NARROW_ROWS", 0)
        allowed = [name.endswith(("1", "4", "7", "8")) for name in world.ids]
        where = "id LIKE '%1' OR id LIKE '%4' OR id LIKE '%7' OR id LIKE '%8'"
        hits = self.by_index(world, 10, where=where)
        assert hit_ids(hits) == world.nearest(10, allowed)
        assert paths_of(hits) == (BRUTE_FORCE if narrow else self.together)

    @pytest.mark.parametrize("exact", [True, False])
    def test_within_a_distance(self, world, exact):
        true = distances(queries(), world.vectors, world.collection.spec.distance_type)
        limit = float(np.sort(true, axis=1)[:, 7].mean())
        near = [row <= limit for row in true]
        # A query without a hit is not in the result.
        expected = [
            best[: int(some.sum())]
            for best, some in zip(world.nearest(10), near, strict=True)
            if some.any()
        ]
        if exact:
            hits = world.collection.search(queries(), k=10, exact=True, max_distance=limit)
        else:
            hits = self.by_index(world, 10, max_distance=limit)
        assert hit_ids(hits) == expected

    @pytest.mark.parametrize("options", [
        {}, {"k": 30, "nprobes": 2}, {"k": 3, "nprobes": 1, "refine_factor": 1},
        {"k": ROWS + 5, "nprobes": 2}, {"where": "id LIKE '%3'", "k": 20, "nprobes": 3},
    ])  # fmt: skip
    def test_an_answer_does_not_depend_on_company_threads_or_memory(
        self, world, options, monkeypatch
    ):
        monkeypatch.setattr(search, "NARROW_ROWS", 0)
        c = world.collection
        together = c.search(queries(), **options)
        hits = together.drop_columns("query_id").replace_schema_metadata(None)
        alone = [c.search(query, **options).drop_columns("query_id") for query in queries()]
        assert pa.concat_tables(alone).replace_schema_metadata(None).equals(hits)
        for name, value in FRUGAL.items():
            monkeypatch.setattr(search, name, value)
        for threads, memory in ((1, 1), (2, 30_000), (4, 1 << 28)):
            frugal = settings("unused", threads=threads, memory_bytes=memory)
            other = Collection(c._storage, c._manifest, frugal, is_fixed=True)
            assert other.search(queries(), **options).drop_columns("query_id") == hits


class TestOneBucket(SearchPathContract):
    def make(self, folder, kind):
        return built(folder, kind, bucket_rows=ROWS)


class TestSevenBuckets(SearchPathContract):
    kinds = DISTANCE_TYPES

    def make(self, folder, kind):
        return built(folder, kind)


class TestFloat16(SearchPathContract):
    kinds = ("l2",)

    def make(self, folder, kind):
        return built(folder, kind, dtype="float16")


class TestInt8(SearchPathContract):
    kinds = ("int8",)

    def make(self, folder, kind):
        return built(folder, kind)


@pytest.mark.slow
class TestTwoBits(SearchPathContract):
    kinds = ("cosine", "int8")

    def make(self, folder, kind):
        return built(folder, kind, bits=2)


@pytest.mark.slow
class TestFourBits(SearchPathContract):
    kinds = ("l2",)

    def make(self, folder, kind):
        return built(folder, kind, bits=4)


@pytest.mark.slow
class TestEightBits(SearchPathContract):
    kinds = ("dot",)

    def make(self, folder, kind):
        return built(folder, kind, bits=8, dtype="float16")


@pytest.mark.slow
class TestNoIndex(SearchPathContract):
    kinds = ("cosine", "int8")
    alone = together = BRUTE_FORCE

    def make(self, folder, kind):
        return built(folder, kind, index="flat")


@pytest.mark.slow
class TestLancesIndex(SearchPathContract):
    kinds = DISTANCE_TYPES
    alone = together = BY_LANCE

    def make(self, folder, kind):
        return built(folder, kind, index="ivf_pq", num_sub_vectors=4)


# -- after changes --------------------------------------------------------------------------------


def deleted(world):
    gone = [name for name in world.ids if name[-1] in "05"] + world.ids[120:200]
    world.collection.delete(gone)
    return world.without(gone)


def upserted(world, folder):
    ids = [*world.ids[40:60], *names(30, 9000)]
    vectors = clustered(50, DIM, seed=4)
    vectors[:10] = world.vectors[150:160]
    file = write_parquet(folder / "more.parquet", vectors, ids)
    world.collection.upsert(file, workers=1)
    return world.having(stored(vectors, world.collection.spec.dtype), ids)


class TestAfterDeletes(SearchPathContract):
    def make(self, folder, kind):
        return deleted(built(folder, kind))


@pytest.mark.slow
class TestLancesIndexAfterDeletes(SearchPathContract):
    alone = together = BY_LANCE

    def make(self, folder, kind):
        return deleted(built(folder, kind, index="ivf_pq", num_sub_vectors=4))


@pytest.mark.slow
class TestAfterAnUpsert(SearchPathContract):
    kinds = ("dot", "int8")

    def make(self, folder, kind):
        return upserted(deleted(built(folder, kind, dtype="float16")), folder)


@pytest.mark.slow
class TestAfterACompaction(SearchPathContract):
    kinds = ("cosine", "int8")

    def make(self, folder, kind):
        world = upserted(deleted(built(folder, kind)), folder)
        world.collection.compact(bucket_rows=150)
        return world


@pytest.mark.slow
class TestAfterARetrain(SearchPathContract):
    kinds = ("l2", "int8")

    def make(self, folder, kind):
        world = upserted(built(folder, kind), folder)
        world.collection.retrain(num_partitions=4, bits=2)
        return deleted(world)


@pytest.mark.slow
class TestInTheMiddleOfARetrain(SearchPathContract):
    """Two models are live: partitions of both are read."""

    kinds = ("cosine", "int8")

    def make(self, folder, kind):
        world = deleted(built(folder, kind))
        calls = iter(range(3))
        with pytest.raises(StopIteration):
            world.collection.retrain(num_partitions=4, on_progress=lambda _: next(calls))
        world.collection.refresh()
        assert len({bucket.model for bucket in world.collection.buckets}) == 2
        return world


@pytest.mark.slow
class TestAnOlderVersion(SearchPathContract):
    kinds = ("cosine", "int8")

    def make(self, folder, kind):
        world = deleted(built(folder, kind))
        version = world.collection.version
        upserted(world, folder)
        world.collection.compact()
        old = atoll.open(folder / "c", version=version, settings=settings(folder))
        return World(old, world.vectors, world.ids)


@pytest.mark.slow
class TestAdoptedTables(SearchPathContract):
    """Tables of stock LanceDB, with its index, without one, and with deleted rows."""

    alone = together = BY_LANCE

    def make(self, folder, kind):
        vectors, ids = rows()
        database = lancedb.connect(folder / "c")
        for name, some in (("first", slice(0, 300)), ("second", slice(300, ROWS))):
            flat = pa.array(vectors[some].reshape(-1))
            vector = pa.FixedSizeListArray.from_arrays(flat, DIM)
            table = database.create_table(name, pa.table({"vector": vector, "id": ids[some]}))
            if name == "first":
                index = IvfPq(distance_type=kind, num_partitions=3, num_sub_vectors=4)
                table.create_index("vector", config=index)
            table.delete("id LIKE '%5'")
        collection = atoll.adopt(folder / "c", distance_type=kind, settings=settings(folder))
        gone = [name for name in ids if name.endswith("5")]
        return World(collection, vectors, ids).without(gone)


# -- settings at which an index is not exact ------------------------------------------------------


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Collections of the same rows in one bucket and in seven."""
    made = [tmp_path_factory.mktemp("split") for _ in range(2)]
    sizes = (ROWS, BUCKET_ROWS)
    return [built(folder, "l2", bucket_rows=size) for folder, size in zip(made, sizes, strict=True)]


@pytest.mark.parametrize("nprobes", [1, 2, 5, None])
@pytest.mark.parametrize(("k", "factor"), [(1, 1), (10, 1), (10, 5), (ROWS, 1)])
def test_one_bucket_and_seven_answer_alike(split, nprobes, k, factor):
    one, seven = (
        world.collection.search(queries(), k=k, nprobes=nprobes, refine_factor=factor)
        for world in split
    )
    assert one.replace_schema_metadata(None).equals(seven.replace_schema_metadata(None))


def test_merged_buckets_answer_as_before(split):
    world = split[1]
    before = world.collection.search(queries(), k=10, nprobes=2)
    world.collection.compact()
    after = world.collection.search(queries(), k=10, nprobes=2)
    assert len(world.collection.buckets) == 1
    assert after.replace_schema_metadata(None).equals(before.replace_schema_metadata(None))


@pytest.mark.parametrize("rows_there", [300, 10_000])
def test_of_equal_rows_every_path_finds_the_same(tmp_path, rows_there):
    vectors = np.repeat(gaussian(1, DIM), rows_there, axis=0)
    ids = [f"p{n:05d}" for n in np.random.default_rng(0).permutation(rows_there)]
    file = write_parquet(tmp_path / "x.parquet", vectors, ids)
    one, seven = (
        atoll.create(tmp_path / str(size), file, bucket_rows=size, workers=1, num_partitions=8,
                     calibrate=False, settings=settings(tmp_path / "scratch"))
        for size in (rows_there, rows_there // 6)
    )  # fmt: skip
    asked = gaussian(2, DIM, seed=1)
    assert hit_ids(one.search(asked, k=10, exact=True)) == [sorted(ids)[:10]] * 2
    by_index = hit_ids(one.search(asked, k=10))
    assert hit_ids(seven.search(asked, k=10)) == by_index
    assert hit_ids(seven.search(asked[0], k=10)) == by_index[:1]
    assert [sorted(found) for found in by_index] == by_index
