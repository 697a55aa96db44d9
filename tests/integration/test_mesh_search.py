"""Finding: by words and facets, within what the caller may see, at once after a change."""

import shutil
import threading
import time
from dataclasses import replace

import pytest
from mesh_catalog import (
    kept,
    parquet_table,
    plain_type,
    project_of,
    scored,
    storage,
    table,
    technical,
)
from mesh_databases import database_of
from mesh_world import ROOT, STAMP, world

from atoll.core.errors import InvalidInput, Unavailable
from atoll.mesh.discovery import FACETS, Index, Put
from atoll.mesh.discovery.folder import CURRENT
from atoll.mesh.discovery.model import MAX_VALUES
from atoll.mesh.harvest.model import Column
from atoll.mesh.model.catalog import (
    Asset,
    Basis,
    Classification,
    ColumnMetadata,
    DataProduct,
    DataProductItem,
    EntityType,
    Listing,
    ListingStatus,
    TimeSeriesDataPoint,
)
from atoll.mesh.model.describing import FieldType, Form, GlossaryTerm
from atoll.mesh.model.organisation import PolicyType
from atoll.mesh.operations import indexing
from atoll.mesh.operations.indexing import indexers
from atoll.mesh.service.forms import FormInput, NewField
from atoll.mesh.service.listings import ListingAction
from atoll.mesh.service.products import ItemInput


@pytest.fixture
def mesh(database, tmp_path):
    with world(database, tmp_path) as made:
        yield made


@pytest.fixture
def project(mesh):
    """Bob's; Cy has one of his own, Dee has none."""
    project_of(mesh, "cy", "quality")
    return project_of(mesh, "bob", "press shop")


def asset(
    mesh, project, name, *, classification="INTERNAL", is_listed=True, has_pii=False, **values
):
    """Put an asset into the store, published or not."""
    own = {"owning_project_id": project.id, **STAMP}
    made = Asset(
        id=f"asset-{name}",
        name=name,
        external_identifier=f"s3://plant/{name}",
        association_id="association-lake",
        classification=Classification(classification),
        technical=parquet_table(f"s3://plant/{name}", (Column("torque_nm", "double", True),)),
        **{"asset_type": "Table", **own, **values},
    )
    listing = Listing(
        id=f"listing-{name}",
        name=name,
        entity_type=EntityType.ASSET,
        entity_id=made.id,
        entity_revision=1,
        classification=made.classification,
        has_pii=has_pii,
        all_terms=made.all_terms,
        **own,
    )
    records = [made, listing] if is_listed else [made]
    mesh.store.write(lambda changes: [changes.add(one) for one in records])
    return listing


def term_of(mesh, project, name, **values):
    given = {"policy_type": PolicyType.CREATE_GLOSSARY, "principal_id": "user-bob"}
    mesh.ask("ann", "AddPolicyGrant", domain_unit_id=project.domain_unit_id, **given)
    glossary = mesh.ask("bob", "CreateGlossary", project_id=project.id, name=f"about {name}")
    given = {"glossary_id": glossary.id, "name": name, **values}
    return mesh.ask("bob", "CreateGlossaryTerm", **given)


