"""Which buckets a compaction merges."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.errors import InvalidInput, NotFound
from atoll.vectors.compact import plan_compaction, put_in_place, sources_of
from atoll.vectors.model import Blob, Bucket, SourceSlice
from atoll.vectors.options import CompactOptions

NOTHING = Blob("nothing", 0, "")


def bucket(name, stored_rows, deleted_rows=0, model="m", sources=()):
    return Bucket(name=name, version=1, stored_rows=stored_rows, skipped=0, digest={}, plan="p",
                  model=model, layout=NOTHING, ids=NOTHING, names=NOTHING, sources=sources,
                  deleted_rows=deleted_rows)  # fmt: skip


def planned(live, **options):
    return [merge.names for merge in plan_compaction(live, CompactOptions(**options))]


@st.composite
def collections(draw):
    sizes = draw(st.lists(st.tuples(st.integers(1, 120), st.floats(0, 0.9)), max_size=12))
    models = draw(st.lists(st.sampled_from("ab"), min_size=len(sizes), max_size=len(sizes)))
    return [
        bucket(f"b{number}", rows, int(rows * share), model)
        for number, ((rows, share), model) in enumerate(zip(sizes, models, strict=True))
    ]


def after(buckets, merges):
    for number, merge in enumerate(merges):
        model = merge.buckets[0].model
        merged = bucket(f"merged{number}", merge.rows, 0, model)
        buckets = put_in_place(buckets, merge.names, [merged])
    return buckets


@given(collections(), st.integers(1, 200))
def test_after_a_compaction_nothing_is_left_to_do(buckets, bucket_rows):
    options = CompactOptions(bucket_rows=bucket_rows)
    merges = plan_compaction(buckets, options)
    left = after(buckets, merges)
    assert plan_compaction(left, options) == []
    assert sum(b.rows for b in left) == sum(b.rows for b in buckets)
    assert len(left) <= len(buckets)


@given(collections(), st.integers(1, 200))
def test_no_merge_mixes_models_or_is_too_large_or_takes_a_bucket_twice(buckets, bucket_rows):
    merges = plan_compaction(buckets, CompactOptions(bucket_rows=bucket_rows))
    for merge in merges:
        assert len({b.model for b in merge.buckets}) == 1
        assert merge.rows <= bucket_rows or len(merge.buckets) == 1
        order = [buckets.index(b) for b in merge.buckets]
        assert order == sorted(order)
    taken = [name for merge in merges for name in merge.names]
    assert len(taken) == len(set(taken))


def test_large_buckets_are_left_alone_unless_many_rows_are_deleted():
    buckets = [bucket("large", 90), bucket("worn", 90, 30), bucket("small", 10)]
    assert planned(buckets, bucket_rows=100) == [["worn", "small"]]
    assert planned(buckets[:2], bucket_rows=100) == [["worn"]]
    assert planned([buckets[0], buckets[2]], bucket_rows=100) == []


def test_named_buckets_are_merged_whatever_their_size():
    buckets = [bucket("a", 90), bucket("b", 90), bucket("c", 1), bucket("d", 5, 1)]
    assert planned(buckets, bucket_rows=200, buckets=("b", "a")) == [["a", "b"]]
    assert planned(buckets, buckets=("d",)) == [["d"]]
    assert planned(buckets, buckets=("c",)) == []


def test_bucket_that_is_not_there_is_named():
    with pytest.raises(NotFound, match="no live bucket 'x'"):
        planned([bucket("a", 1)], buckets=("x",))


@pytest.mark.parametrize("rows", [0, 1 << 32])
def test_impossible_sizes_are_refused(rows):
    with pytest.raises(InvalidInput, match=r"bucket.rows"):
        planned([bucket("a", 1)], bucket_rows=rows)


def test_sources_keep_their_plan_unless_rows_of_them_are_gone():
    part = SourceSlice("x", "1", 0, 9)
    whole = bucket("a", 9, sources=(part, replace(part, plan="older")))
    assert [p.plan for p in sources_of(whole)] == ["p", "older"]
    assert [p.plan for p in sources_of(replace(whole, deleted_rows=1))] == ["", ""]


def test_merged_bucket_stands_where_the_first_stood():
    a, b, c, d = (bucket(name, 1) for name in "abcd")
    assert put_in_place([a, b, c], ["b", "c"], [d]) == [a, d]
    assert put_in_place([a, b, c], ["a", "c"], []) == [b]
