"""Laws of identity: whatever comes from outside, only what is right is let in."""

import json
import string
import unicodedata
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey
from oidc_providers import half_hash

from atoll.core.errors import AtollError, Forbidden, InvalidInput
from atoll.mesh.identity import idtoken, pending, secret, tokens
from atoll.mesh.identity.idtoken import Expected
from atoll.mesh.identity.passwords import Work, hashed, is_right
from atoll.mesh.identity.person import identity
from atoll.mesh.identity.provider import Metadata, Provider, checked_url, read_metadata
from atoll.mesh.identity.sessions import Lifetime, check, open_session
from atoll.mesh.service.sso import is_path, merged

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SECOND = int(NOW.timestamp())
SKEW = int(secret.MAX_SKEW.total_seconds())
KEY = ECKey.generate_key("P-256", {"kid": "one"})
PROVIDER = Provider("plant", "https://id.example", "atoll", groups={"QA": "quality"})
EXPECTED = Expected("https://id.example", "atoll", "a nonce", NOW, "an access token")
ABSENT = type("Absent", (), {"__repr__": lambda self: "absent"})()
DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

# What a claim may be, and must not be, by OpenID Connect Core 1.0, 2 and 3.1.3.7.
RIGHT = {
    "iss": ["https://id.example"],
    "sub": ["u", "ü" * 255],
    "exp": [SECOND - SKEW + 1, SECOND + 60.5, 10**30],
    "iat": [SECOND - SKEW, SECOND, SECOND + SKEW],
    "nonce": ["a nonce"],
    "nbf": [ABSENT, SECOND + SKEW, 0],
    "at_hash": [ABSENT, half_hash("an access token")],
    ("aud", "azp"): [("atoll", ABSENT), (["atoll"], "atoll"), (["x", "atoll"], "atoll")],
}
WRONG = {
    "iss": [ABSENT, "https://id.example/", "https://ID.example", ["https://id.example"], 1],
    "sub": [ABSENT, "", "u" * 256, "a\nb", 1, ["u"]],
    "exp": [ABSENT, SECOND - SKEW, -1, "9999999999", True, [], 1e309],
    "iat": [ABSENT, SECOND - SKEW - 1, SECOND + SKEW + 1, "0", {}],
    "nonce": [ABSENT, "", "A nonce", None, 0],
    "nbf": [SECOND + SKEW + 1, "0", True],
    "at_hash": [half_hash("another"), half_hash("an access token") + "=", 1, ["x"], {"x": 1}],
    ("aud", "azp"): [
        *((ABSENT, ABSENT), ("x", ABSENT), ("x", "atoll"), ([], "atoll"), ("atoll", "x")),
        *((["x", "atoll"], ABSENT), (["atoll", 1], "atoll"), ({"atoll": 1}, "atoll")),
        *((["atoll"], 1), ("atoll ", ABSENT), (["x", "atoll"], "x")),
    ],
}


def claims_of(choices):
    found = {}
    for name, value in choices.items():
        found.update(zip(name, value, strict=True) if isinstance(name, tuple) else [(name, value)])
    return {name: value for name, value in found.items() if value is not ABSENT}


@st.composite
def claims_and_whether_they_are_right(draw):
    wrong = draw(st.sets(st.sampled_from(list(RIGHT)), max_size=2))
    values = {name: (WRONG if name in wrong else RIGHT)[name] for name in RIGHT}
    chosen = {name: draw(st.sampled_from(values[name])) for name in values}
    return claims_of(chosen), not wrong


def signed(payload, header=None):
    return jws.serialize_compact({"alg": "ES256", "kid": "one"} | (header or {}), payload, KEY)


def read(token):
    header = idtoken.read_header(token, PROVIDER.algorithms)
    key = idtoken.Key("EC", "one", crv="P-256", x=KEY["x"], y=KEY["y"])
    return idtoken.checked_claims(token, header, key, EXPECTED, now=NOW)


