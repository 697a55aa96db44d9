"""The mesh over HTTP: who comes in, what a request may look like, and what errors tell."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from mesh_databases import copied
from mesh_doors import opened
from starlette.testclient import TestClient

from atoll.core.errors import Conflict
from atoll.mesh.audit.keys import Key
from atoll.mesh.audit.verify import verify
from atoll.mesh.hosting import FIRST_NAME, KEY_FILE
from atoll.mesh.http.routes import BODY_BYTES
from atoll.mesh.http.signing import COOKIE
from atoll.mesh.identity import passwords
from atoll.mesh.model.organisation import Domain
from atoll.mesh.store.events import events

PATIENCE_S = 60


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The folder of a mesh that was just made."""
    home = tmp_path_factory.mktemp("begun") / "home"
    opened(home).close()
    return home


@pytest.fixture
def mesh(tmp_path, begun):
    copied(begun, tmp_path / "home")
    mesh = opened(tmp_path / "home")
    yield mesh
    mesh.close()


@pytest.fixture
def password(mesh):
    return mesh.first.read_text().splitlines()[1]


@pytest.fixture
def browser(mesh):
    # Not its own scheme: cookies of ours are for TLS only.
    with TestClient(mesh.application, "https://mesh", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def signed_in(browser, password):
    """The administrator's browser, which sends what goes with changes."""
    told = browser.post("/v1/sign-in", json={"name": FIRST_NAME, "password": password})
    browser.headers["X-CSRF-Token"] = told.json()["csrf"]
    return browser


@pytest.fixture
def root(signed_in):
    return signed_in.get("/v1/domain-units").json()["items"][0]


def error(answer, status):
    assert answer.status_code == status, answer.text
    told = answer.json()["error"]
    assert set(told) == {"code", "message", "details"}
    return told


def issued(client, **given):
    me = client.get("/v1/me").json()["profile"]["id"]
    made = client.post(f"/v1/user-profiles/{me}/access-tokens", json={"name": "ci", **given})
    assert made.status_code == 200, made.text
    return made.json()


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


def test_7_a_local_user_signs_in_and_out(signed_in):
    assert signed_in.get("/v1/me").json()["profile"]["name"] == FIRST_NAME
    kept = signed_in.cookies[COOKIE]
    signed_in.post("/v1/sign-out")
    signed_in.cookies.set(COOKIE, kept)
    error(signed_in.get("/v1/me"), 401)


@pytest.mark.parametrize("name", [FIRST_NAME, "nobody"])
def test_7_a_wrong_password_and_an_unknown_name_are_told_alike(browser, name):
    answer = browser.post("/v1/sign-in", json={"name": name, "password": "wrong"})
    assert error(answer, 401)["message"] == "the name or the password is not right"


def test_a_change_without_the_sessions_own_token_is_refused(signed_in, root):
    del signed_in.headers["X-CSRF-Token"]
    answer = signed_in.post(f"/v1/domain-units/{root['id']}/projects", json={"name": "x"})
    error(answer, 403)
    assert signed_in.get("/v1/projects").json()["items"] == []


def test_7_a_token_is_as_good_as_its_scopes_and_until_it_is_revoked(signed_in, browser, root):
    made = issued(signed_in, scopes=["read"])
    browser.cookies.clear()
    headers = bearer(made["text"])
    assert browser.get("/v1/me", headers=headers).status_code == 200
    create = f"/v1/domain-units/{root['id']}/projects"
    error(browser.post(create, json={"name": "x"}, headers=headers), 403)
    assert error(browser.get("/v1/me", headers=bearer(made["text"][:-1] + "x")), 401)


def test_a_revoked_token_is_refused_and_so_is_the_session_it_opened(signed_in, mesh):
    made = issued(signed_in, scopes=["admin"])
    me = signed_in.get("/v1/me").json()["profile"]["id"]
    with TestClient(mesh.application, "https://mesh") as other:
        headers = bearer(made["text"])
        login = other.post(f"/v1/user-profiles/{me}/portal-logins", headers=headers).json()
        text = login["url"].partition("#")[2]
        assert other.post("/v1/once", json={"text": text}).status_code == 200
        assert other.get("/v1/me").status_code == 200
        error(other.post("/v1/once", json={"text": text}), 401)
        signed_in.delete(f"/v1/access-tokens/{made['token']['id']}")
        error(other.get("/v1/me"), 401)
        error(other.get("/v1/me", headers=headers), 401)


def test_8_a_login_address_grants_nothing_else(signed_in, browser):
    made = issued(signed_in, scopes=["admin"])
    me = signed_in.get("/v1/me").json()["profile"]["id"]
    browser.cookies.clear()
    made = browser.post(f"/v1/user-profiles/{me}/portal-logins", headers=bearer(made["text"]))
    text = made.json()["url"].partition("#")[2]
    error(browser.get("/v1/me", headers=bearer(text)), 401)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"name": 7}',
        b'{"nam": "x"}',
        b'{"name": ""}',
        b'{"name": "a\\u0000b"}',
        b'{"name": "line\\nbreak"}',
        b"\xff\xfe",
        b'{"name": "x"',
        b'{"name": "' + b"x" * 200 + b'"}',
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_wrong_is_said_so(signed_in, root, body):
    answer = signed_in.post(f"/v1/domain-units/{root['id']}/projects", content=body)
    assert error(answer, 400)["code"] == "invalid_input"


