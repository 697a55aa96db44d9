"""Domain units, projects, members and grants, as people with and without rights see them."""

import json

import pytest
from mesh_access import Plant
from mesh_world import ROOT, SCOPES, now, world

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.mesh.model.access import SubscriptionGrantStatus
from atoll.mesh.model.describing import RuleAction, RuleType
from atoll.mesh.model.organisation import ALL_USERS, AssociationKind, Designation, PolicyType
from atoll.mesh.model.people import ProfileStatus
from atoll.mesh.service.forms import FormInput, NewField
from atoll.mesh.service.organisation import MAX_DEPTH

COMMON = {
    "business_unit": "body",
    "data_owner_contact": "ann@plant.test",
    "product_owner": "Ann",
    "refresh_frequency": "DAILY",
}
POOL = {"policy_type": PolicyType.ADD_TO_PROJECT_MEMBER_POOL, "principal_id": "user-cy"}


@pytest.fixture
def mesh(database):
    with world(database) as made:
        yield made


@pytest.fixture
def unit(mesh):
    return mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="production")


@pytest.fixture
def project(mesh, unit):
    """Bob's project."""
    grant(mesh, unit, "user-bob")
    return mesh.ask("bob", "CreateProject", domain_unit_id=unit.id, name="press shop")


def grant(mesh, unit, principal, policy=PolicyType.CREATE_PROJECT, **more):
    given = {"policy_type": policy, "principal_id": principal, **more}
    return mesh.ask("ann", "AddPolicyGrant", domain_unit_id=unit.id, **given)


def join(mesh, project, who, designation, by="bob"):
    given = {"member_id": f"user-{who}", "designation": designation}
    return mesh.ask(by, "CreateProjectMembership", project_id=project.id, **given)


def names(page):
    return [one.name for one in page["items"]]


def test_1_owners_of_a_unit_govern_what_is_below_it(mesh, unit):
    below = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=unit.id, name="press")
    given = {"domain_unit_id": unit.id, "owners": ("user-cy",)}
    mesh.ask("ann", "SetDomainUnitOwners", **given)
    mesh.ask("cy", "UpdateDomainUnit", domain_unit_id=below.id, description="Cy's")
    refused = mesh.refusal("cy", "UpdateDomainUnit", domain_unit_id=ROOT, name="mine")
    assert isinstance(refused, Forbidden)


def test_1_a_unit_is_moved_with_its_projects_and_links_stay(mesh, unit, project):
    other = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="quality")
    mesh.ask("ann", "SetDomainUnitOwners", domain_unit_id=other.id, owners=("user-dee",))
    assert isinstance(mesh.refusal("dee", "GetProject", project_id=project.id), NotFound)
    given = {"domain_unit_id": unit.id, "parent_domain_unit_id": other.id}
    assert isinstance(mesh.refusal("dee", "MoveDomainUnit", **given), Forbidden)
    assert mesh.ask("ann", "MoveDomainUnit", **given).parent_domain_unit_id == other.id
    assert mesh.ask("dee", "GetProject", project_id=project.id) == project


def linked(mesh, plant, held):
    """All that hangs together by the ids of a project, as those see it who read its data."""
    grant = plant.grant(held)
    return [
        mesh.ask("dee", "GetListing", listing_id=plant.secret),
        mesh.ask("dee", "GetSubscription", subscription_id=held.id),
        mesh.ask("dee", "GetSubscriptionGrant", subscription_grant_id=grant.id),
        mesh.ask("cy", "ListMyData", project_id=plant.reader)["items"],
        mesh.ask("bob", "ListSubscriptions")["items"],
        mesh.ask("bob", "GetAsset", asset_id="asset-secret"),
        plant.reads("secret"),
    ]


def counted(mesh, who, **given):
    """How much somebody finds in each unit."""
    results = mesh.ask(who, "SearchListings", facets=("unit",), **given)
    return {one.name: one.count for one in results.facets["unit"]}


