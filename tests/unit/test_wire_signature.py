"""Signatures against AWS's published test suite, and each way of not being signed."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from atoll.fleet.wire.errors import ServiceError
from atoll.fleet.wire.message import Request
from atoll.fleet.wire.signature import verify

KEYS = {"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded"
# aws-sig-v4-test-suite: method, target, further headers, body, signature.
PUBLISHED = {
    "get-vanilla": (
        "GET /",
        {},
        b"",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-vanilla-query-order-key-case": (
        "GET /?Param2=value2&Param1=value1",
        {},
        b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-vanilla-empty-query-key": (
        "GET /?Param1=value1",
        {},
        b"",
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    "get-utf8": (
        "GET /ሴ",
        {},
        b"",
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    "get-relative": (
        "GET /example/..",
        {},
        b"",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-slashes": (
        "GET //example//",
        {},
        b"",
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    "get-header-value-trim": (
        "GET /",
        {"my-header1": "value1", "my-header2": '"a   b   c"'},
        b"",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "post-vanilla": (
        "POST /",
        {},
        b"",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    "post-x-www-form-urlencoded": (
        "POST /",
        {"content-type": FORM},
        b"Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
}
NAMES = ("x-amz-date", "x-amz-date;host", "host;host;x-amz-date", "host;x")
HASHES = ("UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "é", "")


def published(name, *, key="AKIDEXAMPLE"):
    line, more, body, signature = PUBLISHED[name]
    method, target = line.split(" ")
    headers = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z", **more}
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={key}/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={';'.join(sorted(headers))}, Signature={signature}"
    )
    return Request(method, target, (*headers.items(), ("authorization", authorization)), body)


def without(request, name):
    return replace(request, headers=tuple(pair for pair in request.headers if pair[0] != name))


def plus(request, name, value):
    return replace(request, headers=(*request.headers, (name, value)))


def refusal(request, keys=KEYS):
    with pytest.raises(ServiceError) as found:
        verify(request, keys, NOW)
    return found.value.name


@pytest.mark.parametrize("name", PUBLISHED)
def test_signatures_that_aws_publishes_are_accepted(name):
    assert verify(published(name), KEYS, NOW).service == "service"


def test_a_request_without_signature_is_told_to_sign():
    assert refusal(without(published("get-vanilla"), "authorization")) == (
        "MissingAuthenticationToken"
    )


def test_a_presigned_url_is_not_a_signature():
    request = without(published("get-vanilla"), "authorization")
    presigned = replace(request, target="/?X-Amz-Signature=00&X-Amz-Credential=AKIDEXAMPLE")
    assert refusal(presigned) == "MissingAuthenticationToken"


def test_an_unknown_key_is_told_from_a_wrong_secret():
    assert refusal(published("get-vanilla", key="AKIDOTHER")) == "InvalidClientTokenId"
    wrong = {"AKIDEXAMPLE": "another secret"}
    assert refusal(published("get-vanilla"), wrong) == "SignatureDoesNotMatch"


def test_a_session_token_that_was_left_over_is_named():
    line = (
        published("get-vanilla")
        .headers[-1][1]
        .replace("x-amz-date", "{}".format("x-amz-date;x-amz-security-token"))
    )
    request = plus(without(published("get-vanilla"), "authorization"), "authorization", line)
    with pytest.raises(ServiceError, match="unset AWS_SESSION_TOKEN") as found:
        verify(plus(request, "x-amz-security-token", "token"), KEYS, NOW)
    assert found.value.name == "InvalidClientTokenId"


@pytest.mark.parametrize("name", ["content-type", "content-encoding", "x-amz-target"])
def test_a_header_that_decides_the_meaning_must_be_signed(name):
    assert refusal(plus(published("post-vanilla"), name, "x")) == "IncompleteSignature"


@pytest.mark.parametrize("names", NAMES)
def test_signed_headers_are_sorted_sent_and_hold_the_host(names):
    header = published("get-vanilla").headers[-1][1].replace("host;x-amz-date", names)
    request = plus(without(published("get-vanilla"), "authorization"), "authorization", header)
    assert refusal(request) == "IncompleteSignature"


@pytest.mark.parametrize("told", HASHES)
def test_a_body_that_is_not_signed_is_refused(told):
    request = published("post-vanilla")
    header = request.headers[-1][1].replace("host;", "host;x-amz-content-sha256;")
    request = plus(without(request, "authorization"), "authorization", header)
    assert refusal(plus(request, "x-amz-content-sha256", told)) == "XAmzContentSHA256Mismatch"


@pytest.mark.parametrize("date", ["", "yesterday", "20150830", "99999999T999999Z"])
def test_a_date_that_is_none_is_refused(date):
    request = plus(without(published("get-vanilla"), "x-amz-date"), "x-amz-date", date)
    assert refusal(request) == "IncompleteSignature"


def test_the_scope_must_be_of_the_day_of_the_request():
    request = published("get-vanilla")
    header = request.headers[-1][1].replace("/20150830/", "/20150829/")
    request = plus(without(request, "authorization"), "authorization", header)
    assert refusal(request) == "SignatureDoesNotMatch"


def test_no_secret_is_told():
    with pytest.raises(ServiceError) as found:
        verify(published("get-vanilla"), {"AKIDEXAMPLE": "hush"}, NOW)
    assert "hush" not in f"{found.value.message} {found.value.details}"
