"""Assets and their types: what people say of data, how sensitive they are, which are copies."""

from dataclasses import replace

import msgspec
import pytest
from mesh_catalog import (
    COLUMNS,
    kept,
    plain_type,
    project_of,
    publish,
    storage,
    table,
    technical,
    unpublish,
)
from mesh_world import ROOT, STAMP, world

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.core.records import converted, decoded
from atoll.mesh.harvest.model import Column
from atoll.mesh.model.access import Subscription, SubscriptionStatus
from atoll.mesh.model.catalog import (
    Asset,
    AssetFilter,
    AssetType,
    Basis,
    Classification,
    ColumnMetadata,
    Listing,
    PiiFlag,
    PiiStatus,
    TimeSeriesDataPoint,
)
from atoll.mesh.model.describing import EnabledStatus, FieldType
from atoll.mesh.model.organisation import ALL_USERS, Designation, PolicyType, Project
from atoll.mesh.model.people import ProfileStatus
from atoll.mesh.model.record import new_id
from atoll.mesh.service import OPERATIONS
from atoll.mesh.service.asset_types import usable_type
from atoll.mesh.service.assets import ChangedColumn, changed_asset
from atoll.mesh.service.forms import FormInput, NewField


@pytest.fixture
def mesh(mesh):
    kept(mesh, plain_type())
    return mesh


@pytest.fixture
def project(mesh):
    """Bob's, with storage; Dee is its steward."""
    made = project_of(mesh, "bob", "welding")
    given = {"member_id": "user-dee", "designation": Designation.STEWARD}
    mesh.ask("bob", "CreateProjectMembership", project_id=made.id, **given)
    kept(mesh, storage(made))
    return made


@pytest.fixture
def asset(mesh, project):
    [made] = kept(mesh, table(project))
    return made


@pytest.fixture
def other(mesh):
    """Cy's."""
    return project_of(mesh, "cy", "painting")


def system(mesh, work):
    """Change something as the mesh itself does."""
    return mesh.attendant.act("RefreshAsset", "test", work)


def term(mesh, project, name):
    mesh_grant(mesh, PolicyType.CREATE_GLOSSARY)
    glossary = mesh.ask("bob", "CreateGlossary", project_id=project.id, name=f"about {name}")
    return mesh.ask("bob", "CreateGlossaryTerm", glossary_id=glossary.id, name=name)


def mesh_grant(mesh, policy, principal="user-bob", unit=ROOT, **more):
    given = {"policy_type": policy, "principal_id": principal, **more}
    return mesh.ask("ann", "AddPolicyGrant", domain_unit_id=unit, **given)


def form_type(mesh, project, name="Torque"):
    mesh_grant(mesh, PolicyType.CREATE_FORM_TYPE)
    fields = (NewField(name="unit", is_required=True), NewField(name="most", type=FieldType.NUMBER))
    return mesh.ask("bob", "CreateFormType", project_id=project.id, name=name, fields=fields)


def test_15_inventory_is_unseen_by_others(mesh, project, other, asset):
    asked = {"project_id": project.id}
    assert [one.id for one in mesh.ask("dee", "ListAssets", **asked)["items"]] == [asset.id]
    assert mesh.ask("ann", "GetAsset", asset_id=asset.id) == asset
    assert isinstance(mesh.refusal("cy", "ListAssets", **asked), NotFound)
    hidden = mesh.refusal("cy", "GetAsset", asset_id=asset.id)
    missing = mesh.refusal("cy", "GetAsset", asset_id="asset-none")
    assert hidden.message.replace(asset.id, "X") == missing.message.replace("asset-none", "X")
    assert type(hidden) is type(missing) is NotFound


def test_15_a_steward_describes_and_neither_publishes_nor_removes(mesh, asset):
    mesh.ask("dee", "UpdateAsset", asset_id=asset.id, description="all welds")
    assert isinstance(mesh.refusal("dee", "DeleteAsset", asset_id=asset.id), Forbidden)
    given = {"asset_id": asset.id, "action": "PUBLISH"}
    assert isinstance(mesh.refusal("dee", "CreateListingChangeSet", **given), Forbidden)