def form_type(mesh, project, **fields):
    """A form "Cell" with fields of these types, of which search is told by `is_facet`."""
    given = {"policy_type": PolicyType.CREATE_FORM_TYPE, "principal_id": "user-bob"}
    mesh.ask("ann", "AddPolicyGrant", domain_unit_id=project.domain_unit_id, **given)
    made = tuple(NewField(name=name, is_facet=True, type=type_) for name, type_ in fields.items())
    given = {"project_id": project.id, "name": "Cell", "fields": made}
    return mesh.ask("bob", "CreateFormType", **given)


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
    asked = mesh.indexers[Listing].asked

    def late(ask, least):
        monkeypatch.undo()
        later = mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="later")
        asset(mesh, later, "later")
        return asked(ask, least)

    monkeypatch.setattr(mesh.indexers[Listing], "asked", late)
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
    form_type(mesh, project, line=FieldType.STRING, spare=FieldType.BOOLEAN)
    term = term_of(mesh, project, "Robot", synonyms=("manipulator",))
    common = Form("CommonAttributes", 1, {"refresh_frequency": "DAILY", "business_unit": "Body"})
    forms = (common, Form("Cell", 1, {"line": "gantry A7", "spare": True}))
    asset(mesh, project, "cell", glossary_terms=(term.id,), forms=forms)
    asset(mesh, project, "other")
    of_form = ("form/Cell/line=gantry A7", "form/Cell/spare=true")
    for given in ("term=Robot", "refresh_frequency=DAILY", *of_form):
        assert found(mesh, "cy", filters=(given,)) == ["cell"]
    for text in ("manipulator", "gantry", "gantyr", "body"):
        assert found(mesh, "cy", text) == ["cell"]
    mesh.ask("bob", "UpdateGlossaryTerm", glossary_term_id=term.id, synonyms=("arm",))
    assert found(mesh, "cy", "manipulator") == []
    assert found(mesh, "cy", "arm") == ["cell"]
    mesh.ask("bob", "UpdateAsset", asset_id="asset-cell", glossary_terms=())
    mesh.ask("bob", "UpdateGlossaryTerm", glossary_term_id=term.id, synonyms=("gripper",))
    assert found(mesh, "cy", "gripper") == ["cell"]  # as it is published


def test_25_34_a_word_counts_most_in_a_name_then_term_column_form_and_description(mesh, project):
    term = term_of(mesh, project, "zinc")
    described = ColumnMetadata("torque_nm", description="zinc")
    asset(mesh, project, "a", description="all about zinc")
    asset(mesh, project, "b", forms=(Form("Cell", 1, {"coat": "zinc"}),))
    asset(mesh, project, "c", columns=(described,))
    asset(mesh, project, "d", glossary_terms=(term.id,))
    asset(mesh, project, "zinc bath")
    items = mesh.ask("cy", "SearchListings", text="zinc").items
    assert [one.name for one in items] == ["zinc bath", "d", "c", "b", "a"]


def test_25_terms_and_people_in_forms_are_found_by_their_names(mesh, project):
    form_type(mesh, project, about=FieldType.TERM, keeper=FieldType.USER)
    term = term_of(mesh, project, "Robot")
    asset(mesh, project, "cell")
    form = FormInput(form_type="Cell", content={"about": term.id, "keeper": "user-dee"})
    changed = mesh.ask("bob", "UpdateAsset", asset_id="asset-cell", forms=(form,))
    product = DataProduct(id="product-1", name="both", owning_project_id=project.id, **STAMP)
    kept(mesh, replace(product, forms=changed.forms))

    def drafts(text, *filters):
        items = mesh.ask("bob", "Search", text=text, filters=filters).items
        return sorted(one.name for one in items)

    assert drafts("robot") == drafts("dee") == ["both", "cell"]
    assert drafts("", "form/Cell/about=Robot", "form/Cell/keeper=dee") == ["both", "cell"]
    mesh.ask("bob", "UpdateGlossaryTerm", glossary_term_id=term.id, name="Manipulator")
    assert (drafts("robot"), drafts("manipulator")) == ([], ["both", "cell"])
    used = mesh.ask("bob", "GetGlossaryTermUsage", glossary_term_id=term.id)
    assert (used.assets, used.data_products) == (1, 1)
    told = mesh.refusal("bob", "DeleteGlossaryTerm", glossary_term_id=term.id)
    assert "is used" in told.message


