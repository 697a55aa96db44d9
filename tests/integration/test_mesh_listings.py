"""Listings and data products: what is published, to whom it shows, and what stays untold."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import msgspec
import pytest
from mesh_catalog import kept, plain_type, project_of, publish, scored, storage, table, unpublish
from mesh_samples import shared
from mesh_world import ROOT, STAMP, world

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.mesh.model.access import SubscriptionRequestStatus
from atoll.mesh.model.catalog import (
    AssetType,
    Basis,
    Classification,
    ColumnMetadata,
    ListingStatus,
    PiiFlag,
    PiiStatus,
)
from atoll.mesh.model.describing import RuleAction, RuleType
from atoll.mesh.model.organisation import AssociationStatus, PolicyType
from atoll.mesh.service.assets import ChangedColumn
from atoll.mesh.service.forms import FormInput, NewField
from atoll.mesh.service.listings import ListingAction
from atoll.mesh.service.products import ItemInput

PUBLIC, INTERNAL, CONFIDENTIAL = Classification


@pytest.fixture
def mesh(mesh):
    kept(mesh, plain_type())
    return mesh


@pytest.fixture
def project(mesh):
    """Bob's, with storage; Cy has another one; Dee is in none."""
    made = project_of(mesh, "bob", "welding")
    project_of(mesh, "cy", "painting")
    kept(mesh, storage(made))
    return made


@pytest.fixture
def asset(mesh, project):
    [made] = kept(mesh, table(project))
    return made


def classify(mesh, asset, classification, name="ClassifyAsset"):
    return mesh.ask("bob", name, asset_id=asset.id, classification=classification)


def listing(mesh, found, who="bob"):
    return mesh.ask(who, "GetListing", listing_id=found.id)


def listed(mesh, found, who="cy"):
    return mesh.ask(who, "GetListedAsset", listing_id=found.id)


def who_sees(mesh, found):
    seeing = set()
    for who in ("ann", "bob", "cy", "dee"):
        names = {one.id for one in mesh.ask(who, "ListListings")["items"]}
        if found.id in names:
            assert listing(mesh, found, who).id == found.id
            seeing.add(who)
        else:
            assert isinstance(mesh.refusal(who, "GetListing", listing_id=found.id), NotFound)
            assert isinstance(mesh.refusal(who, "GetListedAsset", listing_id=found.id), NotFound)
    return seeing


def form_type(mesh, project):
    given = {"policy_type": PolicyType.CREATE_FORM_TYPE, "principal_id": "user-bob"}
    mesh.ask("ann", "AddPolicyGrant", domain_unit_id=ROOT, **given)
    fields = (NewField(name="unit", is_required=True), NewField(name="shift"))
    return mesh.ask("bob", "CreateFormType", project_id=project.id, name="Torque", fields=fields)


def filled(**content):
    return (FormInput(form_type="Torque", content=content),)


def test_18_a_producer_describes_fills_in_publishes_and_a_consumer_sees_it(mesh, project):
    form_type(mesh, project)
    typed = {"name": "Welds", "form_types": ("Torque",), "required_forms": ("Torque",)}
    [_, asset] = kept(
        mesh,
        AssetType(id="assettype-welds", **typed, **STAMP),
        table(project, asset_type="Welds"),
    )
    assert "requires the form 'Torque'" in refusal_to_publish(mesh, asset)
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, name="Welds of line 3", description="All")
    said = (ChangedColumn(name="torque", business_name="Tightening torque"),)
    mesh.ask("bob", "UpdateAssetColumns", asset_id=asset.id, columns=said)
    mesh.ask("bob", "FlagPii", asset_id=asset.id, columns=("worker",), kind="person_name")
    mesh.ask("bob", "DecidePii", asset_id=asset.id, columns=("worker",), is_personal=True)
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, forms=filled(shift="late"))
    assert "lacks unit" in refusal_to_publish(mesh, asset)
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, forms=filled(unit="Nm"))
    found = publish(mesh, "bob", asset)
    shown = listed(mesh, found)
    assert (shown.name, shown.project_name, shown.rows) == ("Welds of line 3", "welding", 1000)
    assert shown.forms[0].content == {"unit": "Nm"}
    columns = {one.name: (one.business_name, one.is_personal, one.pii) for one in shown.columns}
    assert columns == {
        "order": ("", False, ""),
        "worker": ("", True, "person_name"),
        "torque": ("Tightening torque", False, ""),
        "year": ("", False, ""),
    }


def refusal_to_publish(mesh, asset):
    given = {"asset_id": asset.id, "action": ListingAction.PUBLISH}
    told = mesh.refusal("bob", "CreateListingChangeSet", **given)
    assert isinstance(told, Conflict)
    return told.message


