"""Sign-ins at providers that lie, and with callbacks that were tampered with (feature 7)."""

import time
from base64 import b64decode
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from urllib.parse import unquote_plus

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey
from oidc_providers import (
    CALLBACK,
    NOW,
    half_hash,
    hostile_provider,
    returned,
    self_signed,
    unsigned,
)

from atoll.core.errors import AtollError, Forbidden, InvalidInput, Unavailable
from atoll.mesh.identity.fetching import MAX_BYTES
from atoll.mesh.identity.oidc import RelyingParty
from atoll.mesh.identity.pending import PENDING_SECONDS
from atoll.mesh.identity.provider import Provider
from atoll.mesh.identity.remembered import FAILED_SECONDS, RENEW_SECONDS
from atoll.mesh.identity.secret import MAX_SKEW

SKEW_S = int(MAX_SKEW.total_seconds())
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})


@pytest.fixture
def provider():
    with hostile_provider() as provider:
        yield provider


def party_of(provider, *, timeout_s=10.0, clock=time.monotonic, **changes):
    configured = Provider("plant", provider.issuer, "atoll", "a secret", **changes)
    return RelyingParty(configured, timeout_s=timeout_s, clock=clock)


def sign_in(party, *, now=NOW):
    begun = party.begin(CALLBACK, now=now)
    return party.finish(begun.pending, returned(begun.url), begun.cookie, now=now)


@contextmanager
def refused(kind, match):
    """Expect an error that repeats no secret: those here are long or of a shape of their own."""
    with pytest.raises(kind, match=match) as caught:
        yield
    words = caught.value.message.replace("'", " ").split()
    assert not [word for word in words if len(word) > 64 or word.startswith("eyJ")]
    assert "a secret" not in caught.value.message


def test_provider_that_does_not_lie_signs_in(provider):
    found = sign_in(party_of(provider))
    assert (found.subject, found.email, found.is_email_verified) == (
        "u1",
        "u1@plant.example",
        False,
    )


WRONG_CLAIMS = {
    "iss": "https://elsewhere.example",
    "aud": "another-client",
    "exp": int(NOW.timestamp()) - SKEW_S - 5,
    "nbf": int(NOW.timestamp()) + SKEW_S + 60,
    "iat": int(NOW.timestamp()) + SKEW_S + 60,
    "nonce": "another",
    "azp": "another-client",
    "at_hash": half_hash("another token"),
    "sub": "",
}


@pytest.mark.parametrize("name", WRONG_CLAIMS)
def test_id_token_with_a_wrong_claim_is_refused(provider, name):
    provider.claims = {name: WRONG_CLAIMS[name]}
    with refused(Forbidden, f"'{name}' is not right"):
        sign_in(party_of(provider))


def test_id_token_for_two_clients_must_say_for_which_it_was_made(provider):
    provider.claims = {"aud": ["atoll", "another-client"]}
    with refused(Forbidden, "'azp' is not right"):
        sign_in(party_of(provider))
    provider.claims["azp"] = "atoll"
    assert sign_in(party_of(provider)).subject == "u1"


def test_id_token_made_before_the_sign_in_began_is_refused(provider):
    provider.claims = {"iat": int(NOW.timestamp()) - SKEW_S - 5}
    with refused(Forbidden, "'iat' is not right"):
        sign_in(party_of(provider))


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "iat", "nonce"])
@pytest.mark.parametrize("value", [None, True, {"a": []}])
def test_id_token_without_a_claim_or_with_nonsense_for_one_is_refused(provider, name, value):
    provider.claims = {name: value}
    with refused(Forbidden, "missing or of a wrong type"):
        sign_in(party_of(provider))


def test_id_token_that_nobody_signed_is_refused(provider):
    provider.sign = unsigned
    for name in ("none", "None", "NONE", "nOnE", ""):
        provider.header = {"alg": name}
        with refused(Forbidden, "signed in a way that is not allowed"):
            sign_in(party_of(provider))


def test_id_token_signed_with_the_public_key_as_a_secret_is_refused(provider):
    provider.shown = [RSA]
    secret = OctKey.import_key({"kty": "oct", "k": RSA.as_dict()["n"]})
    provider.key, provider.header = secret, {"alg": "HS256", "kid": "rsa"}
    with refused(Forbidden, "signed in a way that is not allowed"):
        sign_in(party_of(provider))


def test_secret_among_the_keys_signs_nothing(provider):
    secret = {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "rsa"}
    provider.shown = [secret]
    provider.key, provider.header = RSA, {"alg": "RS256", "kid": "rsa"}
    with refused(Forbidden, "a key that the provider does not show"):
        sign_in(party_of(provider))