def test_34_what_is_more_than_the_index_holds_keeps_nobody_from_finding(mesh, project):
    content = {f"n{at}": tuple(range(100)) for at in range(150)}
    common = Form("CommonAttributes", 1, {"business_unit": "Body " * 200})
    asset(mesh, project, "forms", forms=(common, Form("One", 1, content), Form("Two", 1, content)))
    words = {"glossary_id": "glossary", "synonyms": tuple(f"s{at}" for at in range(50)), **STAMP}
    terms = [GlossaryTerm(id=f"term-{at}", name=f"t{at}", **words) for at in range(450)]
    column = ColumnMetadata("torque_nm", glossary_terms=tuple(one.id for one in kept(mesh, *terms)))
    asset(mesh, project, "terms", columns=(column,))
    wide = technical([Column(f"c{at}", "double", True) for at in range(MAX_VALUES)])
    kept(mesh, table(project, "wide", technical=wide))
    items = (DataProductItem("asset-terms", 1), DataProductItem("asset-wide", 1))
    own = {"owning_project_id": project.id, **STAMP}
    kept(mesh, DataProduct(id="product-1", name="wider", items=items, **own))
    assert found(mesh, "cy") == ["forms", "terms"]
    [product] = mesh.ask("bob", "Search", text="torque", filters=("kind=data product",)).items
    assert product.name == "wider"


def test_25_35_a_form_value_narrows_the_search_only_where_the_form_says_so_now(mesh, project):
    made = form_type(mesh, project, line=FieldType.STRING)
    asset(mesh, project, "cell", forms=(Form("Cell", 1, {"line": "A7"}),))
    asset(mesh, project, "other", forms=(Form("Other", 1, {"line": "A7"}),))
    results = mesh.ask("cy", "SearchListings", facets=("form/Cell/line",))
    assert [(one.value, one.count) for one in results.facets["form/Cell/line"]] == [("A7", 1)]
    given = {"form_type_id": made.id, "fields": (NewField(name="line"),)}
    mesh.ask("bob", "UpdateFormType", **given)
    for asked in ({"facets": ("form/Cell/line",)}, {"filters": ("form/Cell/line=A7",)}):
        assert "no facet" in mesh.refusal("cy", "SearchListings", **asked).message
    assert found(mesh, "cy", "a7") == ["cell", "other"]


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


def test_30_34_35_a_data_product_has_columns_and_terms_of_its_assets_and_the_worst_score(
    mesh, project
):
    term = term_of(mesh, project, "stamping")
    presses = {
        "technical": technical((Column("pressure", "double", True),)),
        "glossary_terms": (term.id,),
    }
    kept(mesh, plain_type(), storage(project))
    kept(mesh, table(project, "welds"), table(project, "presses", **presses))
    items = tuple(ItemInput(asset_id=f"asset-{one}") for one in ("welds", "presses"))
    made = mesh.ask("bob", "CreateDataProduct", project_id=project.id, name="both", items=items)
    about = {"data_product_id": made.id}
    do = ListingAction.PUBLISH
    listing = mesh.ask("bob", "CreateDataProductListingChangeSet", action=do, **about)
    assert found(mesh, "cy", "pressure torque", filters=("quality=none",)) == ["both"]
    assert found(mesh, "cy", filters=("term=stamping",)) == ["both"]
    scored(mesh, "asset-welds", 95)
    assert found(mesh, "cy", min_score=95) == ["both"]
    scored(mesh, "asset-presses", 60)
    [hit] = mesh.ask("cy", "SearchListings", min_score=60, max_score=60).items
    quality = mesh.ask("cy", "GetListingQuality", listing_id=listing.id)
    assert hit.quality_score == quality.score == 60
    # What is published stays as it was; its scores do not.
    mesh.ask("bob", "SetDataProductItems", items=items[:1], **about)
    assert found(mesh, "cy", "pressure", max_score=60) == ["both"]
    [draft] = mesh.ask("bob", "Search", filters=("kind=data product",), min_score=95).items
    assert draft.quality_score == 95
    scored(mesh, "asset-presses", 91)
    assert found(mesh, "cy", filters=("quality=0.9-1",)) == ["both"]