def test_18_each_change_is_a_revision_that_tells_who_changed_what(mesh, asset):
    mesh.ask("dee", "UpdateAsset", asset_id=asset.id, description="all welds", name="Welds")
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, description="all welds")  # nothing new
    mesh.ask("bob", "ClassifyAsset", asset_id=asset.id, classification=Classification.CONFIDENTIAL)
    found = mesh.ask("bob", "ListAssetRevisions", asset_id=asset.id)["items"]
    assert [(one.revision, one.made_by, one.changed) for one in found] == [
        (1, "test", []),
        (2, "user-dee", ["name", "description"]),
        (3, "user-bob", ["classification"]),
    ]
    assert mesh.ask("bob", "GetAsset", asset_id=asset.id, revision=1) == asset
    assert isinstance(mesh.refusal("bob", "GetAsset", asset_id=asset.id, revision=4), NotFound)


def test_revisions_come_in_pages_and_a_made_up_cursor_begins_anew(mesh, asset):
    for number in range(5):
        mesh.ask("bob", "UpdateAsset", asset_id=asset.id, description=f"{number}")
    seen, cursor = [], ""
    while not seen or cursor:
        page = mesh.ask("bob", "ListAssetRevisions", asset_id=asset.id, limit=2, cursor=cursor)
        seen += [one.revision for one in page["items"]]
        cursor = page["next"]
    assert seen == [1, 2, 3, 4, 5, 6]
    page = mesh.ask("bob", "ListAssetRevisions", asset_id=asset.id, cursor="w7_Dvw==")
    assert len(page["items"]) == 6


def test_the_audit_says_what_changed_in_short(mesh, asset):
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, description="\u2603" * 10_000)
    details = decoded(mesh.notes[-1].details, dict)
    assert details["before"] == {"description": ""}
    assert details["after"]["description"].endswith("...")


def test_13_two_revisions_are_compared(mesh, asset):
    columns = (*COLUMNS[1:], Column("angle", "float", True))
    system(mesh, lambda call: changed_asset(call, asset, technical=technical(columns)))
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, description="welds")
    said = (ChangedColumn(name="angle", description="in degrees"),)
    mesh.ask("bob", "UpdateAssetColumns", asset_id=asset.id, columns=said)
    found = mesh.ask("bob", "DiffAssetRevisions", asset_id=asset.id, from_revision=1)
    assert found.sentence == "added 'angle' float; removed 'order' int64"
    assert found.is_breaking
    changed = {one.path: (one.before, one.after) for one in found.values}
    assert changed["description"] == ("", "welds")
    assert changed["columns/angle/description"] == (None, "in degrees")
    newest = mesh.ask("bob", "DiffAssetRevisions", asset_id=asset.id)
    assert (newest.from_revision, newest.to_revision, bool(newest.schema)) == (3, 4, False)
    told = mesh.refusal("bob", "DiffAssetRevisions", asset_id=asset.id, to_revision=9)
    assert isinstance(told, NotFound)


def test_19_a_term_that_only_a_column_carries_is_used_and_a_disabled_one_is_not(
    mesh, project, asset
):
    one = term(mesh, project, "order number")
    said = (ChangedColumn(name="order", glossary_terms=(one.id,)),)
    mesh.ask("bob", "UpdateAssetColumns", asset_id=asset.id, columns=said)
    usage = mesh.ask("bob", "GetGlossaryTermUsage", glossary_term_id=one.id)
    assert usage.assets == 1
    told = mesh.refusal("bob", "DeleteGlossaryTerm", glossary_term_id=one.id)
    assert isinstance(told, Conflict)
    disabled = {"glossary_term_id": one.id, "status": EnabledStatus.DISABLED}
    mesh.ask("bob", "UpdateGlossaryTerm", **disabled)
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, description="its column keeps the term")
    refused = mesh.refusal("bob", "UpdateAsset", asset_id=asset.id, glossary_terms=("term-none",))
    assert isinstance(refused, InvalidInput)