@pytest.mark.parametrize(
    "body",
    [
        {"subject_id": "asset-none", "path": "name", "after": "x"},
        {"subject_id": "asset-none", "path": "name", "after": {"a": [1]}},
        {"subject_id": "none", "path": "../name", "after": None},
        {"subject_id": "asset-none", "path": "name", "after": ["\ud800"]},
        {"subject_id": "asset-none", "after": 1e400},
    ],
)
def test_24_a_proposal_that_is_none_is_said_so(signed_in, body):
    answer = signed_in.post("/v1/proposals", content=json.dumps(body))
    assert answer.status_code in (400, 404), answer.text


def test_21_a_new_mesh_has_the_form_that_all_assets_share(signed_in):
    [common] = signed_in.get("/v1/form-types").json()["items"]
    assert (common["name"], common["owning_project_id"]) == ("CommonAttributes", "")
    changed = signed_in.patch(f"/v1/form-types/{common['id']}", json={"description": "mine"})
    error(changed, 403)


def test_a_body_that_is_nested_too_deep_is_said_so(signed_in, root):
    body = b'{"name": ' + b"[" * 100_000
    answer = signed_in.post(f"/v1/domain-units/{root['id']}/projects", content=body)
    assert "nested" in error(answer, 400)["message"]


def test_a_body_that_is_too_large_is_not_read(signed_in, root):
    def endless():
        yield b'{"name": "'
        for _ in range(64):
            yield b"x" * (BODY_BYTES // 16)

    answer = signed_in.post(f"/v1/domain-units/{root['id']}/projects", content=endless())
    assert "larger" in error(answer, 400)["message"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "cursor=%FF", "cursor=a", "cursor=AA==", "name=%00", "nope=1"]
)
def test_a_query_that_is_wrong_is_said_so(signed_in, query):
    error(signed_in.get(f"/v1/projects?{query}"), 400)


@pytest.mark.parametrize("etag", ["x", '"0"', '"-1"', '"99999999999"', "W/"])
def test_an_etag_that_is_none_is_said_so(signed_in, root, etag):
    url = f"/v1/domain-units/{root['id']}"
    error(signed_in.patch(url, json={"name": "x"}, headers={"If-Match": etag}), 400)


def test_a_stale_etag_is_a_conflict(signed_in, root):
    url = f"/v1/domain-units/{root['id']}"
    etag = signed_in.get(url).headers["ETag"]
    assert signed_in.patch(url, json={"name": "x"}, headers={"If-Match": etag}).is_success
    error(signed_in.patch(url, json={"name": "y"}, headers={"If-Match": etag}), 409)