def test_35_a_draft_of_a_data_product_is_as_confidential_as_its_assets_are_now(mesh, project):
    kept(mesh, plain_type(), table(project, "welds"))
    items = (ItemInput(asset_id="asset-welds"),)
    mesh.ask("bob", "CreateDataProduct", project_id=project.id, name="both", items=items)
    secret = Classification.CONFIDENTIAL
    asked = {"filters": ("kind=data product", f"classification={secret}")}
    assert mesh.ask("bob", "Search", **asked).total == 0
    mesh.ask("bob", "ClassifyAsset", asset_id="asset-welds", classification=secret)
    assert mesh.ask("bob", "Search", **asked).total == 1


# A facet, one of its values, and what of `two` has it.
NARROWED = [
    ("kind", "asset", ["coats", "welds"]),
    ("kind", "data product", ["together"]),
    ("project", "welding", ["welds"]),
    ("unit", "north", ["welds"]),
    ("unit", "plant", ["coats", "together", "welds"]),
    ("term", "Robot", ["welds"]),
    ("classification", "PUBLIC", ["welds"]),
    ("basis", "CONSUMER_BASED", ["welds"]),
    ("basis", "SOURCE_BASED", ["coats", "together"]),
    ("has_pii", "true", ["welds"]),
    ("business_unit", "Body", ["welds"]),
    ("refresh_frequency", "DAILY", ["welds"]),
    ("asset_type", "VectorCollection", ["coats"]),
    ("quality", "0.75-0.9", ["welds"]),
    ("quality", "none", ["coats", "together"]),
    ("form/Cell/line", "A7", ["welds"]),
    ("form/CommonAttributes/business_unit", "Body", ["welds"]),
]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A mesh of two assets that differ in all that search can be narrowed by, and a product."""
    home = tmp_path_factory.mktemp("two")
    with world(database_of(home), home) as mesh:
        unit = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="north")
        welding = project_of(mesh, "bob", "welding", unit.id)
        painting = project_of(mesh, "cy", "painting")
        form_type(mesh, welding, line=FieldType.STRING)
        term = term_of(mesh, welding, "Robot")
        common = {"business_unit": "Body", "refresh_frequency": "DAILY"}
        described = {
            "classification": "PUBLIC",
            "basis": Basis.CONSUMER_BASED,
            "has_pii": True,
            "glossary_terms": (term.id,),
            "forms": (Form("CommonAttributes", 1, common), Form("Cell", 1, {"line": "A7"})),
        }
        asset(mesh, welding, "welds", **described)
        asset(mesh, painting, "coats", asset_type="VectorCollection")
        scored(mesh, "asset-welds", 80)
        own = {"owning_project_id": painting.id, "name": "together", **STAMP}
        item = DataProductItem("asset-coats", 1)
        product = DataProduct(id="product-together", items=(item,), basis=Basis.SOURCE_BASED, **own)
        listing = Listing(
            id="listing-together",
            entity_type=EntityType.DATA_PRODUCT,
            entity_id=product.id,
            entity_revision=1,
            asset_ids=product.asset_ids,
            classification=Classification.INTERNAL,
            **own,
        )
        kept(mesh, product, listing)
        yield mesh


@pytest.mark.parametrize(("facet", "value", "names"), NARROWED)
def test_16_21_35_each_facet_counts_what_it_narrows_the_search_to(two, facet, value, names):
    [counts] = two.ask("cy", "SearchListings", facets=(facet,)).facets.values()
    [counted] = [one for one in counts if one.name == value]
    assert counted.count == len(names)
    assert found(two, "cy", filters=(f"{facet}={counted.value}",)) == names


def test_35_there_is_no_facet_but_those_tried_here():
    assert {facet for facet, *_ in NARROWED} >= set(FACETS)


def test_35_a_moved_project_is_found_in_its_new_unit(mesh, project):
    unit = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="press")
    asset(mesh, project, "welds")
    assert found(mesh, "cy", filters=(f"unit={unit.id}",)) == []
    mesh.ask("ann", "MoveProject", project_id=project.id, domain_unit_id=unit.id)
    assert found(mesh, "cy", filters=(f"unit={unit.id}",)) == ["welds"]


@pytest.fixture
def written(monkeypatch):
    """Ids of the entries that are written, in both indexes."""
    ids = []
    apply = Index.apply

    def applied(index, changes, *, position):
        ids.extend(one.entry.id if isinstance(one, Put) else one.id for one in changes)
        apply(index, changes, position=position)

    monkeypatch.setattr(Index, "apply", applied)
    return ids


@pytest.fixture
def press(mesh, project):
    """A unit with Bob's project, which has an asset with a term; both indexes are up to date."""
    unit = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="press")
    mesh.ask("ann", "MoveProject", project_id=project.id, domain_unit_id=unit.id)
    term = term_of(mesh, replace(project, domain_unit_id=unit.id), "Robot")
    asset(mesh, project, "welds", glossary_terms=(term.id,))
    assert everywhere(mesh) == (["welds"], ["welds"])
    return unit, term


