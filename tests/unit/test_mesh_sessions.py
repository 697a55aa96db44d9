"""Browser sessions (features 6 to 8)."""

from datetime import UTC, datetime, timedelta

import pytest

from atoll.core.errors import Forbidden
from atoll.mesh.identity import sessions
from atoll.mesh.identity.sessions import Lifetime, check, key_of, open_session
from atoll.mesh.identity.tokens import issue

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SHORT = Lifetime(idle_s=100, whole_s=250)


def after(seconds):
    return NOW + timedelta(seconds=seconds)


def opened(**changes):
    return open_session("anna", generation=7, now=NOW, lifetime=SHORT, **changes)


def is_in(session, seconds, generation=7):
    try:
        check(session, generation=generation, now=after(seconds), lifetime=SHORT)
    except Forbidden:
        return False
    return True


def test_session_is_found_by_its_cookie_and_does_not_hold_it():
    cookie, session = opened()
    assert session.sha256 == key_of(cookie) != cookie
    assert cookie not in repr(session)
    assert session.sha256 not in repr(session)


def test_session_ends_when_nobody_uses_it():
    _, session = opened()
    assert is_in(session, 99)
    assert not is_in(session, 100)


def test_session_ends_however_busy_it_is():
    _, session = opened()
    for seconds in range(0, 250, 50):
        session = check(session, generation=7, now=after(seconds), lifetime=SHORT)
    assert is_in(session, 249)
    assert not is_in(session, 250)


def test_session_ends_when_its_user_is_unassigned_or_gone():
    _, session = opened()
    assert not is_in(session, 1, generation=8)
    assert not is_in(session, 1, generation=None)
    assert not is_in(None, 1)


def test_session_does_not_outlive_a_clock_that_was_set_back():
    _, session = opened()
    assert is_in(session, -60)
    assert not is_in(session, -3600)


def test_session_of_a_login_ends_with_its_token_and_has_its_scopes():
    _, token = issue("anna", ["read"], operations=(), now=NOW, ttl_s=50)
    _, session = opened(token=token)
    assert (session.scopes, session.token_id) == (frozenset({"read"}), token.id)
    assert is_in(session, 49)
    assert not is_in(session, 50)


def test_not_every_use_is_noted():
    _, session = opened()
    assert check(session, generation=7, now=after(9), lifetime=SHORT) is session
    noted = check(session, generation=7, now=after(10), lifetime=SHORT)
    assert noted.used_at == after(10)


def test_why_somebody_is_not_let_in_is_not_told():
    _, session = opened()
    messages = set()
    for record, generation, now in ((None, 7, NOW), (session, 8, NOW), (session, 7, after(999))):
        with pytest.raises(Forbidden) as caught:
            check(record, generation=generation, now=now, lifetime=SHORT)
        messages.add(caught.value.message)
    assert messages == {"you are not signed in, or no longer; sign in"}


def test_every_sign_in_draws_a_new_cookie():
    assert len({opened()[0] for _ in range(100)}) == 100


def test_form_belongs_to_one_session():
    (cookie, _), (other, _) = opened(), opened()
    sessions.check_csrf(cookie, sessions.csrf_token(cookie))
    for shown in (sessions.csrf_token(other), "", cookie, "\ud800"):
        with pytest.raises(Forbidden, match="not of your session"):
            sessions.check_csrf(cookie, shown)


def test_any_text_of_a_cookie_has_a_key():
    assert len({key_of(text) for text in ("", "\ud800", "\0", "x" * 100_000)}) == 4
