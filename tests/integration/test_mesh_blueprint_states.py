"""A mesh in all the states that a file knows: applied, exported, applied to an empty mesh."""

import shutil

import pytest
from mesh_files import plant_table, write_parquet
from mesh_server import mesh_server

from atoll.core.errors import Conflict, InvalidInput
from atoll.mesh.cli.blueprint.people import Users
from atoll.mesh.model.people import ProfileStatus
from atoll.mesh.service import OPERATIONS

DAY_S = 86_400
RICH = """
atoll: 1
domain:
  this: {name: Plant}
groups:
  leavers: {status: NOT_ASSIGNED}
  retired: {description: Were here, status: DEACTIVATED}
  crew: {status: ACTIVATED}
users:
  robot: {type: SERVICE, groups: [leavers]}
  old robot: {type: SERVICE, email: old@b.c, status: NOT_ASSIGNED, groups: [crew, retired]}
  spare robot: {type: SERVICE, status: DEACTIVATED}
domain_units:
  /:
    grants:
      - {policy_type: CREATE_PROJECT, to: leavers, includes_children: true}
      - {policy_type: CREATE_GLOSSARY, to: shop}
  above: {guardrails: {request_expires_s: 3600, default_classification: PUBLIC}}
  above/below:
    owners: [administrator, retired]
    guardrails: {longest_access_s: 8640000, min_score: 10, remind_after_s: 7200}
projects:
  shop:
    domain_unit: above/below
    members:
      administrator: PROJECT_OWNER
      leavers: PROJECT_CONTRIBUTOR
      old robot: PROJECT_CATALOG_VIEWER
associations:
  lake: {project: shop, kind: STORAGE, location: "LAKE/lake", status: ACCEPTED}
  gone: {project: shop, kind: STORAGE, location: "LAKE/dry", status: ACCEPTED}
  small: {project: shop, kind: WORKGROUP, limits: {rows: 9}, status: ACCEPTED}
  offered: {project: shop, kind: WORKGROUP}
environments:
  shop/resting: {storage: lake, workgroup: small, status: SUSPENDED}
  shop/running: {storage: lake, workgroup: small, description: Works, status: ACTIVE}
  shop/lost: {storage: gone, workgroup: small}
glossaries:
  words: {project: shop, description: In use}
  frozen: {project: shop, status: DISABLED}
terms:
  words/dead: {status: DISABLED}
  words/kind: {is_a: [words/dead], classifies: [frozen/ice], synonyms: [sort]}
  frozen/ice: {}
form_types:
  Old:
    project: shop
    status: DISABLED
    fields: [{name: word, type: TERM, is_list: true}, {name: who, type: USER}]
asset_types:
  Log: {project: shop, form_types: [Old], required_forms: [Old]}
rules:
  above/named:
    rule_type: GLOSSARY_TERM_ENFORCEMENT
    action: CREATE_LISTING_CHANGE_SET
    glossaries: [words]
    includes_children: true
delegations:
  shop/leavers: {until: 2100-01-01T00:00:00Z}
  shop/crew: {}
subscription_targets:
  shop/elsewhere: {environment: resting, asset_types: [Log]}
  shop/nowhere: {environment: lost}
data_sources:
  shop/drops:
    location: lake/drops
    terms: [frozen/ice]
    forms: {Old: {word: [words/dead], who: old robot}}
    enable_setting: DISABLED
    has_run: true
  shop/never: {location: lake/drops, every_s: 86400, enable_setting: DISABLED}
assets:
  lake/log.parquet:
    asset_type: Log
    terms: [words/dead, words/kind]
    forms: {Old: {word: [frozen/ice, words/kind], who: leavers}}
    columns:
      type: {terms: [frozen/ice], pii: {kind: other, status: REFUSED}}
      product: {pii: {kind: person_id, status: PROPOSED}}
    published: true
  lake/drops/shift.parquet: {classification: CONFIDENTIAL}
data_products:
  shop/logs:
    assets: [lake/log.parquet]
    terms: [words/dead]
    forms: {Old: {word: [words/dead]}}
    published: true
  shop/drafts: {assets: [lake/log.parquet], published: false}
"""
# What no file makes at once: a storage that left and came back, and a bound set above another.
LATER = """
atoll: 1
domain_units:
  above: {guardrails: {longest_access_s: 2592000, min_score: 60}}
associations:
  gone: {status: REMOVED}
  back: {project: shop, kind: STORAGE, location: "LAKE/dry", status: ACCEPTED}
"""


