"""Random values by botocore's shapes, and what botocore makes of them on a client's side."""

import string
from datetime import UTC, datetime
from functools import cache
from urllib.parse import urlencode

from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import strategies as st

from atoll.fleet.wire.message import Request
from atoll.fleet.wire.service import load_model

MODELS = ("emr", "cloudformation", "cloudwatch")
# What survives in XML; anything else is tried by tests of its own.
TEXT = st.characters(
    codec="utf-8", categories=("L", "N", "P", "S", "Z"), include_characters="\t\n\r"
)
_BITS = {"integer": 31, "long": 63}
_DEPTH = 3


def operations():
    """Name every operation of the models in every protocol that its model lists."""
    for name in MODELS:
        model = load_model(name)
        for protocol in model.metadata["protocols"]:
            for operation in model.operation_names:
                yield name, protocol, operation


@cache
def values(shape, depth=0):
    """Make a strategy of valid values; optional members end at a depth."""
    kind = shape.type_name
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if kind == "structure":
        return _structures(shape, depth)
    if kind == "list":
        least = low or 0
        most = least if depth > _DEPTH else min(high or 2, least + 2)
        return st.lists(values(shape.member, depth + 1), min_size=least, max_size=most)
    if kind == "map":
        least = low or 0
        return st.dictionaries(
            values(shape.key), values(shape.value, depth + 1), min_size=least, max_size=least + 1
        )
    return _scalars(shape, kind, low, high)


def _structures(shape, depth):
    members = (
        {name: values(member, depth + 1) for name, member in shape.members.items()}
        if (depth <= _DEPTH or shape.is_tagged_union)
        else {name: values(shape.members[name], depth + 1) for name in shape.required_members}
    )
    if shape.is_tagged_union:
        return st.one_of([st.fixed_dictionaries({name: found}) for name, found in members.items()])
    required = {name: members.pop(name) for name in shape.required_members}
    return _with_some(required, members)


@st.composite
def _with_some(draw, required, optional):
    """Draw few of many optional members: all of them would make a request of megabytes."""
    names = draw(st.lists(st.sampled_from(sorted(optional)), max_size=5)) if optional else []
    return draw(st.fixed_dictionaries(required | {name: optional[name] for name in names}))


def _scalars(shape, kind, low, high):
    if kind == "string" and shape.enum:
        return st.sampled_from(shape.enum)
    if kind == "string":
        least = low or 0
        return st.text(TEXT, min_size=least, max_size=max(least, min(high or 9, least + 9)))
    if kind in _BITS:
        bound = 1 << _BITS[kind]
        return st.integers(-bound if low is None else low, bound - 1 if high is None else high)
    if kind in ("float", "double"):
        return st.floats(low, high, allow_nan=False, allow_infinity=False, width=32)
    if kind == "boolean":
        return st.booleans()
    if kind == "blob":
        return st.binary(max_size=9)
    assert kind == "timestamp", kind
    return st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


def as_request(model, protocol, operation, parameters):
    """Serialize a call as botocore's clients do."""
    serializer = create_serializer(protocol, include_validation=False)
    sent = serializer.serialize_to_request(parameters, model.operation_model(operation))
    body = sent["body"]
    if isinstance(body, dict):
        body = urlencode(body, doseq=True, encoding="utf-8").encode()
    headers = tuple((name.lower(), value) for name, value in sent["headers"].items())
    return Request(sent["method"], sent["url_path"], (("host", "localhost"), *headers), body)


def as_answer(model, protocol, operation, response):
    """Parse a response as botocore's clients do; without the metadata."""
    raw = {
        "status_code": response.status,
        "headers": {"content-type": response.content_type, **dict(response.headers)},
        "body": response.body,
    }
    shape = model.operation_model(operation).output_shape
    found = create_parser(protocol).parse(raw, shape)
    found.pop("ResponseMetadata")
    return found


def word(length=8):
    return st.text(string.ascii_letters, min_size=1, max_size=length)
