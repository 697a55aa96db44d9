"""Searches of an object store through the disk cache: the same hits, from far fewer reads."""

from dataclasses import replace

import numpy as np
import pytest
from commandline import ended, start
from vectordata import clustered, hit_ids, settings, write_parquet

import atoll
from atoll.storage import count_usage

VECTORS = clustered(400, 24)


@pytest.fixture(scope="module")
def place(moto_s3, tmp_path_factory):
    """A collection in an object store, and settings that reach it without a cache."""
    scratch = tmp_path_factory.mktemp("scratch")
    reach = settings(scratch, storage=moto_s3.options())
    source = write_parquet(scratch / "x.parquet", VECTORS, length=np.arange(400))
    url = moto_s3.new_bucket() + "/c"
    atoll.create(url, source, bucket_rows=200, workers=1, num_partitions=8, settings=reach)
    return url, reach


def searched(url, reach, **options):
    """What a process that has just started finds, and what it read."""
    with count_usage() as usage:
        hits = atoll.open(url, settings=reach).search(
            VECTORS[:3], **{"k": 5, "nprobes": 4} | options
        )
    return hit_ids(hits), usage.reads


def test_the_same_query_reads_only_the_manifest_again(place, tmp_path):
    url, reach = place
    cached = replace(reach, disk_cache=tmp_path / "kept")
    plain, all_reads = searched(url, reach)
    first, _ = searched(url, cached)
    second, few_reads = searched(url, cached)
    assert plain == first == second
    # The hint, and twice the manifest that follows: at open, and before the search.
    assert few_reads == 3
    assert all_reads > 10


def test_a_process_finds_what_another_has_kept(place, tmp_path, moto_s3):
    url, reach = place
    options = moto_s3.options()
    np.save(tmp_path / "q.npy", VECTORS[:3])
    environment = {
        "HOME": str(tmp_path),
        "ATOLL_ENDPOINT": options.endpoint,
        "ATOLL_ALLOW_HTTP": "1",
        "AWS_ACCESS_KEY_ID": options.access_key_id,
        "AWS_SECRET_ACCESS_KEY": options.secret_access_key,
    }
    words = ("search", url, tmp_path / "q.npy", "-k", 5, "--nprobes", 4, "--json", "-q")
    done = ended(start(*words, **environment))
    assert done.code == 0, done.err
    kept = replace(reach, disk_cache=tmp_path / ".cache" / "atoll" / "ranges")
    assert searched(url, kept)[1] == 3
    off = ended(start(*words, **environment, ATOLL_DISK_CACHE="off"))
    assert off.out == done.out


def test_damage_and_a_small_limit_change_no_hit(place, tmp_path):
    url, reach = place
    cached = replace(reach, disk_cache=tmp_path / "kept")
    plain, _ = searched(url, reach)
    searched(url, cached)
    for number, path in enumerate(sorted((tmp_path / "kept").rglob("*"))):
        if path.is_file() and number % 2:
            path.write_bytes(path.read_bytes()[:-3])
    assert searched(url, cached)[0] == plain
    small = replace(cached, disk_cache_bytes=20_000)
    assert [searched(url, small)[0] for _ in range(3)] == [plain] * 3


def test_what_is_deleted_or_replaced_is_not_found_again(place, tmp_path):
    url, reach = place
    cached = replace(reach, disk_cache=tmp_path / "kept")
    searched(url, cached)
    collection = atoll.open(url, settings=cached)
    gone = hit_ids(collection.search(VECTORS[:1], k=1))[0]
    collection.delete(gone)
    found, _ = searched(url, cached, exact=True)
    assert found == searched(url, reach, exact=True)[0]
    assert gone[0] not in found[0]


def test_a_scan_keeps_no_vectors(place, tmp_path):
    url, reach = place
    cached = replace(reach, disk_cache=tmp_path / "kept")
    searched(url, cached, exact=True)
    kept = sum(path.stat().st_size for path in (tmp_path / "kept").rglob("*") if path.is_file())
    assert kept < VECTORS.nbytes


def test_what_was_warmed_need_not_be_read_by_the_next_process(place, tmp_path, moto_s3):
    url, reach = place
    cached = replace(reach, disk_cache=tmp_path / "kept")
    plain, all_reads = searched(url, cached_at(cached, tmp_path / "none"))
    read = atoll.open(url, settings=cached).warm()
    assert read.gets > 0
    assert atoll.open(url, settings=cached).warm().bytes_read == 0
    some, fewer = searched(url, cached)
    assert atoll.open(url, settings=cached).warm(codes=True).gets > 0
    least, fewest = searched(url, cached_at(cached, tmp_path / "kept"))
    assert plain == some == least
    assert fewest < fewer < all_reads


def cached_at(reach, folder):
    return replace(reach, disk_cache=folder)


def test_warming_says_what_it_cannot_do(place, tmp_path):
    url, reach = place
    words = ("warm", url, "--endpoint", reach.storage.endpoint, "--allow-http")
    done = ended(start(*words, HOME=str(tmp_path), ATOLL_DISK_CACHE="off"))
    assert (done.code, "disk_cache is off" in done.err) == (1, True)
    done = ended(start("warm", tmp_path, HOME=str(tmp_path)))
    assert (done.code, "lies on this machine" in done.err) == (1, True)
