"""Columns of nested and unusual types, with and without rows."""

import pyarrow as pa
import pytest

from atoll.mesh.pii import Column, Kind, propose
from atoll.mesh.pii.leaves import MAX_DEPTH, MAX_LEAVES

CONTACT = pa.struct(
    [
        ("name", pa.string()),
        ("emails", pa.list_(pa.string())),
        ("machine", pa.struct([("name", pa.string()), ("torque", pa.float64())])),
    ]
)
TYPES = {
    "struct": CONTACT,
    "list of structs": pa.list_(CONTACT),
    "large list": pa.large_list(CONTACT),
    "fixed list": pa.list_(CONTACT, 2),
    "list view": pa.list_view(CONTACT),
    "map of structs": pa.map_(pa.string(), CONTACT),
    "struct of struct": pa.struct([("inner", CONTACT)]),
}


def rows(type_, count=0):
    """Make rows of a type: nulls, then one of text in each field."""
    return pa.table({"contact": pa.nulls(count, type_)})


def kinds(found):
    return {one.kind for one in found}


@pytest.mark.parametrize("type_", TYPES.values(), ids=TYPES)
def test_fields_of_nested_columns_are_found_by_their_names(type_):
    by_text = propose([Column("contact", str(type_))])
    assert kinds(by_text) == {Kind.PERSON_NAME, Kind.EMAIL}
    assert {one.column for one in by_text} == {"contact"}
    assert propose([Column("contact", str(type_))], rows(type_)) == by_text
    assert propose([Column("contact", str(type_))], rows(type_, 3)) == by_text


def test_the_evidence_names_the_field():
    found = propose([Column("contact", str(CONTACT))])
    assert "field 'emails': the name says e-mail address" in [one.evidence for one in found]


def test_fields_of_machines_are_not_proposed():
    type_ = pa.struct([("name", pa.string()), ("curve", pa.list_(pa.float32()))])
    assert propose([Column("machine", str(type_))]) == []
    assert propose([Column("weld", "list<item: struct<nm: float, ms: int32>>")]) == []


@pytest.mark.parametrize(
    "type_text",
    [
        "struct<price: decimal128(5, 2), email: string>",
        "struct<at: timestamp[us, tz=Europe/Lisbon], email: string not null>",
        "struct<curve: fixed_size_list<item: float>[3], email: string>",
        "struct<state: dictionary<values=string, indices=int32, ordered=0>, email: large_string>",
        "list<item: struct<a: map<string, list<item: int32>>, email: string_view>>",
        "run_end_encoded<run_ends: int32, values: struct<email: string>>",
    ],
)
def test_parts_of_a_type_are_not_taken_for_fields(type_text):
    (found,) = propose([Column("c", type_text)])
    assert found.evidence == "field 'email': the name says e-mail address"


def test_values_inside_nested_columns_are_looked_at():
    values = [{"a": [f"w{row}@example.com" for row in range(5)]} for _ in range(3)]
    table = pa.table({"c": pa.array(values)})
    (found,) = propose([Column("c", "whatever")], table)
    assert (found.kind, found.evidence) == (
        Kind.EMAIL,
        "field 'a': 5 of 5 distinct values are e-mail addresses",
    )


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["a@example.com", "b@example.com"]).dictionary_encode(),
        pa.array(["a@example.com", "b@example.com"], pa.large_string()),
        pa.array(["a@example.com", "b@example.com"], pa.string_view()),
        pa.RunEndEncodedArray.from_arrays([2, 4], pa.array(["a@example.com", "b@example.com"])),
        pa.UnionArray.from_sparse(
            pa.array([0, 0], pa.int8()), [pa.array(["a@example.com", "b@example.com"])]
        ),
        pa.ExtensionArray.from_storage(
            pa.json_(pa.string()), pa.array(["a@example.com", "b@example.com"])
        ),
        pa.MapArray.from_arrays([0, 2], pa.array(["a@example.com", "b@example.com"]), [1, 2]),
        pa.array([["a@example.com"], None, ["b@example.com", None]]),
    ],
    ids=lambda array: str(array.type)[:20],
)
def test_text_is_read_however_it_is_stored(array):
    (found,) = propose([Column("c", str(array.type))], pa.table({"c": array}))
    assert found.kind is Kind.EMAIL


@pytest.mark.parametrize(
    "array",
    [
        pa.array([b"\xff\xfe", b"a@example.com"]),
        pa.Array.from_buffers(
            pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
        ),
        pa.array([1.5, float("nan"), float("inf"), 1e300]),
        pa.array([2**63 - 1, -(2**63)]),
        pa.array([2**64 - 1], pa.uint64()),
        pa.nulls(3),
        pa.array([True, False]),
    ],
    ids=lambda array: str(array.type),
)
def test_what_is_no_text_proves_nothing(array):
    table = pa.table({"c": array})
    assert propose([Column("c", str(array.type))], table) == []


def test_a_column_twice_is_looked_at_twice():
    table = pa.Table.from_arrays(
        [pa.array([1, 2]), pa.array(["a@example.com", "b@example.com"])], names=["c", "c"]
    )
    (found,) = propose([Column("c", "int64")], table)
    assert found.kind is Kind.EMAIL


def test_too_deep_and_too_wide_columns_are_proposed_unseen():
    deep = pa.string()
    for level in range(3 * MAX_DEPTH):
        deep = pa.struct([(f"f{level}", deep)])
    wide = pa.struct([(f"f{number}", pa.int32()) for number in range(MAX_LEAVES + 1)])
    for type_ in (deep, wide):
        for sample in (None, pa.table({"c": pa.nulls(1, type_)})):
            (found,) = propose([Column("c", str(type_))], sample)
            assert found.kind is Kind.FREE_TEXT
            assert found.evidence == "nested too deeply or widely to look into"


@pytest.mark.parametrize(
    "type_text", ["struct<", "<<<>>>", "struct<a: struct<b", ": : ,", "x" * 100_000, "<" * 5000, ""]
)
def test_a_broken_type_is_read_as_far_as_it_goes(type_text):
    (found,) = propose([Column("email", type_text), Column("mass", "double")])
    assert found.column == "email"
