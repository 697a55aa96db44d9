"""How calls and answers look in each protocol, down to traits that our three models do not use."""

import json
import math
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from botocore.model import ServiceModel
from wire_shapes import as_answer, as_request

from atoll.core.errors import InvalidInput, NotFound, Unavailable
from atoll.fleet.wire import cbor
from atoll.fleet.wire.conform import misfits
from atoll.fleet.wire.errors import (
    CLOUDFORMATION,
    CLOUDWATCH,
    EMR,
    MESSAGE_CHARS,
    ServiceError,
    wire_error,
)
from atoll.fleet.wire.gateway import PROTOCOLS
from atoll.fleet.wire.service import load_model

CBOR, JSON, QUERY = PROTOCOLS
STRING = {"shape": "String"}
SHAPES = {
    "Everything": {
        "type": "structure",
        "members": {
            "Renamed": {"shape": "String", "locationName": "other"},
            "Flat": {"shape": "FlatList"},
            "FlatNamed": {"shape": "FlatNamedList"},
            "Named": {"shape": "NamedList"},
            "Map": {"shape": "Map"},
            "FlatMap": {"shape": "FlatMap"},
            "Blob": {"shape": "Blob"},
            "Number": {"shape": "Double"},
            "Rfc": {"shape": "Rfc"},
            "Iso": {"shape": "Iso"},
            "Unix": {"shape": "Unix"},
        },
    },
    "String": {"type": "string"},
    "Blob": {"type": "blob"},
    "Double": {"type": "double"},
    "Rfc": {"type": "timestamp", "timestampFormat": "rfc822"},
    "Iso": {"type": "timestamp", "timestampFormat": "iso8601"},
    "Unix": {"type": "timestamp", "timestampFormat": "unixTimestamp"},
    "FlatList": {"type": "list", "member": STRING, "flattened": True},
    "FlatNamedList": {
        "type": "list",
        "member": {"shape": "String", "locationName": "item"},
        "flattened": True,
    },
    "NamedList": {"type": "list", "member": {"shape": "String", "locationName": "item"}},
    "Map": {
        "type": "map",
        "key": {"shape": "String", "locationName": "Name"},
        "value": {"shape": "String", "locationName": "Setting"},
    },
    "FlatMap": {"type": "map", "key": STRING, "value": STRING, "flattened": True},
}
MODEL = ServiceModel(
    {
        "metadata": {"apiVersion": "1", "targetPrefix": "Made", "jsonVersion": "1.0"},
        "operations": {
            "Do": {
                "name": "Do",
                "http": {"method": "POST", "requestUri": "/"},
                "input": {"shape": "Everything"},
                "output": {"shape": "Everything", "resultWrapper": "DoResult"},
            }
        },
        "shapes": SHAPES,
    },
    "made",
)
SECOND = datetime(2026, 11, 22, 10, 15, 1, tzinfo=UTC)
VALUES = {
    "Renamed": "a\r\n<&>\"' \t\x85",
    "Flat": ["one", "two"],
    "FlatNamed": ["three", "four"],
    "Named": ["five"],
    "Map": {"k": "v", "": ""},
    "FlatMap": {"x": "y", "z": ""},
    "Blob": b"\0\xff<",
    "Number": 0.1,
    "Rfc": SECOND,
    "Iso": SECOND,
    "Unix": SECOND,
}
protocols = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)


@protocols
def test_every_trait_of_a_model_is_read_and_written(protocol):
    operation = MODEL.operation_model("Do")
    call = protocol.call(as_request(MODEL, protocol.name, "Do", VALUES))
    assert protocol.read(operation, call.payload) == VALUES
    response = protocol.write(operation, VALUES, "an-id")
    # botocore's CBOR parser knows no names but the members'; Smithy's protocol neither.
    told = VALUES if protocol is not CBOR else {k: v for k, v in VALUES.items() if k != "Renamed"}
    found = as_answer(MODEL, protocol.name, "Do", response)
    assert {k: v for k, v in found.items() if k in told} == told


@protocols
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7e308])
def test_numbers_that_json_lacks_survive(protocol, number):
    operation = MODEL.operation_model("Do")
    call = protocol.call(as_request(MODEL, protocol.name, "Do", {"Number": number}))
    assert repr(protocol.read(operation, call.payload)["Number"]) == repr(number)
    response = protocol.write(operation, {"Number": number}, "an-id")
    assert repr(float(as_answer(MODEL, protocol.name, "Do", response)["Number"])) == repr(number)