def test_19_usage_counts_what_is_published_with_a_term_that_the_draft_lost(mesh, project, asset):
    one = term(mesh, project, "order number")
    [other] = kept(mesh, table(project, "parts"))
    usage = {"glossary_term_id": one.id}
    for each in (asset, other):
        mesh.ask("bob", "UpdateAsset", asset_id=each.id, glossary_terms=(one.id,))
    publish(mesh, "bob", asset)
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, glossary_terms=())
    assert mesh.ask("bob", "GetGlossaryTermUsage", **usage).assets == 2
    assert mesh.ask("cy", "GetGlossaryTermUsage", **usage).assets == 0  # who finds neither
    mesh.ask("bob", "UpdateAsset", asset_id=other.id, glossary_terms=())
    assert mesh.ask("bob", "GetGlossaryTermUsage", **usage).assets == 1
    publish(mesh, "bob", asset)
    assert mesh.ask("bob", "GetGlossaryTermUsage", **usage).assets == 0


def test_20_forms_are_checked_and_may_be_incomplete_in_a_draft(mesh, project, asset):
    form_type(mesh, project)
    given = {"asset_id": asset.id, "forms": (FormInput(form_type="Torque", content={"most": 9}),)}
    assert mesh.ask("dee", "UpdateAsset", **given).forms[0].content == {"most": 9}
    given["forms"] = (FormInput(form_type="Torque", content={"most": "high"}),)
    assert isinstance(mesh.refusal("dee", "UpdateAsset", **given), InvalidInput)


def test_20_a_text_in_a_form_may_look_like_a_term_that_is_gone(mesh, project, asset):
    form_type(mesh, project)
    form = FormInput(form_type="Torque", content={"unit": new_id("term")})
    changed = mesh.ask("bob", "UpdateAsset", asset_id=asset.id, forms=(form,))
    assert changed.forms[0].content == form.content


def test_36_columns_are_described_only_where_there_are_such(mesh, asset):
    said = (ChangedColumn(name="year", business_name="Year of build"),)
    changed = mesh.ask("bob", "UpdateAssetColumns", asset_id=asset.id, columns=said)
    assert changed.columns == (ColumnMetadata("year", "Year of build"),)
    said = (ChangedColumn(name="colour", business_name="Colour"),)
    told = mesh.refusal("bob", "UpdateAssetColumns", asset_id=asset.id, columns=said)
    assert "'colour'" in told.message
    said = (ChangedColumn(name="year", business_name=""),)
    assert mesh.ask("bob", "UpdateAssetColumns", asset_id=asset.id, columns=said).columns == ()
    told = mesh.refusal("bob", "UpdateAssetColumns", asset_id=asset.id, columns=said * 2)
    assert isinstance(told, InvalidInput)


def test_13_what_is_said_of_columns_keeps_in_step_with_the_schema(mesh, project):
    flag = PiiFlag("person_name", PiiStatus.REFUSED)
    said = (
        ColumnMetadata("order", "Order"),
        ColumnMetadata("worker", "Worker", pii=flag),
        ColumnMetadata("torque", pii=flag),
    )
    [asset] = kept(mesh, table(project, columns=said))
    columns = (Column("worker", "int64", True), COLUMNS[2])
    changed = system(mesh, lambda call: changed_asset(call, asset, technical=technical(columns)))
    assert changed.columns == (ColumnMetadata("worker", "Worker"), said[2])
    same = system(mesh, lambda call: changed_asset(call, changed, technical=technical(columns)))
    assert same.version == changed.version


def test_40_a_column_that_comes_back_is_as_personal_as_it_was(mesh, project):
    flag = PiiFlag("person_name", PiiStatus.CONFIRMED)
    said = (ColumnMetadata("worker", "Worker", pii=flag), ColumnMetadata("order", "Order"))
    [asset] = kept(mesh, table(project, columns=said))
    found = publish(mesh, "bob", asset)
    without = technical((COLUMNS[2],))
    changed = system(mesh, lambda call: changed_asset(call, asset, technical=without))
    assert (changed.columns, changed.personal) == ((ColumnMetadata("worker", pii=flag),), set())
    assert not publish(mesh, "bob", changed).has_pii
    again = system(mesh, lambda call: changed_asset(call, changed, technical=technical()))
    assert again.personal == {"worker"}
    assert mesh.ask("bob", "GetListing", listing_id=found.id).has_pii


