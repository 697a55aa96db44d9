"""Finding: by words and facets, within what the caller may see, at once after a change."""

import shutil
from dataclasses import replace

import pytest
from mesh_databases import database_of
from mesh_world import ROOT, STAMP, world

from atoll.core.errors import InvalidInput
from atoll.mesh.harvest.model import Column, Fingerprint, Technical
from atoll.mesh.model.catalog import (
    Asset,
    Classification,
    EntityType,
    Listing,
    ListingStatus,
    TimeSeriesDataPoint,
)
from atoll.mesh.model.describing import Form, Glossary, GlossaryTerm
from atoll.mesh.model.organisation import Designation
from atoll.mesh.operations.indexing import Indexer


@pytest.fixture
def mesh(database, tmp_path):
    with world(database, tmp_path) as made:
        yield made


@pytest.fixture
def project(mesh):
    """Bob's; Cy has one of his own, Dee has none."""
    project_of(mesh, "cy", "quality")
    return project_of(mesh, "bob", "press shop")


def asset(mesh, project, name, *, classification="INTERNAL", is_listed=True, **values):
    """Put an asset into the store, published or not."""
    own = {"owning_project_id": project.id, **STAMP}
    technical = Technical(
        "table",
        "parquet",
        f"s3://plant/{name}",
        (Column("torque_nm", "double", True),),
        (),
        1,
        None,
        1,
        1,
        "1",
        Fingerprint(None, None),
    )
    made = Asset(
        id=f"asset-{name}",
        name=name,
        asset_type="Table",
        external_identifier=f"s3://plant/{name}",
        association_id="association-lake",
        classification=Classification(classification),
        technical=technical,
        **{**own, **values},
    )
    listing = Listing(
        id=f"listing-{name}",
        name=name,
        entity_type=EntityType.ASSET,
        entity_id=made.id,
        entity_revision=1,
        classification=made.classification,
        all_terms=made.all_terms,
        **own,
    )
    records = [made, listing] if is_listed else [made]
    mesh.store.write(lambda changes: [changes.add(one) for one in records])
    return listing


def project_of(mesh, who, name):
    made = mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name=name)
    given = {"member_id": f"user-{who}", "designation": Designation.OWNER}
    mesh.ask("ann", "CreateProjectMembership", project_id=made.id, **given)
    return made


def found(mesh, who, text="", **given):
    results = mesh.ask(who, "SearchListings", text=text, **given)
    assert results.total >= len(results.items)
    return sorted(one.name for one in results.items)


def test_34_what_was_just_published_is_found_by_its_name_columns_and_with_typing_errors(
    mesh, project
):
    asset(mesh, project, "welds")
    assert found(mesh, "cy", "weld") == found(mesh, "cy", "wleds") == ["welds"]
    assert found(mesh, "cy", "torque") == ["welds"]
    assert found(mesh, "cy", "paint") == []


def test_15_34_drafts_are_found_by_their_own_project_only(mesh, project):
    asset(mesh, project, "secret", is_listed=False)
    assert found(mesh, "bob", "secret") == found(mesh, "cy", "secret") == []
    names = [
        [one.name for one in mesh.ask(who, "Search", text="secret").items] for who in ("bob", "cy")
    ]
    assert names == [["secret"], []]


def test_6_34_who_is_in_no_project_finds_and_counts_what_is_public_only(mesh, project):
    for name in ("PUBLIC", "INTERNAL", "CONFIDENTIAL"):
        asset(mesh, project, name.lower(), classification=name)
    assert found(mesh, "dee") == ["public"]
    assert found(mesh, "cy") == ["confidential", "internal", "public"]
    results = mesh.ask("dee", "SearchListings")
    assert [one.value for one in results.facets["classification"]] == ["PUBLIC"]
    assert mesh.ask("dee", "Suggest", text="int").names == []
    assert mesh.ask("cy", "Suggest", text="int").names == ["internal"]


HOUSE = """@id("house") @description("What is internal stays in its project.")
forbid (principal, action in Action::"Discover", resource is Listing)
when { resource.classification == "INTERNAL" && !(principal in resource.project.owners) };"""


def test_34_what_is_hidden_in_one_project_only_is_neither_found_nor_counted(tmp_path):
    with world(database_of(tmp_path), tmp_path, HOUSE) as mesh:
        for who in ("bob", "cy"):
            made = project_of(mesh, who, who)
            for name in ("PUBLIC", "INTERNAL"):
                asset(mesh, made, f"{who}-{name.lower()}", classification=name)
        assert found(mesh, "cy") == ["bob-public", "cy-internal", "cy-public"]
        facets = mesh.ask("cy", "SearchListings").facets
        counts = {one.value: one.count for one in facets["classification"]}
        assert counts == {"PUBLIC": 2, "INTERNAL": 1}


def test_34_a_project_that_is_younger_than_the_search_is_not_counted(mesh, project, monkeypatch):
    asset(mesh, project, "welds")
    asked = mesh.indexer.asked

    def late(ask):
        monkeypatch.undo()
        asset(mesh, project_of(mesh, "ann", "later"), "later")
        return asked(ask)

    monkeypatch.setattr(mesh.indexer, "asked", late)
    results = mesh.ask("cy", "SearchListings")
    assert (results.total, len(results.facets["project"])) == (1, 1)
    assert found(mesh, "cy") == ["later", "welds"]