def test_a_method_that_is_not_taken_is_answered_with_those_that_are(browser):
    refused = browser.delete("/v1/me")
    assert error(refused, 405)["code"] == "http"
    assert set(refused.headers["Allow"].split(", ")) == {"GET", "HEAD"}


def test_changes_that_take_long_to_prepare_leave_threads_for_the_others(signed_in, monkeypatch):
    """However many wait, one that is quick goes through."""
    may_end = threading.Event()
    monkeypatch.setattr(passwords, "hashed", lambda _: may_end.wait(PATIENCE_S) and "")
    given = {"password": "violet tractor 48 lanterns"}
    with ThreadPoolExecutor(50) as threads:
        slow = [
            threads.submit(signed_in.post, "/v1/user-profiles", json={"name": f"{number}", **given})
            for number in range(50)
        ]
        assert signed_in.get("/v1/me").status_code == 200
        assert not any(one.done() for one in slow)
        may_end.set()


def test_what_is_not_there_has_the_same_shape(signed_in):
    error(signed_in.get("/v1/nothing"), 404)
    error(signed_in.put("/v1/me"), 405)
    error(signed_in.get("/v1/projects/project-none"), 404)
    error(signed_in.get("/v1/projects/%00"), 400)


def test_a_fault_of_ours_tells_nothing_and_is_logged(signed_in, mesh, monkeypatch, caplog):
    monkeypatch.setattr(mesh.performer, "perform", lambda *_: 1 / 0)
    told = error(signed_in.get("/v1/me"), 500)
    assert "division" not in json.dumps(told)
    assert "ZeroDivisionError" in caplog.text


def test_the_document_names_every_operation(browser):
    told = browser.get("/v1/openapi.json").json()
    assert told["openapi"] == "3.1.0"
    assert told["paths"]["/v1/domain-units/{domain_unit_id}/projects"]["post"]["operationId"] == (
        "CreateProject"
    )


def test_a_folder_is_served_once_and_keeps_its_administrator(mesh, tmp_path):
    first = mesh.first.read_text()
    with pytest.raises(Conflict, match="served by another process"):
        opened(tmp_path / "home")
    mesh.close()
    again = opened(tmp_path / "home")
    assert again.first.read_text() == first
    assert again.first.stat().st_mode & 0o077 == 0
    again.close()


def test_48_a_mesh_whose_key_is_lost_is_not_served(mesh, tmp_path):
    mesh.close()
    (tmp_path / "home" / KEY_FILE).unlink()
    with pytest.raises(Conflict, match="sealed with key"):
        opened(tmp_path / "home")


def test_48_what_was_done_and_refused_is_in_the_audit_and_the_chain_holds(signed_in, mesh, root):
    url = f"/v1/domain-units/{root['id']}/projects"
    made = signed_in.post(url, json={"name": "press"}).json()
    error(signed_in.post("/v1/domain-units/unit-none/projects", json={"name": "x"}), 404)
    found = audit(mesh)
    told = [(one.operation, one.outcome, one.resource_id) for one in found]
    assert told[0][:2] == ("CreateDomain", "ALLOWED")
    assert ("CreateProject", "ALLOWED", made["id"]) in told
    assert told[-1] == ("CreateProject", "DENIED", "unit-none")
    key = Key(bytes.fromhex((mesh.first.parent / KEY_FILE).read_text()))
    verdict = verify(found, [key])
    assert (verdict.problem, verdict.events) == (None, len(found))


def audit(mesh):
    with mesh.store.engine.connect() as connection:
        return list(events(connection))


def test_6_a_portal_that_moved_is_where_one_time_logins_lead(mesh, tmp_path):
    mesh.close()
    again = opened(tmp_path / "home", portal_url="https://moved.example")
    with again.store.reading() as reader:
        [domain] = reader.all(Domain)
    again.close()
    assert domain.portal_url == "https://moved.example"


def test_who_has_no_sign_in_provider_does_not_load_what_speaks_to_one():
    code = "import sys, atoll.mesh.hosting; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert not {b"authlib", b"joserfc", b"httpx2"} & set(loaded.split())