def test_algorithm_must_be_one_that_is_configured(provider):
    provider.key, provider.header = RSA, {"alg": "RS256", "kid": "rsa"}
    assert sign_in(party_of(provider)).subject == "u1"
    with refused(Forbidden, "signed in a way that is not allowed"):
        sign_in(party_of(provider, algorithms=("ES256",)))


def test_id_token_signed_by_another_key_than_it_names_is_refused(provider):
    other = ECKey.generate_key("P-256", {"kid": "two"})
    provider.shown = [provider.key, other]
    provider.header = {"kid": "two"}
    with refused(Forbidden, "signature is not the provider's"):
        sign_in(party_of(provider))


def test_id_token_that_brings_its_own_key_is_checked_by_the_providers(provider):
    stranger = ECKey.generate_key("P-256", {"kid": "one"})
    provider.shown, provider.key = [provider.key], stranger
    provider.header = {"jwk": stranger.as_dict()}
    with refused(Forbidden, "signature is not the provider's"):
        sign_in(party_of(provider))


def test_id_token_without_a_key_name_is_accepted_only_where_there_is_one_key(provider):
    provider.header = {"kid": None}
    assert sign_in(party_of(provider)).subject == "u1"
    provider.shown = [provider.key, ECKey.generate_key("P-256", {"kid": "two"})]
    with refused(Forbidden, "a key that the provider does not show"):
        sign_in(party_of(provider))


def test_id_token_with_rules_of_its_own_is_refused(provider):
    provider.sign = unsigned
    provider.header = {"crit": ["b64"], "b64": False}
    with refused(Forbidden, "signed in a way that is not allowed"):
        sign_in(party_of(provider))


@pytest.mark.parametrize("change", [{"use": "enc"}, {"alg": "ES384"}, {"kty": "RSA"}, {"x": 7}])
def test_key_for_something_else_checks_no_signature(provider, change):
    provider.shown = [{**provider.key.as_dict(), **change}]
    with refused(Forbidden, "a key that the provider does not show"):
        sign_in(party_of(provider))


@pytest.mark.parametrize("change", [{"crv": "P-384"}, {"crv": "P-1"}, {"x": "AAAA"}, {"y": "!"}])
def test_broken_key_checks_no_signature(provider, change):
    provider.shown = [{**provider.key.as_dict(), **change}]
    with refused(Forbidden, "signature is not the provider's"):
        sign_in(party_of(provider))


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_short_rsa_key_checks_no_signature(provider):
    provider.key = RSAKey.generate_key(1024, {"kid": "short"})
    provider.header = {"alg": "RS256", "kid": "short"}
    with refused(Forbidden, "its key has not"):
        sign_in(party_of(provider))


def test_new_key_is_fetched_when_it_is_first_named(provider):
    party = party_of(provider)
    sign_in(party)
    provider.key, provider.header = ECKey.generate_key("P-256", {"kid": "new"}), {"kid": "new"}
    with refused(Forbidden, "a key that the provider does not show"):
        sign_in(party)


def test_keys_are_fetched_again_for_an_unknown_name_but_not_each_time(provider):
    ticks = [0.0]
    party = party_of(provider, clock=lambda: ticks[0])
    sign_in(party)
    shown, provider.header = provider.jwks()["keys"], {"kid": "new"}
    provider.key = ECKey.generate_key("P-256", {"kid": "new"})
    ticks[0] += RENEW_SECONDS
    assert sign_in(party).subject == "u1"
    provider.shown = shown
    for _ in range(3):
        provider.header = {"kid": "never shown"}
        with refused(Forbidden, "a key that the provider does not show"):
            sign_in(party)
    assert provider.asked.count("/jwks") == 2


def test_callback_is_good_for_the_browser_that_began_only(provider):
    party = party_of(provider)
    begun, other = (party.begin(CALLBACK, now=NOW) for _ in range(2))
    for cookie in (other.cookie, "", None, "\ud800"):
        with refused(Forbidden, "another browser"):
            party.finish(begun.pending, returned(begun.url), cookie, now=NOW)


def test_callback_with_another_sign_ins_state_is_refused(provider):
    party = party_of(provider)
    begun, other = (party.begin(CALLBACK, now=NOW) for _ in range(2))
    with refused(Forbidden, "another browser or window"):
        party.finish(begun.pending, returned(other.url), begun.cookie, now=NOW)


def test_callback_without_a_sign_in_that_is_waiting_is_refused(provider):
    party = party_of(provider)
    begun = party.begin(CALLBACK, now=NOW)
    late, early = NOW + timedelta(seconds=PENDING_SECONDS), NOW - 2 * MAX_SKEW
    for pending, now in ((None, NOW), (begun.pending, late), (begun.pending, early)):
        with refused(Forbidden, "finished already, or took too long"):
            party.finish(pending, returned(begun.url), begun.cookie, now=now)


