"""The whole way of a table, from an empty folder to its first rows: by commands, and by plain HTTP.

`python tests/mesh_journey.py` walks both ways and tells each step.
"""

import json
import secrets
import sys
import tempfile
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.parquet as pq
from mesh_server import mesh_server

from atoll.mesh.cli.client import MeshClient

PLANT = """
atoll: 1
domain:
  this: {name: Plant, description: Where cars are made}
domain_units:
  production: {description: Makes}
  finance: {description: Pays}
projects:
  press shop:
    domain_unit: production
    members: {administrator: PROJECT_OWNER, paula: PROJECT_OWNER}
  forecasts:
    domain_unit: finance
    members: {administrator: PROJECT_OWNER, carlos: PROJECT_CATALOG_CONSUMER}
associations:
  lake: {project: press shop, kind: STORAGE, location: LAKE, status: ACCEPTED}
glossaries:
  machines: {project: press shop}
terms:
  machines/torque: {short_description: How hard something turns}
"""
COMMON = {
    "business_unit": "Production",
    "data_owner_contact": "paula@plant.example",
    "product_owner": "Paula",
    "refresh_frequency": "DAILY",
}
TORQUES = {"press": ["P1", "P2", "P1"], "torque_nm": [41.5, 38.25, 40.0]}
SHOWN_LETTERS = 150
PASSWORDS = {name: secrets.token_urlsafe(12) for name in ("paula", "carlos")}


class Told:
    """Tells what happens, and when."""

    def __init__(self):
        self.began = time.monotonic()

    def __call__(self, what):
        print(f"{time.monotonic() - self.began:5.1f} s  {what}", flush=True)


def quiet(what):
    """Tell nothing."""


def prepared(folder):
    """Write a table and a blueprint; returns where they are."""
    (folder / "lake" / "torques").mkdir(parents=True)
    pq.write_table(pa.table(TORQUES), folder / "lake" / "torques" / "day1.parquet")
    plant = folder / "plant.yaml"
    plant.write_text(PLANT.replace("LAKE", (folder / "lake").as_uri()))
    return plant


def outside(server, token, *arguments):
    """Run `atoll mesh ...` as a process; returns what it prints."""
    return server.run(*arguments, token=token)


def by_command(folder, say=quiet, atoll=outside):
    """Go all the way with `atoll`; returns the rows that the consumer reads."""
    plant = prepared(folder)
    say("atoll serve")
    with mesh_server(folder / "home") as server:

        def run(*arguments, token=None):
            shown = [str(one) for one in arguments if one not in PASSWORDS.values()]
            say(f"atoll mesh {' '.join(shown)}"[:SHOWN_LETTERS])
            return atoll(server, token or server.token, *arguments)

        def told(*arguments, token=None):
            return json.loads(run(*arguments, "--json", token=token))

        for name, password in PASSWORDS.items():
            run("create-user-profile", "--name", name, "--password", password)
        run("apply", plant)
        paula, carlos = (
            run("login", name, "--password", password).strip()
            for name, password in PASSWORDS.items()
        )
        location = folder / "lake" / "torques"
        given = ("--location", location, "--classification", "INTERNAL")
        asset = told("create-asset", "press shop", *given, token=paula)["id"]
        form = json.dumps({"form_type": "CommonAttributes", "content": COMMON})
        given = ("--description", "Torque of each press", "--forms", form)
        run("update-asset", asset, *given, token=paula)
        run("create-listing-change-set", asset, "--action", "PUBLISH", token=paula)
        [found] = until(lambda: told("search-listings", "--text", "torqe", token=carlos)["items"])
        wanted = json.dumps({"listing_id": found["id"]})
        given = ("--listings", wanted, "--request-reason", "to forecast")
        [asked] = told("create-subscription-requests", "forecasts", *given, token=carlos)[
            "requests"
        ]
        assert asked["status"] == "ACCEPTED"
        assert asked["reviewer_id"] == "policy"
        grants = ("list-subscription-grants", "--project-id", "forecasts")
        until(lambda: [one["status"] for one in told(*grants, token=carlos)] == ["COMPLETED"])
        [holder] = told("list-asset-access", asset, token=paula)["access"]
        assert (holder["project"], holder["granted_by"]) == ("forecasts", "policy")
        given = ("--project-id", "forecasts", "--limit", 2)
        assert "41.5" in run("read-rows", "torques", *given, token=carlos)
        rows = told("read-rows", "torques", *given, token=carlos)
        events = told("list-asset-events", asset, token=paula)
        assert "ReadRows" in [one["operation"] for one in events]
        assert "are whole" in run("audit", "verify")
        return rows