def test_16_upstream_is_what_one_may_know_of(mesh, project, other, asset):
    hidden, listed = kept(
        mesh,
        table(other, "paint", association_id="association-lake"),
        table(other, "colours", association_id="association-lake"),
    )
    publish(mesh, "cy", listed)
    given = {"asset_id": asset.id, "basis": Basis.CONSUMER_BASED}
    told = mesh.refusal("bob", "UpdateAsset", upstream=(hidden.id,), **given)
    none = mesh.refusal("bob", "UpdateAsset", upstream=("asset-none",), **given)
    assert told.message.replace(hidden.id, "X") == none.message.replace("asset-none", "X")
    told = mesh.refusal("bob", "UpdateAsset", upstream=(asset.id,), **given)
    assert "itself" in told.message
    changed = mesh.ask("bob", "UpdateAsset", upstream=(listed.id, listed.id), **given)
    assert changed.upstream == (listed.id,)
    unpublish(mesh, "cy", listed)  # what was known once may stay
    given = {"asset_id": asset.id, "upstream": (listed.id,), "name": "renamed"}
    assert mesh.ask("bob", "UpdateAsset", **given).name == "renamed"


def test_16_upstream_may_be_what_the_project_is_subscribed_to(mesh, project, other, asset):
    hidden, subscription = kept(
        mesh, table(other, "paint"), subscribed(project, other, "asset-paint")
    )
    given = {"asset_id": asset.id, "upstream": (hidden.id,)}
    assert mesh.ask("bob", "UpdateAsset", **given).upstream == (hidden.id,)
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, upstream=())
    end(mesh, subscription)
    assert isinstance(mesh.refusal("bob", "UpdateAsset", **given), InvalidInput)


def subscribed(project, owner, entity_id):
    return Subscription(
        id=f"subscription-{entity_id}",
        request_id="request-x",
        listing_id="listing-x",
        entity_id=entity_id,
        project_id=project.id,
        owning_project_id=owner.id,
        columns={},
        approved_by="user-cy",
        **STAMP,
    )


def end(mesh, subscription):
    ended = replace(subscription, version=2, status=SubscriptionStatus.REVOKED)
    mesh.store.write(lambda changes: changes.put(ended))


def test_39_stewards_raise_a_classification_and_only_owners_lower_it(mesh, asset):
    raised = {"asset_id": asset.id, "classification": Classification.CONFIDENTIAL}
    lowered = {"asset_id": asset.id, "classification": Classification.PUBLIC}
    assert isinstance(mesh.refusal("dee", "ClassifyAsset", **lowered), InvalidInput)
    assert isinstance(mesh.refusal("dee", "DeclassifyAsset", **lowered), Forbidden)
    assert isinstance(mesh.refusal("bob", "DeclassifyAsset", **raised), InvalidInput)
    mesh.ask("dee", "ClassifyAsset", **raised)
    assert mesh.ask("bob", "DeclassifyAsset", **lowered).classification is Classification.PUBLIC


def test_40_stewards_flag_personal_data_and_only_owners_decide(mesh, asset):
    flagged = {"asset_id": asset.id, "columns": ("worker",)}
    mesh.ask("dee", "FlagPii", kind="person_name", evidence="names of welders", **flagged)
    assert kept_asset(mesh, asset).personal == {"worker"}
    refused = mesh.refusal("dee", "DecidePii", is_personal=False, **flagged)
    assert isinstance(refused, Forbidden)
    decided = mesh.ask("bob", "DecidePii", is_personal=False, **flagged)
    assert (decided.personal, decided.columns[0].pii.status) == (frozenset(), PiiStatus.REFUSED)
    assert mesh.ask("dee", "FlagPii", kind="email", **flagged).personal == {"worker"}
    decided = mesh.ask("bob", "DecidePii", is_personal=True, **flagged)
    again = mesh.ask("dee", "FlagPii", kind="vin", **flagged)
    assert again.columns == decided.columns  # what an owner confirmed stays


