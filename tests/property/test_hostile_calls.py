"""Calls that mean harm: whatever is sent, the answer is a refusal in the protocol's own form."""

import json
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_shapes import as_request, values

from atoll.fleet.wire import cbor
from atoll.fleet.wire.errors import CLOUDFORMATION, CLOUDWATCH, EMR
from atoll.fleet.wire.gateway import PROTOCOLS, Gateway
from atoll.fleet.wire.message import Request
from atoll.fleet.wire.service import Service, load_model

OPERATIONS = {
    "emr": ("RunJobFlow", EMR),
    "cloudformation": ("CreateStack", CLOUDFORMATION),
    "cloudwatch": ("PutMetricAlarm", CLOUDWATCH),
}
CALLS = [(n, p) for n in OPERATIONS for p in load_model(n).metadata["protocols"]]
GATEWAY = Gateway(
    [
        Service(name, {operation: lambda _: {}}, errors)
        for name, (operation, errors) in OPERATIONS.items()
    ]
)
every_call = pytest.mark.parametrize(("name", "protocol"), CALLS)


def request_of(name, protocol, parameters):
    return as_request(load_model(name), protocol, OPERATIONS[name][0], parameters)


def words_of(name):
    """Name members at any depth of the operation's input: where garbage does most harm."""
    shape = load_model(name).operation_model(OPERATIONS[name][0]).input_shape
    return [*shape.members, "Name", "Value", "Key", "member", "entry", "1", "2", "key", "value"]


def trees(name, bits):
    """Any tree of JSON, its keys often such as the operation knows."""
    keys = st.sampled_from(words_of(name)) | st.text(max_size=4)
    leaves = st.none() | st.booleans() | st.integers(-(2**bits), 2**bits - 1) | st.text(max_size=6)
    return st.recursive(
        leaves | st.floats(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


def check(request):
    response = GATEWAY.answer(request)
    assert response.status < 500 or b"NotImplemented" in response.body
    return response.status


@every_call
@given(data=st.data())
def test_a_valid_call_with_bytes_changed_is_no_failure_of_ours(name, protocol, data):
    shape = load_model(name).operation_model(OPERATIONS[name][0]).input_shape
    request = request_of(name, protocol, data.draw(values(shape, 3)))
    body = request.body
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 4)))
    check(replace(request, body=body[:start] + data.draw(st.binary(max_size=4)) + body[end:]))


@every_call
@given(data=st.data())
def test_any_tree_for_parameters_is_no_failure_of_ours(name, protocol, data):
    request = request_of(name, protocol, {})
    if protocol == "query":
        names = st.lists(st.sampled_from(words_of(name)), min_size=1, max_size=6).map(".".join)
        fields = data.draw(st.dictionaries(names, st.text(max_size=6), max_size=6))
        check(replace(request, body=request.body + b"&" + urlencode(fields).encode()))
    elif protocol == "json":
        check(replace(request, body=json.dumps(data.draw(trees(name, 70))).encode()))
    else:
        check(replace(request, body=cbor.encode(data.draw(trees(name, 64)))))


@given(st.data())
def test_any_request_at_all_is_no_failure_of_ours(data):
    names = ("x-amz-target", "content-type", "smithy-protocol", "content-encoding", "origin")
    known = ("ElasticMapReduce.RunJobFlow", "application/x-amz-json-1.1", "rpc-v2-cbor", "gzip")
    forms = ("application/cbor", "application/x-www-form-urlencoded", "identity")
    text = st.sampled_from(known + forms) | st.text(st.characters(codec="latin-1"), max_size=9)
    headers = data.draw(st.dictionaries(st.sampled_from(names), text))
    paths = ("/", "/service/GraniteServiceVersion20100801/operation/ListMetrics", "/service/", "*")
    target = data.draw(st.sampled_from(paths) | st.text("/%?=&;#.ab", min_size=1))
    method = data.draw(st.sampled_from(["POST", "GET", "PUT", "OPTIONS"]))
    check(Request(method, target, tuple(headers.items()), data.draw(st.binary(max_size=30))))


DEEP = 100_000
BOMBS = {
    "json": [
        b'{"Instances":' + b"[" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b'{"Configurations":[' * 80 + b"]}" * 80,
        b'{"Name":' + b"9" * DEEP + b"}",
        b'{"Name":1e999999}',
        b'{"Name":"\\ud800","Instances":{}}',
        b'{"Name":"' + b"\\u0000" * 9 + b'","Instances":{"InstanceCount":true}}',
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b"null",
    ],
    "smithy-rpc-v2-cbor": [b"\x81" * DEEP, b"\xbb" + b"\xff" * 8, b"\xa1\x61a" * DEEP, b"\xf6"],
    "query": [
        b"Action=CreateStack&Version=2010-05-15&" + b"a." * DEEP + b"b=1",
        b"Action=CreateStack&Version=2010-05-15" + b"&a=1" * DEEP,
        b"Action=CreateStack&Version=2010-05-15&Tags.member.999999999999999=1",
        b"Action=CreateStack&Version=2010-05-15&Tags.member.1=1&Tags.member.1.Key=2",
        b"Action=CreateStack&Version=2010-05-15&StackName=%ff",
        b"Action=CreateStack&Action=DeleteStack&Version=2010-05-15",
        b"Action.a=CreateStack&Version=2010-05-15",
        "Action=CreateStack&Version=2010-05-15&StackName=ü".encode(),
        b'<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]><a>&c;</a>',
        b"",
    ],
}


@pytest.mark.parametrize("protocol", BOMBS)
def test_a_bomb_is_refused(protocol):
    name = {"json": "emr", "query": "cloudformation"}.get(protocol, "cloudwatch")
    request = request_of(name, protocol, {})
    assert {check(replace(request, body=bomb)) for bomb in BOMBS[protocol]} == {400}


def test_every_protocol_was_tried():
    assert {protocol.name for protocol in PROTOCOLS} == set(BOMBS)
