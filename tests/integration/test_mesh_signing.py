"""Passwords, tokens, one-time logins, and the sessions that they open (features 6 to 8)."""

import time
from contextlib import suppress
from dataclasses import replace

import pytest
from mesh_databases import database_of
from mesh_doors import PLACE, browser_at, error, used_up
from mesh_world import world

from atoll.core.errors import TooManyRequests, Unauthenticated, Unavailable
from atoll.mesh.http.application import application
from atoll.mesh.http.signing import COOKIE, DEVICE_COOKIE
from atoll.mesh.identity import passwords
from atoll.mesh.identity.throttle import DEVICE, NAME_AT_PLACE, OWN, SECRET, of_name
from atoll.mesh.identity.throttle import PLACE as AT_PLACE
from atoll.mesh.model.people import ProfileStatus, Proof, ProofType, UserType
from atoll.mesh.service import OPERATIONS
from atoll.mesh.service.signing import DEVICES_OF_ONE, Doorkeeper, Visit

PASSWORD = "violet tractor 48 lanterns"
OTHER_PASSWORD = "amber glacier 73 violins"
WRONG = "the name or the password is not right"
HERE = Visit(PLACE)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    with world(database_of(tmp_path_factory.mktemp("sessions"))) as made:
        made.doorkeeper = Doorkeeper(made.store, made.tools.throttle)
        made.application = application(made.performer, made.doorkeeper)
        made.robot = made.ask("ann", "CreateUserProfile", name="robot", type=UserType.SERVICE)
        yield made


@pytest.fixture(scope="module")
def eve(mesh):
    return mesh.ask("ann", "CreateUserProfile", name="eve", password=PASSWORD)


@pytest.fixture
def fresh(mesh, request):
    """Somebody with a password whom no other test knows."""
    name = request.node.name[:100]
    return mesh.ask("ann", "CreateUserProfile", name=name, password=PASSWORD)


@pytest.fixture(autouse=True)
def forgotten(mesh):
    yield
    mesh.tools.throttle._counts.clear()


@pytest.fixture
def browser(mesh):
    with browser_at(mesh.application) as made:
        yield made


def sign_in(browser, name, password=PASSWORD):
    answer = browser.post("/v1/sign-in", json={"name": name, "password": password})
    browser.headers["X-CSRF-Token"] = answer.json().get("csrf", "")
    return answer


def opened(mesh, name):
    """A browser in which somebody has signed in."""
    made = browser_at(mesh.application)
    assert sign_in(made, name).status_code == 200
    return made


def proofs(mesh, **keys):
    with mesh.store.reading() as reader:
        return list(reader.all(Proof, **keys))


def token(mesh, scopes=("admin",)):
    """A token of the robot, and its text."""
    asked = {"user_profile_id": mesh.robot.id, "name": "ci", "scopes": scopes}
    issued = mesh.ask("ann", "CreateAccessToken", **asked)
    return issued.token, issued.text


def login(browser, mesh, text):
    """Exchange a token for a one-time login; gives its text."""
    headers = {"Authorization": f"Bearer {text}"}
    answer = browser.post(f"/v1/user-profiles/{mesh.robot.id}/portal-logins", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["url"].partition("#")[2]


# ---- what was revoked while they waited


def test_7_who_was_let_in_and_waited_while_what_they_came_with_was_revoked_changes_nothing(mesh):
    made, text = token(mesh)
    caller = mesh.doorkeeper.by_token(text, place="here")
    mesh.ask("ann", "RevokeAccessToken", access_token_id=made.id)
    with pytest.raises(Unauthenticated, match="ended meanwhile"):
        create_token(mesh, caller, mesh.robot.id)


def test_7_who_was_let_in_and_waited_while_they_were_signed_out_changes_nothing(mesh, fresh):
    cookie = mesh.doorkeeper.sign_in(fresh.name, PASSWORD, HERE).cookie
    caller = mesh.doorkeeper.by_cookie(cookie, csrf=None)
    create_token(mesh, caller, fresh.id)
    mesh.ask("ann", "ResetPassword", user_profile_id=fresh.id, password=OTHER_PASSWORD)
    with pytest.raises(Unauthenticated, match="ended meanwhile"):
        create_token(mesh, caller, fresh.id)


def create_token(mesh, caller, profile_id):
    operation = OPERATIONS["CreateAccessToken"]
    ask = operation.ask(name="outlives", scopes=("read",), ttl_s=3600)
    return mesh.performer.perform(operation, caller, {operation.about: profile_id}, ask)


# ---- one-time logins of machines


def test_7_a_machine_opens_the_portal_once_with_what_its_token_may(mesh, browser):
    _, text = token(mesh, scopes=("read", "CreatePortalLogin"))
    once = login(browser, mesh, text)
    told = browser.post("/v1/once", json={"text": once})
    headers = {"X-CSRF-Token": told.json()["csrf"]}
    assert browser.get("/v1/me").json()["profile"]["id"] == mesh.robot.id
    path = f"/v1/user-profiles/{mesh.robot.id}/end-sessions"
    error(browser.post(path, headers=headers), 403)
    [cookie] = told.headers.get_list("set-cookie")
    assert cookie.startswith(f"{COOKIE}=")
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))


