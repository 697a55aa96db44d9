"""What a project may register lies in its own storage, however the place is spelled; over HTTP."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mesh_doors import browser_at, error, opened
from mesh_lakes import write_tables

from atoll.mesh.hosting import FIRST_NAME

SECRET = "gearbox"  # stands in names and columns of what is Bob's


class Rivals:
    """Two projects with a storage each, side by side; Cy wants Bob's."""

    def __init__(self, home, lake):
        self.mesh = opened(home)
        self.lake = lake
        self.client = browser_at(self.mesh.application)
        password = self.mesh.first.read_text().splitlines()[1]
        told = self.client.post("/v1/sign-in", json={"name": FIRST_NAME, "password": password})
        self.client.headers["X-CSRF-Token"] = told.json()["csrf"]
        self.root = self.client.get("/v1/domain-units").json()["items"][0]["id"]
        self.projects, self.headers = {}, {}
        for name in ("bob", "cy"):
            self._begin(name)
        cookies = self.client.cookies.items()
        self.administrator = {"Cookie": "; ".join(f"{name}={one}" for name, one in cookies)}
        self.client.cookies.clear()
        write_tables(lake / "bob" / SECRET, 2)
        write_tables(lake / "cy" / "own", 1)
        (lake / "cy" / "link").symlink_to(lake / "bob" / SECRET)
        (lake / "cy" / "file.csv").symlink_to(lake / "bob" / SECRET / "t000.csv")
        (lake / "cy" / "out").symlink_to(home)
        (lake / "cy" / "loop").symlink_to(lake / "cy" / "loop")
        (lake / "aside").symlink_to(lake / "bob" / SECRET)
        os.link(lake / "bob" / SECRET / "t001.csv", lake / "bob" / "hard.csv")

    def _begin(self, name):
        project = self.post(f"/v1/domain-units/{self.root}/projects", name=name).json()["id"]
        user = self.post("/v1/user-profiles", name=name, type="SERVICE").json()["id"]
        members = f"/v1/projects/{project}/memberships"
        self.post(members, member_id=user, designation="PROJECT_OWNER")
        tokens = f"/v1/user-profiles/{user}/access-tokens"
        text = self.post(tokens, name="t", scopes=["write"]).json()["text"]
        self.projects[name] = project
        self.headers[name] = {"Authorization": f"Bearer {text}"}
        (self.lake / name).mkdir(parents=True)
        given = {"name": f"{name}'s", "kind": "STORAGE", "location": (self.lake / name).as_uri()}
        place = self.post(f"/v1/projects/{project}/associations", **given).json()["id"]
        assert self.post(f"/v1/associations/{place}/accept").status_code == 200

    def post(self, path, /, **given):
        return self.client.post(path, json=given)

    def by_cy(self, what, **given):
        path = f"/v1/projects/{self.projects['cy']}/{what}"
        return self.client.post(path, json=given, headers=self.headers["cy"])

    def close(self):
        self.client.close()
        self.mesh.close()


@pytest.fixture(scope="module")
def rivals(tmp_path_factory):
    home = tmp_path_factory.mktemp("rivals")
    made = Rivals(home / "home", home / "lake")
    yield made
    made.close()


TRAVERSALS = [
    "{lake}/cy/../bob/gearbox/t000.csv",
    "{lake}/cy/own/../../bob/gearbox",
    "{lake}/cy/%2e%2e/bob/gearbox/t000.csv",
    "{lake}/cy/..%2fbob%2fgearbox",
    "{lake}/cy/%252e%252e/bob/gearbox",
    "{lake}/cy/./../bob/gearbox",
    "{lake}/cy//../bob/gearbox",
    "{lake}/cy\\..\\bob\\gearbox",
    "{lake}/bob/gearbox/t000.csv",
    "{lake}/CY/../bob/gearbox",
    "{lake}/cy/link/t000.csv",
    "{lake}/cy/link",
    "{lake}/cy/file.csv",
    "{lake}/cy/own?x=../bob/gearbox",
    "{lake}/cy/own#/../bob/gearbox",
    "{lake}/cy/own\0/../../bob/gearbox",
    "{lake}/cy/own%00/../../bob/gearbox",
    "{lake}/cy/own%00",
    "{lake}/cy/out",
    "{lake}/cy/loop",
    "~",
    "~/x",
    "~root/x",
    "~nosuchuser/x",
    "/proc/self/cwd",
    "//proc/self/exe",
    "file:///proc/self/fd/0",
    "/dev/fd/0",
    "own",
    "file:///etc/passwd",
    "/etc/passwd",
    "file://localhost/etc/passwd",
    "s3://plant/bob/../cy",
    "http://169.254.169.254/latest/meta-data",
    "memory://x",
    "https://user:key@store/x",
    "",
]