def test_code_of_another_sign_in_is_refused(provider):
    party = party_of(provider)
    begun, other = (party.begin(CALLBACK, now=NOW) for _ in range(2))
    mixed = {**dict(returned(begun.url)), "code": dict(returned(other.url))["code"]}
    with refused(Forbidden, r"did not take the code \(invalid_grant\)"):
        party.finish(begun.pending, mixed.items(), begun.cookie, now=NOW)


@pytest.mark.parametrize("iss", ["https://elsewhere.example", ""])
def test_callback_of_another_issuer_is_refused_before_the_code_is_sent(provider, iss):
    provider.callback = {"iss": iss}
    with refused(Forbidden, "another sign-in provider answered"):
        sign_in(party_of(provider))
    assert "/token" not in provider.asked


def test_callback_must_name_its_issuer_where_the_provider_says_it_does(provider):
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    with refused(Forbidden, "another sign-in provider answered"):
        sign_in(party_of(provider))
    provider.callback = {"iss": provider.issuer}
    assert sign_in(party_of(provider)).subject == "u1"


def test_sign_in_begun_at_one_provider_is_not_finished_at_another(provider):
    with hostile_provider() as other:
        begun = party_of(provider).begin(CALLBACK, now=NOW)
        with refused(Forbidden, "another sign-in provider answered"):
            party_of(other).finish(begun.pending, returned(begun.url), begun.cookie, now=NOW)
        assert "/token" not in other.asked


def test_callback_repeats_nothing_and_is_short(provider):
    party = party_of(provider)
    begun = party.begin(CALLBACK, now=NOW)
    good = returned(begun.url)
    for bad in ([*good, good[0]], [*good, ("more", "x" * 10_000)]):
        with refused(InvalidInput, "repeats a parameter, or has more than"):
            party.finish(begun.pending, bad, begun.cookie, now=NOW)


def test_what_a_callback_says_is_not_shown_to_people(provider):
    provider.callback = {"error": "<script>alert(1)</script>", "code": None}
    with refused(Forbidden, "refused: an unknown error"):
        sign_in(party_of(provider))


def test_callback_without_a_code_is_refused(provider):
    provider.callback = {"code": None}
    with refused(InvalidInput, "sent no code"):
        sign_in(party_of(provider))


def test_userinfo_about_somebody_else_is_refused(provider):
    provider.userinfo = {"sub": "u2", "email": "chief@plant.example"}
    with refused(Forbidden, "somebody else"):
        sign_in(party_of(provider))


def test_userinfo_does_not_replace_what_was_signed(provider):
    provider.claims = {"email": "u1@plant.example", "email_verified": False}
    provider.userinfo = {"sub": "u1", "email": "chief@plant.example", "email_verified": True}
    found = sign_in(party_of(provider))
    assert (found.email, found.is_email_verified) == ("u1@plant.example", False)


def huge(handler):
    handler.say(200, b" " * (MAX_BYTES + 1))


def silent(handler):
    handler.rfile.read()


def dripping(handler):
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    with suppress(OSError):
        while True:
            handler.wfile.write(b" ")
            time.sleep(0.1)


def gone(handler):
    handler.connection.close()


def compressed(handler):
    handler.say(200, b"\x1f\x8b", content_encoding="gzip")


def failing(handler):
    handler.say(503, {})


def redirecting(handler):
    handler.say(307, {}, location="/elsewhere")


def no_json(handler):
    handler.say(200, b"<html>")


def no_text(handler):
    handler.say(200, b'{"issuer": "\xff"}')


def deep(handler):
    handler.say(200, b'{"a":' + b"[" * 200_000)


def other_json(handler):
    handler.say(200, [1])