@pytest.mark.parametrize(
    ("classification", "who"),
    [
        (PUBLIC, {"ann", "bob", "cy", "dee"}),
        (INTERNAL, {"ann", "bob", "cy"}),
        (CONFIDENTIAL, {"ann", "bob", "cy"}),
    ],
)
def test_39_who_finds_a_listing_goes_by_its_classification(mesh, project, classification, who):
    [asset] = kept(mesh, table(project, classification=classification))
    found = publish(mesh, "bob", asset)
    assert who_sees(mesh, found) == who
    unpublish(mesh, "bob", asset)
    assert who_sees(mesh, found) == {"ann", "bob"}


def test_15_a_draft_changes_nothing_of_what_is_published(mesh, asset):
    found = publish(mesh, "bob", asset)
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, name="draft", description="draft")
    assert (listing(mesh, found, "cy").name, listed(mesh, found).description) == ("welds", "")
    assert publish(mesh, "bob", asset).name == "draft"
    assert listed(mesh, found).revision == 2


def test_15_a_listing_keeps_its_id_over_being_unpublished(mesh, asset):
    first = publish(mesh, "bob", asset)
    assert publish(mesh, "bob", asset) == first  # nothing new
    assert unpublish(mesh, "bob", asset).status is ListingStatus.INACTIVE
    given = {"asset_id": asset.id, "action": ListingAction.UNPUBLISH}
    assert isinstance(mesh.refusal("bob", "CreateListingChangeSet", **given), Conflict)
    again = publish(mesh, "bob", asset)
    assert (again.id, again.status) == (first.id, ListingStatus.ACTIVE)


def test_what_was_never_published_is_not_unpublished(mesh, asset):
    given = {"asset_id": asset.id, "action": ListingAction.UNPUBLISH}
    assert isinstance(mesh.refusal("bob", "CreateListingChangeSet", **given), Conflict)
    told = mesh.refusal("cy", "CreateListingChangeSet", **given)
    assert isinstance(told, NotFound)


def test_an_earlier_revision_is_published_no_less_sensitive_than_the_asset_is(mesh, asset):
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, name="second")
    classify(mesh, asset, CONFIDENTIAL)
    mesh.ask("bob", "FlagPii", asset_id=asset.id, columns=("worker",), kind="person_name")
    found = publish(mesh, "bob", asset, revision=1)
    shown = (found.name, found.entity_revision, found.classification, found.has_pii)
    assert shown == ("welds", 1, CONFIDENTIAL, True)
    assert [one.name for one in listed(mesh, found).columns if one.is_personal] == ["worker"]
    given = {"asset_id": asset.id, "action": ListingAction.PUBLISH, "revision": 9}
    assert isinstance(mesh.refusal("bob", "CreateListingChangeSet", **given), NotFound)


def test_all_that_keeps_an_asset_from_being_published_is_told_at_once(mesh, project):
    form_type(mesh, project)
    rule = {"rule_type": RuleType.METADATA_FORM_ENFORCEMENT, "form_types": ("Torque",)}
    rule |= {"action": RuleAction.CREATE_LISTING_CHANGE_SET, "name": "torque"}
    mesh.ask("ann", "CreateRule", domain_unit_id=ROOT, **rule)
    kept(mesh, storage(project, "new", AssociationStatus.PENDING))
    bare = {"technical": None, "basis": Basis.CONSUMER_BASED, "is_archived": True}
    [asset] = kept(mesh, table(project, association_id="association-new", **bare))
    given = {"asset_id": asset.id, "action": ListingAction.PUBLISH}
    told = mesh.refusal("bob", "CreateListingChangeSet", **given)
    words = ("archived", "not read yet", "storage", "upstream", "rule 'torque'")
    assert len(told.details["why"]) == len(words)
    assert all(word in told.message for word in words)


def test_a_consumer_is_not_told_where_data_are_nor_what_they_hold(mesh, project):
    flag = PiiFlag("email", PiiStatus.CONFIRMED, "evidence-of-it")
    columns = (ColumnMetadata("worker", pii=flag),)
    [asset] = kept(mesh, table(project, columns=columns))
    shown = msgspec.json.encode(listed(mesh, publish(mesh, "bob", asset))).decode()
    hidden = ("s3://", "association", "secret-folder", "fingerprint", "encoding", "evidence", "v1")
    assert [word for word in hidden if word in shown] == []