def test_40_only_flagged_columns_are_decided_on(mesh, asset):
    given = {"asset_id": asset.id, "is_personal": False}
    for name in ("worker", "nothing"):
        told = mesh.refusal("bob", "DecidePii", columns=(name,), **given)
        assert isinstance(told, InvalidInput)
    told = mesh.refusal("bob", "FlagPii", asset_id=asset.id, columns=("nothing",), kind="email")
    assert isinstance(told, InvalidInput)


def kept_asset(mesh, asset):
    return mesh.ask("ann", "GetAsset", asset_id=asset.id)


def test_an_archived_asset_is_left_alone_until_it_is_restored(mesh, asset):
    publish(mesh, "bob", asset)
    assert isinstance(mesh.refusal("bob", "ArchiveAsset", asset_id=asset.id), Conflict)
    unpublish(mesh, "bob", asset)
    mesh.ask("bob", "ArchiveAsset", asset_id=asset.id)
    told = mesh.refusal("bob", "UpdateAsset", asset_id=asset.id, name="x")
    assert isinstance(told, Conflict)
    assert isinstance(mesh.refusal("bob", "ArchiveAsset", asset_id=asset.id), Conflict)
    mesh.ask("bob", "RestoreAsset", asset_id=asset.id)
    assert mesh.ask("bob", "UpdateAsset", asset_id=asset.id, name="x").name == "x"


def test_an_asset_that_others_see_or_read_is_not_removed(mesh, project, other, asset):
    publish(mesh, "bob", asset)
    assert "published" in mesh.refusal("bob", "DeleteAsset", asset_id=asset.id).message
    unpublish(mesh, "bob", asset)
    [subscription] = kept(mesh, subscribed(other, project, asset.id))
    told = mesh.refusal("bob", "DeleteAsset", asset_id=asset.id)
    assert (type(told), "others have" in told.message) == (Conflict, True)
    end(mesh, subscription)
    mesh.ask("bob", "DeleteAsset", asset_id=asset.id)
    assert isinstance(mesh.refusal("bob", "GetAsset", asset_id=asset.id), NotFound)


def test_what_belonged_to_a_removed_asset_goes_with_it_and_lineage_stays(mesh, project, asset):
    owned = {"asset_id": asset.id, "owning_project_id": project.id, **STAMP}
    points = [
        TimeSeriesDataPoint(id=f"datapoint-{n}", form_name="quality", timestamp=n, **owned)
        for n in range(450)
    ]
    [made, *_] = kept(
        mesh,
        table(project, "made", upstream=(asset.id,)),
        AssetFilter(id="filter-x", name="x", **owned),
        *points,
    )
    publish(mesh, "bob", asset)
    unpublish(mesh, "bob", asset)
    mesh.ask("bob", "DeleteAsset", asset_id=asset.id)
    mesh.work("forget-asset")
    with mesh.store.reading() as reader:
        for kind in (AssetFilter, TimeSeriesDataPoint, Listing):
            assert reader.any(kind) is None
    assert kept_asset(mesh, made).upstream == (asset.id,)


def test_17_copies_are_named_to_those_who_may_know_of_them(mesh, project, other, asset):
    same = {"technical": asset.technical, "association_id": "association-lake"}
    mine = kept(mesh, table(project, "mine", **same))[0]
    hidden, internal, secret = kept(
        mesh,
        table(other, "hidden", **same),
        table(other, "internal", **same),
        table(other, "secret", classification=Classification.CONFIDENTIAL, **same),
    )
    listing = publish(mesh, "cy", internal)
    publish(mesh, "cy", secret)
    found = copies(mesh, "bob", asset)
    assert {(one.id, one.listing_id) for one in found} == {
        (mine.id, ""),
        (internal.id, listing.id),
    }
    assert {one.id for one in copies(mesh, "ann", asset)} == {
        one.id for one in (mine, hidden, internal, secret)
    }