def by_http(folder, say=quiet):
    """Go all the way with plain HTTP; returns the rows that the consumer reads."""
    location = folder / "lake" / "torques"
    prepared(folder)
    say("atoll serve")
    with mesh_server(folder / "home") as server:
        ask = _Http(server.url, say)
        unit = ask("GET", "/domain-units", server.token)["items"][0]["id"]
        projects, people = {}, {}
        for name, password in PASSWORDS.items():
            given = {"name": name, "password": password}
            people[name] = ask("POST", "/user-profiles", server.token, **given)["id"]
        for name, who, what in (
            ("press shop", "paula", "PROJECT_OWNER"),
            ("forecasts", "carlos", "PROJECT_CATALOG_CONSUMER"),
        ):
            path = f"/domain-units/{unit}/projects"
            projects[name] = ask("POST", path, server.token, name=name)["id"]
            given = {"member_id": people[who], "designation": what}
            ask("POST", f"/projects/{projects[name]}/memberships", server.token, **given)
        given = {"name": "lake", "kind": "STORAGE", "location": (folder / "lake").as_uri()}
        path = f"/projects/{projects['press shop']}/associations"
        storage = ask("POST", path, server.token, **given)
        ask("POST", f"/associations/{storage['id']}/accept", server.token)
        with closing(MeshClient(server.url, "")) as client:
            paula, carlos = (
                client.sign_in(name, password, scopes=["write"], ttl_s=3600)
                for name, password in PASSWORDS.items()
            )
        given = {"location": str(location), "classification": "INTERNAL"}
        path = f"/projects/{projects['press shop']}/assets"
        asset = ask("POST", path, paula, **given)["id"]
        forms = [{"form_type": "CommonAttributes", "content": COMMON}]
        given = {"description": "Torque of each press", "forms": forms}
        ask("PATCH", f"/assets/{asset}", paula, **given)
        ask("POST", f"/assets/{asset}/listing-change-sets", paula, action="PUBLISH")
        [found] = until(lambda: ask("GET", "/search/listings", carlos, text="torqe")["items"])
        path = f"/projects/{projects['forecasts']}/subscription-requests"
        given = {"listings": [{"listing_id": found["id"]}], "request_reason": "to forecast"}
        [asked] = ask("POST", path, carlos, **given)["requests"]
        assert (asked["status"], asked["reviewer_id"]) == ("ACCEPTED", "policy")
        mine = {"project_id": projects["forecasts"]}

        def grants():
            return ask("GET", "/subscription-grants", carlos, **mine)["items"]

        until(lambda: [one["status"] for one in grants()] == ["COMPLETED"])
        [holder] = ask("GET", f"/assets/{asset}/access", paula)["access"]
        assert (holder["project"], holder["granted_by"]) == ("forecasts", "policy")
        rows = ask("POST", f"/listings/{found['id']}/rows", carlos, limit=2, **mine)
        events = ask("GET", f"/assets/{asset}/audit-events", paula)["items"]
        assert "ReadRows" in [one["operation"] for one in events]
        assert ask("GET", "/audit/verification", server.token)["is_whole"]
        return rows


class _Http:
    """Asks with what Python comes with."""

    def __init__(self, url, say):
        self._url, self._say = url, say

    def __call__(self, method, path, token, **given):
        self._say(f"{method} /v1{path}")
        body = json.dumps(given).encode() if method != "GET" else None
        query = f"?{urlencode(given)}" if given and method == "GET" else ""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        url = f"{self._url}/v1{path}{query}"
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def until(look):
    """Look again and again until there is something; returns that."""
    for _ in range(200):
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come to be")


if __name__ == "__main__":
    for walk in (by_command, by_http):
        with tempfile.TemporaryDirectory() as place:
            told = Told()
            print(json.dumps(walk(Path(place), told)))
            told("done")
    sys.exit(0)
