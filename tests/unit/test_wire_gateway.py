"""What becomes of a request, without sockets: services told apart, callers, bugs of ours."""

import gzip
import json
import logging
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from wire_services import KEY, SECRET, Shelf
from wire_shapes import as_answer, as_request

from atoll.core.errors import Corrupt, InvalidInput
from atoll.fleet.wire.errors import EMR
from atoll.fleet.wire.gateway import Gateway
from atoll.fleet.wire.message import Request, Response
from atoll.fleet.wire.service import Service, UnfitOutput, load_model

LIST = as_request(load_model("emr"), "json", "ListClusters", {})


def gateway_of(handler, **options):
    return Gateway([Service("emr", {"ListClusters": handler}, EMR)], **options)


def signed(request, service, key=KEY):
    sent = AWSRequest("POST", "http://localhost/", headers=dict(request.headers), data=request.body)
    SigV4Auth(Credentials(key, SECRET), service, "us-east-1").add_auth(sent)
    headers = tuple((name.lower(), value) for name, value in sent.headers.items())
    return replace(request, headers=headers)


def error_of(response):
    return json.loads(response.body)["__type"]


def test_each_request_reaches_its_own_service():
    shelf = Shelf()
    gateway = Gateway(shelf.services())
    for name, operation in (("cloudwatch", "ListMetrics"), ("cloudformation", "DescribeStacks")):
        for protocol in load_model(name).metadata["protocols"]:
            response = gateway.answer(as_request(load_model(name), protocol, operation, {}))
            assert as_answer(load_model(name), protocol, operation, response)
    assert [call for call, _ in shelf.calls] == ["ListMetrics"] * 3 + ["DescribeStacks"]


def test_a_service_is_not_found_in_a_protocol_that_it_does_not_speak():
    request = as_request(load_model("emr"), "smithy-rpc-v2-cbor", "ListClusters", {})
    assert Gateway(Shelf().services()).answer(request).status == 404


@pytest.mark.parametrize(
    ("target", "status"),
    [("ElasticMapReduce.Fly", 404), ("Nobody.ListClusters", 404), ("ListClusters", 404)],
)
def test_what_does_not_exist_is_an_unknown_operation(target, status):
    headers = (("x-amz-target", target), ("content-type", "application/x-amz-json-1.1"))
    response = Gateway(Shelf().services()).answer(Request("POST", "/", headers, b"{}"))
    assert (response.status, error_of(response)) == (status, "UnknownOperationException")


def test_the_query_protocol_calls_it_an_invalid_action():
    request = as_request(load_model("cloudformation"), "query", "DescribeStacks", {})
    request = replace(request, body=b"Action=Fly&Version=2010-05-15")
    response = Gateway(Shelf().services()).answer(request)
    assert response.status == 400
    assert b"<Code>InvalidAction</Code>" in response.body


def test_parameters_that_do_not_fit_are_all_named_and_reach_no_handler():
    shelf = Shelf()
    body = b'{"ClusterStates": ["ASLEEP", "RUNNING", "NONE"], "Marker": 7}'
    response = Gateway(shelf.services()).answer(replace(LIST, body=body))
    assert (response.status, error_of(response)) == (400, "ValidationException")
    for word in (b"ASLEEP", b"NONE", b"Marker"):
        assert word in response.body
    assert shelf.calls == []


def test_an_output_that_does_not_fit_is_our_failure_and_logged(caplog):
    handler = lambda _: {"Clusters": [{"Status": {"State": "SLEEPING"}}]}  # noqa: E731
    response = gateway_of(handler).answer(LIST)
    assert (response.status, error_of(response)) == (500, "InternalServerException")
    assert "SLEEPING" in caplog.text
    with pytest.raises(UnfitOutput, match=r"emr\.ListClusters"):
        Service("emr", {"ListClusters": handler}, EMR).call("ListClusters", {})


def test_a_bug_is_logged_and_not_told(caplog):
    response = gateway_of(lambda _: {}["a secret"]).answer(LIST)
    assert (response.status, error_of(response)) == (500, "InternalFailure")
    assert b"secret" not in response.body
    assert "a secret" in caplog.text
    (request_id,) = [value for name, value in response.headers if name == "x-amzn-requestid"]
    assert request_id in caplog.text
    assert request_id.encode() in response.body


def test_an_error_of_ours_that_is_no_fault_of_the_caller_is_logged(caplog):
    def handler(_):
        raise Corrupt("the registry is damaged")

    assert gateway_of(handler).answer(LIST).status == 500
    assert "the registry is damaged" in caplog.text


