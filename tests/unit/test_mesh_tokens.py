"""Machine tokens and the logins they are exchanged for (features 6 to 8)."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from atoll.core.errors import Forbidden, InvalidInput
from atoll.mesh.identity import logins, tokens
from atoll.mesh.identity.secret import MAX_SKEW

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
OPERATIONS = ("publish", "search")


def issued(scopes=("read",), ttl_s=3600):
    return tokens.issue("robot", scopes, operations=OPERATIONS, now=NOW, ttl_s=ttl_s)


def after(seconds):
    return NOW + timedelta(seconds=seconds)


def test_token_lets_its_principal_in_until_it_expires():
    text, token = issued()
    assert tokens.check(token, tokens.parse(text), now=after(3599)).principal == "robot"
    with pytest.raises(Forbidden, match=f"{token.id} is expired since 2026-11-26 13:00 UTC"):
        tokens.check(token, tokens.parse(text), now=after(3600))


def test_revoked_token_is_refused_whenever_it_was_revoked():
    text, token = issued()
    revoked = replace(token, revoked_at=after(10))
    for now in (NOW, after(10), after(10_000)):
        with pytest.raises(Forbidden, match="is revoked since 2026-11-26 12:00 UTC"):
            tokens.check(revoked, tokens.parse(text), now=now)


def test_only_who_holds_a_token_learns_that_it_was_revoked():
    _, token = issued()
    other, _ = issued()
    revoked, shown = replace(token, revoked_at=NOW), tokens.parse(other)
    guessed = replace(shown, id=token.id)
    messages = set()
    for record in (None, revoked, token):
        with pytest.raises(Forbidden) as caught:
            tokens.check(record, guessed, now=NOW)
        messages.add(caught.value.message)
    assert messages == {"there is no such token; issue a new one"}


def test_record_and_messages_do_not_hold_the_secret():
    text, token = issued()
    secret = text.split("_")[2]
    assert secret not in repr(token) + repr(tokens.parse(text)) + token.sha256
    assert token.sha256 not in repr(token)
    with pytest.raises(InvalidInput, match="wrong checksum") as caught:
        tokens.parse(text[:-1] + ("a" if text[-1] != "a" else "b"))
    assert secret[:20] not in caught.value.message


def test_token_has_a_form_that_scanners_find():
    text, _ = issued()
    assert re.fullmatch(r"atoll_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", text)


@pytest.mark.parametrize("text", ["", "atoll_", "ghp_" + "x" * 36, "\ud800", "atoll_" * 10_000])
def test_what_is_no_token_is_refused_as_such(text):
    with pytest.raises(InvalidInput, match="copy it whole"):
        tokens.parse(text)


def test_scope_must_be_a_level_or_an_operation_that_there_is():
    with pytest.raises(InvalidInput, match="there is no operation publsh"):
        issued(("read", "publsh"))
    with pytest.raises(InvalidInput, match="1 to 100 scopes"):
        issued(())


@pytest.mark.parametrize("ttl_s", [0, -1, tokens.MAX_TTL_SECONDS + 1])
def test_token_always_expires(ttl_s):
    with pytest.raises(InvalidInput, match="lasts 1 to"):
        issued(ttl_s=ttl_s)


def test_login_is_used_once():
    _, token = issued()
    text, login = logins.issue(token, now=NOW)
    used = logins.use(login, token, logins.parse(text), now=after(59))
    with pytest.raises(Forbidden, match="login is used"):
        logins.use(used, token, logins.parse(text), now=after(59))


def test_login_is_refused_when_late_or_before_it_was_made():
    _, token = issued()
    text, login = logins.issue(token, now=NOW, ttl_s=300)
    for now in (after(300), NOW - MAX_SKEW):
        with pytest.raises(Forbidden, match="login is expired"):
            logins.use(login, token, logins.parse(text), now=now)


def test_login_ends_with_its_token():
    _, token = issued(ttl_s=30)
    _, another = issued()
    text, login = logins.issue(token, now=NOW)
    for gone in (replace(token, revoked_at=NOW), None, another):
        with pytest.raises(Forbidden, match="login is revoked"):
            logins.use(login, gone, logins.parse(text), now=NOW)
    with pytest.raises(Forbidden, match="login is revoked"):
        logins.use(login, token, logins.parse(text), now=after(30))


def test_login_lasts_five_minutes_at_most():
    _, token = issued()
    for ttl_s in (0, 301):
        with pytest.raises(InvalidInput, match="1 to 300 seconds"):
            logins.issue(token, now=NOW, ttl_s=ttl_s)


def test_login_is_no_token_and_a_token_no_login():
    text, token = issued()
    login_text, _ = logins.issue(token, now=NOW)
    with pytest.raises(InvalidInput, match="atoll_<id>"):
        tokens.parse(login_text)
    with pytest.raises(InvalidInput, match="atollonce_<id>"):
        logins.parse(text)


def test_unknown_login_is_refused():
    _, token = issued()
    text, login = logins.issue(token, now=NOW)
    other, _ = logins.issue(token, now=NOW)
    for record, shown in ((None, text), (login, other)):
        with pytest.raises(Forbidden, match="no such login"):
            logins.use(record, token, logins.parse(shown), now=NOW)