def test_16_a_consumer_sees_as_much_of_upstream_as_they_may_know_of(mesh, project, asset):
    [made] = kept(mesh, table(project, "made", upstream=(asset.id, "asset-gone")))
    found = publish(mesh, "bob", made)
    assert (listed(mesh, found).upstream, listed(mesh, found, "bob").upstream) == ((), (asset.id,))
    publish(mesh, "bob", asset)
    assert listed(mesh, found).upstream == (asset.id,)


def test_39_a_listing_is_stricter_at_once_and_less_strict_by_publication(mesh, asset):
    found = publish(mesh, "bob", asset)
    classify(mesh, asset, CONFIDENTIAL)
    assert listing(mesh, found).classification is CONFIDENTIAL
    assert mesh.notes[-2].operation == "ReclassifyListing"
    classify(mesh, asset, PUBLIC, "DeclassifyAsset")
    assert listing(mesh, found).classification is CONFIDENTIAL
    assert publish(mesh, "bob", asset).classification is PUBLIC
    assert mesh.notes[-2].operation == "ReclassifyListing"
    assert who_sees(mesh, found) == {"ann", "bob", "cy", "dee"}


def test_40_a_listing_has_personal_data_at_once_and_none_by_publication(mesh, asset):
    found = publish(mesh, "bob", asset)
    given = {"asset_id": asset.id, "columns": ("worker",)}
    mesh.ask("bob", "FlagPii", kind="person_name", **given)
    assert listing(mesh, found).has_pii
    mesh.ask("bob", "DecidePii", is_personal=False, **given)
    assert listing(mesh, found).has_pii
    assert not publish(mesh, "bob", asset).has_pii


def test_an_inactive_listing_becomes_stricter_too(mesh, asset):
    found = publish(mesh, "bob", asset)
    unpublish(mesh, "bob", asset)
    classify(mesh, asset, CONFIDENTIAL)
    assert listing(mesh, found).classification is CONFIDENTIAL


def test_9_data_whose_storage_left_the_domain_show_so_and_are_not_published_anew(mesh, asset):
    found = publish(mesh, "bob", asset)
    assert listed(mesh, found).is_available
    mesh.ask("ann", "RemoveAssociation", association_id="association-lake")
    assert not listed(mesh, found).is_available
    assert "storage" in refusal_to_publish(mesh, asset)
    assert unpublish(mesh, "bob", asset).status is ListingStatus.INACTIVE


def test_22_a_rule_of_the_unit_is_enforced_at_publication(mesh, project, asset):
    form_type(mesh, project)
    rule = {"rule_type": RuleType.METADATA_FORM_ENFORCEMENT, "form_types": ("Torque",)}
    rule |= {"action": RuleAction.CREATE_LISTING_CHANGE_SET, "name": "torque"}
    mesh.ask("ann", "CreateRule", domain_unit_id=ROOT, **rule)
    assert "'torque'" in refusal_to_publish(mesh, asset)
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, forms=filled(unit="Nm"))
    assert publish(mesh, "bob", asset).status is ListingStatus.ACTIVE


def product(mesh, project, *assets, **given):
    items = tuple(ItemInput(asset_id=one.id) for one in assets)
    asked = {"project_id": project.id, "name": "line 3", "items": items, **given}
    return mesh.ask("bob", "CreateDataProduct", **asked)


def publish_product(mesh, made, action=ListingAction.PUBLISH):
    given = {"data_product_id": made.id, "action": action}
    return mesh.ask("bob", "CreateDataProductListingChangeSet", **given)


def test_15_a_data_product_is_found_with_its_assets(mesh, project, asset):
    [other] = kept(mesh, table(project, "parts", classification=CONFIDENTIAL))
    alone = publish(mesh, "bob", asset)
    found = publish_product(mesh, product(mesh, project, asset, other))
    assert found.classification is CONFIDENTIAL
    shown = mesh.ask("cy", "GetListedDataProduct", listing_id=found.id)
    assert [(one.asset_id, one.listing_id) for one in shown.items] == [
        (asset.id, alone.id),
        (other.id, ""),
    ]
    assert [len(one.columns) for one in shown.items] == [4, 4]
    told = mesh.refusal("cy", "GetListedAsset", listing_id=found.id)
    assert "GetListedDataProduct" in told.message
    told = mesh.refusal("cy", "GetListedDataProduct", listing_id=alone.id)
    assert "GetListedAsset" in told.message