def test_7_a_login_is_no_token_no_cookie_and_works_once(mesh, browser):
    once = login(browser, mesh, token(mesh)[1])
    error(browser.get("/v1/me", headers={"Authorization": f"Bearer {once}"}), 401)
    error(browser.get("/v1/me", headers={"Cookie": f"{COOKIE}={once}"}), 401)
    assert browser.post("/v1/once", json={"text": once}).status_code == 200
    assert "is used" in error(browser.post("/v1/once", json={"text": once}), 401)["message"]
    assert (mesh.notes[-1].operation, mesh.notes[-1].outcome) == ("UsePortalLogin", "DENIED")


def test_7_a_login_that_expired_or_whose_token_was_revoked_opens_nothing(mesh, browser):
    made, text = token(mesh)
    late, once = login(browser, mesh, text), login(browser, mesh, text)
    id_ = late.split("_")[1]
    mesh.store.write(lambda changes: changes.put(expired(changes.find(Proof, id_))))
    assert "expired" in error(browser.post("/v1/once", json={"text": late}), 401)["message"]
    mesh.ask("ann", "RevokeAccessToken", access_token_id=made.id)
    error(browser.post("/v1/once", json={"text": once}), 401)
    assert proofs(mesh, token_id=made.id) == []


def expired(proof):
    return replace(proof, version=proof.version + 1, expires_at=time.time_ns() // 1000 - 1)


def test_7_only_a_token_of_ones_own_is_exchanged(mesh, browser, eve):
    text = token(mesh)[1]
    path = f"/v1/user-profiles/{eve.id}/portal-logins"
    error(browser.post(path, headers={"Authorization": f"Bearer {text}"}), 403)
    sign_in(browser, "eve")
    assert "only a token" in error(browser.post(path), 400)["message"]


def test_7_the_session_of_a_token_ends_with_it(mesh, browser):
    made, text = token(mesh)
    browser.post("/v1/once", json={"text": login(browser, mesh, text)})
    [session] = proofs(mesh, owner_id=mesh.robot.id, type=ProofType.SESSION, token_id=made.id)
    assert session.expires_at <= made.expires_at
    assert browser.get("/v1/me").status_code == 200
    mesh.ask("ann", "RevokeAccessToken", access_token_id=made.id)
    error(browser.get("/v1/me"), 401)
    error(browser.get("/v1/me", headers={"Authorization": f"Bearer {text}"}), 401)
    assert proofs(mesh, token_id=made.id) == []


def test_7_no_session_outlasts_its_token(mesh, browser):
    asked = {"user_profile_id": mesh.robot.id, "name": "short", "scopes": ("admin",), "ttl_s": 30}
    issued = mesh.ask("ann", "CreateAccessToken", **asked)
    once = login(browser, mesh, issued.text)
    told = browser.post("/v1/once", json={"text": once}).json()
    assert told["expires_at"] == issued.token.expires_at


# ---- sessions, seen and ended


def test_6_sessions_are_listed_with_what_opened_them_and_ended_one_by_one(mesh, fresh):
    first, second = opened(mesh, fresh.name), opened(mesh, fresh.name)
    path = f"/v1/user-profiles/{fresh.id}/sessions"
    listed = first.get(path).json()["items"]
    assert [one["means"] for one in listed] == ["password", "password"]
    [other] = [one["id"] for one in listed if not one["is_this"]]
    assert first.delete(f"{path}/{other}").status_code == 200
    error(second.get("/v1/me"), 401)
    assert len(first.get(path).json()["items"]) == 1
    error(first.delete(f"{path}/{other}"), 404)


def test_6_sessions_that_ended_in_other_ways_are_not_listed(mesh, fresh):
    old = opened(mesh, fresh.name)
    assert old.post(f"/v1/user-profiles/{fresh.id}/end-sessions").status_code == 200
    browser = opened(mesh, fresh.name)
    path = f"/v1/user-profiles/{fresh.id}/sessions"
    assert [one["is_this"] for one in browser.get(path).json()["items"]] == [True]


def test_6_a_page_of_sessions_goes_on_where_the_last_one_ended(mesh, fresh):
    browser = [opened(mesh, fresh.name) for _ in range(3)][-1]
    path, found, cursor = f"/v1/user-profiles/{fresh.id}/sessions", [], ""
    while len(found) < 5:
        page = browser.get(path, params={"limit": 1, "cursor": cursor}).json()
        found += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if not cursor:
            break
    assert len(found) == len(set(found)) == 3


def test_8_nobody_sees_or_ends_the_sessions_of_somebody_else(mesh, eve, fresh):
    browser = opened(mesh, "eve")
    hers = f"/v1/user-profiles/{eve.id}/sessions"
    id_ = browser.get(hers).json()["items"][0]["id"]
    other = opened(mesh, fresh.name)
    error(other.get(hers), 403)
    error(other.delete(f"{hers}/{id_}"), 403)
    error(other.delete(f"/v1/user-profiles/{fresh.id}/sessions/{id_}"), 404)
    assert browser.get("/v1/me").status_code == 200


def test_8_who_is_unassigned_is_signed_out_and_not_let_in_again(mesh, fresh):
    browser = opened(mesh, fresh.name)
    status = ProfileStatus.DEACTIVATED
    mesh.ask("ann", "UpdateUserProfile", user_profile_id=fresh.id, status=status)
    error(browser.get("/v1/me"), 401)
    assert error(sign_in(browser, fresh.name), 401)["message"] == WRONG


def test_7_a_session_that_the_browser_had_ends_when_another_begins(mesh, eve, fresh):
    browser = opened(mesh, "eve")
    before = browser.cookies[COOKIE]
    sign_in(browser, fresh.name)
    assert browser.cookies[COOKIE] != before
    with browser_at(mesh.application) as thief:
        error(thief.get("/v1/me", headers={"Cookie": f"{COOKIE}={before}"}), 401)


@pytest.mark.parametrize("path", ["/v1/sign-in", "/v1/once"])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_7_a_form_of_another_site_signs_nobody_in(browser, eve, path, kind):
    body = f'{{"name": "eve", "password": "{PASSWORD}"}}'
    headers = {"Content-Type": kind} if kind else {}
    answer = browser.post(path, content=body, headers=headers)
    assert "Content-Type" in error(answer, 400)["message"]
    assert "set-cookie" not in answer.headers


# ---- guessing


@pytest.mark.parametrize("name", ["eve", "nobody of that name"])
def test_7_wrong_passwords_are_slowed_down_whether_there_is_such_a_name_or_not(
    mesh, eve, browser, name
):
    assert error(sign_in(browser, name, "wrong"), 401)["message"] == WRONG
    used_up(mesh.tools.throttle, *of_name(name, PLACE))
    answer = sign_in(browser, name)
    told = error(answer, 429)
    assert told["details"] == {"retry_after_s": int(answer.headers["Retry-After"])}
    assert told["code"] == "too_many_requests"


def test_7_each_wrong_password_counts_and_a_right_one_clears(mesh, eve, monkeypatch):
    monkeypatch.setattr(passwords, "is_right", lambda text, _: text == PASSWORD)
    for _ in range(3):
        for _ in range(5):
            with pytest.raises(Unauthenticated):
                mesh.doorkeeper.sign_in("eve", "wrong", HERE)
        assert mesh.doorkeeper.sign_in("eve", PASSWORD, HERE)


def test_7_many_guesses_at_once_gain_nothing(mesh, eve, monkeypatch):
    made = []

    def guess(*_):
        made.append("one, and another before it is done")
        with suppress(Unauthenticated):
            mesh.doorkeeper.sign_in("eve", "wrong", HERE)

    monkeypatch.setattr(passwords, "is_right", guess)
    with pytest.raises(TooManyRequests):
        mesh.doorkeeper.sign_in("eve", "wrong", HERE)
    assert len(made) == NAME_AT_PLACE.free + 1


def test_7_a_server_that_is_too_busy_to_look_counts_nothing(mesh, eve, monkeypatch):
    def busy(*_):
        raise Unavailable("too many people sign in at this moment")

    monkeypatch.setattr(passwords, "is_right", busy)
    for _ in range(2 * NAME_AT_PLACE.free):
        with pytest.raises(Unavailable):
            mesh.doorkeeper.sign_in("eve", PASSWORD, HERE)


def test_7_nobody_is_kept_out_of_the_browser_that_they_know(mesh, fresh):
    browser = opened(mesh, fresh.name)
    browser.post("/v1/sign-out")
    used_up(mesh.tools.throttle, *of_name(fresh.name, PLACE))
    used_up(mesh.tools.throttle, (AT_PLACE, PLACE))
    assert sign_in(browser, fresh.name).status_code == 200
    with browser_at(mesh.application) as stranger:
        error(sign_in(stranger, fresh.name), 429)


def test_7_a_known_browser_is_slowed_down_for_itself_and_known_to_one_user_only(mesh, fresh, eve):
    browser = opened(mesh, fresh.name)
    used_up(mesh.tools.throttle, (DEVICE, proofs(mesh, owner_id=fresh.id, type="DEVICE")[0].id))
    error(sign_in(browser, fresh.name), 429)
    used_up(mesh.tools.throttle, *of_name("eve", PLACE))
    error(sign_in(browser, "eve"), 429)


def test_7_what_a_browser_is_known_by_opens_nothing(mesh, browser, eve):
    answer = sign_in(browser, "eve")
    cookie = next(one for one in answer.headers.get_list("set-cookie") if DEVICE_COOKIE in one)
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    text = browser.cookies[DEVICE_COOKIE]
    with browser_at(mesh.application) as other:
        error(other.get("/v1/me", headers={"Cookie": f"{COOKIE}={text}"}), 401)


def test_7_no_more_browsers_are_known_than_a_few(mesh, fresh, monkeypatch):
    monkeypatch.setattr(passwords, "is_right", lambda *_: True)
    for _ in range(DEVICES_OF_ONE + 3):
        last = mesh.doorkeeper.sign_in(fresh.name, PASSWORD, HERE).device
    assert len(proofs(mesh, owner_id=fresh.id, type=ProofType.DEVICE)) == DEVICES_OF_ONE
    assert mesh.doorkeeper.sign_in(fresh.name, PASSWORD, replace(HERE, device=last)).device == ""


def test_7_wrong_tokens_are_slowed_down_and_right_ones_never(mesh, browser):
    text = token(mesh)[1]
    used_up(mesh.tools.throttle, (SECRET, PLACE))
    error(browser.get("/v1/me", headers={"Authorization": f"Bearer {text[:-1]}!"}), 429)
    error(browser.post("/v1/once", json={"text": "atollonce_x"}), 429)
    assert browser.get("/v1/me", headers={"Authorization": f"Bearer {text}"}).status_code == 200
    once = login(browser, mesh, text)
    assert browser.post("/v1/once", json={"text": once}).status_code == 200


def test_7_who_took_over_a_session_does_not_guess_the_password_by_changing_it(mesh, fresh):
    used_up(mesh.tools.throttle, (OWN, fresh.id))
    browser = opened(mesh, fresh.name)
    path = f"/v1/user-profiles/{fresh.id}/password"
    asked = {"password": OTHER_PASSWORD, "current": PASSWORD}
    error(browser.put(path, json=asked), 429)
    mesh.tools.throttle.forget((OWN, fresh.id))
    assert browser.put(path, json=asked).status_code == 200
    error(browser.get("/v1/me"), 401)


def test_7_a_password_that_is_reset_while_it_is_checked_opens_nothing(mesh, fresh, monkeypatch):
    def reset(*_):
        asked = {"user_profile_id": fresh.id, "password": OTHER_PASSWORD}
        mesh.ask("ann", "ResetPassword", **asked)
        return True

    monkeypatch.setattr(passwords, "is_right", reset)
    with pytest.raises(Unauthenticated, match=WRONG):
        mesh.doorkeeper.sign_in(fresh.name, PASSWORD, HERE)
    assert proofs(mesh, owner_id=fresh.id, type=ProofType.SESSION) == []