def test_a_line_of_the_log_says_who_called_what(caplog):
    caplog.set_level(logging.INFO)
    body = b'{"JobFlowIds": ["j-1"]}'
    request = replace(as_request(load_model("emr"), "json", "TerminateJobFlows", {}), body=body)
    service = Service("emr", {"TerminateJobFlows": lambda _: {}}, EMR)
    gateway = Gateway([service], keys={KEY: SECRET})
    assert gateway.answer(signed(request, "elasticmapreduce")).status == 200
    (line,) = [record.message for record in caplog.records]
    assert f"operation=emr.TerminateJobFlows key={KEY} status=200 ms=" in line
    assert SECRET not in caplog.text


@pytest.mark.parametrize(("status", "lines"), [(200, 1), (500, 2)])
def test_what_changes_nothing_is_logged_where_it_fails(caplog, status, lines):
    caplog.set_level(logging.INFO)
    routes = {"/v1": lambda _: Response(status, b"", "text/plain")}
    gateway = Gateway([], routes=routes, reads={"/v1/find"})
    for path in ("/v1/find", "/v1/resize"):
        assert gateway.answer(Request("POST", path, (), b"")).status == status
    told = [record.message for record in caplog.records]
    assert len(told) == lines
    assert "operation=POST /v1/resize" in told[-1]


def test_a_list_that_is_answered_is_not_logged(caplog):
    caplog.set_level(logging.INFO)
    assert gateway_of(lambda _: {}).answer(LIST).status == 200
    assert caplog.records == []


def test_a_line_of_the_log_cannot_be_forged(caplog):
    caplog.set_level(logging.INFO)
    request = as_request(load_model("cloudformation"), "query", "DescribeStacks", {})
    forged = b"Action=Fly%0Arequest+answered+key=root&Version=2010-05-15"
    Gateway(Shelf().services()).answer(replace(request, body=forged))
    assert all("\n" not in record.message for record in caplog.records)


def test_a_signature_for_another_service_is_refused():
    response = gateway_of(lambda _: {}, keys={KEY: SECRET}).answer(signed(LIST, "monitoring"))
    assert (response.status, error_of(response)) == (403, "SignatureDoesNotMatch")
    assert b"elasticmapreduce" in response.body


def test_whoever_is_not_known_learns_nothing_of_what_there_is():
    gateway = gateway_of(lambda _: {}, keys={KEY: SECRET})
    response = gateway.answer(replace(LIST, body=b"not even JSON"))
    assert (response.status, error_of(response)) == (403, "MissingAuthenticationToken")


def test_the_clock_of_the_gateway_decides():
    late = lambda: datetime(2020, 1, 1, tzinfo=UTC)  # noqa: E731
    gateway = gateway_of(lambda _: {}, keys={KEY: SECRET}, clock=late)
    response = gateway.answer(signed(LIST, "elasticmapreduce"))
    assert error_of(response) == "RequestTimeTooSkewed"
    assert b"2020-01-01T00:00:00Z" in response.body


def test_a_web_page_cannot_give_orders_through_a_browser():
    shelf = Shelf()
    request = as_request(load_model("cloudformation"), "query", "DeleteStack", {"StackName": "ha"})
    request = replace(request, headers=(*request.headers, ("origin", "https://example.com")))
    assert Gateway(shelf.services()).answer(request).status == 403
    fetched = replace(request, method="GET", target="/?Action=DeleteStack&StackName=ha")
    assert Gateway(shelf.services()).answer(fetched).status == 405
    assert shelf.calls == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (gzip.compress(b"{}", mtime=0), 200),
        (gzip.compress(b'{"Marker":"' + b"a" * 10_000_000 + b'"}', mtime=0), 400),
        (gzip.compress(b"{}", mtime=0)[:-1], 400),
        (gzip.compress(b"{}", mtime=0) * 2, 400),
        (b"{}", 400),
    ],
)
def test_a_compressed_body_is_read_to_its_limit(body, status):
    request = replace(LIST, headers=(*LIST.headers, ("content-encoding", "gzip")), body=body)
    assert gateway_of(lambda _: {}).answer(request).status == status


def test_other_paths_are_the_routes():
    seen = []

    def route(request):
        seen.append(request.target)
        return Response(200, b"up 1\n", "text/plain")

    gateway = Gateway([], routes={"/metrics": route, "/v1": route})
    for target in ("/metrics", "/v1/clusters?limit=2", "/v10", "/", "/metricsx"):
        gateway.answer(Request("GET", target))
    assert seen == ["/metrics", "/v1/clusters?limit=2"]


def test_a_route_that_fails_tells_no_more_than_a_request_id(caplog):
    gateway = Gateway([], routes={"/v1": lambda _: 1 / 0})
    response = gateway.answer(Request("GET", "/v1"))
    assert (response.status, b"division" in response.body) == (500, False)
    assert "ZeroDivisionError" in caplog.text


def test_botocore_is_loaded_by_whoever_has_a_service_only():
    code = "import sys, atoll.fleet.wire; sys.exit('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_handler_that_nobody_could_call_is_refused():
    with pytest.raises(InvalidInput, match="ListCluster"):
        Service("emr", {"ListCluster": lambda _: {}}, EMR)
