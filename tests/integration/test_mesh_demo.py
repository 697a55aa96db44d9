"""The demo's plant, and the ways that its people go: each over HTTP, under their own password."""

import os
from contextlib import closing
from unittest.mock import patch

import pytest
from commandline import atoll, must
from mesh_journey import until
from mesh_server import mesh_server

from atoll.core.errors import AtollError, Forbidden, Unauthenticated
from atoll.mesh.cli.client import MeshClient
from atoll.mesh.service import OPERATIONS

DAY_US = 86_400_000_000
CONFIDENTIAL = ("Workers", "Suppliers", "Rework", "Trucks", "Invoices", "Cost centres")


class Demo:
    """A served mesh with the demo's plant in it."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        self.said = self.made()

    def made(self, *more):
        """Run the demo; returns what it says."""
        with self.environment():
            return must("mesh", "demo", "--out", self.folder, "--scale", 0.02, *more)

    def environment(self, token=""):
        names = {"ATOLL_MESH_URL": self.server.url, "ATOLL_MESH_TOKEN": token or self.server.token}
        return patch.dict(os.environ, names)

    def passwords(self):
        lines = (self.folder / "people.txt").read_text().splitlines()
        return {line.split()[0]: line.split()[1] for line in lines}


class Person:
    """Somebody who has signed in."""

    def __init__(self, demo, name):
        self.demo, self.name = demo, name
        with closing(MeshClient(demo.server.url, "")) as client:
            password = demo.passwords()[name]
            self.token = client.sign_in(name, password, scopes=["admin"], ttl_s=3600)
        self.client = MeshClient(demo.server.url, self.token)

    def do(self, name, /, **given):
        answer = self.client.perform(OPERATIONS[name], given)
        return list(answer) if OPERATIONS[name].is_list else answer

    def refusal(self, name, /, **given):
        with pytest.raises(AtollError) as refused:
            self.do(name, **given)
        return refused.type

    def run(self, *words):
        """Run `atoll mesh ...` as this person."""
        with self.demo.environment(self.token):
            return must("mesh", *words)

    def project(self, name):
        [found] = [one for one in self.do("ListProjects") if one["name"] == name]
        return found["id"]

    def asset(self, project, name):
        [found] = self.do("ListAssets", project_id=self.project(project), name=name)
        return found["id"]

    def listing(self, name):
        [found] = self.do("ListListings", name=name)
        return found["id"]

    def sees(self):
        return {one["name"] for one in self.do("ListListings")}

    def rows(self, name, project="", **given):
        given |= {"project_id": self.project(project)} if project else {}
        return self.do("ReadRows", listing_id=self.listing(name), **given)["rows"]

    def asks(self, project, *names):
        wanted = [{"listing_id": self.listing(one)} for one in names]
        about = {"project_id": self.project(project), "request_reason": "to see"}
        return self.do("CreateSubscriptionRequests", listings=wanted, **about)["requests"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    with mesh_server(folder / "home") as server:
        yield Demo(server, folder / "plant")


@pytest.fixture
def person(demo):
    found = []

    def signed_in(name):
        found.append(Person(demo, name))
        return found[-1]

    yield signed_in
    for one in found:
        one.client.close()


def test_58_the_demo_made_twice_is_made_once(demo):
    assert "no change" not in demo.said
    assert "no change" in demo.made()


def test_7_passwords_are_for_their_owner_only(demo):
    assert (demo.folder / "people.txt").stat().st_mode & 0o077 == 0
    assert len(demo.passwords()) == 7


def test_58_a_lake_of_another_scale_is_not_mixed_in(demo):
    with demo.environment():
        done = atoll("mesh", "demo", "--out", demo.folder, "--scale", 1)
    assert done.code == 1
    assert "scale 0.02" in done.err


def test_40_what_is_personal_is_what_the_plant_says(demo, person):
    paula = person("paula")
    sensors = paula.do("GetListedAsset", listing_id=paula.listing("Sensor readings"))
    assert not any(one["is_personal"] for one in sensors["columns"])
    welds = paula.do("GetListedAsset", listing_id=paula.listing("Welds"))
    assert [one["name"] for one in welds["columns"] if one["is_personal"]] == ["vin"]


def test_10_18_a_data_source_owner_brings_data_in_and_decides_on_requests(demo, person):
    paula = person("paula")
    place = demo.folder / "lake" / "tables" / "planning" / "holidays.csv"
    place.write_text("day,name\n2026-12-25,Christmas\n")
    [source] = paula.do("ListDataSources", project_id=paula.project("shift planning"))
    paula.do("StartDataSourceRun", data_source_id=source["id"])
    wanted = {"project_id": source["project_id"], "name": "holidays"}
    [asset] = until(lambda: paula.do("ListAssets", **wanted))
    about = {"asset_id": asset["id"]}
    assert asset["forms"][0]["content"]["business_unit"] == "Planning"
    paula.do("UpdateAsset", description="Days off", **about)
    score = {"timestamp": 1_774_000_000_000_000, "score": 99.5}
    paula.do("PostTimeSeriesDataPoints", **score, **about)
    paula.do("CreateListingChangeSet", action="PUBLISH", **about)
    [request] = paula.do("ListSubscriptionRequests", listing_id=paula.listing("Workers"))
    assert request["status"] == "PENDING"
    about = {"subscription_request_id": request["id"]}
    paula.do("CreateComment", text="What for?", **about)
    told = paula.do("RejectSubscriptionRequest", comment="Nobody may see that.", **about)
    assert told["status"] == "REJECTED"
    assert paula.refusal("VerifyAudit") is Forbidden


def test_5_10_a_use_case_owner_makes_a_team_and_publishes_what_it_makes(demo, person):
    ulrich = person("ulrich")
    asset = ulrich.asset("predictive maintenance", "Machine health")
    told = ulrich.do("GetAsset", asset_id=asset)
    assert told["basis"] == "CONSUMER_BASED"
    assert len(told["upstream"]) == 2
    ulrich.do("UpdateAsset", asset_id=asset, description="Mean of all readings of a machine")
    ulrich.do("CreateListingChangeSet", asset_id=asset, action="PUBLISH")
    bea = next(one for one in ulrich.do("ListUserProfiles") if one["name"] == "bea")
    member = {"member_id": bea["id"], "designation": "PROJECT_CATALOG_VIEWER"}
    project = ulrich.project("predictive maintenance")
    ulrich.do("CreateProjectMembership", project_id=project, **member)
    assert person("diego").refusal("CreateProjectMembership", project_id=project, **member) is (
        Forbidden
    )
    ulrich.do("DeleteProjectMembership", project_id=project, member_id=bea["id"])
    mine = ulrich.do("ListMyData", project_id=ulrich.project("plant report"))
    assert {"machine kit", "Cost centres"} <= {one["listing_name"] for one in mine}


def test_10_a_data_engineer_keeps_assets_and_decides_on_nothing(demo, person):
    diego = person("diego")
    asset = diego.asset("machine data", "Alarms")
    columns = [{"name": "code", "business_name": "Code of the alarm"}]
    diego.do("UpdateAssetColumns", asset_id=asset, columns=columns)
    assert diego.do("RefreshAsset", asset_id=asset)["name"] == "Alarms"
    diego.do("CreateListingChangeSet", asset_id=asset, action="PUBLISH")
    shown = diego.do("GetListedAsset", listing_id=diego.listing("Alarms"))
    assert "Code of the alarm" in {one["business_name"] for one in shown["columns"]}
    assert diego.refusal("DeleteAsset", asset_id=asset) is Forbidden
    flags = {"asset_id": asset, "columns": ["code"], "is_personal": False}
    assert diego.refusal("DecidePii", **flags) is Forbidden


def test_10_61_a_data_scientist_finds_subscribes_and_reads(demo, person):
    sara = person("sara")
    found = sara.do("SearchListings", text="vibratoin", facets=["classification"])
    assert "Sensor readings" in {one["name"] for one in found["items"]}
    assert found["facets"]["classification"]
    page = sara.do("GetListedAsset", listing_id=sara.listing("Sensor readings"))
    assert page["forms"][0]["content"]["refresh_frequency"] == "HOURLY"
    quality = sara.do("GetListingQuality", listing_id=sara.listing("Sensor readings"))
    assert 99 < quality["score"] <= 100
    assert len(sara.rows("Sensor readings", "predictive maintenance", limit=5)) == 5
    told = sara.asks("predictive maintenance", "Steel plates", "Materials")
    assert {one["status"] for one in told} == {"ACCEPTED"}
    mine = sara.do("ListMyData", project_id=sara.project("predictive maintenance"))
    assert {"Sensor readings", "Alarms", "Machines"} <= {one["listing_name"] for one in mine}
    assert "machine_name" in sara.run(
        "read-rows", "Machines", "--project-id", "predictive maintenance"
    )


def test_10_51_62_an_ml_engineer_reads_vectors_and_lets_a_service_read(demo, person):
    marek = person("marek")
    [row] = marek.rows("Proteins", limit=1, columns=["id", "embedding"])
    assert len(row[1]) > 100
    welds = {"listing_id": marek.listing("Welds")}
    project = marek.project("predictive maintenance")
    assert marek.refusal("ReadRows", project_id=project, **welds) is Forbidden
    robot = next(one for one in marek.do("ListUserProfiles") if one["name"] == "forecaster")
    about = {"user_profile_id": robot["id"], "name": "nightly", "scopes": ["write"]}
    assert marek.refusal("CreateAccessToken", **about) is Forbidden
    text = demo.server.do("CreateAccessToken", **about)["text"]
    with demo.environment(text):
        rows = ("Sensor readings", "--project-id", "predictive maintenance", "--limit", 2)
        assert "temperature_c" in must("mesh", "read-rows", *rows)


def test_10_61_a_business_user_sees_what_is_allowed_and_asks_for_more(demo, person):
    bea = person("bea")
    assert set(CONFIDENTIAL) < bea.sees()
    assert len(bea.rows("Car engines", limit=3)) == 3
    for name in CONFIDENTIAL:
        about = {"listing_id": bea.listing(name), "project_id": bea.project("plant report")}
        assert bea.refusal("ReadRows", **about) is Forbidden
    [request] = bea.do("ListSubscriptionRequests", listing_id=bea.listing("Invoices"))
    assert request["status"] == "PENDING"
    bea.do("CreateComment", subscription_request_id=request["id"], text="By Friday, please")
    mine = bea.do("ListMyData", project_id=bea.project("plant report"))
    ends = {one["listing_name"]: (one["since"], one["terms"]["expires_at"]) for one in mine}
    since, end = ends["Cost centres"]
    assert (end - since, ends["machine kit"][1]) == (90 * DAY_US, 0)
    assert {one["name"] for one in bea.do("ListProjects")} == {"plant report"}
    assert bea.do("Search", text="invoices")["items"] == []


def test_10_60_an_administrator_governs_watches_and_takes_away(demo, person):
    ada, bea = person("ada"), person("bea")
    unit = next(one for one in ada.do("ListDomainUnits") if one["name"] == "quality")
    made = ada.do("CreateProject", domain_unit_id=unit["id"], name="crash tests")
    assert made["domain_unit_id"] == unit["id"]
    cost = ada.asset("controlling", "Cost centres")
    [holder] = ada.do("ListAssetAccess", asset_id=cost)["access"]
    assert (holder["project"], holder["granted_by"]) == ("plant report", "paula")
    about = {"subscription_id": holder["subscription_id"], "comment": "over"}
    assert ada.do("RevokeSubscription", **about)["status"] == "REVOKED"
    assert ada.do("ListAssetAccess", asset_id=cost)["access"] == []
    assert "are whole" in ada.run("audit", "verify")
    about = {"user_profile_id": bea.do("WhoAmI")["profile"]["id"]}
    ada.do("UpdateUserProfile", status="NOT_ASSIGNED", **about)
    assert bea.refusal("WhoAmI") is Unauthenticated
    ada.do("UpdateUserProfile", status="ASSIGNED", **about)
    assert ada.refusal("UpdateAsset", asset_id=cost, description="x") is Forbidden