def test_1_all_links_hold_after_a_move_and_what_is_set_in_the_new_unit(mesh, unit, tmp_path):
    plant = Plant(mesh, tmp_path / "lake")
    mesh.ask("ann", "MoveProject", project_id=plant.owner, domain_unit_id=unit.id)
    held = plant.subscribe(plant.secret)
    assert plant.grant(held).status is SubscriptionGrantStatus.COMPLETED
    other = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="quality")
    mesh.ask("ann", "SetGuardrails", domain_unit_id=other.id, longest_access_s=3600)
    rule = {
        "name": "common",
        "rule_type": RuleType.METADATA_FORM_ENFORCEMENT,
        "action": RuleAction.CREATE_SUBSCRIPTION_REQUEST,
        "form_types": ("CommonAttributes",),
    }
    mesh.ask("ann", "CreateRule", domain_unit_id=other.id, **rule)
    assert plant.subscription(plant.ask(plant.public)).terms.expires_at == 0
    before = linked(mesh, plant, held)
    assert counted(mesh, "dee") == {"plant": 4, "production": 4}

    to = {"domain_unit_id": unit.id, "parent_domain_unit_id": other.id}
    mesh.ask("ann", "MoveDomainUnit", **to)

    assert linked(mesh, plant, held) == before
    assert counted(mesh, "dee") == {"plant": 4, "quality": 4, "production": 4}
    assert counted(mesh, "dee", filters=(f"unit={other.id}",)) == counted(mesh, "dee")
    set_in = mesh.ask("bob", "GetGuardrails", domain_unit_id=unit.id).set_in
    assert set_in == {"longest_access_s": other.id}
    told = plant.refusal(plant.internal)
    assert "the rule 'common' of the domain unit 'quality' demands" in told.message
    form = FormInput(form_type="CommonAttributes", content=COMMON)
    later = plant.subscription(plant.ask(plant.internal, forms=(form,)))
    assert 0 < later.terms.expires_at <= now() + 3600 * 1_000_000


def test_1_a_unit_is_not_put_into_itself_nor_removed_with_what_is_in_it(mesh, unit):
    below = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=unit.id, name="press")
    for inner in (unit, below):
        given = {"domain_unit_id": unit.id, "parent_domain_unit_id": inner.id}
        assert isinstance(mesh.refusal("ann", "MoveDomainUnit", **given), InvalidInput)
    assert isinstance(mesh.refusal("ann", "DeleteDomainUnit", domain_unit_id=ROOT), InvalidInput)
    assert isinstance(mesh.refusal("ann", "DeleteDomainUnit", domain_unit_id=unit.id), Conflict)
    mesh.ask("ann", "DeleteDomainUnit", domain_unit_id=below.id)
    mesh.ask("ann", "DeleteDomainUnit", domain_unit_id=unit.id)


def test_1_units_are_only_so_deep_and_siblings_have_different_names(mesh):
    at = ROOT
    for level in range(MAX_DEPTH - 1):
        at = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=at, name=f"level {level}").id
    told = mesh.refusal("ann", "CreateDomainUnit", domain_unit_id=at, name="too deep")
    assert isinstance(told, InvalidInput)
    told = mesh.refusal("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="level 0")
    assert isinstance(told, Conflict)


def test_2_who_has_a_grant_makes_projects_there_and_nowhere_else(mesh, unit, project):
    assert mesh.ask("bob", "GetProject", project_id=project.id).name == "press shop"
    told = mesh.refusal("bob", "CreateProject", domain_unit_id=ROOT, name="elsewhere")
    assert isinstance(told, Forbidden)
    told = mesh.refusal("cy", "CreateProject", domain_unit_id=unit.id, name="without a grant")
    assert isinstance(told, Forbidden)


@pytest.mark.parametrize("includes_children", [True, False])
def test_2_a_grant_holds_below_only_where_it_says_so(mesh, unit, includes_children):
    below = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=unit.id, name="press")
    grant(mesh, unit, ALL_USERS, includes_children=includes_children)
    if includes_children:
        assert mesh.ask("cy", "CreateProject", domain_unit_id=below.id, name="x").name == "x"
    else:
        told = mesh.refusal("cy", "CreateProject", domain_unit_id=below.id, name="x")
        assert isinstance(told, Forbidden)


