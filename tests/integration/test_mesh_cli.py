"""`atoll mesh` as people use it: names, nested values, tables, what waits for them."""

import json
import os
import subprocess
import sys

import pytest
from mesh_files import plant_table, write_parquet
from mesh_server import mesh_server

from atoll.core.errors import Conflict, InvalidInput, NotFound
from atoll.mesh.cli.saved import saved_login

FILLED = {
    "business_unit": "Press",
    "data_owner_contact": "a@b.c",
    "product_owner": "Ann",
    "refresh_frequency": "DAILY",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Ann's press shop lists a confidential log; Bob's lab may ask for it."""
    place = tmp_path_factory.mktemp("mesh")
    write_parquet(place / "lake" / "log.parquet", plant_table())
    with mesh_server(place / "home") as made:
        made.lake = place / "lake"
        made.people = {name: user(made, name, place) for name in ("ann", "bob")}
        made.told("create-domain-unit", "/", "--name", "production")
        made.told("create-domain-unit", "production", "--name", "press")
        for name, person in (("press shop", "ann"), ("lab", "bob")):
            made.told("create-project", "production/press", "--name", name)
            designation = ("--designation", "PROJECT_OWNER")
            made.told("create-project-membership", name, "--member-id", person, *designation)
        for project in ("press shop", "lab"):
            made.told("delete-project-membership", project, "me")
        listed(made)
        yield made


def user(server, name, place):
    """A user with a password, and the token they sign in for."""
    secret = place / f"{name}.txt"
    secret.write_text(f"the {name} of the press shop\n")
    server.told("create-user-profile", "--name", name, "--password", f"@{secret}")
    return server.told("login", name, "--password", f"@{secret}").strip()


def listed(server):
    """Have what lies in the lake registered, described and published."""

    def ann(*arguments):
        return server.told(*arguments, token=server.people["ann"])

    location = server.lake.as_uri()
    ann("associate", "press shop", "--name", "lake", "--kind", "STORAGE", "--location", location)
    server.told("accept-association", "lake")
    ann("create-asset", "press shop", "--location", f"{location}/log.parquet")
    form = json.dumps({"form_type": "CommonAttributes", "content": FILLED})
    ann("update-asset", "press shop/log", "--forms", form)
    ann("create-listing-change-set", "press shop/log", "--action", "PUBLISH")


def asks(server, listings, *more):
    """Bob asks for something; returns the request."""
    given = ("--request-reason", "to see", "--json", *more)
    command = ("create-subscription-requests", "lab", "--listings", listings, *given)
    return json.loads(server.told(*command, token=server.people["bob"]))["requests"][0]


def test_10_38_what_waits_for_somebody_is_shown_with_who_they_are(server):
    request = asks(server, "log")
    told = wait_for(lambda: server.told("who-am-i", token=server.people["ann"]), request["id"])
    assert "press shop  PROJECT_OWNER" in told
    assert request["id"] not in server.told("who-am-i", token=server.people["bob"])
    server.told("reject-subscription-request", request["id"], token=server.people["ann"])


def wait_for(ask, text):
    """Ask until an answer has a text: notifications come after the change that they tell of."""
    for _ in range(200):
        if text in (told := ask()):
            return told
    raise AssertionError(told)


def test_60_nested_values_go_by_names_and_times_of_people(server):
    request = asks(server, json.dumps({"listing_id": "log", "expires_at": "+30d"}))
    assert request["wanted"]["expires_at"] > request["created_at"] + 29 * 86_400_000_000
    bob = server.people["bob"]
    told = server.told("update-subscription-request", request["id"], "--expires-at", "0", token=bob)
    assert "wanted/min_score" in told
    server.told("delete-subscription-request", request["id"], token=bob)


def test_60_what_one_may_not_look_at_has_no_name(server):
    hidden, missing = (
        server.invoke("get-project", name, token=server.people["bob"]).exception
        for name in ("press shop", "no shop")
    )
    assert type(hidden) is type(missing) is NotFound
    assert hidden.message.replace("press", "no") == missing.message


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("get-domain-unit", "production/press"), "press"),
        (("get-domain-unit", "/"), "root"),
        (("get-user-profile", "me"), "administrator"),
        (("get-association", "lake"), "ACCEPTED"),
        (("get-asset", "press shop/log"), "technical/columns:"),
        (("list-asset-filters", "press shop/log"), "nothing here that you may look at"),
        (("get-listing", "log"), "ACTIVE"),
        (("list-projects", "--domain-unit-id", "production/press"), "lab"),
        (("audit", "events", "--principal", "ann", "--since", "-1h", "--limit", "1"), "ALLOWED"),
        (("audit", "who", "--project-id", "lab"), "access  none"),
        (("search-listings", "--text", "log", "--sort", "name"), "facets/project"),
    ],
)
def test_60_things_go_by_their_names(server, command, told):
    assert told in server.told(*command)


def test_60_a_name_of_several_things_is_refused(server):
    server.told("create-domain-unit", "/", "--name", "press")
    refused = server.invoke("get-domain-unit", "press").exception
    assert isinstance(refused, Conflict)
    assert "give an id" in refused.message
    assert "parent_domain_unit_id" in server.told("get-domain-unit", "/press")


def test_60_some_of_a_list_and_none_of_one(server):
    rows = json.loads(server.told("list-asset-types", "--limit", "3", "--json"))
    assert len(rows) == 3
    server.told("create-group-profile", "--name", "engineers")
    assert "group-" in server.told("update-user-profile", "ann", "--groups", "engineers")
    told = json.loads(server.told("update-user-profile", "ann", "--groups", "", "--json"))
    assert told["groups"] == []


def test_7_a_sign_in_is_kept_and_used(server, tmp_path):
    place = tmp_path / "login.json"
    environment = {
        **{key: one for key, one in os.environ.items() if not key.startswith("ATOLL_MESH")},
        "ATOLL_MESH_LOGIN": str(place),
    }

    def run(*arguments, said="", **more):
        return subprocess.run(
            [sys.executable, "-m", "atoll", "mesh", *arguments],
            input=said,
            capture_output=True,
            text=True,
            timeout=120,
            env={**environment, **more},
        )

    login = ("login", "ann", "--password", "-", "--save")
    signed = run(*login, said="the ann of the press shop\n", ATOLL_MESH_URL=server.url)
    assert (signed.returncode, signed.stdout) == (0, ""), signed.stderr
    assert saved_login(place).url == server.url
    assert "ann" in run("who-am-i").stdout
    asked = run("login", "ann", ATOLL_MESH_URL=server.url)
    assert (asked.returncode, "--password @FILE" in asked.stderr) == (1, True)


def test_60_a_reader_who_leaves_early_is_no_error(server):
    environment = {**os.environ, "ATOLL_MESH_URL": server.url, "ATOLL_MESH_TOKEN": server.token}
    command = [sys.executable, "-m", "atoll", "mesh", "list-asset-types"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        process.stdout.close()
        assert process.wait(120) == 0
        assert process.stderr.read() == ""


def test_60_what_cannot_be_sent_is_said(server):
    refused = server.invoke("update-domain", "--name", "\udcff").exception
    assert isinstance(refused, InvalidInput)