@given(claims_and_whether_they_are_right())
@settings(max_examples=200)
def test_id_token_is_accepted_when_every_claim_is_right_and_only_then(found):
    claims, are_right = found
    token = signed(json.dumps(claims))
    if are_right:
        assert read(token) == claims
    else:
        with pytest.raises(Forbidden, match="ID token was refused"):
            read(token)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]], ids=repr
)
def test_one_wrong_claim_is_enough_to_refuse_an_id_token(name, value):
    claims = claims_of({**{each: values[0] for each, values in RIGHT.items()}, name: value})
    with pytest.raises(Forbidden, match="ID token was refused"):
        read(signed(json.dumps(claims)))


@given(st.binary(max_size=200) | st.sampled_from([b'{"iss":' + b"[" * 90_000, b"[]", b"NaN"]))
def test_signed_nonsense_is_refused(payload):
    with pytest.raises(Forbidden):
        read(signed(payload))


@given(st.data())
def test_id_token_that_was_changed_anywhere_is_refused(data):
    claims = {"iss": "https://id.example", "sub": "u", "aud": "atoll", "exp": SECOND + 60}
    token = signed(json.dumps({**claims, "iat": SECOND, "nonce": "a nonce"}))
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.sampled_from("aZ0-_.= é\ud800")) + token[at + 1 :]
    # The last character of a signature has bits that are not used.
    assume(changed != token and at != len(token) - 1)
    with pytest.raises(Forbidden):
        read(changed)


@given(JSON)
def test_header_of_any_form_is_read_or_refused(header):
    first = idtoken.base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    with pytest.raises(Forbidden):
        idtoken.read_header(first + ".x.y", PROVIDER.algorithms)


@given(st.binary() | st.text().map(str.encode) | JSON.map(lambda value: json.dumps(value).encode()))
def test_documents_of_any_form_are_read_or_refused(document):
    for reading in (idtoken.read_keys, lambda body: read_metadata(PROVIDER, body)):
        with suppress(AtollError):
            reading(document)


@given(st.dictionaries(st.sampled_from(["kty", "kid", "n", "x"]), JSON))
def test_keys_of_any_form_are_left_out(key):
    assert not idtoken.read_keys(json.dumps({"keys": [key]}).encode())


@given(st.dictionaries(st.sampled_from(["email", "email_verified", "name", "groups"]), JSON))
def test_claims_of_any_form_give_an_identity_or_are_refused(told):
    with suppress(Forbidden):
        found = identity(PROVIDER, {"sub": "u", **told}, {})
        assert set(found.groups) <= {"quality"}
        assert found.email is None or found.email.isprintable()


@given(st.text())
def test_address_of_any_form_is_safe_or_refused(text):
    with suppress(InvalidInput):
        for url in (text, "https://" + text, "http://localhost" + text):
            parts = checked_url(url, "address")
            assert parts.hostname
            assert url.isascii()
            assert parts.scheme == "https" or parts.hostname == "localhost"


@given(st.lists(st.tuples(st.text(), st.text()), max_size=4), st.none() | st.text())
def test_callback_of_any_form_is_refused(callback, cookie):
    metadata = Metadata("https://id.example", *["https://id.example"] * 3)
    begun = pending.begin(PROVIDER, metadata, "https://atoll.example", now=NOW)
    for waiting in (None, begun.pending):
        with pytest.raises(AtollError):
            pending.checked_code(waiting, callback, cookie, metadata, now=NOW)


@given(st.integers(0, 62**8 - 1))
def test_base62_is_a_number_written_with_62_digits(number):
    written = secret.base62(number, 8)
    assert len(written) == 8
    assert sum(DIGITS.index(digit) * 62**i for i, digit in enumerate(reversed(written))) == number