def everywhere(mesh, *filters):
    """What Bob finds in both indexes."""
    drafts = mesh.ask("bob", "Search", filters=filters).items
    return found(mesh, "bob", filters=filters), [one.name for one in drafts]


def described(mesh, project, unit, term):
    """Change all that entries do not hold of what they share."""
    for one in (ROOT, unit.id):
        given = {"name": f"the {one}", "description": "where it is hot"}
        mesh.ask("ann", "UpdateDomainUnit", domain_unit_id=one, **given)
    mesh.ask("ann", "SetDomainUnitOwners", domain_unit_id=unit.id, owners=("user-dee",))
    given = {"name": "stamping", "description": "all of it"}
    mesh.ask("bob", "UpdateProject", project_id=project.id, **given)
    given = {"short_description": "an arm", "long_description": "an arm on a foot"}
    mesh.ask("bob", "UpdateGlossaryTerm", glossary_term_id=term.id, **given)


def test_35_what_entries_do_not_hold_is_changed_and_none_is_written(
    mesh, project, press, written, tmp_path
):
    unit, term = press
    described(mesh, project, unit, term)
    assert everywhere(mesh) == (["welds"], ["welds"])
    for kind, folder in ((Listing, "listings"), (Asset, "inventory")):
        mesh.indexers[kind].stop()
        again = indexers(mesh.store, tmp_path / "index")[kind]
        last = again.last_change()
        assert again.asked(lambda index: index.position, last) == last, folder
        again.stop()
    assert written == []


def test_35_what_entries_hold_is_changed_and_all_below_are_written(mesh, project, press, written):
    unit, term = press
    asset(mesh, project_of(mesh, "cy", "elsewhere"), "coats")
    assert everywhere(mesh) == (["coats", "welds"], ["welds"])
    other = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="other")
    changes = [
        ("ann", "MoveDomainUnit", {"domain_unit_id": unit.id, "parent_domain_unit_id": other.id}),
        ("ann", "MoveProject", {"project_id": project.id, "domain_unit_id": other.id}),
        ("bob", "UpdateGlossaryTerm", {"glossary_term_id": term.id, "name": "Arm"}),
        ("bob", "UpdateGlossaryTerm", {"glossary_term_id": term.id, "synonyms": ("gripper",)}),
    ]
    for who, name, given in changes:
        written.clear()
        mesh.ask(who, name, **given)
        assert everywhere(mesh, f"unit={other.id}") == (["welds"], ["welds"])
        assert sorted(written) == ["asset-welds", "listing-welds"], name
    assert everywhere(mesh, "term=Arm") == (["welds"], ["welds"])


