"""Laws of reading Arrow's types back from their texts."""

from contextlib import suppress

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.errors import InvalidInput
from atoll.mesh.harvest.arrowtypes import _PLAIN, MAX_DEPTH, arrow_schema, arrow_type
from atoll.mesh.harvest.model import Column, Fingerprint, Technical
from atoll.mesh.harvest.schemas import columns_of

SIMPLE = st.one_of(
    st.sampled_from(list(_PLAIN.values())),
    st.builds(pa.timestamp, st.sampled_from(["s", "ns"]), st.sampled_from(["UTC", "-03:30"])),
    st.builds(pa.decimal128, st.integers(1, 38), st.integers(-5, 20)),
    st.builds(pa.decimal32, st.integers(1, 9), st.integers(-5, 20)),
    st.builds(pa.binary, st.integers(0, 1000)),
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters=":"), min_size=1, max_size=8)


def nested(inner):
    field = st.builds(
        lambda name, kind, nullable: pa.field(name, kind, nullable or pa.types.is_null(kind)),
        *(NAMES, inner, st.booleans()),
    )
    fields = st.lists(field, max_size=4)
    keys = inner.filter(lambda kind: not pa.types.is_null(kind))
    return st.one_of(
        st.builds(pa.list_, field),
        st.builds(pa.large_list, field),
        st.builds(pa.list_view, field),
        st.builds(pa.list_, field, st.integers(0, 2000)),
        st.builds(pa.struct, fields),
        st.builds(pa.map_, keys, inner, st.booleans()),
        st.builds(pa.dictionary, st.just(pa.int8()), inner, st.booleans()),
        st.builds(pa.run_end_encoded, st.just(pa.int32()), inner),
        st.builds(pa.dense_union, st.lists(field, min_size=1, max_size=4)),
    )


TYPES = st.recursive(SIMPLE, nested, max_leaves=6)


@given(TYPES)
def test_a_type_is_read_back_from_its_text(kind):
    assert arrow_type(str(kind)) == kind


@given(st.text("struct<list>: item[3], int32 not null=()'", max_size=60) | st.text(max_size=30))
def test_what_is_read_has_the_text_that_it_was_read_from(text):
    with suppress(InvalidInput):
        assert str(arrow_type(text)) == text


@given(TYPES, st.data())
def test_a_text_that_was_cut_is_refused(kind, data):
    text = str(kind)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    if cut not in _PLAIN:
        with pytest.raises(InvalidInput):
            arrow_type(cut)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "int33",
        "int32 ",
        "list<int32>",
        "decimal128(99, 2)",
        "dictionary<values=string, indices=string, ordered=0>",
        "struct<a: b: int32>",
        "timestamp[us, tz=: string, b]",
        "extension<arrow.fixed_shape_tensor[value_type=float, shape=[2,2]]>",
        "list<item: " * (MAX_DEPTH + 1) + "int8" + ">" * (MAX_DEPTH + 1),
        "list<item: " * 90_000,
    ],
    ids=range(11),
)
def test_what_cannot_be_read_whole_is_refused(text):
    with pytest.raises(InvalidInput):
        arrow_type(text)


def test_a_harvested_schema_comes_back_without_the_columns_that_cannot_be_told():
    schema = pa.schema([("a", pa.int32()), pa.field("b", pa.large_string(), nullable=False)])
    columns = (*columns_of(schema), Column("odd", "extension<somebody.else>", True))
    technical = Technical(
        kind="table",
        format="parquet",
        location="s3://plant/t",
        columns=columns,
        partitions=(Column("year", "int64", True),),
        rows=1,
        rows_estimate=None,
        size_bytes=1,
        files=1,
        version="1",
        fingerprint=Fingerprint(None, None),
    )
    assert arrow_schema(technical) == schema.append(pa.field("year", pa.int64()))
    assert arrow_schema(None) == pa.schema([])