BROKEN = {
    huge: "sends more than",
    gone: "cannot be reached",
    compressed: "sends compressed",
    failing: "answers 503",
    redirecting: "redirects elsewhere",
    no_json: "cannot be read",
    no_text: "cannot be read",
    deep: "cannot be read",
    other_json: "cannot be read",
}
PATHS = ["/.well-known/openid-configuration", "/jwks", "/token", "/userinfo"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("broken", BROKEN)
def test_provider_that_answers_badly_is_unavailable(provider, path, broken):
    provider.answers = {path: broken}
    with refused(Unavailable, BROKEN[broken]):
        sign_in(party_of(provider))
    assert "/elsewhere" not in provider.asked


@pytest.mark.parametrize("token", ["é", "a\r\nx-more: b", "\0"])
def test_access_token_that_no_header_can_carry_is_refused(provider, token):
    answer = {"id_token": "a.b.c", "access_token": token}
    provider.answers = {"/token": lambda handler: handler.say(200, answer)}
    with refused(Unavailable, "access token that is none"):
        sign_in(party_of(provider))


@pytest.mark.parametrize("code", ["", "é", "a\nb"])
def test_code_that_is_none_is_not_sent_on(provider, code):
    provider.callback = {"code": code}
    with refused(InvalidInput, "sent no code"):
        sign_in(party_of(provider))
    assert "/token" not in provider.asked


@pytest.mark.parametrize("slow", [silent, dripping])
def test_provider_that_takes_its_time_is_unavailable(provider, slow):
    provider.answers = {PATHS[0]: slow}
    with refused(Unavailable, r"did not answer within 0\.5 s"):
        sign_in(party_of(provider, timeout_s=0.5))


def test_provider_that_failed_is_left_alone_for_a_moment(provider):
    ticks = [0.0]
    party = party_of(provider, clock=lambda: ticks[0])
    provider.answers = {PATHS[0]: failing}
    for _ in range(3):
        with refused(Unavailable, "answers 503"):
            sign_in(party)
    assert provider.asked == [PATHS[0]]
    provider.answers = {}
    ticks[0] += FAILED_SECONDS
    assert sign_in(party).subject == "u1"


def test_provider_that_is_not_there_is_unavailable(provider):
    nobody = replace(provider, issuer="http://127.0.0.1:1")
    with refused(Unavailable, r"127\.0\.0\.1:1 cannot be reached"):
        sign_in(party_of(nobody))


@pytest.mark.parametrize("path", PATHS[1:])
def test_endpoint_may_be_on_another_host(provider, path):
    name = {"/jwks": "jwks_uri", "/token": "token_endpoint", "/userinfo": "userinfo_endpoint"}[path]
    with hostile_provider(key=provider.key, begun=provider.begun) as other:
        provider.metadata = {name: other.issuer + path}
        other.issuer = provider.issuer
        assert sign_in(party_of(provider)).subject == "u1"
        assert other.asked == [path]


BAD_METADATA = {
    "another issuer": {"issuer": "https://elsewhere.example"},
    "not https": {"token_endpoint": "http://elsewhere.example/token"},
    "no plain address": {"jwks_uri": "https://plant.example@elsewhere.example/jwks"},
    "no plain": {"authorization_endpoint": ""},
    "is not https;": {"userinfo_endpoint": "ftp://plant.example/userinfo"},
}


@pytest.mark.parametrize("match", BAD_METADATA)
def test_metadata_that_lead_astray_are_refused(provider, match):
    provider.metadata = BAD_METADATA[match]
    with refused(InvalidInput, match):
        sign_in(party_of(provider))


def test_provider_over_tls_must_have_a_certificate_that_is_trusted(tmp_path):
    files = self_signed(tmp_path)
    with hostile_provider(tls=files) as provider:
        with refused(Unavailable, "certificate that is not trusted: set ca_file"):
            party_of(provider).begin(CALLBACK, now=NOW)
        assert party_of(provider, ca_file=files[0]).begin(CALLBACK, now=NOW).pending


def test_secure_provider_does_not_lead_to_an_endpoint_without_tls(tmp_path):
    files = self_signed(tmp_path)
    with hostile_provider(tls=files) as provider:
        provider.metadata = {"jwks_uri": "http://127.0.0.1:1/jwks"}
        with refused(InvalidInput, "jwks_uri of provider 'plant' is not https"):
            party_of(provider, ca_file=files[0]).begin(CALLBACK, now=NOW)


def client_named(provider, secret):
    """Sign in as a client with a secret; gives the token request's authorization and form."""
    seen = []

    def keep(handler):
        seen.extend((handler.headers["authorization"], handler.body))
        handler.say(400, {"error": "invalid_client"})

    provider.answers = {"/token": keep}
    party = RelyingParty(Provider("plant", provider.issuer, "our app", secret))
    with pytest.raises(AtollError):
        sign_in(party)
    return seen


def test_client_secret_goes_where_the_provider_takes_it(provider):
    header, form = client_named(provider, "a:b +%/é")
    name, _, secret = b64decode(header.removeprefix("Basic ")).decode().partition(":")
    assert (unquote_plus(name), unquote_plus(secret)) == ("our app", "a:b +%/é")
    assert "client_secret" not in form
    provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    header, form = client_named(provider, "a:b +%/é")
    assert header is None
    assert (form["client_id"], form["client_secret"]) == ("our app", "a:b +%/é")


def test_client_without_a_secret_says_who_it_is(provider):
    header, form = client_named(provider, None)
    assert header is None
    assert form["client_id"] == "our app"
    assert "client_secret" not in form


def test_secret_is_not_sent_in_a_way_that_the_provider_does_not_take(provider):
    provider.metadata = {"token_endpoint_auth_methods_supported": ["private_key_jwt"]}
    with refused(InvalidInput, "takes no client_secret"):
        sign_in(party_of(provider))
    assert "/token" not in provider.asked
