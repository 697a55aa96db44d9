"""Which tables can be buckets of one collection."""

from dataclasses import replace

import pyarrow as pa
import pytest

from atoll.core.errors import InvalidInput
from atoll.vectors.fitting import AdoptOptions, TableFacts, fit
from atoll.vectors.model import IndexSpec

PQ = IndexSpec("ivf_pq", 8, 4)
VECTOR = pa.list_(pa.float32(), 8)


def table(name, *, vector=VECTOR, rows=10, metric="cosine", **columns):
    given = {"vector": vector, "id": pa.string()} | columns
    indexes = {"vector": ("IVF_PQ", PQ)} if metric else {}
    metrics = {"vector": metric} if metric else {}
    return TableFacts(name, rows, pa.schema(given), False, indexes, metrics)


def fitted(*tables, into=None, **options):
    return fit(tables, AdoptOptions(**options), into)


def unfit(*tables, **options):
    """What is wrong with which."""
    return dict(fitted(*tables, **options).unfit)


def test_the_first_table_by_name_decides_the_dimension():
    wide = table("b", vector=pa.list_(pa.float32(), 16))
    assert unfit(wide, table("a")) == {"b": "its dimension is 16, that of the others 8"}
    wide = table("0", vector=pa.list_(pa.float32(), 16))
    assert list(unfit(wide, table("a"))) == ["a"]


def test_the_wider_of_two_dtypes_is_the_collections():
    half = table("b", vector=pa.list_(pa.float16(), 8))
    assert fitted(half).spec.dtype == "float16"
    assert fitted(table("a"), half).spec.dtype == "float32"
    assert "float32" in unfit(half, table("c"), into=fitted(half).spec)["c"]


def test_directions_of_8_bits_take_no_other_vectors_in():
    spec = replace(fitted(table("a")).spec, dtype="int8")
    assert unfit(table("b"), into=spec) == {
        "b": "its vectors are float32, those of the collection int8"
    }


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ({"vector": pa.list_(pa.float32())}, "not a fixed number of float32"),
        ({"vector": pa.list_(pa.float64(), 8)}, "not a fixed number of float32"),
        ({"id": pa.float32()}, "ids are text or integers"),
        ({"rows": 0}, "holds 0 rows"),
    ],
)
def test_what_cannot_be_a_bucket_is_told(odd, why):
    assert why in unfit(table("a"), table("b", **odd))["b"]


def test_where_nothing_fits_there_is_no_collection():
    with pytest.raises(InvalidInput, match=r"no table can be adopted: a: .*0 rows"):
        fitted(table("a", rows=0))


def test_columns_that_all_have_alike_are_seen_and_the_others_hidden():
    first = table("a", n=pa.int32(), text=pa.string(), only=pa.int8(), _distance=pa.float32())
    second = table("b", n=pa.int32(), text=pa.dictionary(pa.int8(), pa.string()), m=pa.int8())
    found = fitted(first, second)
    assert found.spec.columns == {"n": "int32", "text": "string"}
    assert found.hidden == ("only", "_distance", "m")


def test_tables_that_come_later_need_the_columns_there_are():
    spec = fitted(table("a", n=pa.int32())).spec
    assert "no column 'n'" in unfit(table("b"), into=spec)["b"]
    assert unfit(table("b", n=pa.int32(), more=pa.int8()), into=spec) == {}


def test_an_index_for_another_distance_is_not_used():
    tables = (table("a"), table("b", metric="l2"), table("c", metric=None))
    with pytest.raises(InvalidInput, match="cosine in a; l2 in b"):
        fitted(*tables)
    found = fitted(*tables, distance_type="l2")
    assert found.indexes == {"a": IndexSpec("flat"), "b": PQ, "c": IndexSpec("flat")}
    assert fitted(tables[2]).spec.distance_type == "cosine"
