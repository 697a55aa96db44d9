"""Signatures: botocore's own signer against our check, and what was changed on the way."""

import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import assume, given
from hypothesis import strategies as st

from atoll.fleet.wire.errors import ServiceError
from atoll.fleet.wire.message import Request
from atoll.fleet.wire.signature import MAX_SKEW, verify

KEYS = {"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
segments = st.text(max_size=5).map(lambda text: quote(text, safe="~")) | st.sampled_from(
    ["..", "."]
)
paths = st.lists(segments, max_size=4).map(lambda parts: "/" + "/".join(parts))
encoded = st.text(max_size=5).map(lambda text: quote(text, safe="-_.~"))
queries = st.lists(st.tuples(encoded.filter(bool), encoded), max_size=4).map(
    lambda pairs: "&".join(f"{key}={value}" for key, value in pairs)
)
header_values = st.text(string.ascii_letters + string.punctuation + "  é", max_size=12)
headers = st.dictionaries(
    st.text(string.ascii_lowercase, min_size=1, max_size=6).map("x-amz-t-{}".format),
    header_values.map(str.strip),
    max_size=3,
)


@st.composite
def signed_requests(draw):
    """A request as botocore signs it, and what a server would see of it."""
    query = draw(queries)
    target = draw(paths) + (f"?{query}" if query else "")
    own = {"content-type": "text/plain", **draw(headers)}
    body = draw(st.binary(max_size=20))
    sent = AWSRequest("POST", f"http://localhost:8080{target}", headers=own, data=body)
    SigV4Auth(Credentials("AKIDEXAMPLE", *KEYS.values()), "monitoring", "eu-west-1").add_auth(sent)
    seen = [("host", "localhost:8080"), *((k.lower(), v) for k, v in sent.headers.items())]
    return Request("POST", target, tuple(seen), body)


def signed_at(request):
    stamp = request.header("x-amz-date")
    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def refusal(request, now=None):
    with pytest.raises(ServiceError) as found:
        verify(request, KEYS, now or signed_at(request))
    return found.value


@given(signed_requests())
def test_what_botocore_signs_is_accepted(request):
    signer = verify(request, KEYS, signed_at(request))
    assert (signer.access_key, signer.region) == ("AKIDEXAMPLE", "eu-west-1")
    assert signer.service == "monitoring"


@given(signed_requests(), st.data())
def test_a_change_to_any_part_is_refused(request, data):
    part = data.draw(st.sampled_from(["method", "target", "body", "header", "unsigned"]))
    if part == "header":
        at = data.draw(st.integers(0, len(request.headers) - 1))
        name, value = request.headers[at]
        changed = data.draw(header_values.map(str.strip))
        assume(changed.split() != value.split())
        altered = (*request.headers[:at], (name, changed), *request.headers[at + 1 :])
        tampered = replace(request, headers=altered)
    elif part == "unsigned":
        tampered = replace(request, headers=(*request.headers, ("x-amz-target", "EMR.Delete")))
    elif part == "target":
        tampered = replace(request, target=request.path + "x" + request.target[len(request.path) :])
    elif part == "body":
        tampered = replace(request, body=request.body + b"x")
    else:
        tampered = replace(request, method="GET")
    refusal(tampered, signed_at(request))


@given(signed_requests(), st.integers(-600, 600))
def test_clocks_may_differ_by_five_minutes_and_no_more(request, seconds):
    now = signed_at(request) + timedelta(seconds=seconds)
    if abs(seconds) <= MAX_SKEW.seconds:
        assert verify(request, KEYS, now)
    else:
        found = refusal(request, now)
        assert found.name == "RequestTimeTooSkewed"
        assert f"{now:%H:%M:%S}" in found.message
        assert f"{signed_at(request):%H:%M:%S}" in found.message


@given(signed_requests(), st.text(st.characters(codec="latin-1"), max_size=200))
def test_any_authorization_is_answered_with_a_refusal(request, text):
    others = [(name, value) for name, value in request.headers if name != "authorization"]
    refusal(replace(request, headers=(*others, ("authorization", text))))


@given(signed_requests(), st.data())
def test_any_signature_but_the_right_one_is_refused(request, data):
    header = request.header("authorization")
    digit = data.draw(st.sampled_from("0123456789abcdef"))
    at = data.draw(st.integers(1, 64))
    changed = header[: len(header) - at] + digit + header[len(header) - at + 1 :]
    assume(changed != header)
    others = [(name, value) for name, value in request.headers if name != "authorization"]
    found = refusal(replace(request, headers=(*others, ("authorization", changed))))
    assert found.name == "SignatureDoesNotMatch"