def test_35_what_changed_while_nobody_followed_is_written(mesh, project, press, tmp_path):
    unit, term = press
    for one in mesh.indexers.values():
        one.stop()
    other = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="other")
    to = {"domain_unit_id": unit.id, "parent_domain_unit_id": other.id}
    mesh.ask("ann", "MoveDomainUnit", **to)
    mesh.ask("bob", "UpdateGlossaryTerm", glossary_term_id=term.id, name="Arm")
    mesh.indexers.update(indexers(mesh.store, tmp_path / "index"))
    assert everywhere(mesh, f"unit={other.id}", "term=Arm") == (["welds"], ["welds"])


class Large:
    """A unit that is moved with more below it than is written at once, by what follows."""

    def __init__(self, mesh, project, unit, monkeypatch):
        self.mesh, self.project = mesh, project
        self.names = sorted(f"seat {at}" for at in range(7))
        for name in self.names:
            asset(mesh, project, name, classification="PUBLIC")
        assert found(mesh, "bob", "seat") == self.names
        self.indexer = mesh.indexers[Listing]
        self.may_go_on = threading.Event()
        pay_off = self.indexer._pay_off

        def paid(index):
            if self.may_go_on.is_set():
                pay_off(index)

        monkeypatch.setattr(indexing, "AT_ONCE", 3)
        monkeypatch.setattr(self.indexer, "_pay_off", paid)
        self.indexer.follow()
        self.to = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="other")
        to = {"domain_unit_id": unit.id, "parent_domain_unit_id": self.to.id}
        mesh.ask("ann", "MoveDomainUnit", **to)

    def moved(self):
        return found(self.mesh, "bob", filters=(f"unit={self.to.id}",))

    def position(self):
        return self.indexer.asked(lambda index: index.position, 0)


@pytest.fixture
def large(mesh, project, press, monkeypatch):
    return Large(mesh, project, press[0], monkeypatch)


def test_34_while_a_large_unit_is_moved_all_else_is_as_it_is_now(mesh, project, large):
    assert found(mesh, "dee", "seat") == large.names
    assert large.moved() == []
    hidden, gone, *_ = large.names
    asset_id = f"asset-{hidden}"
    to = Classification.CONFIDENTIAL
    mesh.ask("bob", "ClassifyAsset", asset_id=asset_id, classification=to)
    given = {"asset_id": f"asset-{gone}", "action": ListingAction.UNPUBLISH}
    mesh.ask("bob", "CreateListingChangeSet", **given)
    asset(mesh, project, "seat 9", classification="PUBLIC")
    results = mesh.ask("dee", "SearchListings", text="seat")
    names = [*large.names[2:], "seat 9"]
    assert sorted(one.name for one in results.items) == names
    assert [one.count for one in results.facets["project"]] == [len(names)]
    assert large.moved() == [hidden, "seat 9"]


def test_34_a_large_unit_is_moved_in_the_end(large):
    before = large.position()
    assert found(large.mesh, "bob", "seat") == large.names
    assert large.position() == before < large.indexer.last_change()
    large.may_go_on.set()
    until = time.monotonic() + 60
    while len(large.moved()) < 8 and time.monotonic() < until:
        time.sleep(0.05)
    assert large.moved() == [*large.names, "welds"]
    while large.position() < large.indexer.last_change() and time.monotonic() < until:
        time.sleep(0.05)
    assert large.position() == large.indexer.last_change()


def test_34_a_large_unit_whose_move_was_cut_off_is_moved_after_the_next_start(large, tmp_path):
    assert found(large.mesh, "bob", "seat") == large.names
    for one in large.mesh.indexers.values():
        one.stop()
    large.mesh.indexers.update(indexers(large.mesh.store, tmp_path / "index"))
    assert large.moved() == [*large.names, "welds"]


def test_34_a_search_waits_for_seconds_at_most(mesh, project, monkeypatch):
    asset(mesh, project, "welds")
    monkeypatch.setattr(indexing, "PATIENCE_S", 0.01)
    may_go_on, begun = threading.Event(), threading.Event()
    opened = mesh.indexers[Listing]._opened

    def late():
        begun.set()
        assert may_go_on.wait(60)
        return opened()

    monkeypatch.setattr(mesh.indexers[Listing], "_opened", late)
    mesh.indexers[Listing].follow()
    assert begun.wait(60)
    assert isinstance(mesh.refusal("cy", "SearchListings"), Unavailable)
    may_go_on.set()
    monkeypatch.setattr(indexing, "PATIENCE_S", 60)
    assert found(mesh, "cy") == ["welds"]