@pytest.mark.parametrize("location", TRAVERSALS, ids=repr)
def test_a_place_of_others_is_as_one_where_nothing_is(rivals, location):
    answer = rivals.by_cy("assets", location=location.format(lake=rivals.lake.as_uri()))
    nothing = f"{rivals.lake.as_uri()}/cy/nothing" if location else ""
    assert error(answer, answer.status_code)["code"] in ("not_found", "invalid_input")
    assert answer.text == rivals.by_cy("assets", location=nothing).text


@pytest.mark.parametrize("location", TRAVERSALS, ids=repr)
def test_9_14_a_data_source_looks_into_no_place_of_others(rivals, location):
    """Some of these are, taken letter by letter, odd places in one's own storage."""
    place = location.format(lake=rivals.lake.as_uri())
    answer = rivals.by_cy("data-sources", name=f"to {place!r}"[:128], location=place)
    if answer.status_code == 200:
        kept = unquote(urlsplit(answer.json()["location"]).path)
        own = rivals.lake / "cy"
        assert Path(kept).resolve().is_relative_to(own)
        assert not Path(kept).exists()
    else:
        assert error(answer, answer.status_code)["code"] in ("not_found", "invalid_input")
        assert not {"t000", "root:"} & set(answer.text.lower().split())


@pytest.mark.parametrize(
    "location",
    [
        "{lake}/bob",
        "{lake}/bob/",
        "{lake}/bob/gearbox",
        "{lake}",
        "{lake}/cy/../bob",
        "{lake}/%62ob",
        "{lake}/./bob",
        "{lake}//bob",
        "{lake}/cy/link",
        "file://localhost{path}/bob",
        "{path}/bob",
    ],
)
def test_9_nobody_joins_the_domain_with_a_place_of_others_or_around_it(rivals, location):
    place = location.format(lake=rivals.lake.as_uri(), path=rivals.lake)
    answer = rivals.by_cy("associations", name="trick", kind="STORAGE", location=place)
    told = error(answer, answer.status_code)
    assert told["code"] in ("conflict", "invalid_input")
    assert "bob's" not in answer.text
    listed = rivals.client.get("/v1/associations", headers=rivals.headers["cy"]).json()["items"]
    assert [one["name"] for one in listed] == ["cy's"]


@pytest.mark.parametrize(
    "location",
    [
        "~",
        "~root/x",
        "~nosuchuser/x",
        "/proc/self/cwd",
        "/proc/self/fd/0",
        "/sys/fs",
        "/dev",
        "own",
    ],
)
def test_9_what_tells_of_the_server_is_offered_by_nobody_and_told_in_the_same_words(
    rivals, location
):
    answers = [
        rivals.by_cy("associations", name="trick", kind="STORAGE", location=one)
        for one in (location, "~nobodyelse")
    ]
    assert error(answers[0], 400)["code"] == "invalid_input"
    assert answers[0].text == answers[1].text


def test_9_what_is_named_through_a_link_outside_is_what_it_leads_to_on_ones_own_ground(rivals):
    place = f"{rivals.lake.as_uri()}/aside/t000.csv"
    assert SECRET not in error(rivals.by_cy("assets", location=place), 404)["message"]
    path = f"/v1/projects/{rivals.projects['bob']}/assets"
    made = rivals.client.post(path, json={"location": place}, headers=rivals.headers["bob"]).json()
    found = f"{rivals.lake.as_uri()}/bob/{SECRET}/t000.csv"
    assert made["asset"]["external_identifier"] == found


def test_9_where_a_link_leads_to_is_told_to_nobody_who_offers_it_nor_accepted(rivals):
    place = f"{rivals.lake.as_uri()}/aside"
    answer = rivals.by_cy("associations", name="aside", kind="STORAGE", location=place)
    offered = answer.json()
    assert offered["location"] == place
    assert SECRET not in answer.text
    accepted = rivals.client.post(
        f"/v1/associations/{offered['id']}/accept", headers=rivals.administrator
    )
    assert "through a link" in error(accepted, 409)["message"]
    assert SECRET not in accepted.text
    path = f"/v1/associations/{offered['id']}"
    assert rivals.client.delete(path, headers=rivals.headers["cy"]).status_code == 200
