"""Storage and workgroups that join the domain, and the environments that projects get on them."""

import pytest
from mesh_world import ROOT

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.mesh.model.organisation import AssociationKind, PolicyType
from atoll.mesh.service.places import Limits

STORAGE, WORKGROUP = AssociationKind


@pytest.fixture
def unit(mesh):
    """Uma's, who may make projects in it."""
    mesh.person("uma")
    made = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="production")
    return mesh.ask("ann", "SetDomainUnitOwners", domain_unit_id=made.id, owners=("user-uma",))


@pytest.fixture
def project(mesh, unit):
    return project_of(mesh, unit, "bob", "press shop")


def project_of(mesh, unit, who, name):
    """Somebody's project, in which Uma has no part any more."""
    made = mesh.ask("uma", "CreateProject", domain_unit_id=unit.id, name=name)
    given = {"member_id": f"user-{who}", "designation": "PROJECT_OWNER"}
    mesh.ask("uma", "CreateProjectMembership", project_id=made.id, **given)
    mesh.ask("uma", "DeleteProjectMembership", project_id=made.id, member_id="user-uma")
    return made


def offer(mesh, who, project, location="s3://plant/press", kind=STORAGE, **more):
    given = {"name": f"{who}'s {kind}{location}", "location": location, "kind": kind, **more}
    return mesh.ask(who, "Associate", project_id=project.id, **given)


def accept(mesh, one, who="ann"):
    return mesh.ask(who, "AcceptAssociation", association_id=one.id)


def environment(mesh, project, storage, workgroup, name="test", who="uma", do="ask", **more):
    given = {"storage_id": storage.id, "workgroup_id": workgroup.id, "name": name, **more}
    return getattr(mesh, do)(who, "CreateEnvironment", project_id=project.id, **given)


def places(mesh, who, project, location="s3://plant/press"):
    return [
        accept(mesh, offer(mesh, who, project, location, credentials="lake")),
        accept(mesh, offer(mesh, who, project, "", WORKGROUP, limits=Limits(rows=1000))),
    ]


def test_9_what_is_offered_joins_the_domain_when_its_owners_accept_it(mesh, project):
    offered = offer(mesh, "bob", project, credentials="lake")
    assert offered.status == "PENDING"
    for who in ("bob", "uma"):
        told = mesh.refusal(who, "AcceptAssociation", association_id=offered.id)
        assert isinstance(told, Forbidden)
    assert accept(mesh, offered).status == "ACCEPTED"
    assert [one.id for one in mesh.ask("bob", "ListAssociations")["items"]] == [offered.id]
    assert mesh.ask("cy", "ListAssociations")["items"] == []
    told = mesh.refusal("cy", "GetAssociation", association_id=offered.id)
    assert isinstance(told, NotFound)


@pytest.mark.parametrize("who", ["bob", "uma"])
def test_9_what_left_the_domain_does_not_come_back(mesh, project, who):
    one = accept(mesh, offer(mesh, "bob", project))
    name = "WithdrawAssociation" if who == "bob" else "RemoveAssociation"
    assert mesh.ask(who, name, association_id=one.id).status == "REMOVED"
    told = mesh.refusal("ann", "AcceptAssociation", association_id=one.id)
    assert isinstance(told, Conflict)
    assert accept(mesh, offer(mesh, "bob", project, name="anew")).status == "ACCEPTED"


@pytest.mark.parametrize("location", ["s3://plant", "s3://plant/press", "s3://plant/press/a"])
def test_9_no_place_belongs_to_two_and_an_offer_takes_none(mesh, unit, project, location):
    other = project_of(mesh, unit, "cy", "paint shop")
    mine, theirs = offer(mesh, "bob", project), offer(mesh, "cy", other, location)
    accept(mesh, mine)
    told = mesh.refusal("ann", "AcceptAssociation", association_id=theirs.id)
    assert isinstance(told, Conflict)
    assert mine.id not in told.message
    given = {"kind": STORAGE, "location": location, "name": "again"}
    assert isinstance(mesh.refusal("cy", "Associate", project_id=other.id, **given), Conflict)
    offer(mesh, "cy", other, "s3://plant/pressing")