def test_35_hits_and_facets_name_projects_and_units_as_they_are_called_now(mesh, project):
    asset(mesh, project, "welds")

    def names():
        results = mesh.ask("cy", "SearchListings")
        [hit], facets = results.items, results.facets
        return hit.project, facets["project"][0].name, facets["unit"][0].name

    before = names()
    mesh.ask("bob", "UpdateProject", project_id=project.id, name="stamping")
    unit = project.domain_unit_id
    mesh.ask("ann", "UpdateDomainUnit", domain_unit_id=unit, name="factory")
    assert (before, names()) == (
        ("press shop", "press shop", "plant"),
        ("stamping", "stamping", "factory"),
    )


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
    mesh.indexers[Listing].stop()
    for damage in (shutil.rmtree, lambda folder: (folder / CURRENT).write_text("nonsense")):
        damage(tmp_path / "index" / "listings")
        indexer = indexers(mesh.store, tmp_path / "index")[Listing]
        last = indexer.last_change()
        assert indexer.asked(lambda index: index.position, last) == last
        indexer.stop()


def test_34_an_index_that_is_damaged_under_the_server_is_made_anew(mesh, project, tmp_path):
    asset(mesh, project, "welds")
    assert found(mesh, "cy") == ["welds"]
    for file in (tmp_path / "index").rglob("*"):
        if file.is_file() and file.name != "lock":
            file.unlink()
    assert found(mesh, "cy") == ["welds"]


def test_34_an_index_that_is_ahead_of_a_restored_database_is_made_anew(mesh, project, tmp_path):
    asset(mesh, project, "welds")
    mesh.indexers[Listing].asked(lambda index: index.apply([], position=1_000_000), 0)
    mesh.indexers[Listing].stop()
    indexer = indexers(mesh.store, tmp_path / "index")[Listing]
    assert indexer.asked(lambda index: index.position, 0) < 1_000_000
    indexer.stop()


def test_34_an_index_that_is_far_behind_is_made_anew_at_once(mesh, project, tmp_path, monkeypatch):
    assert found(mesh, "cy") == []
    monkeypatch.setattr(indexing, "AT_ONCE", 1)
    lives = {file.name for file in (tmp_path / "index" / "listings").glob("index-*")}
    for name in ("welds", "coats", "presses"):
        asset(mesh, project, name)
    assert found(mesh, "cy") == ["coats", "presses", "welds"]
    again = {file.name for file in (tmp_path / "index" / "listings").glob("index-*")}
    assert len(again) == 1
    assert not again & lives
    asset(mesh, project, "seats")
    assert found(mesh, "cy") == ["coats", "presses", "seats", "welds"]
    assert {file.name for file in (tmp_path / "index" / "listings").glob("index-*")} == again


def test_34_changes_that_show_in_nothing_are_not_committed_but_for_many(
    mesh, project, tmp_path, monkeypatch
):
    asset(mesh, project, "welds")
    assert found(mesh, "cy") == ["welds"]
    indexer = mesh.indexers[Listing]
    before = indexer.asked(lambda index: index.position, 0)
    term = term_of(mesh, project, "carried by nothing")
    assert found(mesh, "cy") == ["welds"]
    assert indexer.asked(lambda index: index.position, 0) == before < indexer.last_change()
    monkeypatch.setattr(indexing, "FAR", 0)
    mesh.ask("bob", "UpdateGlossaryTerm", glossary_term_id=term.id, synonyms=("of nothing",))
    assert found(mesh, "cy") == ["welds"]
    assert indexer.asked(lambda index: index.position, 0) == indexer.last_change()


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