def test_characters_that_xml_lacks_are_replaced():
    response = QUERY.write(MODEL.operation_model("Do"), {"Flat": ["a\0\x1b\ufffe"]}, "an-id")
    assert as_answer(MODEL, "query", "Do", response) == {"Flat": ["a\ufffd\ufffd\ufffd"]}


def test_an_error_of_emr_has_its_type_and_message_in_json():
    model = load_model("emr")
    error = wire_error(NotFound("Cluster id 'j-1' is not valid."), EMR, model)
    response = JSON.write_error(model, error, "an-id")
    told = {"__type": "InvalidRequestException", "Message": "Cluster id 'j-1' is not valid."}
    assert (response.status, json.loads(response.body)) == (400, told)
    assert response.content_type == "application/x-amz-json-1.1"
    assert dict(response.headers) == {"x-amzn-requestid": "an-id"}


def test_an_error_of_cloudformation_has_whose_fault_it_is_in_xml():
    model = load_model("cloudformation")
    error = wire_error(ServiceError("a <b>", name="AlreadyExistsException"), CLOUDFORMATION, model)
    root = ElementTree.fromstring(QUERY.write_error(model, error, "an-id").body)
    space = "{http://cloudformation.amazonaws.com/doc/2010-05-15/}"
    told = {part.tag.removeprefix(space): part.text for part in root.iter() if not list(part)}
    wanted = {"Type": "Sender", "Code": "AlreadyExistsException", "Message": "a <b>"}
    assert told == wanted | {"RequestId": "an-id"}


@pytest.mark.parametrize("protocol", [CBOR, JSON], ids=["cbor", "json"])
def test_an_error_of_cloudwatch_carries_its_old_code(protocol):
    model = load_model("cloudwatch")
    error = wire_error(InvalidInput("period 7"), CLOUDWATCH, model)
    response = protocol.write_error(model, error, "an-id")
    body = (cbor.decode if protocol is CBOR else json.loads)(response.body)
    assert body == {"__type": "InvalidParameterValueException", "message": "period 7"}
    assert ("x-amzn-query-error", "InvalidParameterValue;Sender") in response.headers


def test_members_of_an_errors_shape_are_sent():
    model = load_model("emr")
    more = {"ErrorCode": "NoSuchCluster"}
    raised = ServiceError("no", name="InvalidRequestException", members=more)
    body = json.loads(JSON.write_error(model, wire_error(raised, EMR, model), "an-id").body)
    assert body == {"__type": "InvalidRequestException", "Message": "no", **more}


@pytest.mark.parametrize("table", [EMR, CLOUDFORMATION, CLOUDWATCH])
def test_what_may_pass_is_told_to_come_again(table):
    error = wire_error(Unavailable("ZooKeeper does not answer"), table)
    assert (error.http_status, error.fault) == (503, "Receiver")


def test_the_models_status_counts_for_a_modelled_error():
    model = load_model("cloudwatch")
    for name in ("ResourceNotFound", "DashboardNotFoundError"):
        assert wire_error(ServiceError("no", name=name), CLOUDWATCH, model).http_status == 404


def test_a_message_that_quotes_all_that_was_sent_is_cut():
    error = wire_error(InvalidInput("x" * 1_000_000), EMR)
    assert len(error.message) < MESSAGE_CHARS + 100


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("Flat", "no list"),
        ("Flat", [1]),
        ("Map", {"k": None}),
        ("Blob", "text"),
        ("Number", True),
        ("Iso", datetime(2026, 1, 1)),
        ("Iso", "2026-01-01"),
        ("Unknown", 1),
    ],
)
def test_a_value_that_does_not_fit_is_named(member, value):
    (found,) = misfits({member: value}, MODEL.shape_for("Everything"))
    assert member in found


def test_what_botocores_validator_lets_pass_is_named():
    shape = load_model("emr").operation_model("ListInstances").input_shape
    found = misfits({"ClusterId": "j-1", "InstanceFleetType": "CHIEF"}, shape)
    assert found == [
        "Value 'CHIEF' at 'InstanceFleetType' failed to satisfy constraint: Member must satisfy "
        "enum value set: [MASTER, CORE, TASK]"
    ]
    shape = load_model("emr").operation_model("ModifyCluster").input_shape
    assert misfits({"ClusterId": "j-1", "StepConcurrencyLevel": 2**31}, shape)
    shape = load_model("cloudwatch").operation_model("DescribeAlarms").input_shape
    assert misfits({"MaxRecords": 101}, shape)


def test_missing_and_too_small_is_named_as_botocore_does():
    shape = load_model("cloudformation").operation_model("CreateStack").input_shape
    assert misfits({}, shape) == ['Missing required parameter in input: "StackName"']
    assert misfits({"StackName": "x", "TemplateBody": ""}, shape)