def test_17_a_draft_of_others_does_not_show_in_their_published_name(mesh, project, other, asset):
    [draft] = kept(mesh, table(other, "draft", association_id="association-lake"))
    publish(mesh, "cy", draft)
    system(mesh, lambda call: changed_asset(call, draft, technical=asset.technical, name="copied"))
    assert copies(mesh, "bob", asset) == []
    publish(mesh, "cy", draft)
    assert [one.name for one in copies(mesh, "bob", asset)] == ["copied"]


def test_17_where_nothing_is_known_of_contents_nothing_is_a_copy(mesh, project):
    bare = {"technical": technical(content=None)}
    one, _ = kept(mesh, table(project, "one", **bare), table(project, "two", **bare))
    assert copies(mesh, "bob", one) == []


def copies(mesh, who, asset):
    return mesh.ask(who, "ListDuplicates", asset_id=asset.id)["items"]


def test_asset_types_are_made_by_a_grant_and_removed_while_unused(mesh, project, other):
    given = {"project_id": project.id, "name": "Curve"}
    assert isinstance(mesh.refusal("bob", "CreateAssetType", **given), Forbidden)
    mesh_grant(mesh, PolicyType.CREATE_ASSET_TYPE)
    made = mesh.ask("bob", "CreateAssetType", **given)
    assert isinstance(mesh.refusal("bob", "CreateAssetType", **given), Conflict)
    assert mesh.ask("cy", "GetAssetType", asset_type_id=made.id) == made
    [asset] = kept(mesh, table(project, "curves", asset_type="Curve"))
    assert isinstance(mesh.refusal("bob", "DeleteAssetType", asset_type_id=made.id), Conflict)
    mesh.ask("bob", "DeleteAsset", asset_id=asset.id)
    mesh.ask("bob", "DeleteAssetType", asset_type_id=made.id)
    assert mesh.ask("cy", "ListAssetTypes", name="Curve")["items"] == []


def test_20_a_type_requires_only_forms_that_it_has_and_that_are_there(mesh, project):
    mesh_grant(mesh, PolicyType.CREATE_ASSET_TYPE)
    form_type(mesh, project)
    given = {"project_id": project.id, "name": "Curve", "required_forms": ("Torque",)}
    assert isinstance(mesh.refusal("bob", "CreateAssetType", **given), InvalidInput)
    told = mesh.refusal("bob", "CreateAssetType", form_types=("Torque", "Nothing"), **given)
    assert "'Nothing'" in told.message
    made = mesh.ask("bob", "CreateAssetType", form_types=("Torque",), **given)
    told = mesh.refusal("bob", "UpdateAssetType", asset_type_id=made.id, form_types=())
    assert isinstance(told, InvalidInput)
    changed = mesh.ask("bob", "UpdateAssetType", asset_type_id=made.id, required_forms=())
    assert (changed.version, changed.form_types) == (2, ("Torque",))
    assert mesh.ask("cy", "GetAssetType", asset_type_id=made.id, revision=1) == made


def test_types_that_come_with_atoll_are_changed_by_nobody(mesh):
    for who in ("ann", "bob"):
        given = {"asset_type_id": "assettype-plain", "description": "mine"}
        assert isinstance(mesh.refusal(who, "UpdateAssetType", **given), Forbidden)


