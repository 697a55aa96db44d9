"""A collection's life on a real object store."""

from __future__ import annotations

from dataclasses import replace

import lancedb
import numpy as np
import pytest
from vectordata import clustered, hit_ids, names, nearest, settings, write_h5

import atoll

pytestmark = pytest.mark.ceph
VECTORS = clustered(300, 32)


@pytest.fixture(scope="module")
def place(ceph, tmp_path_factory):
    """Where collections go, and settings that reach it."""
    scratch = tmp_path_factory.mktemp("scratch")
    write_h5(scratch / "x.h5", VECTORS[:200])
    return ceph.new_bucket(), settings(scratch, storage=ceph.options()), scratch


def built(place, name, **options):
    url, reach, scratch = place
    options = {"bucket_rows": 100, "workers": 1, "settings": reach} | options
    return atoll.create(f"{url}/{name}", scratch / "x.h5", **options)


@pytest.mark.parametrize("index", ["rabitq", "ivf_pq", "flat"])
def test_a_collection_lives_its_life(place, index):
    collection = built(place, f"life/{index}", index=index)
    true = nearest(VECTORS[:200], names(200), VECTORS[:5], "cosine", 5)
    assert hit_ids(collection.search(VECTORS[:5], k=5, exact=True)) == true
    assert hit_ids(collection.search(VECTORS[:5], k=5, refine_factor=40)) == true
    more = write_h5(place[2] / "y.h5", VECTORS[200:], names(100, 200))
    collection.add(more, workers=1)
    again = atoll.open(collection.uri, settings=place[1])
    assert again.get(["p00250"])["id"].to_pylist() == ["p00250"]
    assert again.verify().is_clean
    again.drop_bucket(again.buckets[0].name)
    assert len(again.gc().tables) == 1
    assert (len(again), again.count()) == (200, 200)
    assert again.verify().is_clean
    assert again.search(VECTORS[:1], k=500).num_rows == 200


def test_create_may_be_repeated_and_built_by_several_processes(place):
    one = built(place, "again", workers=2)
    assert built(place, "again").version == one.version == 1
    with pytest.raises(atoll.Conflict, match="is a collection already"):
        built(place, "again", bucket_rows=50)


def test_stock_lancedb_reads_the_buckets_with_storage_options(place):
    collection = built(place, "stock")
    options = collection._storage.lance_options()
    db = lancedb.connect(collection.uri, storage_options=options)
    found = []
    for name in db.list_tables().tables:
        found += db.open_table(name).to_arrow()["id"].to_pylist()
    assert sorted(found) == names(200)


def test_an_object_that_went_missing_is_named_and_the_rest_answers(place):
    collection = built(place, "torn")
    victim = collection.buckets[1].name
    storage = collection._storage
    for entry in list(storage.list(f"{victim}.lance/data")):
        storage.delete(entry.path)
    broken = atoll.open(collection.uri, settings=place[1])
    with pytest.raises(atoll.Incomplete, match=victim) as error:
        broken.search(VECTORS[:1], k=3)
    assert error.value.details["buckets"] == [victim]
    assert broken.search(VECTORS[:1], k=500, allow_partial=True).num_rows == 100
    assert [issue.bucket for issue in broken.verify().issues] == [victim]


def test_wrong_keys_and_missing_buckets_are_said_so(place, ceph):
    url, reach, scratch = place
    wrong = replace(reach, storage=ceph.options(secret_access_key="wrong"))
    with pytest.raises(atoll.Forbidden, match="refused the credentials"):
        atoll.open(f"{url}/again", settings=wrong)
    with pytest.raises(atoll.NotFound, match="no such bucket"):
        atoll.create("s3://nobody-made-this/c", scratch / "x.h5", settings=reach)
    with pytest.raises(atoll.NotFound, match="is no collection"):
        atoll.open(f"{url}/nothing", settings=reach)


def test_sources_and_queries_may_lie_on_the_store(place):
    url, reach, scratch = place
    collection = built(place, "plain")
    np.save(scratch / "q.npy", VECTORS[:3])
    for name in ("x.h5", "q.npy"):
        collection._storage.put(f"in/{name}", (scratch / name).read_bytes())
    other = atoll.create(f"{url}/remote", f"{collection.uri}/in/x.h5", settings=reach, workers=1)
    assert other.verify().is_clean
    hits = other.search(f"{collection.uri}/in/q.npy", k=1)
    assert hits["id"].to_pylist() == names(3)
