"""Whole sign-ins at a real provider (feature 7)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from oidc_providers import CALLBACK, real_provider, returned

from atoll.core.errors import Forbidden
from atoll.mesh.identity.oidc import RelyingParty
from atoll.mesh.identity.provider import Provider

ANNA = {
    "sub": "anna",
    "email": "anna@plant.example",
    "email_verified": True,
    "name": "Anna",
    "groups": ["plant-quality", "plant-canteen"],
}


@pytest.fixture(scope="module")
def provider():
    with real_provider(ANNA) as issuer:
        groups = {"plant-quality": "quality", "plant-it": "administrators"}
        yield Provider("plant", issuer, "atoll", "a secret", groups=groups)


def test_person_signs_in_with_the_groups_that_are_mapped(provider):
    found = sign_in(RelyingParty(provider))
    assert (found.issuer, found.subject) == (provider.issuer, "anna")
    assert (found.name, found.email) == ("Anna", "anna@plant.example")
    assert found.is_email_verified
    assert found.groups == ("quality",)


def test_code_works_once(provider):
    party = RelyingParty(provider)
    begun = party.begin(CALLBACK, now=datetime.now(UTC))
    callback = returned(begun.url, sub="anna")
    party.finish(begun.pending, callback, begun.cookie, now=datetime.now(UTC))
    with pytest.raises(Forbidden, match=r"did not take the code \(invalid_grant\)"):
        party.finish(begun.pending, callback, begun.cookie, now=datetime.now(UTC))


def test_person_who_says_no_is_not_signed_in(provider):
    party = RelyingParty(provider)
    begun = party.begin(CALLBACK, now=datetime.now(UTC))
    callback = returned(begun.url, action="deny")
    # This provider leaves the state out when it refuses, which OAuth does not allow.
    callback.append(("state", begun.pending.state))
    with pytest.raises(Forbidden, match="refused: access_denied"):
        party.finish(begun.pending, callback, begun.cookie, now=datetime.now(UTC))


def test_token_that_has_expired_is_refused(provider):
    party, later = RelyingParty(provider), datetime.now(UTC) + timedelta(hours=2)
    begun = party.begin(CALLBACK, now=later)
    with pytest.raises(Forbidden, match="'exp'"):
        party.finish(begun.pending, returned(begun.url, sub="anna"), begun.cookie, now=later)


def test_only_addresses_of_the_domain_are_let_in(provider):
    with pytest.raises(Forbidden, match=r"other\.example only"):
        sign_in(RelyingParty(replace(provider, email_domains=("other.example",))))


def sign_in(party):
    begun = party.begin(CALLBACK, now=datetime.now(UTC))
    callback = returned(begun.url, sub="anna")
    return party.finish(begun.pending, callback, begun.cookie, now=datetime.now(UTC))
