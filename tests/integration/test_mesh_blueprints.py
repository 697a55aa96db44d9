"""A mesh as a file: applied, applied again, exported, and applied to another mesh."""

import pytest
from mesh_server import mesh_server

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
    grants:
      - {policy_type: CREATE_GLOSSARY, to: all-users, includes_children: true}
  production: {description: Makes, owners: [administrator]}
  production/press:
    grants:
      - {policy_type: CREATE_PROJECT, to: engineers}
projects:
  press shop:
    domain_unit: production/press
    members: {administrator: PROJECT_OWNER, engineers: PROJECT_CATALOG_STEWARD}
associations:
  lake: {project: press shop, kind: STORAGE, location: s3://plant/press, status: ACCEPTED}
  small: {project: press shop, kind: WORKGROUP, limits: {rows: 1000}, status: ACCEPTED}
environments:
  press shop/test: {storage: lake, workgroup: small, quota_bytes: 1000000}
glossaries:
  machines: {project: press shop}
terms:
  machines/press: {short_description: Bends metal, is_a: [machines/tool]}
  machines/tool: {synonyms: [Werkzeug]}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    place = tmp_path_factory.mktemp("mesh")
    (place / "plant.yaml").write_text(PLANT)
    with mesh_server(place / "home") as made:
        made.run("apply", place / "plant.yaml")
        yield made


@pytest.fixture
def write(tmp_path):
    def written(text, name="plant.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return written


def test_4_58_a_blueprint_is_shown_applied_once_and_given_back(server, write, tmp_path):
    exported = server.run("export")
    assert server.run("apply", write(exported)) == "no change\n"
    with mesh_server(tmp_path / "other") as other:
        told = other.run("apply", write(PLANT), "--dry-run")
        assert "+ domain unit production/press" in told
        assert other.do("ListProjects") == []
        assert other.run("apply", write(PLANT)) == told.replace("would be", "were")
        assert other.run("apply", write(PLANT)) == "no change\n"
        assert other.run("export") == exported


def test_58_what_changed_in_the_file_is_changed_and_nothing_else(server, write):
    changed = PLANT.replace("Makes", "Makes cars").replace("engineers: PROJECT_CATALOG_STEWARD", "")
    told = server.run("apply", write(changed))
    assert told.splitlines() == [
        "~ domain unit production",
        '    description: "Makes" -> "Makes cars"',
        "~ project press shop",
        '    members: {"administrator": "PROJECT_OWNER", "engineers": "PROJECT_CAT... -> '
        '{"administrator": "PROJECT_OWNER"}',
        "0 things were made, 2 changed",
    ]
    server.run("apply", write(PLANT))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("atoll: 2", "atoll"),
        ("atoll: 1\nprojekts: {}", "projekts"),
        ("atoll: 1\ngroups: {a: {}, a: {}}", "'a' stands twice"),
        ("atoll: 1\ngroups: &a {x: *a}", "aliases are not read"),
        ("{", "no YAML"),
        ("[" * 10_000, "no YAML"),
        ("atoll: 1\nprojects: {x: {domain_unit: nowhere}}", "there is no domain unit 'nowhere'"),
        ("atoll: 1\nprojects: {x: {description: y}}", "made only with a `domain_unit`"),
        ("atoll: 1\nusers: {eve: {type: LOCAL}}", "makes services only"),
        ("atoll: 1\nassociations: {lake: {location: s3://other}}", "cannot be changed"),
        ("atoll: 1\nenvironments: {test: {storage: lake}}", "write PROJECT/NAME"),
        ("atoll: 1\ngroups: {x: !!python/object/apply:os.system [id]}", "no YAML"),
    ],
)
def test_58_a_broken_blueprint_is_refused_with_what_is_wrong(server, write, text, told):
    assert told in server.run("apply", write(text, "broken.yaml"), fails=True)
