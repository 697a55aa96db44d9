"""Collections that somebody would rather not have: many buckets, odd ids, files cut and gone."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import lance
import numpy as np
import pyarrow.parquet as pq
import pytest
from commandline import atoll as command
from commandline import must
from vectordata import (
    DISTANCE_TYPES,
    gaussian,
    hit_ids,
    names,
    nearest,
    settings,
    write_h5,
    write_parquet,
)

import atoll
from atoll.vectors import manifests

DIM = 16


def created(folder, source, **options):
    options = {"workers": 1, "settings": settings(folder / "s"), "calibrate": False} | options
    return atoll.create(folder / "c", source, **options)


# -- queries and numbers --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    source = write_h5(folder / "x.h5", gaussian(300, DIM))
    return created(folder, source, bucket_rows=100, num_partitions=4)


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"where": "id > 'p'"}, {"recall": 1}])
@pytest.mark.parametrize(("value", "why"), [(0, "zero vector"), (np.nan, "NaN"), (np.inf, "NaN")])
def test_a_query_without_a_distance_is_refused_on_every_path(plain, options, value, why):
    asked = gaussian(3, DIM)
    asked[1] = value
    with pytest.raises(atoll.InvalidInput, match=rf"1 of 3 queries.*{why}"):
        plain.search(asked, **options)


@pytest.mark.parametrize("number", [0, -1, -(10**12), 2.5, True])
@pytest.mark.parametrize("name", ["k", "nprobes", "refine_factor"])
def test_numbers_below_one_and_fractions_are_refused(plain, name, number):
    with pytest.raises(atoll.InvalidInput, match=f"{name} is .*at least 1"):
        plain.search(gaussian(1, DIM), **{name: number})


@pytest.mark.parametrize("huge", [10**6, 2**31, 10**12, 2**62])
def test_huge_numbers_mean_everything(plain, huge):
    asked = gaussian(2, DIM, seed=4)
    true = nearest(gaussian(300, DIM), names(300), asked, "cosine", 300)
    for options in ({"k": huge}, {"k": huge, "nprobes": huge, "refine_factor": huge}):
        assert hit_ids(plain.search(asked, **options)) == true
    found = plain.search(asked, k=10, nprobes=huge, refine_factor=huge)
    assert hit_ids(found) == [best[:10] for best in true]


@pytest.mark.parametrize("index", ["ivf_pq", "flat"])
def test_bits_go_with_no_other_index(tmp_path, index):
    np.save(tmp_path / "x.npy", gaussian(20, DIM))
    done = command("create", tmp_path / "c", tmp_path / "x.npy", "--index", index, "--bits", 4)
    assert done.code == 1
    assert "bits" in done.err
    assert index in done.err
    assert not (tmp_path / "c" / "_atoll" / "manifests").exists()


# -- rows that resist an index --------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("kind", DISTANCE_TYPES)
def test_fewer_rows_than_partitions_are_all_found(tmp_path, kind, bits):
    vectors = gaussian(5, DIM)
    source = write_h5(tmp_path / "x.h5", vectors)
    c = created(tmp_path, source, num_partitions=64, distance_type=kind, bits=bits)
    asked = gaussian(3, DIM, seed=1)
    assert hit_ids(c.search(asked, k=9)) == nearest(vectors, names(5), asked, kind, 9)
    assert c.verify().is_clean


def test_fewer_rows_than_the_codebook_has_words_are_all_found(tmp_path):
    vectors = gaussian(40, DIM)
    source = write_h5(tmp_path / "x.h5", vectors)
    c = created(tmp_path, source, index="ivf_pq", num_partitions=2)
    asked = gaussian(3, DIM, seed=1)
    true = nearest(vectors, names(40), asked, "cosine", 40)
    assert hit_ids(c.search(asked, k=40)) == true


def test_one_giant_cluster_far_from_zero_is_searched_well(tmp_path):
    vectors = 100 + gaussian(3000, DIM) / 100
    source = write_h5(tmp_path / "x.h5", vectors)
    c = created(tmp_path, source, distance_type="l2", num_partitions=8, bucket_rows=1000)
    asked = 100 + gaussian(10, DIM, seed=2) / 100
    true = nearest(vectors, names(3000), asked, "l2", 10)
    found = hit_ids(c.search(asked, k=10, nprobes=8, refine_factor=40))
    assert np.mean([len(set(a) & set(b)) for a, b in zip(found, true, strict=True)]) > 9.5


# -- ids ------------------------------------------------------------------------------------------

ODD_IDS = ["蛋白 质", "a\nb", "", "'; drop", '"', "%_", "🧬", "x" * 10_000, "y" * 10_240, "NULL"]


@pytest.mark.parametrize("ids", [ODD_IDS, list(range(-3, 7)), [2**63 - 1 - n for n in range(10)]])
def test_odd_ids_are_searched_got_exported_and_deleted(tmp_path, ids):
    text, vectors = [str(name) for name in ids], gaussian(10, DIM)
    c = created(tmp_path, write_parquet(tmp_path / "x.parquet", vectors, ids), bucket_rows=4)
    assert hit_ids(c.search(vectors, k=1)) == [[name] for name in text]
    assert c.get(text[::-1])["id"].to_pylist() == text[::-1]
    c.export(tmp_path / "out.parquet")
    assert sorted(pq.read_table(tmp_path / "out.parquet")["id"].to_pylist()) == sorted(text)
    c.delete(text[:9])
    assert hit_ids(c.search(vectors[0], k=10)) == [text[9:]]
    assert c.verify().is_clean


# -- many buckets ---------------------------------------------------------------------------------


def with_many_buckets(folder, number):
    """Name one table under many names: a link each, as if as many builds had made them."""
    c = created(folder, write_h5(folder / "x.h5", gaussian(40, DIM)), num_partitions=2)
    (one,), place = c.buckets, folder / "c"
    buckets = [replace(one, name=f"b{n:05d}") for n in range(number)]
    for bucket in buckets:
        (place / f"{bucket.name}.lance").symlink_to(place / f"{one.name}.lance")
    following = manifests.next_manifest(c._manifest, "test", plan=c._manifest.plan)
    assert manifests.commit_manifest(c._storage, replace(following, buckets=tuple(buckets)))
    return c


@pytest.mark.parametrize("number", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_many_buckets_are_listed_opened_and_searched(tmp_path, number):
    with_many_buckets(tmp_path, number)
    c = atoll.open(tmp_path / "c", settings=settings(tmp_path / "s"))
    assert len(c) == 40 * number
    assert len(c.info()["buckets"]) == number
    asked = gaussian(40, DIM)[:2]
    (best, other) = hit_ids(c.search(asked, k=number, nprobes=2, refine_factor=1))
    assert set(best) == {"p00000"}
    assert set(other) == {"p00001"}
    said = must("info", tmp_path / "c", "--tables").split()
    assert len(said) == number


# -- files cut and gone ---------------------------------------------------------------------------


def data_file(place, bucket):
    (path,) = (place / f"{bucket.name}.lance" / "data").iterdir()
    return path


@pytest.mark.parametrize("index", ["rabitq", "ivf_pq", "flat"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "deleted"])
def test_verify_scans_what_counting_rows_does_not_miss(tmp_path, damage, index):
    sizes = {} if index == "flat" else {"num_partitions": 2}
    source = write_h5(tmp_path / "x.h5", gaussian(600, DIM))
    c = created(tmp_path, source, index=index, bucket_rows=300, **sizes)
    path = data_file(tmp_path / "c", c.buckets[1])
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if damage == "cut" else 0])
    assert lance.dataset(path.parents[1]).count_rows() == 300
    issues = atoll.open(tmp_path / "c", settings=settings(tmp_path)).verify().issues
    assert {issue.bucket for issue in issues} == {c.buckets[1].name}
    done = command("verify", tmp_path / "c")
    assert done.code == 1
    assert c.buckets[1].name in done.out + done.err


@pytest.mark.parametrize("damage", ["altered", "deleted"])
def test_a_model_that_is_not_the_trained_one_is_refused_by_whoever_needs_it(tmp_path, damage):
    source = write_h5(tmp_path / "x.h5", gaussian(300, DIM))
    c = created(tmp_path, source, num_partitions=2)
    (model,) = (tmp_path / "c" / "_atoll" / "models").iterdir()
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.unlink() if damage == "deleted" else model.write_bytes(data)
    more = write_h5(tmp_path / "y.h5", gaussian(9, DIM, seed=2), names(9, 900))
    fresh = atoll.open(tmp_path / "c", settings=settings(tmp_path / "s"))
    for action in (
        lambda: fresh.search(gaussian(1, DIM), k=3, refine_factor=1),
        lambda: fresh.add(more, workers=1),
    ):
        with pytest.raises(atoll.AtollError, match=model.name[:8]):
            action()
    assert not fresh.verify().is_clean
    # Exact search needs no model.
    assert fresh.search(gaussian(1, DIM), k=3, exact=True).num_rows == 3
    assert fresh.version == c.version


# -- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("behind_s", "is_refused"), [(30, True), (100, False)])
def test_a_lease_of_a_clock_half_a_minute_behind_still_holds(tmp_path, behind_s, is_refused):
    created(tmp_path, write_h5(tmp_path / "x.h5", gaussian(30, DIM)))
    path = tmp_path / "c" / "_atoll" / "leases" / "forged.json"
    path.parent.mkdir(exist_ok=True)
    lease = {"kind": "build", "holder": "ghost", "expires_at": time.time() - behind_s}
    path.write_text(json.dumps(lease))
    done = command("gc", tmp_path / "c")
    assert (done.code != 0) == is_refused
