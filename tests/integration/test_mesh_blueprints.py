"""A mesh as a file: applied, applied again, exported, and applied to another mesh."""

import os
import re
import shutil
from contextlib import contextmanager

import pytest
from click.testing import CliRunner
from mesh_files import plant_table, write_parquet
from mesh_server import mesh_server

from atoll.core.config import Settings
from atoll.mesh.cli import mesh as commands
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


@contextmanager
def serving(home):
    """A mesh, and a way to run `atoll mesh ...` in this process."""
    with mesh_server(home) as made:

        def run(*arguments, token=made.token):
            settings = Settings(mesh_url=made.url, mesh_token=token)
            return CliRunner().invoke(
                commands, [*map(str, arguments)], obj=settings, catch_exceptions=True
            )

        made.invoke = run
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory, lake):
    with serving(tmp_path_factory.mktemp("mesh") / "home") as made:
        yield made


@pytest.fixture
def write(tmp_path):
    def written(text, name="plant.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return written


def done(result):
    assert result.exception is None, result.output + str(result.exception)
    return result.stdout


@pytest.fixture(scope="module")
def applied(server, lake, tmp_path_factory):
    place = tmp_path_factory.mktemp("file") / "plant.yaml"
    place.write_text(plant(lake))
    shown = done(server.invoke("apply", place, "--dry-run"))
    assert server.do("ListProjects") == []
    assert done(server.invoke("apply", place)) == shown.replace("would be", "were")
    return server, place, shown


def test_4_58_a_blueprint_is_shown_and_applied_once(applied):
    server, place, shown = applied
    assert "+ domain unit production/press\n    guardrails/min_score: 50.0\n" in shown
    assert '    filters/heavy/columns: ["udi", "product"]\n' in shown
    assert done(server.invoke("apply", place)) == "no change\n"
    [listing] = [one for one in server.do("ListListings") if one["entity_type"] == "ASSET"]
    assert (listing["name"], listing["has_pii"]) == ("press log", True)


def test_58_another_spelling_of_a_location_is_no_change(applied, write, lake):
    server, _, _ = applied
    text = "atoll: 1\nassociations: {lake: {location: %s}}\n"
    for spelling in (f"{lake}/", lake.as_uri(), os.path.relpath(lake)):
        assert done(server.invoke("apply", write(text % spelling))) == "no change\n"


def test_58_an_export_makes_another_plant_of_the_same_kind(applied, tmp_path, write, lake):
    server, _, _ = applied
    exported = done(server.invoke("export"))
    assert done(server.invoke("apply", write(exported))) == "no change\n"
    shutil.copytree(lake, tmp_path / "lake")
    there = exported.replace(lake.as_uri(), (tmp_path / "lake").as_uri())
    with serving(tmp_path / "other") as other:
        done(other.invoke("apply", write(there)))
        assert done(other.invoke("apply", write(there))) == "no change\n"
        assert done(other.invoke("export")) == there


def test_58_what_changed_in_the_file_is_changed_and_nothing_else(applied, write, lake):
    server, place, _ = applied
    text = plant(lake).replace("Makes", "Makes cars").replace("of the product", "of product")
    changed = text.replace("engineers: PROJECT_CATALOG_STEWARD", "")
    told = done(server.invoke("apply", write(changed)))
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
    assert done(server.invoke("apply", write(changed))) == "no change\n"
    done(server.invoke("apply", place))


def test_58_a_draft_that_others_do_not_see_is_not_exported_as_published(applied, write):
    server, place, _ = applied
    [asset] = [one for one in inventory(server) if one["name"] == "press log"]
    server.do("UpdateAsset", asset_id=asset["id"], description="not ready")
    exported = done(server.invoke("export"))
    assert exported.count("published: true") == 1  # the data product
    assert done(server.invoke("apply", write(exported))) == "no change\n"
    assert "published: true" in done(server.invoke("apply", place))


def inventory(server):
    [project] = server.do("ListProjects", name="press shop")
    return server.do("ListAssets", project_id=project["id"])


@pytest.mark.parametrize("stops_after", [3, 20, 40])
def test_58_what_stopped_half_way_goes_on_with_the_next_apply(
    lake, tmp_path, write, monkeypatch, stops_after
):
    left = [stops_after]

    def ask(self, method, path, **more):
        if method != "GET":
            left[0] -= 1
        if left[0] < 0:
            raise ConnectionAbortedError
        return real(self, method, path, **more)

    real = MeshClient.ask
    with serving(tmp_path / "home") as other:
        with monkeypatch.context() as patched:
            patched.setattr(MeshClient, "ask", ask)
            assert other.invoke("apply", write(plant(lake))).exception
        done(other.invoke("apply", write(plant(lake))))
        assert done(other.invoke("apply", write(plant(lake)))) == "no change\n"