def test_36_one_answer_describes_data_technically_and_for_business_and_tells_how_good_and_fresh(
    mesh, project, asset
):
    content = dict.fromkeys(("business_unit", "data_owner_contact", "product_owner"), "Body")
    common = FormInput(
        form_type="CommonAttributes", content={**content, "refresh_frequency": "DAILY"}
    )
    about = {"asset_id": asset.id}
    mesh.ask("bob", "UpdateAsset", description="Each weld", forms=(common,), **about)
    said = (ChangedColumn(name="torque", business_name="Tightening torque", description="In Nm"),)
    mesh.ask("bob", "UpdateAssetColumns", columns=said, **about)
    found = publish(mesh, "bob", asset)
    unmeasured = listed(mesh, found)
    assert (unmeasured.quality_score, unmeasured.scored_at) == (None, 0)
    point = scored(mesh, asset.id, 92)
    shown = listed(mesh, found)
    assert shown.description == "Each weld"
    [torque] = [one for one in shown.columns if one.name == "torque"]
    assert (torque.type, torque.business_name) == ("double", "Tightening torque")
    assert (shown.rows, shown.format, len(shown.columns)) == (1000, "parquet", 4)
    assert (shown.quality_score, shown.scored_at) == (92, point.timestamp)
    assert shown.forms[0].content["refresh_frequency"] == "DAILY"


def test_36_a_data_product_is_shown_as_good_as_the_worst_of_its_assets(mesh, project, asset):
    [other, third] = kept(mesh, table(project, "parts"), table(project, "unmeasured"))
    found = publish_product(mesh, product(mesh, project, asset, other, third))
    asked = {"listing_id": found.id}
    shown = mesh.ask("cy", "GetListedDataProduct", **asked)
    assert (shown.quality_score, shown.scored_at) == (None, 0)
    scored(mesh, asset.id, 92)
    point = scored(mesh, other.id, 60)
    shown = mesh.ask("cy", "GetListedDataProduct", **asked)
    assert (shown.quality_score, shown.scored_at) == (60, point.timestamp)
    assert [one.quality_score for one in shown.items] == [92, 60, None]
    assert mesh.ask("cy", "GetListingQuality", **asked).score == 60


def test_a_data_product_holds_assets_of_its_own_project(mesh, project, asset):
    others = mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="others")
    theirs = {"project_id": others.id, "name": "x", "items": (ItemInput(asset_id=asset.id),)}
    assert isinstance(mesh.refusal("ann", "CreateDataProduct", **theirs), InvalidInput)
    [hidden] = kept(mesh, table(others, "hidden"))
    given = {"project_id": project.id, "name": "x", "items": (ItemInput(asset_id=hidden.id),)}
    assert isinstance(mesh.refusal("bob", "CreateDataProduct", **given), NotFound)
    given["items"] = (ItemInput(asset_id=asset.id, revision=2),)
    assert isinstance(mesh.refusal("bob", "CreateDataProduct", **given), NotFound)
    given["items"] = (ItemInput(asset_id=asset.id), ItemInput(asset_id=asset.id, revision=1))
    assert isinstance(mesh.refusal("bob", "CreateDataProduct", **given), InvalidInput)


def test_a_data_product_is_published_where_each_of_its_assets_could_be(mesh, project, asset):
    [bare] = kept(mesh, table(project, "bare", technical=None))
    made = product(mesh, project, asset, bare)
    given = {"data_product_id": made.id, "action": ListingAction.PUBLISH}
    told = mesh.refusal("bob", "CreateDataProductListingChangeSet", **given)
    assert "asset 'bare'" in told.message
    items = {"data_product_id": made.id, "items": ()}
    mesh.ask("bob", "SetDataProductItems", **items)
    told = mesh.refusal("bob", "CreateDataProductListingChangeSet", **given)
    assert "no assets" in told.message
    items["items"] = (ItemInput(asset_id=asset.id),)
    mesh.ask("bob", "SetDataProductItems", **items)
    assert publish_product(mesh, made).entity_revision == 3


def test_39_a_data_product_becomes_stricter_with_any_of_its_assets(mesh, project, asset):
    made = product(mesh, project, asset)
    found = publish_product(mesh, made)
    mesh.ask("bob", "SetDataProductItems", data_product_id=made.id, items=())  # a draft only
    classify(mesh, asset, CONFIDENTIAL)
    mesh.ask("bob", "FlagPii", asset_id=asset.id, columns=("worker",), kind="person_name")
    shown = listing(mesh, found)
    assert (shown.classification, shown.has_pii) == (CONFIDENTIAL, True)
    classify(mesh, asset, PUBLIC, "DeclassifyAsset")
    items = (ItemInput(asset_id=asset.id),)
    mesh.ask("bob", "SetDataProductItems", data_product_id=made.id, items=items)
    assert listing(mesh, found).classification is CONFIDENTIAL
    assert publish_product(mesh, made).classification is PUBLIC