@pytest.mark.parametrize(
    ("principal", "unit", "includes_children", "is_usable"),
    [
        ("project", "its own", False, True),
        (ALL_USERS, "above", True, True),
        (ALL_USERS, "above", False, False),
        ("user-cy", "its own", False, True),
        ("user-dee", "its own", False, False),
        (None, "its own", False, False),
    ],
)
def test_a_type_of_another_project_is_used_where_its_unit_grants_that(
    mesh, other, principal, unit, includes_children, is_usable
):
    place = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="below")
    owner = mesh.ask("ann", "CreateProject", domain_unit_id=place.id, name="owner")
    kept(mesh, AssetType(id="assettype-x", name="Theirs", owning_project_id=owner.id, **STAMP))
    if principal:
        principal = other.id if principal == "project" else principal
        unit_id = ROOT if unit == "above" else place.id
        more = {"unit": unit_id, "includes_children": includes_children}
        mesh_grant(mesh, PolicyType.USE_ASSET_TYPE, principal, **more)
    with mesh.store.reading() as reader:
        call = mesh.call(reader, "cy")
        project = call.get(Project, other.id)
        assert usable_type(call, project, "Plain").name == "Plain"
        if is_usable:
            assert usable_type(call, project, "Theirs").id == "assettype-x"
        else:
            with pytest.raises(Forbidden):
                usable_type(call, project, "Theirs")
        with pytest.raises(InvalidInput):
            usable_type(call, project, "None")


def test_8_an_unassigned_group_uses_no_types_of_others(mesh, other):
    group = mesh.ask("ann", "CreateGroupProfile", name="engineers")
    mesh.ask("ann", "UpdateUserProfile", user_profile_id="user-cy", groups=(group.id,))
    owner = mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="owner")
    kept(mesh, AssetType(id="assettype-x", name="Theirs", owning_project_id=owner.id, **STAMP))
    mesh_grant(mesh, PolicyType.USE_ASSET_TYPE, group.id)
    with mesh.store.reading() as reader:
        assert usable_type(mesh.call(reader, "cy"), other, "Theirs")
    gone = {"group_profile_id": group.id, "status": ProfileStatus.NOT_ASSIGNED}
    mesh.ask("ann", "UpdateGroupProfile", **gone)
    with mesh.store.reading() as reader, pytest.raises(Forbidden):
        usable_type(mesh.call(reader, "cy"), other, "Theirs")


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("UpdateAsset", {"name": "two\nlines"}),
        ("UpdateAsset", {"name": ""}),
        ("UpdateAsset", {"description": "x" * 10_001}),
        ("UpdateAsset", {"glossary_terms": ["term-x"] * 101}),
        ("UpdateAsset", {"classification": "PUBLIC"}),
        ("UpdateAsset", {"owning_project_id": "project-x"}),
        ("UpdateAssetColumns", {"columns": []}),
        ("UpdateAssetColumns", {"columns": [{"name": "x", "pii": None}]}),
        ("UpdateAssetColumns", {"columns": [{"name": "x" * 1001}]}),
        ("FlagPii", {"columns": ["worker"], "kind": "<b>"}),
        ("DecidePii", {"columns": []}),
        ("GetAsset", {"revision": -1}),
        ("GetAsset", {"revision": 1 << 31}),
        ("CreateListingChangeSet", {"action": "PUBLISH", "revision": 1 << 31}),
        ("CreateDataProduct", {"name": "x", "items": [{"asset_id": "../x"}]}),
    ],
)
def test_what_cannot_be_meant_is_refused_at_the_door(name, asked):
    with pytest.raises(msgspec.ValidationError):
        converted(asked, OPERATIONS[name].ask)


def test_revisions_are_kept_and_found_on_both_databases(database):
    with world(database) as mesh:
        project = project_of(mesh, "bob", "welding")
        [asset] = kept(mesh, plain_type(), storage(project), table(project))[2:]
        mesh.ask("bob", "UpdateAsset", asset_id=asset.id, description="welds \u2603")
        publish(mesh, "bob", asset, revision=1)
        most = {"asset_id": asset.id, "revision": (1 << 31) - 1}
        assert isinstance(mesh.refusal("bob", "GetAsset", **most), NotFound)
        found = mesh.ask("bob", "DiffAssetRevisions", asset_id=asset.id)
        assert [one.path for one in found.values] == ["description"]
        assert mesh.ask("bob", "ListAssets", project_id=project.id, asset_type="Plain")["items"]
        with mesh.store.reading() as reader:
            assert reader.count(Asset, asset_type="Plain") == 1