def test_2_a_grant_that_was_taken_back_grants_nothing(mesh, unit):
    found = grant(mesh, unit, "user-cy")
    mesh.ask("ann", "RemovePolicyGrant", policy_grant_id=found.id)
    told = mesh.refusal("cy", "CreateProject", domain_unit_id=unit.id, name="x")
    assert isinstance(told, Forbidden)


def test_2_who_may_override_names_owners_of_projects_and_units_that_have_some(mesh, unit, project):
    given = {"project_id": project.id, "member_id": "user-cy"}
    told = mesh.refusal("ann", "AppointProjectOwner", **given)
    assert PolicyType.OVERRIDE_PROJECT_OWNERS in told.message
    grant(mesh, unit, "user-dee", PolicyType.OVERRIDE_PROJECT_OWNERS)
    assert mesh.ask("dee", "AppointProjectOwner", **given).designation is Designation.OWNER
    owners = {"domain_unit_id": unit.id, "owners": ("user-dee",)}
    assert isinstance(mesh.refusal("dee", "SetDomainUnitOwners", **owners), Forbidden)
    grant(mesh, unit, "user-dee", PolicyType.OVERRIDE_DOMAIN_UNIT_OWNERS)
    assert mesh.ask("dee", "SetDomainUnitOwners", **owners).owners == ("user-dee",)


def test_2_where_there_is_a_pool_of_members_nobody_else_is_taken_in(mesh, unit, project):
    group = mesh.ask("ann", "CreateGroupProfile", name="stewards")
    mesh.ask("ann", "UpdateUserProfile", user_profile_id="user-cy", groups=(group.id,))
    for one in (group.id, project.id):
        grant(mesh, unit, one, PolicyType.ADD_TO_PROJECT_MEMBER_POOL)
    given = {"member_id": "user-dee", "designation": Designation.VIEWER}
    told = mesh.refusal("bob", "CreateProjectMembership", project_id=project.id, **given)
    assert isinstance(told, Forbidden)
    assert "pool" in told.message
    join(mesh, project, "cy", Designation.CONTRIBUTOR)  # by the group
    other = mesh.ask("ann", "CreateProject", domain_unit_id=unit.id, name="paint shop")
    join(mesh, other, "cy", Designation.VIEWER, by="ann")
    join(mesh, other, "bob", Designation.VIEWER, by="ann")  # by the project


def test_2_no_owner_is_appointed_from_outside_the_pool(mesh, unit, project):
    grant(mesh, unit, "user-cy", PolicyType.ADD_TO_PROJECT_MEMBER_POOL)
    grant(mesh, unit, "user-ann", PolicyType.OVERRIDE_PROJECT_OWNERS)
    given = {"project_id": project.id, "member_id": "user-dee"}
    told = mesh.refusal("ann", "AppointProjectOwner", **given)
    assert isinstance(told, Forbidden)
    assert "pool" in told.message
    given["member_id"] = "user-cy"
    assert mesh.ask("ann", "AppointProjectOwner", **given).designation is Designation.OWNER
    mesh.ask("bob", "CreateProject", domain_unit_id=unit.id, name="own")  # who makes it, owns it


def test_2_a_group_is_in_the_pool_while_it_may_come_in(mesh, unit, project):
    group = mesh.ask("ann", "CreateGroupProfile", name="stewards")
    mesh.ask("ann", "UpdateUserProfile", user_profile_id="user-cy", groups=(group.id,))
    grant(mesh, unit, group.id, PolicyType.ADD_TO_PROJECT_MEMBER_POOL)
    gone = {"group_profile_id": group.id, "status": ProfileStatus.NOT_ASSIGNED}
    mesh.ask("ann", "UpdateGroupProfile", **gone)
    given = {"project_id": project.id, "designation": Designation.VIEWER}
    for member in ("user-cy", group.id):
        told = mesh.refusal("bob", "CreateProjectMembership", member_id=member, **given)
        assert isinstance(told, Forbidden)
    mesh.ask("ann", "UpdateGroupProfile", **gone | {"status": ProfileStatus.ASSIGNED})
    for member in ("user-cy", group.id):
        mesh.ask("bob", "CreateProjectMembership", member_id=member, **given)


