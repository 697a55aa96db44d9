"""CBOR from anybody: RFC 8949's examples, and bytes that mean harm."""

import math
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.fleet.wire import cbor
from atoll.fleet.wire.errors import Malformed

# RFC 8949, appendix A.
EXAMPLES = {
    "00": 0,
    "17": 23,
    "1818": 24,
    "1903e8": 1000,
    "1b000000e8d4a51000": 10**12,
    "1bffffffffffffffff": 2**64 - 1,
    "20": -1,
    "3863": -100,
    "f90000": 0.0,
    "f93e00": 1.5,
    "fa47c35000": 100000.0,
    "fb3ff199999999999a": 1.1,
    "f97c00": math.inf,
    "f4": False,
    "f5": True,
    "f6": None,
    "f7": None,
    "c11a514b67b0": datetime(2013, 3, 21, 20, 4, tzinfo=UTC),
    "c1fb41d452d9ec200000": datetime(2013, 3, 21, 20, 4, 0, 500000, tzinfo=UTC),
    "4401020304": b"\1\2\3\4",
    "62c3bc": "ü",
    "83010203": [1, 2, 3],
    "a26161016162820203": {"a": 1, "b": [2, 3]},
    "5f42010243030405ff": b"\1\2\3\4\5",
    "7f657374726561646d696e67ff": "streaming",
    "9f018202039f0405ffff": [1, [2, 3], [4, 5]],
    "bf61610161629f0203ffff": {"a": 1, "b": [2, 3]},
}
HARM = {
    "nothing": b"",
    "half a head": b"\x19\x03",
    "a text of 2^63 bytes": b"\x7b\x7f" + b"\xff" * 7,
    "an array of 2^64 items": b"\x9b" + b"\xff" * 8,
    "a map of 2^32 entries": b"\xba\xff\xff\xff\xff",
    "ten thousand arrays in each other": b"\x81" * 10_000,
    "ten thousand endless arrays": b"\x9f" * 10_000,
    "ten thousand tags in each other": b"\xc1" * 10_000,
    "an endless array": b"\x9f\x01",
    "a break outside": b"\xff",
    "a break for a value": b"\xbf\x61a\xff",
    "a reserved head": b"\x1c",
    "a big number": b"\xc2\x49\x01" + b"\0" * 8,
    "an unknown tag": b"\xd8\x20\x61a",
    "an instant of text": b"\xc1\x61a",
    "an instant that is true": b"\xc1\xf5",
    "an instant beyond the calendar": b"\xc1\x1b" + b"\xff" * 8,
    "an instant that is no number": b"\xc1\xf9\x7e\x00",
    "an instant at infinity": b"\xc1\xf9\x7c\x00",
    "a key that is a number": b"\xa1\x01\x01",
    "a key twice": b"\xa2\x61a\x01\x61a\x02",
    "text that is no UTF-8": b"\x61\xff",
    "chunks of another type": b"\x7f\x41a\xff",
    "chunks in chunks": b"\x7f\x7f\x61a\xff\xff",
    "two values": b"\x01\x02",
    "an unknown simple value": b"\xe0",
}
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=30)
    | st.binary(max_size=300)
    | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("data", EXAMPLES)
def test_examples_of_the_rfc_are_read(data):
    assert cbor.decode(bytes.fromhex(data)) == EXAMPLES[data]


@pytest.mark.parametrize("name", HARM)
def test_bytes_that_mean_harm_are_refused_by_name(name):
    with pytest.raises(Malformed):
        cbor.decode(HARM[name])


@given(plain)
def test_what_is_written_is_read_again(value):
    assert cbor.decode(cbor.encode(value)) == value


@given(plain.map(cbor.encode).filter(lambda data: len(data) > 1), st.data())
def test_what_is_cut_short_is_refused(whole, data):
    with pytest.raises(Malformed):
        cbor.decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_refused(data):
    with suppress(Malformed):
        cbor.encode(cbor.decode(data))


def test_no_number_is_written_as_rfc_8949_has_it():
    assert math.isnan(cbor.decode(cbor.encode(math.nan)))