@pytest.mark.parametrize("above", [0, 1])
def test_9_the_folder_of_the_mesh_itself_joins_nothing(mesh, project, above):
    home = mesh.tools.home
    one = offer(mesh, "bob", project, str([home, *home.parents][above]))
    told = mesh.refusal("ann", "AcceptAssociation", association_id=one.id)
    assert isinstance(told, Conflict)


def test_3_an_environment_has_all_that_it_takes_to_work_until_it_is_removed(mesh, project):
    storage, workgroup = places(mesh, "bob", project)
    made = environment(mesh, project, storage, workgroup, quota_bytes=5)
    assert made.prefix.startswith(f"s3://plant/press/{project.id}/")
    assert (made.credentials, made.quota_bytes) == ("lake", 5)
    used = mesh.ask("bob", "GetAssociation", association_id=made.workgroup_id)
    assert used.limits == {"rows": 1000}
    assert mesh.ask("bob", "ListEnvironments", project_id=project.id)["items"] == [made]
    given = {"environment_id": made.id}
    changed = mesh.ask("bob", "UpdateEnvironment", quota_bytes=10, is_suspended=True, **given)
    assert (changed.quota_bytes, changed.status) == (10, "SUSPENDED")
    mesh.ask("bob", "DeleteEnvironment", **given)
    assert isinstance(mesh.refusal("bob", "GetEnvironment", **given), NotFound)
    assert environment(mesh, project, storage, workgroup).prefix != made.prefix


def test_3_whom_the_unit_lets_sets_up_environments_in_their_own_projects(mesh, unit, project):
    bobs = places(mesh, "bob", project)
    assert isinstance(environment(mesh, project, *bobs, who="bob", do="refusal"), Forbidden)
    given = {"policy_type": PolicyType.CREATE_ENVIRONMENT, "principal_id": "all-users"}
    mesh.ask("uma", "AddPolicyGrant", domain_unit_id=unit.id, **given)
    assert environment(mesh, project, *bobs, who="bob").status == "ACTIVE"
    other = project_of(mesh, unit, "cy", "paint shop")
    told = environment(mesh, other, *bobs, who="cy", do="refusal")
    assert isinstance(told, NotFound)
    assert environment(mesh, other, *bobs, who="uma").project_id == other.id


def test_3_an_environment_takes_what_was_accepted_and_goes_when_that_goes(mesh, project):
    storage, workgroup = places(mesh, "bob", project)
    pending = offer(mesh, "bob", project, "s3://plant/other")
    for wrong in ((pending, workgroup), (workgroup, storage)):
        assert isinstance(environment(mesh, project, *wrong, do="refusal"), InvalidInput)
    made = environment(mesh, project, storage, workgroup)
    mesh.ask("bob", "WithdrawAssociation", association_id=workgroup.id)
    found = mesh.ask("bob", "GetEnvironment", environment_id=made.id)
    assert found.status == "INACCESSIBLE"
    given = {"environment_id": made.id, "is_suspended": False}
    assert isinstance(mesh.refusal("bob", "UpdateEnvironment", **given), Conflict)


def test_3_no_environment_is_made_in_another_whose_storage_left_the_domain(mesh, project):
    storage, workgroup = places(mesh, "bob", project)
    lab = environment(mesh, project, storage, workgroup)
    mesh.ask("bob", "WithdrawAssociation", association_id=storage.id)
    inner = offer(mesh, "bob", project, f"{lab.prefix}/inner")
    mesh.ask("ann", "AcceptAssociation", association_id=inner.id)
    told = environment(mesh, project, inner, workgroup, do="refusal")
    assert isinstance(told, Conflict)
    assert "lies in another environment" in told.message
    mesh.ask("bob", "DeleteEnvironment", environment_id=lab.id)
    assert environment(mesh, project, inner, workgroup).prefix.startswith(f"{lab.prefix}/inner/")