def test_2_a_pool_above_holds_below_only_where_it_says_so(mesh, unit, project):
    above = mesh.ask("ann", "AddPolicyGrant", domain_unit_id=ROOT, **POOL)
    join(mesh, project, "dee", Designation.VIEWER)
    mesh.ask("ann", "RemovePolicyGrant", policy_grant_id=above.id)
    mesh.ask("ann", "AddPolicyGrant", domain_unit_id=ROOT, includes_children=True, **POOL)
    given = {"member_id": "user-ann", "designation": Designation.VIEWER}
    told = mesh.refusal("bob", "CreateProjectMembership", project_id=project.id, **given)
    assert isinstance(told, Forbidden)


def test_5_an_owner_adds_a_contributor_with_no_central_ticket_and_a_contributor_cannot(
    mesh, project
):
    join(mesh, project, "cy", Designation.CONTRIBUTOR)
    assert mesh.ask("cy", "GetProject", project_id=project.id) == project
    given = {"member_id": "user-dee", "designation": Designation.VIEWER}
    told = mesh.refusal("cy", "CreateProjectMembership", project_id=project.id, **given)
    assert isinstance(told, Forbidden)
    assert [one.outcome for one in mesh.notes[-2:]] == ["ALLOWED", "DENIED"]


def test_5_the_last_owner_stays(mesh, project):
    given = {"member_id": "user-bob", "project_id": project.id}
    told = mesh.refusal("bob", "DeleteProjectMembership", **given)
    assert isinstance(told, Conflict)
    given["designation"] = Designation.VIEWER
    assert isinstance(mesh.refusal("bob", "CreateProjectMembership", **given), Conflict)
    join(mesh, project, "cy", Designation.OWNER)
    mesh.ask("bob", "DeleteProjectMembership", member_id="user-bob", project_id=project.id)
    assert isinstance(mesh.refusal("bob", "GetProject", project_id=project.id), NotFound)


def test_5_a_project_whose_owners_are_gone_is_given_another(mesh, project):
    join(mesh, project, "cy", Designation.VIEWER)
    given = {"project_id": project.id, "member_id": "user-cy"}
    assert isinstance(mesh.refusal("ann", "AppointProjectOwner", **given), Conflict)
    gone = {"user_profile_id": "user-bob", "status": ProfileStatus.NOT_ASSIGNED}
    mesh.ask("ann", "UpdateUserProfile", **gone)
    assert isinstance(mesh.refusal("cy", "AppointProjectOwner", **given), Forbidden)
    assert mesh.ask("ann", "AppointProjectOwner", **given).designation is Designation.OWNER
    join(mesh, project, "dee", Designation.CONTRIBUTOR, by="cy")
    given["member_id"] = "user-dee"
    assert isinstance(mesh.refusal("ann", "AppointProjectOwner", **given), Conflict)


def test_6_what_one_may_not_know_of_is_as_if_it_were_not_there(mesh, project):
    hidden = mesh.refusal("dee", "GetProject", project_id=project.id)
    missing = mesh.refusal("dee", "GetProject", project_id="project-none")
    assert type(hidden) is type(missing) is NotFound
    assert hidden.message.replace(project.id, "X") == missing.message.replace("project-none", "X")
    assert names(mesh.ask("dee", "ListProjects")) == []
    assert names(mesh.ask("bob", "ListProjects")) == ["press shop"]


def test_8_a_token_reaches_no_further_than_its_scopes(mesh, unit):
    read = frozenset({"read"})
    assert mesh.ask("ann", "GetDomainUnit", domain_unit_id=unit.id, by=read) == unit
    given = {"domain_unit_id": unit.id, "name": "x"}
    assert isinstance(mesh.refusal("ann", "CreateProject", by=read, **given), Forbidden)
    write = frozenset({"write"})
    assert isinstance(mesh.refusal("ann", "UpdateDomainUnit", by=write, **given), Forbidden)
    assert mesh.ask("ann", "CreateProject", by=SCOPES, **given).name == "x"


def test_a_record_of_another_version_is_not_changed(mesh, unit):
    given = {"domain_unit_id": unit.id, "description": "new"}
    assert isinstance(mesh.refusal("ann", "UpdateDomainUnit", version=2, **given), Conflict)
    assert mesh.ask("ann", "UpdateDomainUnit", version=1, **given).version == 2


