"""What a provider is configured as, and whom its claims tell of (feature 7)."""

import pytest

from atoll.core.errors import Forbidden, InvalidInput
from atoll.mesh.identity.person import identity
from atoll.mesh.identity.provider import Provider, checked_url, metadata_url


def provider(**changes):
    return Provider(**{"name": "plant", "issuer": "https://id.example", "client_id": "a"} | changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "Plant/../x"}, "names no provider"),
        ({"issuer": "http://id.example"}, "is not https"),
        ({"issuer": "https://id.example?tenant=1"}, "without a query"),
        ({"client_id": ""}, "needs a client_id"),
        ({"scopes": ("profile",)}, "need 'openid'"),
        ({"scopes": ("openid", "a b")}, "no spaces"),
        ({"algorithms": ("RS256", "HS256")}, r"cannot sign with \['HS256'\]"),
        ({"algorithms": ("none",)}, r"cannot sign with \['none'\]"),
        ({"algorithms": ()}, "cannot sign with nothing"),
        ({"email_domains": ("@plant.example",)}, "without @"),
        ({"email_domains": ("Plant.example",)}, "lower case"),
    ],
)
def test_provider_that_would_be_unsafe_is_not_configured(changes, match):
    with pytest.raises(InvalidInput, match=match):
        provider(**changes)


def test_provider_does_not_show_its_secret():
    assert "hush" not in repr(provider(client_secret="hush"))


def test_metadata_lie_under_the_issuer():
    wanted = "https://id.example/realm/.well-known/openid-configuration"
    for issuer in ("https://id.example/realm", "https://id.example/realm/"):
        assert metadata_url(provider(issuer=issuer)) == wanted


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9:80", "[::1]:8080"])
def test_address_on_this_machine_may_be_http(host):
    assert checked_url(f"http://{host}/x", "address").path == "/x"


@pytest.mark.parametrize(
    "url",
    [
        *("", "/path", "https:///path", "//id.example", "javascript:alert(1)", "https://[::1"),
        *("https://u@id.example", "https://id.example#f", "https://id.example\\@evil.example"),
        *("https://id.example\n/x", "https://id.exämple", "https://id.example:port", "http://1"),
        *("http://localhost.evil.example", "http://127.0.0.1.evil.example", "http://10.0.0.1"),
        "https://id.example/" + "x" * 3_000,
    ],
)
def test_address_that_misleads_is_refused(url):
    with pytest.raises(InvalidInput, match="the address is"):
        checked_url(url, "address")


def test_groups_are_those_that_are_mapped_exactly():
    mapped = provider(groups={"Quality": "quality", "QA": "quality", "IT": "administrators"})
    told = {"sub": "u", "groups": ["QA", "Quality", "it", "IT ", "other"]}
    assert identity(mapped, told, {}).groups == ("quality",)
    assert identity(mapped, {"sub": "u"}, {"groups": "IT"}).groups == ("administrators",)
    assert identity(provider(), told, {}).groups == ()


@pytest.mark.parametrize("groups", [{"QA": 1}, [["QA"]], 7, True])
def test_groups_of_a_wrong_form_are_refused(groups):
    with pytest.raises(Forbidden, match="'groups' is no list of names"):
        identity(provider(groups={"QA": "quality"}), {"sub": "u", "groups": groups}, {})


def test_groups_that_the_provider_left_out_are_not_taken_for_none():
    told = {"sub": "u", "_claim_names": {"groups": "src1"}}
    with pytest.raises(Forbidden, match="too many"):
        identity(provider(groups={"QA": "quality"}), told, {})


@pytest.mark.parametrize(
    ("verified", "is_verified"),
    [(True, True), ("true", True), ("yes", False), (1, False), (None, False)],
)
def test_address_is_verified_where_the_provider_says_so(verified, is_verified):
    told = {"sub": "u", "email": "u@plant.example", "email_verified": verified}
    assert identity(provider(), told, {}).is_email_verified == is_verified


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"email": "u@plant.example"},
        {"email": "u@evil.example", "email_verified": True},
        {"email": "u@plant.example@evil.example", "email_verified": True},
        {"email": "u@sub.plant.example", "email_verified": True},
        {"email": "plant.example.evil", "email_verified": True},
        {"email_verified": True},
    ],
)
def test_only_verified_addresses_of_a_domain_are_let_in(told):
    closed = provider(email_domains=("plant.example",))
    with pytest.raises(Forbidden, match=r"plant\.example only"):
        identity(closed, {"sub": "u", **told}, {})
    told = {"sub": "u", "email": "u@PLANT.example", "email_verified": True}
    assert identity(closed, told, {}).email == "u@PLANT.example"


@pytest.mark.parametrize("name", ["email", "name"])
@pytest.mark.parametrize("value", [1, ["x"], "x" * 300])
def test_claim_that_is_no_short_text_is_refused(name, value):
    with pytest.raises(Forbidden, match=f"'{name}' is no text"):
        identity(provider(), {"sub": "u", name: value}, {})


def test_name_steers_no_terminal():
    assert identity(provider(), {"sub": "u", "name": "a\x1b[31mb"}, {}).name == "a [31mb"