@pytest.fixture
def write(tmp_path):
    def written(text, name="plant.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return written


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    """A mesh, where its data lie, and its blueprint."""
    place = tmp_path_factory.mktemp("rich")
    lake = place / "data"
    write_parquet(lake / "lake" / "log.parquet", plant_table())
    write_parquet(lake / "lake" / "drops" / "shift.parquet", plant_table(20, 1))
    (lake / "dry").mkdir()
    with mesh_server(place / "home") as server:
        for name, text in (("rich", RICH), ("later", LATER)):
            file = place / f"{name}.yaml"
            file.write_text(text.replace("LAKE", lake.as_uri()))
            server.told("apply", file)
            assert server.told("apply", file) == "no change\n"
        yield server, lake, server.told("export")


@pytest.fixture
def copy(rich, tmp_path, write):
    """An empty mesh that another's blueprint was applied to, and that blueprint."""
    _, lake, exported = rich
    shutil.copytree(lake, tmp_path / "data")
    there = exported.replace(lake.as_uri(), (tmp_path / "data").as_uri())
    with mesh_server(tmp_path / "other") as other:
        other.told("apply", write(there))
        yield other, there


def test_58_a_mesh_in_every_state_is_made_again_from_its_export(rich, copy, write):
    server, _, exported = rich
    assert server.told("apply", write(exported)) == "no change\n"
    other, there = copy
    assert other.told("apply", write(there)) == "no change\n"
    assert other.told("export") == there
    # The states are there, not only in the file.
    for name, key in (
        ("ListGroupProfiles", "status"),
        ("ListUserProfiles", "status"),
        ("ListGlossaries", "status"),
        ("SearchGlossaryTerms", "status"),
        ("ListFormTypes", "status"),
        ("ListAssets", "classification"),
        ("ListDataSources", "enable_setting"),
    ):
        states = [by_name(one, name, key) for one in (server, other)]
        assert states[0] == states[1], name
    states = by_name(other, "ListEnvironments", "status")
    assert states == {"resting": "SUSPENDED", "running": "ACTIVE"}
    states = by_name(other, "ListAssociations", "status")
    assert states == {
        "lake": "ACCEPTED",
        "small": "ACCEPTED",
        "back": "ACCEPTED",
        "offered": "PENDING",
    }


def by_name(server, operation, key):
    given = {}
    if "{project_id}" in OPERATIONS[operation].path:
        [project] = server.do("ListProjects", name="shop")
        given["project_id"] = project["id"]
    return {one["name"]: one[key] for one in server.do(operation, **given)}


def test_58_who_was_put_out_is_not_let_in_by_a_copy(copy, write):
    other, _ = copy
    assert token_of(other, "old robot", fails=True)
    robot = token_of(other, "robot")
    # It is a contributor by its group alone, which is good for nothing.
    assert "shop" not in other.told("list-projects", token=robot)
    text = "atoll: 1\ngroups: {leavers: {status: ASSIGNED}}\n"
    told = other.told("apply", write(text))
    assert '~ group leavers\n    status: "NOT_ASSIGNED" -> "ASSIGNED"\n' in told
    assert other.told("apply", write(text)) == "no change\n"
    assert "shop" in other.told("list-projects", token=robot)


def token_of(server, name, *, fails=False):
    """A token for a service; `fails`: whether it is refused."""
    [user] = server.do("ListUserProfiles", name=name)
    given = {"name": "test", "scopes": ["read"], "user_profile_id": user["id"]}
    text = server.do("CreateAccessToken", **given)["text"]
    result = server.invoke("list-projects", token=text)
    assert (result.exception is not None) is fails, result
    return text


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with mesh_server(tmp_path_factory.mktemp("mesh") / "home") as made:
        yield made


OFFER = """
atoll: 1
projects: {shop: {domain_unit: /}}
associations: {%s: {project: shop, kind: WORKGROUP%s}}
"""


@pytest.mark.parametrize(("name", "status"), [("one", ""), ("two", ", status: PENDING")])
@pytest.mark.parametrize("is_accepted", [True, False])
def test_58_what_was_decided_on_an_offer_stays(server, write, name, status, is_accepted):
    decision = "AcceptAssociation" if is_accepted else "RemoveAssociation"
    name = f"{name} {decision}"
    file = write(OFFER % (name, status))
    server.told("apply", file)
    exported = write(server.told("export"), "exported.yaml")
    [offer] = server.do("ListAssociations", name=name)
    assert offer["status"] == "PENDING"
    decided = server.do(decision, association_id=offer["id"])
    for one in (file, exported):
        assert server.told("apply", one) == "no change\n"
    assert server.do("ListAssociations", name=name) == [decided]


def test_58_what_is_removed_is_removed_once_and_for_good(server, write):
    def file(status):
        return write(OFFER % ("old", f", status: {status}"))

    assert "+" not in server.told("apply", file("REMOVED")).replace("+ project", "")
    assert server.do("ListAssociations", name="old") == []
    server.told("apply", file("ACCEPTED"))
    assert '    status: "ACCEPTED" -> "REMOVED"\n' in server.told("apply", file("REMOVED"))
    assert server.told("apply", file("REMOVED")) == "no change\n"
    assert "old:" not in server.told("export")
    refused = server.invoke("apply", file("ACCEPTED")).exception
    assert isinstance(refused, Conflict)
    assert "association 'old': it was removed for good" in refused.message


BOUNDS = """
atoll: 1
domain_units:
  bounds: {guardrails: {longest_access_s: %d}}
  bounds/below: {guardrails: {longest_access_s: %d}}
"""


def test_58_guardrails_are_set_in_the_order_in_which_they_may_be(server, write):
    def apply(above, below):
        file = write(BOUNDS % (above * DAY_S, below * DAY_S))
        result = server.invoke("apply", file)
        if result.exception is None:
            assert server.told("apply", file) == "no change\n"
        return result.exception

    assert apply(30, 100) is None  # as if the upper one had been set later
    assert apply(100, 50) is None
    assert apply(10, 5) is None
    assert apply(300, 200) is None
    refused = apply(300, 301)
    assert isinstance(refused, InvalidInput)
    assert "domain unit 'bounds/below': longest_access_s" in refused.message


def test_58_an_environment_is_made_active_or_suspended(rich, write):
    server, _, _ = rich
    text = "atoll: 1\nenvironments: {shop/running: {status: %s}}"
    for status in ("SUSPENDED", "ACTIVE"):
        assert f'-> "{status}"' in server.told("apply", write(text % status))
        assert server.told("apply", write(text % status)) == "no change\n"
    refused = server.invoke("apply", write(text % "DELETED")).exception
    assert "makes it ACTIVE or SUSPENDED, not DELETED" in refused.message
    text = "atoll: 1\nenvironments: {shop/lost: {quota_bytes: 0, status: %s}}"
    assert server.told("apply", write(text % "INACCESSIBLE")) == "no change\n"
    assert isinstance(server.invoke("apply", write(text % "ACTIVE")).exception, Conflict)


DISABLED = """
atoll: 1
projects: {shop: {domain_unit: /}}
form_types: {Old: {project: shop, status: %s, fields: [{name: a}]}}
asset_types: {%s: {project: shop, form_types: [Old]}}
"""


def test_58_what_is_disabled_is_used_by_what_the_same_file_disables_it_after(server, write):
    file = write(DISABLED % ("DISABLED", "First"))
    server.told("apply", file)
    assert server.told("apply", file) == "no change\n"
    refused = server.invoke("apply", write(DISABLED % ("DISABLED", "Second"))).exception
    assert "asset type 'Second': the form 'Old' is disabled" in refused.message
    file = write(DISABLED % ("ENABLED", "Second"))
    assert 'status: "DISABLED" -> "ENABLED"' in server.told("apply", file)
    assert server.told("apply", file) == "no change\n"


def test_2_58_whom_their_provider_lets_in_is_said_by_their_provider():
    class Mesh:
        def listed(self, name):
            one = {"type": "SSO", "email": "", "groups": [], "status": "NOT_ASSIGNED"}
            yield {**one, "name": "ann", "follows_provider": True}
            yield {**one, "name": "ben", "follows_provider": False}

        def names_of(self, name, ids):
            return tuple(ids)

    found = dict(Users().current(Mesh()))
    assert found["ann"].status is None
    assert found["ben"].status == ProfileStatus.NOT_ASSIGNED