def test_a_call_that_is_repeated_with_its_key_is_carried_out_once(mesh, unit):
    given = {"domain_unit_id": unit.id, "name": "once", "key": "k"}
    mesh.ask("ann", "CreateProject", **given)
    mesh.ask("ann", "CreateProject", **given)
    assert names(mesh.ask("ann", "ListProjects", name="once")) == ["once"]
    given["name"] = "another"
    assert isinstance(mesh.refusal("ann", "CreateProject", **given), Conflict)


def test_pages_follow_each_other_and_leave_nothing_out(mesh, unit):
    made = {
        mesh.ask("ann", "CreateProject", domain_unit_id=unit.id, name=f"p{n}").name
        for n in range(7)
    }
    seen, cursor = [], ""
    while True:
        page = mesh.ask("ann", "ListProjects", limit=3, cursor=cursor)
        seen += names(page)
        cursor = page["next"]
        if not cursor:
            break
    assert (set(seen), len(seen)) == (made, 7)


def test_48_the_audit_tells_what_a_unit_and_a_project_were_called(mesh, unit, project):
    mesh.ask("ann", "UpdateDomainUnit", domain_unit_id=unit.id, name="presses")
    mesh.ask("bob", "UpdateProject", project_id=project.id, name="welding")
    told = [json.loads(one.details)["before"] for one in mesh.notes[-2:]]
    assert told == [{"name": "production"}, {"name": "press shop"}]


def test_2_a_name_that_is_taken_is_told(mesh, unit, project):
    given = {"domain_unit_id": unit.id, "name": "welding"}
    mesh.ask("bob", "CreateProject", **given)
    renamed = {"project_id": project.id, "name": "welding"}
    for refused in (
        mesh.refusal("bob", "CreateProject", **given),
        mesh.refusal("bob", "UpdateProject", **renamed),
    ):
        assert (type(refused), refused.details) == (Conflict, {"name": "welding"})
        assert "the name 'welding' is taken by another project" in refused.message


def test_60_an_administrator_sets_a_plant_up_by_operations(mesh, unit):
    project = mesh.ask("ann", "CreateProject", domain_unit_id=unit.id, name="standards")
    about = {"project_id": project.id}
    places = {}
    for kind, place in zip(AssociationKind, ("s3://plant/all", ""), strict=True):
        given = {"kind": kind, "name": kind.lower(), "location": place, **about}
        places[kind] = mesh.ask("ann", "Associate", **given).id
        mesh.ask("ann", "AcceptAssociation", association_id=places[kind])
    given = {"storage_id": places["STORAGE"], "workgroup_id": places["WORKGROUP"]}
    environment = mesh.ask("ann", "CreateEnvironment", name="lab", **given, **about)
    for policy in (PolicyType.CREATE_GLOSSARY, PolicyType.CREATE_FORM_TYPE):
        grant(mesh, unit, "user-ann", policy)
    glossary = mesh.ask("ann", "CreateGlossary", name="machines", **about)
    term = mesh.ask("ann", "CreateGlossaryTerm", glossary_id=glossary.id, name="press")
    fields = (NewField(name="purpose", is_required=True),)
    form = mesh.ask("ann", "CreateFormType", name="Use", fields=fields, **about)
    assert mesh.ask("ann", "ListEnvironments", **about)["items"] == [environment]
    assert mesh.ask("cy", "ListGlossaryTerms", glossary_id=glossary.id)["items"] == [term]
    assert form in mesh.ask("cy", "ListFormTypes")["items"]
    assert isinstance(mesh.refusal("cy", "CreateEnvironment", name="x", **given, **about), NotFound)


def test_9_no_place_lies_within_that_of_another_association(mesh, project):
    def offered(location):
        kind = AssociationKind.STORAGE
        return {"project_id": project.id, "kind": kind, "name": location, "location": location}

    first = mesh.ask("bob", "Associate", **offered("/lake/press"))
    mesh.ask("ann", "AcceptAssociation", association_id=first.id)
    for location in ("/", "/lake", "/lake/press", "/lake/press/new"):
        assert isinstance(mesh.refusal("bob", "Associate", **offered(location)), Conflict)
    mesh.ask("bob", "Associate", **offered("/lake/pressed"))