def test_35_facets_count_what_the_caller_may_see_and_name_projects_and_units(mesh, project):
    asset(mesh, project, "one", classification="PUBLIC")
    asset(mesh, project, "two")
    results = mesh.ask("cy", "SearchListings", filters=("classification=PUBLIC",))
    counts = {one.value: one.count for one in results.facets["classification"]}
    assert (results.total, counts) == (1, {"PUBLIC": 1, "INTERNAL": 1})
    [counted] = results.facets["project"]
    assert (counted.name, counted.count) == ("press shop", 1)
    assert results.facets["unit"][0].name == "plant"


def test_25_35_terms_and_form_values_are_searched_and_narrow_the_search(mesh, project):
    own = {"owning_project_id": project.id, **STAMP}
    glossary = Glossary(id="glossary-1", name="machines", **own)
    term = GlossaryTerm(
        id="term-1", name="Robot", glossary_id=glossary.id, synonyms=("manipulator",), **STAMP
    )
    mesh.store.write(lambda changes: [changes.add(one) for one in (glossary, term)])
    form = Form("CommonAttributes", 1, {"refresh_frequency": "DAILY", "line": "A7"})
    asset(mesh, project, "cell", glossary_terms=(term.id,), forms=(form,))
    asset(mesh, project, "other")
    for given in ("term=Robot", "refresh_frequency=DAILY", "form/line=A7"):
        assert found(mesh, "cy", filters=(given,)) == ["cell"]
    assert found(mesh, "cy", "manipulator") == ["cell"]
    mesh.ask("bob", "UpdateGlossaryTerm", glossary_term_id=term.id, synonyms=("arm",))
    assert found(mesh, "cy", "manipulator") == []
    assert found(mesh, "cy", "arm") == ["cell"]
    mesh.ask("bob", "UpdateAsset", asset_id="asset-cell", glossary_terms=())
    mesh.ask("bob", "UpdateGlossaryTerm", glossary_term_id=term.id, synonyms=("gripper",))
    assert found(mesh, "cy", "gripper") == ["cell"]  # as it is published


def test_30_35_quality_is_a_facet_of_the_newest_score(mesh, project):
    asset(mesh, project, "welds")
    for at, score in ((2, 92.0), (1, 10.0)):
        point = TimeSeriesDataPoint(
            id=f"datapoint-{at}",
            asset_id="asset-welds",
            owning_project_id=project.id,
            form_name="quality",
            timestamp=at,
            score=score,
            **STAMP,
        )
        mesh.store.write(lambda changes, point=point: changes.add(point))
    assert found(mesh, "cy", min_score=90.0) == ["welds"]
    assert found(mesh, "cy", max_score=50.0) == []


def test_35_a_moved_project_is_found_in_its_new_unit(mesh, project):
    unit = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="press")
    asset(mesh, project, "welds")
    assert found(mesh, "cy", filters=(f"unit={unit.id}",)) == []
    mesh.ask("ann", "MoveProject", project_id=project.id, domain_unit_id=unit.id)
    assert found(mesh, "cy", filters=(f"unit={unit.id}",)) == ["welds"]


def test_34_what_is_unpublished_or_became_confidential_is_gone_at_once(mesh, project):
    listing = asset(mesh, project, "welds", classification="PUBLIC")
    assert found(mesh, "dee") == ["welds"]
    changed = replace(listing, version=2, classification=Classification.CONFIDENTIAL)
    mesh.store.write(lambda changes: changes.put(changed))
    assert found(mesh, "dee") == []
    changed = replace(changed, version=3, status=ListingStatus.INACTIVE)
    mesh.store.write(lambda changes: changes.put(changed))
    assert found(mesh, "cy") == []


def test_34_a_lost_or_foreign_index_is_made_anew(mesh, project, tmp_path):
    asset(mesh, project, "welds")
    assert found(mesh, "cy") == ["welds"]
    mesh.indexer.stop()
    for damage in (shutil.rmtree, lambda folder: (folder / "CURRENT").write_text("nonsense")):
        damage(tmp_path / "index")
        indexer = Indexer(mesh.store, tmp_path / "index")
        position = indexer.asked(lambda index: index.position)
        indexer.stop()
        with mesh.store.reading() as reader:
            assert position == reader.last_change()


def test_34_an_index_that_is_damaged_under_the_server_is_made_anew(mesh, project, tmp_path):
    asset(mesh, project, "welds")
    assert found(mesh, "cy") == ["welds"]
    for file in (tmp_path / "index").rglob("*"):
        if file.is_file() and file.name != "lock":
            file.unlink()
    assert found(mesh, "cy") == ["welds"]


def test_34_an_index_that_is_ahead_of_a_restored_database_is_made_anew(mesh, project, tmp_path):
    asset(mesh, project, "welds")
    mesh.indexer.asked(lambda index: index.apply([], position=1_000_000))
    mesh.indexer.stop()
    indexer = Indexer(mesh.store, tmp_path / "index")
    assert indexer.asked(lambda index: index.position) < 1_000_000
    indexer.stop()


@pytest.mark.parametrize(
    "given",
    [
        {"text": "x" * 1001},
        {"filters": ("nothing=1",)},
        {"facets": ("nothing",)},
        {"cursor": "nonsense"},
    ],
)
def test_a_search_that_makes_no_sense_is_refused(mesh, project, given):
    assert isinstance(mesh.refusal("cy", "SearchListings", **given), InvalidInput)
