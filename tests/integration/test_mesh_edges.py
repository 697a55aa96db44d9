"""The edges of HTTP: what every answer carries, and requests that nobody should make."""

import subprocess
import sys
import time

import anyio
import pytest
from mesh_doors import browser_at, error, opened
from mesh_server import mesh_server
from starlette.requests import ClientDisconnect, Request

from atoll.core.errors import InvalidInput
from atoll.mesh.hosting import DATABASE_FILE, FIRST_NAME
from atoll.mesh.http import routes
from atoll.mesh.operations.calls import Performer

SCRIPT = "<script>alert(1)</script>"
TURNED = "\u202egpj.exe\u2066\u200b"
LONG = "W" * 5000
STEERING = "\x1b[31mred\x07"


class Door:
    """A mesh, and its administrator before it."""

    def __init__(self, home):
        self.mesh = opened(home)
        self.client = browser_at(self.mesh.application)
        password = (home / "first-administrator.txt").read_text().splitlines()[1]
        told = self.client.post("/v1/sign-in", json={"name": FIRST_NAME, "password": password})
        self.client.headers["X-CSRF-Token"] = told.json()["csrf"]
        self.me = told.json()["profile_id"]
        self.root = self.get("/v1/domain-units")["items"][0]["id"]

    def get(self, path):
        return self._told(self.client.get(path))

    def post(self, path, /, **given):
        return self._told(self.client.post(path, json=given))

    def _told(self, answer):
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    def close(self):
        self.client.close()
        self.mesh.close()


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    made = Door(tmp_path_factory.mktemp("edges") / "home")
    yield made
    made.close()


ANY_ANSWER = {
    "a thing": ("GET", "/v1/me", 200),
    "the document": ("GET", "/v1/openapi.json", 200),
    "health": ("GET", "/healthz", 200),
    "nothing there": ("GET", "/v1/projects/project-none", 404),
    "no such path": ("GET", "/v1/nothing", 404),
    "a slash too many": ("GET", "/v1/me/", 404),
    "no path at all": ("GET", "/", 404),
    "up and out": ("GET", "/v1/%2e%2e/%2e%2e/etc/passwd", 404),
    "another method": ("PUT", "/v1/me", 405),
    "a method of no use": ("TRACE", "/v1/me", 405),
    "a preflight": ("OPTIONS", "/v1/me", 405),
    "a wrong query": ("GET", "/v1/projects?limit=none", 400),
    "a NUL in a query": ("GET", "/v1/projects?name=%00", 400),
    "a NUL in an id": ("GET", "/v1/projects/project%00", 400),
    "a body that is none": ("POST", "/v1/user-profiles", 400),
}


@pytest.mark.parametrize("what", ANY_ANSWER)
def test_every_answer_is_json_that_nobody_keeps_or_takes_for_something_else(door, what):
    method, path, status = ANY_ANSWER[what]
    answer = door.client.request(method, path, headers={"Origin": "https://elsewhere"})
    if status != 200:
        error(answer, status)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not [one for one in answer.headers if one.startswith("access-control")]
    assert "server" not in answer.headers
    assert status != 405 or "GET" in answer.headers["allow"]


def test_a_fault_of_ours_carries_the_same_headers(door, monkeypatch):
    monkeypatch.setattr(Performer, "perform", lambda *_: 1 / 0)
    answer = door.client.get("/v1/me")
    error(answer, 500)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_head_of_an_answer_can_be_had_alone(door):
    answer = door.client.head("/v1/me")
    assert (answer.status_code, answer.text) == (200, "")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n--x--"),
        ("application/x-www-form-urlencoded", b"name=x&type=SERVICE"),
        ("application/xml", b"<name>x</name>"),
        ("application/json", b'{"name": "x"}{"name": "y"}'),
        ("application/json; charset=utf-16", '{"name": "x"}'.encode("utf-16")),
    ],
)
def test_a_body_of_another_kind_is_refused(door, kind, body):
    headers = {"Content-Type": kind}
    error(door.client.post("/v1/user-profiles", content=body, headers=headers), 400)
    error(door.client.post("/v1/sign-in", content=body, headers=headers), 400)


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e400"])
def test_30_a_score_that_is_no_number_is_refused(door, value):
    error(door.client.get(f"/v1/search/listings?min_score={value}"), 400)


def read(receive):
    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    return anyio.run(routes.read_body, request)


def test_a_body_that_comes_too_slowly_or_ends_early_is_given_up(monkeypatch):
    async def trickling():
        await anyio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def ending():
        raise ClientDisconnect

    monkeypatch.setattr(routes, "BODY_SECONDS", 0.1)
    with pytest.raises(InvalidInput, match="took longer"):
        read(trickling)
    with pytest.raises(InvalidInput, match="ended early"):
        read(ending)


