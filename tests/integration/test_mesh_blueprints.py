"""A mesh as a file: applied, applied again, exported, and applied to another mesh."""

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from mesh_files import plant_table, write_parquet
from mesh_server import mesh_server

from atoll.core.errors import AtollError, Conflict, InvalidInput
from atoll.mesh.cli.blueprint import applying
from atoll.mesh.cli.blueprint.document import Blueprint, read_blueprint
from atoll.mesh.cli.blueprint.remote import Remote
from atoll.mesh.cli.blueprint.sections import SECTIONS
from atoll.mesh.cli.client import MeshClient

PLANT = """
atoll: 1
domain:
  this: {name: Plant, description: Where cars are made}
groups:
  engineers: {description: Who knows the machines}
users:
  robot: {type: SERVICE, groups: [engineers]}
domain_units:
  /:
    guardrails: {default_classification: INTERNAL, longest_access_s: 31536000}
    grants:
      - {policy_type: CREATE_GLOSSARY, to: all-users, includes_children: true}
      - {policy_type: CREATE_ASSET_TYPE, to: press shop}
  production: {description: Makes, owners: [administrator]}
  production/press:
    guardrails: {min_score: 50}
    grants:
      - {policy_type: CREATE_PROJECT, to: engineers}
projects:
  press shop:
    domain_unit: production/press
    members: {administrator: PROJECT_OWNER, engineers: PROJECT_CATALOG_STEWARD}
associations:
  lake: {project: press shop, kind: STORAGE, location: "LAKE", status: ACCEPTED}
  small: {project: press shop, kind: WORKGROUP, limits: {rows: 1000}, status: ACCEPTED}
environments:
  press shop/test: {storage: lake, workgroup: small, quota_bytes: 1000000}
glossaries:
  machines: {project: press shop}
terms:
  machines/press: {short_description: Bends metal, is_a: [machines/tool]}
  machines/tool: {synonyms: [Werkzeug]}
form_types:
  Maintenance:
    project: press shop
    fields:
      - {name: machine, type: TERM, is_required: true}
      - {name: engineer, type: USER}
      - {name: since, type: DATE}
asset_types:
  MachineLog: {project: press shop, form_types: [Maintenance], required_forms: [Maintenance]}
rules:
  production/common:
    rule_type: METADATA_FORM_ENFORCEMENT
    action: CREATE_LISTING_CHANGE_SET
    form_types: [CommonAttributes]
  /named:
    rule_type: GLOSSARY_TERM_ENFORCEMENT
    action: CREATE_LISTING_CHANGE_SET
    glossaries: [machines]
    asset_types: [MachineLog]
delegations:
  press shop/engineers: {until: 2100-01-01T00:00:00Z}
subscription_targets:
  press shop/warehouse: {environment: test, asset_types: [Table]}
data_sources:
  press shop/drops:
    {location: lake/drops, include: ["*.parquet"], terms: [machines/tool], has_run: true}
assets:
  lake/press log.parquet:
    name: press log
    asset_type: MachineLog
    classification: PUBLIC
    basis: CONSUMER_BASED
    upstream: [lake/drops/shift.parquet]
    terms: [machines/press]
    forms:
      Maintenance: {machine: machines/press, engineer: administrator, since: 2026-11-26}
      CommonAttributes: &common
        {business_unit: Press, data_owner_contact: a@b.c, product_owner: Ann,
         refresh_frequency: DAILY}
    columns:
      product: {business_name: Product, terms: [machines/tool],
                pii: {kind: person_id, status: CONFIRMED}}
      type: {description: of the product, pii: {kind: other, status: REFUSED}}
    filters:
      heavy:
        columns: [udi, product]
        masks: {product: {kind: partial, last: 2}}
        rows: {expression: {greaterThan: {columnName: "torque [Nm]", value: "40"}}}
    published: true
  lake/drops/shift.parquet: {classification: CONFIDENTIAL, description: What a shift did}
data_products:
  press shop/presses:
    assets: [lake/press log.parquet]
    forms: {CommonAttributes: COMMON}
    published: true
"""
COMMON = re.search(r"&common\s+(\{.*?\})", PLANT, re.S)[1]