@given(st.data())
def test_token_with_a_wrong_character_is_told_at_once(data):
    text, shown = secret.new_text("atoll")
    assert tokens.parse(text) == shown
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.sampled_from(DIGITS + "_-é ")) + text[at + 1 :]
    assume(changed != text)
    with pytest.raises(InvalidInput):
        tokens.parse(changed)


@given(st.sets(st.sampled_from(["read", "write", "admin", "search", "publish"])))
def test_scopes_permit_what_they_name_and_lower_levels(scopes):
    ranks = {"read": 1, "write": 2, "admin": 3}
    rank = max((ranks.get(scope, 0) for scope in scopes), default=0)
    for operation, level in (("search", "read"), ("publish", "write"), ("assign", "admin")):
        permitted = tokens.permits(scopes, operation, level)
        assert permitted == (operation in scopes or rank >= ranks[level])


@given(st.text(max_size=40), st.text(max_size=40))
def test_password_is_right_when_it_reads_the_same(password, other):
    with suppress(InvalidInput):
        stored = hashed(password, Work(1, 1, 1))
        assert is_right(password, stored)
        is_same = unicodedata.normalize("NFC", password) == unicodedata.normalize("NFC", other)
        assume(" " not in unicodedata.normalize("NFKC", password + other))
        assert is_right(other, stored) == is_same


@given(
    st.lists(st.tuples(st.integers(-400, 400), st.sampled_from([1, 1, 1, 2]))),
    st.integers(20, 200),
    st.integers(50, 600),
)
def test_session_lets_in_as_long_as_its_lifetime_says(requests, idle_s, whole_s):
    lifetime = Lifetime(idle_s, whole_s)
    _, session = open_session("anna", generation=1, now=NOW, lifetime=lifetime)
    seconds = noted = 0
    for step, generation in requests:
        seconds += step
        is_in = -SKEW < seconds - noted < idle_s and seconds < whole_s and generation == 1
        now = NOW + timedelta(seconds=seconds)
        try:
            session = check(session, generation=generation, now=now, lifetime=lifetime)
        except Forbidden:
            assert not is_in
            continue
        assert is_in
        if seconds - noted >= idle_s / 10:
            noted = seconds


@given(
    st.integers(0, 4000), st.none() | st.integers(-10, 4000), st.booleans(), st.integers(1, 3600)
)
def test_token_is_active_until_it_is_revoked_or_expires_and_never_again(at, revoked, is_his, ttl_s):
    text, token = tokens.issue("robot", ["read"], operations=(), now=NOW, ttl_s=ttl_s)
    other, _ = secret.new_text("atoll")
    if revoked is not None:
        token = replace(token, revoked_at=NOW + timedelta(seconds=revoked))
    is_active = is_his and revoked is None and at < ttl_s
    shown = tokens.parse(text if is_his else other)
    try:
        tokens.check(token, shown, now=NOW + timedelta(seconds=at))
    except Forbidden:
        assert not is_active
    else:
        assert is_active


GROUPS = st.lists(st.sampled_from("abcd"), unique=True)


@given(GROUPS, st.lists(GROUPS, max_size=5))
def test_7_groups_are_those_given_by_hand_and_those_that_the_provider_told_last(hand, tellings):
    groups, mapped = tuple(hand), ()
    for told in tellings:
        groups, mapped = merged(groups, mapped, told)
        assert len(groups) == len(set(groups))
        assert set(groups) == {*hand, *told}
        assert set(mapped) == {*told} - {*hand}


@given(st.text("/\\.:@?#%2f\t\n\r aä", max_size=12).map("/".__add__) | st.text())
def test_7_what_is_a_path_leads_nowhere_else(text):
    if is_path(text):
        joined = urlsplit(urljoin("https://mesh.example/v1/sso/plant/callback", text))
        assert (joined.scheme, joined.netloc) == ("https", "mesh.example")
        assert not set(text) & set("\\\t\n\r ")
        assert text[:1] == "/" != text[1:2]