def test_19_a_term_that_a_published_data_product_shows_is_used(mesh, project, asset):
    words = mesh.ask("ann", "CreateGlossary", project_id=project.id, name="words")
    word = mesh.ask("bob", "CreateGlossaryTerm", glossary_id=words.id, name="torque")
    given = {"asset_id": asset.id, "glossary_terms": (word.id,)}
    described = mesh.ask("bob", "UpdateAsset", **given)
    found = publish_product(mesh, product(mesh, project, described))
    assert listing(mesh, found).all_terms == (word.id,)
    mesh.ask("bob", "UpdateAsset", **given | {"glossary_terms": ()})
    asked = {"glossary_term_id": word.id}
    assert isinstance(mesh.refusal("bob", "DeleteGlossaryTerm", **asked), Conflict)
    usage = mesh.ask("bob", "GetGlossaryTermUsage", **asked)
    assert (usage.assets, usage.data_products) == (0, 1)


def test_an_asset_in_a_data_product_is_not_removed(mesh, project, asset):
    made = product(mesh, project, asset)
    assert "'line 3'" in mesh.refusal("bob", "DeleteAsset", asset_id=asset.id).message
    publish_product(mesh, made)
    mesh.ask("bob", "SetDataProductItems", data_product_id=made.id, items=())
    assert isinstance(mesh.refusal("bob", "DeleteAsset", asset_id=asset.id), Conflict)
    publish_product(mesh, made, ListingAction.UNPUBLISH)
    mesh.ask("bob", "DeleteAsset", asset_id=asset.id)


def test_a_data_product_that_others_see_or_ask_for_is_not_removed(mesh, project, asset):
    made = product(mesh, project, asset)
    found = publish_product(mesh, made)
    assert "published" in mesh.refusal("bob", "DeleteDataProduct", data_product_id=made.id).message
    publish_product(mesh, made, ListingAction.UNPUBLISH)
    request = replace(shared("project-x", project.id, "x")[0], listing_id=found.id)
    kept(mesh, request)
    told = mesh.refusal("bob", "DeleteDataProduct", data_product_id=made.id)
    assert isinstance(told, Conflict)
    done = replace(request, version=2, status=SubscriptionRequestStatus.REJECTED)
    mesh.store.write(lambda changes: changes.put(done))
    mesh.ask("bob", "DeleteDataProduct", data_product_id=made.id)
    assert isinstance(mesh.refusal("bob", "GetListing", listing_id=found.id), NotFound)
    assert mesh.ask("bob", "GetAsset", asset_id=asset.id) == asset


def test_a_data_product_is_described_in_revisions(mesh, project, asset):
    form_type(mesh, project)
    made = product(mesh, project, asset, forms=filled(shift="late"))
    given = {"data_product_id": made.id}
    changed = mesh.ask("bob", "UpdateDataProduct", description="all of it", **given)
    assert mesh.ask("bob", "GetDataProduct", revision=1, **given) == made
    found = mesh.ask("bob", "ListDataProductRevisions", **given)["items"]
    assert [(one.revision, one.changed) for one in found] == [(1, []), (2, ["description"])]
    asked = {"action": ListingAction.PUBLISH, **given}
    told = mesh.refusal("bob", "CreateDataProductListingChangeSet", **asked)
    assert "lacks unit" in told.message
    mesh.ask("bob", "UpdateDataProduct", forms=filled(unit="Nm"), **given)
    found = publish_product(mesh, changed)
    assert mesh.ask("dee", "ListListings")["items"] == []
    assert mesh.ask("cy", "ListListings", name="line 3")["items"] == [found]


def test_15_data_products_are_their_projects_until_they_are_published(mesh, project, asset):
    made = product(mesh, project, asset)
    listed_ones = mesh.ask("bob", "ListDataProducts", project_id=project.id)["items"]
    assert listed_ones == [made]
    for name in ("GetDataProduct", "DeleteDataProduct", "ListDataProductRevisions"):
        assert isinstance(mesh.refusal("cy", name, data_product_id=made.id), NotFound)
    given = {"data_product_id": made.id, "items": ()}
    assert isinstance(mesh.refusal("ann", "SetDataProductItems", **given), Forbidden)


def test_those_who_publish_at_once_make_one_listing(database):
    with world(database) as mesh, ThreadPoolExecutor(8) as threads:
        project = project_of(mesh, "bob", "welding")
        [asset] = kept(mesh, plain_type(), storage(project), table(project))[2:]
        found = list(threads.map(lambda _: publish(mesh, "bob", asset), range(16)))
        assert len({one.id for one in found}) == 1
        assert mesh.ask("bob", "ListListings", entity_id=asset.id)["items"] == [found[0]]