def plant(lake):
    """The blueprint of a plant whose data lie there."""
    text = PLANT.replace("&common", "").replace("COMMON}", f"{COMMON}}}")
    return text.replace("LAKE", lake.as_uri())


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    place = tmp_path_factory.mktemp("lake")
    write_parquet(place / "press log.parquet", plant_table())
    write_parquet(place / "drops" / "shift.parquet", plant_table(20, 1))
    return place


@pytest.fixture(scope="module")
def server(tmp_path_factory, lake):
    with mesh_server(tmp_path_factory.mktemp("mesh") / "home") as made:
        yield made


@pytest.fixture
def write(tmp_path):
    def written(text, name="plant.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return written


@pytest.fixture(scope="module")
def applied(server, lake, tmp_path_factory):
    place = tmp_path_factory.mktemp("file") / "plant.yaml"
    place.write_text(plant(lake))
    shown = server.told("apply", place, "--dry-run")
    assert server.do("ListProjects") == []
    assert server.told("apply", place) == shown.replace("would be", "were")
    return server, place, shown


def test_4_58_a_blueprint_is_shown_and_applied_once(applied):
    server, place, shown = applied
    assert "+ domain unit production/press\n    guardrails/min_score: 50.0\n" in shown
    assert '    filters/heavy/columns: ["udi", "product"]\n' in shown
    assert server.told("apply", place) == "no change\n"
    [listing] = [one for one in server.do("ListListings") if one["entity_type"] == "ASSET"]
    assert (listing["name"], listing["has_pii"]) == ("press log", True)


def test_58_another_spelling_of_a_location_is_no_change(applied, write, lake):
    server, _, _ = applied
    text = "atoll: 1\nassociations: {lake: {location: %s}}\n"
    for spelling in (f"{lake}/", lake.as_uri(), os.path.relpath(lake)):
        assert server.told("apply", write(text % spelling)) == "no change\n"


def test_58_an_export_makes_another_plant_of_the_same_kind(applied, tmp_path, write, lake):
    server, _, _ = applied
    exported = server.told("export")
    assert server.told("apply", write(exported)) == "no change\n"
    shutil.copytree(lake, tmp_path / "lake")
    there = exported.replace(lake.as_uri(), (tmp_path / "lake").as_uri())
    with mesh_server(tmp_path / "other") as other:
        other.told("apply", write(there))
        assert other.told("apply", write(there)) == "no change\n"
        assert other.told("export") == there


def test_58_what_changed_in_the_file_is_changed_and_nothing_else(applied, write, lake):
    server, place, _ = applied
    text = plant(lake).replace("Makes", "Makes cars").replace("of the product", "of product")
    changed = text.replace("engineers: PROJECT_CATALOG_STEWARD", "")
    told = server.told("apply", write(changed))
    assert told.splitlines() == [
        "~ domain unit production",
        '    description: "Makes" -> "Makes cars"',
        "~ project press shop",
        '    members: {"administrator": "PROJECT_OWNER", "engineers": "PROJECT_CAT... -> '
        '{"administrator": "PROJECT_OWNER"}',
        "~ asset lake/press log.parquet",
        '    columns/type/description: "of the product" -> "of product"',
        "0 things were made, 3 changed",
    ]
    # Its newest revision is what others see, as the file says.
    assert server.told("apply", write(changed)) == "no change\n"
    server.told("apply", place)


def test_58_a_draft_that_others_do_not_see_is_not_exported_as_published(applied, write):
    server, place, _ = applied
    [asset] = [one for one in inventory(server) if one["name"] == "press log"]
    server.do("UpdateAsset", asset_id=asset["id"], description="not ready")
    exported = server.told("export")
    assert exported.count("published: true") == 1  # the data product
    assert server.told("apply", write(exported)) == "no change\n"
    assert "published: true" in server.told("apply", place)


def inventory(server):
    [project] = server.do("ListProjects", name="press shop")
    return server.do("ListAssets", project_id=project["id"])


def test_58_what_stopped_half_way_goes_on_with_the_next_apply(lake, tmp_path, write, monkeypatch):
    left = [0]

    def ask(self, method, path, **more):
        left[0] -= method != "GET"
        if left[0] < 0:
            raise ConnectionAbortedError
        return real(self, method, path, **more)

    file, real, stopped = write(plant(lake)), MeshClient.ask, 0
    with mesh_server(tmp_path / "home") as other:
        monkeypatch.setattr(MeshClient, "ask", ask)
        for _ in range(20):
            left[0] = 7
            result = other.invoke("apply", file)
            stopped += isinstance(result.exception, ConnectionAbortedError)
            if result.exception is None:
                break
        assert stopped > 4
        left[0] = 0
        assert other.told("apply", file) == "no change\n"


def test_58_two_who_apply_at_once_do_no_damage(lake, tmp_path, write):
    blueprint = read_blueprint(write(plant(lake)))
    with mesh_server(tmp_path / "home") as other, ThreadPoolExecutor(2) as pool:

        def apply(_):
            client = MeshClient(other.url, other.token)
            try:
                applying.make(blueprint, Remote(client))
            except AtollError as error:
                return type(error)
            finally:
                client.close()

        told = set(pool.map(apply, range(2)))
        assert told <= {None, Conflict}  # who comes second somewhere may have to apply again
        other.told("apply", write(plant(lake)))
        assert other.told("apply", write(plant(lake))) == "no change\n"


def test_58_the_requests_of_an_export_do_not_grow_with_the_assets(applied, lake, monkeypatch):
    server, _, _ = applied
    asked = []
    real = MeshClient.ask

    def ask(self, *given, **more):
        asked.append(given)
        return real(self, *given, **more)

    monkeypatch.setattr(MeshClient, "ask", ask)
    server.told("export")
    before = len(asked)
    [project] = server.do("ListProjects", name="press shop")
    for number in range(8):
        place = write_parquet(lake / "more" / f"{number}.parquet", plant_table(5, number + 9))
        made = server.do("CreateAsset", project_id=project["id"], location=place.as_uri())
        rows = {"expression": {"isNull": {"columnName": "udi"}}}
        given = {"configuration": {"rowConfiguration": {"rowFilter": rows}}}
        server.do("CreateAssetFilter", asset_id=made["id"], name="none", **given)
    asked.clear()
    assert server.told("export").count("isNull") == 8
    assert len(asked) == before < 40


def test_58_a_member_exports_and_applies_what_is_theirs(applied, write):
    server, _, _ = applied
    token = issue(server, "robot")
    exported = server.told("export", token=token)
    assert "grants" not in exported  # they do not govern
    assert "lake/press log.parquet" in exported
    assert server.told("apply", write(exported), token=token) == "no change\n"
    described = exported.replace("What a shift did", "What shifts did")
    assert "1 changed" in server.told("apply", write(described), token=token)
    more = exported.replace("PROJECT_CATALOG_STEWARD", "PROJECT_OWNER")
    refused = server.invoke("apply", write(more), token=token)
    assert "project 'press shop': you may not" in refused.exception.message


def issue(server, name):
    """A token for a service."""
    [user] = server.do("ListUserProfiles", name=name)
    given = {"name": "test", "scopes": ["admin"], "user_profile_id": user["id"]}
    return server.do("CreateAccessToken", **given)["text"]


CHANGES = """
atoll: 1
assets:
  lake/drops/shift.parquet:
    %s
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("classification: PUBLIC", None),
        ("classification: INTERNAL", None),
        ("columns: {type: {pii: {kind: email}}}", None),
        ("columns: {type: {pii: {kind: email, status: REFUSED}}}", None),
        ("columns: {type: {pii: {kind: person_id, status: CONFIRMED}}}", None),
        ("columns: {type: {pii: {status: PROPOSED}}}", "is decided already"),
        ("columns: {type: {pii: {kind: email}}}", "is flagged as person_id"),
        ("columns: {product: {pii: {status: CONFIRMED}}}", "say of what kind"),
        ("columns: {none: {description: x}}", "has no column 'none'"),
        ("filters: {one: {columns: [udi, type], masks: {type: {kind: 'null'}}}}", None),
        ("filters: {one: {columns: [udi]}}", None),
        ("filters: {one: {rows: {expression: {isNull: {columnName: udi}}}}}", None),
        ("filters: {one: {}}", "a filter says"),
        ("filters: {one: {masks: {udi: {kind: magic}}}}", "unknown kind"),
        ("filters: {one: {rows: {no: 1}}}", "rowFilter"),
        ("upstream: [lake/none]", "there is no asset 'lake/none'"),
        ("terms: [machines/none]", "there is no glossary term 'machines/none'"),
        ("forms: {None: {a: 1}}", "there is no form 'None'"),
        ("forms: {Maintenance: {machine: machines/press, engineer: nobody}}", "no user, group"),
        ("asset_type: View", "asset_type of asset 'lake/drops/shift.parquet' cannot be changed"),
        ("published: true", "cannot be published"),
    ],
)
def test_58_an_asset_becomes_as_the_file_says_or_the_file_is_refused(applied, write, text, told):
    server, _, _ = applied
    file = write(CHANGES % text)
    result = server.invoke("apply", file)
    if told is None:
        assert result.exception is None, result.exception
        assert "0 things were made, 1 changed" in result.stdout
        assert server.told("apply", file) == "no change\n"
    else:
        assert told in getattr(result.exception, "message", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("projects: {x: {domain_unit: nowhere}}", "there is no domain unit 'nowhere'"),
        ("projects: {x: {description: y}}", "made only with a `domain_unit`"),
        ("users: {eve: {type: LOCAL}}", "makes services only"),
        ("associations: {lake: {location: s3://other}}", "cannot be changed"),
        ("environments: {test: {storage: lake}}", "write PROJECT/NAME"),
        ("domain: {that: {name: x}}", "a mesh has one domain"),
        ("assets: {lake/../x: {}}", "is no place; write STORAGE/PATH"),
        ("assets: {small/x: {}}", "is no place; write STORAGE/PATH"),
        ("assets: {lake/none.parquet: {}}", "asset 'lake/none.parquet': there is nothing"),
        ("data_sources: {press shop/drops: {has_run: false}}", "or leave it out"),
        ("data_products: {press shop/none: {assets: [lake/none]}}", "there is no asset"),
        ("rules: {/x: {description: y}}", "made only with a `rule_type`"),
        ("domain_units: {/: {guardrails: {min_score: 999}}}", "domain unit '/': SetGuardrails"),
    ],
)
def test_58_what_cannot_be_is_refused_with_what_it_is_about(applied, write, text, told):
    server, _, _ = applied
    result = server.invoke("apply", write(f"atoll: 1\n{text}"))
    assert isinstance(result.exception, AtollError), result
    assert told in result.exception.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("atoll: 2", "atoll"),
        ("atoll: 1\nprojekts: {}", "projekts"),
        ("atoll: 1\ngroups: {a: {}, a: {}}", "'a' stands twice"),
        ("atoll: 1\ngroups: &a {x: *a}", "aliases are not read"),
        ("{", "no YAML"),
        ("[" * 10_000, "no YAML"),
        ("atoll: 1\ngroups: {x: !!python/object/apply:os.system [id]}", "no YAML"),
        ("atoll: 1\ndelegations: {a/b: {until: 2027-01-01}}", "RFC3339"),
        ("atoll: 1\nassets: {a/b: {forms: {F: {x: null}}}}", "forms"),
    ],
)
def test_58_a_file_that_is_no_blueprint_is_refused(write, text, told):
    with pytest.raises(InvalidInput, match=told):
        read_blueprint(write(text))


def test_58_names_with_slashes_are_told_apart(applied, write):
    server, _, _ = applied
    text = """
atoll: 1
domain_units: {a%2Fb%25: {}, a%2Fb%25/c: {}}
glossaries: {and/or: {project: press shop}}
terms: {and%2For/if/then: {}}
"""
    assert "write GLOSSARY/NAME" in server.invoke("apply", write(text)).exception.message
    right = text.replace("if/then", "if%2Fthen")
    server.told("apply", write(right))
    assert server.told("apply", write(right)) == "no change\n"
    assert "and%2For/if%2Fthen" in server.told("export")


def test_58_all_that_a_blueprint_says_is_applied_and_exported():
    names = {one.name for one in SECTIONS}
    assert names == {*Blueprint.__struct_fields__} - {"atoll"}
    for name in names:
        sections = [one for one in SECTIONS if one.name == name]
        fields = [field for one in sections for field in one.fields or one.spec.__struct_fields__]
        assert set(fields) == set(sections[0].spec.__struct_fields__)