TEXTS = {"markup": SCRIPT, "turned around": TURNED, "long": LONG}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_stored_text_comes_back_as_the_data_that_it_is(door, text):
    name = text[:100]
    unit = door.post(f"/v1/domain-units/{door.root}/domain-units", name=name, description=text)
    project = door.post(f"/v1/domain-units/{unit['id']}/projects", name=name, description=text)
    own = f"/v1/projects/{project['id']}"
    glossary = door.post(f"{own}/glossaries", name=name, description=text)
    term = door.post(
        f"/v1/glossaries/{glossary['id']}/terms",
        name=name,
        short_description=text,
        long_description=text,
        synonyms=[name],
    )
    field = {"name": "note", "description": text}
    form = door.post(f"{own}/form-types", name=f"F{len(text)}", description=text, fields=[field])
    product = door.post(f"{own}/data-products", name=name, description=text)
    given = {"subject_id": product["id"], "path": "description", "after": f"{text[:-1]}!"}
    proposal = door.post("/v1/proposals", **given, reason=text)
    group = door.post("/v1/group-profiles", name=name, description=text)
    place = door.post(f"{own}/associations", name=name, kind="WORKGROUP")
    user = door.post("/v1/user-profiles", name=name, type="SERVICE")
    for one in (unit, project, glossary, product, group):
        assert (one["name"], one["description"]) == (name, text)
    assert (term["long_description"], term["synonyms"]) == (text, [name])
    assert (form["fields"][0]["description"], proposal["reason"]) == (text, text)
    assert place["name"] == user["name"] == name
    found = door.get("/v1/search/inventory?limit=100")["items"]
    assert (name, text) in {(one["name"], one["description"]) for one in found}


@pytest.mark.parametrize("path", ["domain-units", "projects"])
def test_what_would_steer_a_terminal_is_refused_in_names_and_texts(door, path):
    url = f"/v1/domain-units/{door.root}/{path}"
    error(door.client.post(url, json={"name": STEERING}), 400)
    error(door.client.post(url, json={"name": "x", "description": STEERING}), 400)


def test_60_no_stored_text_reaches_the_terminal_as_it_is(tmp_path):
    with mesh_server(tmp_path / "home") as server:
        root = server.do("ListDomainUnits")[0]["id"]
        for name in (SCRIPT, TURNED):
            given = {"name": name, "description": "two\nlines\tof" + TURNED}
            server.do("CreateProject", domain_unit_id=root, **given)
        shown = server.run("list-projects") + server.run("get-project", SCRIPT)
        assert SCRIPT in shown
        assert all(one.isprintable() or one == "\n" for one in shown)


@pytest.mark.sqlite
def test_46_a_database_that_another_process_has_locked_is_waited_for_then_503(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("atoll.mesh.store.database.BUSY_MS", 200)
    door = Door(tmp_path / "home")
    code = """import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""
    path = str(tmp_path / "home" / DATABASE_FILE)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    url = f"/v1/domain-units/{door.root}/projects"
    with subprocess.Popen([sys.executable, "-c", code, path], **pipes) as other:
        assert other.stdout.readline() == b"held\n"
        told = error(door.client.post(url, json={"name": "waits"}), 503)
        assert (told["code"], "does not answer" in told["message"]) == ("unavailable", True)
        assert door.get("/v1/projects")["items"] == []
    made = door.post(url, name="waits")
    assert [one["id"] for one in door.get("/v1/projects")["items"]] == [made["id"]]
    door.close()


def test_48_a_clock_that_is_set_back_breaks_no_chain_and_loses_nothing(door, monkeypatch):
    now = time.time_ns
    monkeypatch.setattr("time.time_ns", lambda: now() - 3_600_000_000_000)
    url = f"/v1/domain-units/{door.root}/projects"
    early = door.post(url, name="an hour ago")
    monkeypatch.setattr("time.time_ns", now)
    late = door.post(url, name="now again")
    with door.mesh.store.reading() as reader:
        told = list(reader.events())
    assert [one.at for one in told] == sorted(one.at for one in told)
    assert max(one.clock_behind_us for one in told) > 3_500_000_000
    assert early["created_at"] < late["created_at"]
    assert door.get("/v1/audit/verification")["is_whole"]
    there = {one["id"] for one in door.get("/v1/projects")["items"]}
    assert {early["id"], late["id"]} <= there


def test_an_idempotency_key_holds_after_a_restart(tmp_path):
    door = Door(tmp_path / "home")
    url = f"/v1/domain-units/{door.root}/projects"
    headers = {"Idempotency-Key": "once"}
    first = door.client.post(url, json={"name": "one"}, headers=headers).json()
    door.close()
    door = Door(tmp_path / "home")
    assert door.client.post(url, json={"name": "one"}, headers=headers).json() == first
    error(door.client.post(url, json={"name": "two"}, headers=headers), 409)
    door.close()
