"""Users, services, groups and tokens, as those with and without rights see them."""

import hashlib

import msgspec
import pytest
from mesh_world import ROOT, STAMP, world

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from atoll.core.records import decoded
from atoll.mesh.model.organisation import Designation, PolicyType, Project
from atoll.mesh.model.people import ProfileStatus, Proof, ProofType, UserType
from atoll.mesh.operations.calls import Caller
from atoll.mesh.service import OPERATIONS
from atoll.mesh.store.tables import METADATA

PASSWORD = "violet tractor 48 lanterns"


@pytest.fixture
def mesh(database):
    with world(database) as made:
        yield made


@pytest.fixture
def service(mesh):
    return mesh.ask("ann", "CreateUserProfile", name="robot", type=UserType.SERVICE)


def token(mesh, who, profile, **given):
    asked = {"name": "ci", "user_profile_id": profile, **given}
    return mesh.ask(who, "CreateAccessToken", **asked)


def issued_by(mesh, proof, profile, via=""):
    """A token that somebody issued for themselves by what they came with."""
    operation = OPERATIONS["CreateAccessToken"]
    caller = Caller(profile, via or proof.id, frozenset({"write"}))
    ask = operation.ask(name="more", scopes=("write",), ttl_s=3600)
    return mesh.performer.perform(operation, caller, {operation.about: profile}, ask).token


def kept(mesh, id_):
    with mesh.store.reading() as reader:
        return reader.find(Proof, id_)


def test_8_administrators_assign_users_and_nobody_else_does(mesh):
    given = {"name": "eve", "password": PASSWORD}
    assert isinstance(mesh.refusal("bob", "CreateUserProfile", **given), Forbidden)
    made = mesh.ask("ann", "CreateUserProfile", **given)
    assert made.status is ProfileStatus.ASSIGNED
    assert PASSWORD not in kept(mesh, made.id).text
    assert isinstance(mesh.refusal("ann", "CreateUserProfile", **given), Conflict)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "eve"},
        {"name": "eve", "password": "short"},
        {"name": "violet tractor", "password": "violet tractor"},
        {"name": "robot", "type": UserType.SERVICE, "password": PASSWORD},
        {"name": "somebody", "type": UserType.SSO},
    ],
)
def test_8_users_that_could_not_sign_in_are_not_made(mesh, given):
    assert isinstance(mesh.refusal("ann", "CreateUserProfile", **given), InvalidInput)


def test_8_who_was_unassigned_is_let_in_no_more_and_their_sessions_end(mesh):
    given = {"user_profile_id": "user-bob", "status": ProfileStatus.NOT_ASSIGNED}
    before = mesh.ask("bob", "WhoAmI").profile
    assert mesh.ask("ann", "UpdateUserProfile", **given).generation == before.generation + 1
    assert isinstance(mesh.refusal("bob", "WhoAmI"), Unauthenticated)
    given["status"] = ProfileStatus.ASSIGNED
    mesh.ask("ann", "UpdateUserProfile", **given)
    assert mesh.ask("bob", "WhoAmI").profile.name == "bob"


def test_8_an_administrator_does_not_lock_themselves_out(mesh):
    given = {"user_profile_id": "user-ann", "status": ProfileStatus.DEACTIVATED}
    assert isinstance(mesh.refusal("ann", "UpdateUserProfile", **given), Conflict)


def test_7_a_group_gives_its_members_what_it_was_given_until_it_is_gone(mesh):
    group = mesh.ask("ann", "CreateGroupProfile", name="engineers")
    given = {"user_profile_id": "user-cy", "groups": (group.id,)}
    mesh.ask("ann", "UpdateUserProfile", **given)
    granted = {"policy_type": PolicyType.CREATE_PROJECT, "principal_id": group.id}
    mesh.ask("ann", "AddPolicyGrant", domain_unit_id=ROOT, **granted)
    made = mesh.ask("cy", "CreateProject", domain_unit_id=ROOT, name="first")
    joined = {"member_id": group.id, "designation": Designation.VIEWER}
    mesh.ask("cy", "CreateProjectMembership", project_id=made.id, **joined)
    mesh.ask("cy", "CreateDelegation", project_id=made.id, principal_id=group.id)
    mesh.ask("ann", "DeleteGroupProfile", group_profile_id=group.id)
    assert mesh.ask("cy", "ListDelegations", project_id=made.id)["items"] == []
    told = mesh.refusal("cy", "CreateProject", domain_unit_id=ROOT, name="second")
    assert isinstance(told, Forbidden)
    assert mesh.ask("cy", "GetUserProfile", user_profile_id="user-cy").groups == ()


def test_8_an_unassigned_group_gives_nothing_until_it_is_assigned_again(mesh):
    group = mesh.ask("ann", "CreateGroupProfile", name="engineers")
    mesh.ask("ann", "UpdateUserProfile", user_profile_id="user-cy", groups=(group.id,))
    granted = {"policy_type": PolicyType.CREATE_PROJECT, "principal_id": group.id}
    mesh.ask("ann", "AddPolicyGrant", domain_unit_id=ROOT, **granted)
    given = {"group_profile_id": group.id, "status": ProfileStatus.NOT_ASSIGNED}
    assert isinstance(mesh.refusal("cy", "UpdateGroupProfile", **given), Forbidden)
    before = mesh.ask("cy", "WhoAmI").profile.generation
    mesh.ask("ann", "UpdateGroupProfile", **given)
    assert mesh.ask("cy", "WhoAmI").profile.generation == before + 1
    told = mesh.refusal("cy", "CreateProject", domain_unit_id=ROOT, name="first")
    assert isinstance(told, Forbidden)
    mesh.ask("ann", "UpdateGroupProfile", **{**given, "status": ProfileStatus.ASSIGNED})
    assert mesh.ask("cy", "CreateProject", domain_unit_id=ROOT, name="first")


def test_8_an_administrator_does_not_unassign_a_group_that_they_are_in(mesh):
    group = mesh.ask("ann", "CreateGroupProfile", name="administrators")
    mesh.ask("ann", "UpdateUserProfile", user_profile_id="user-ann", groups=(group.id,))
    given = {"group_profile_id": group.id, "status": ProfileStatus.NOT_ASSIGNED}
    assert isinstance(mesh.refusal("ann", "UpdateGroupProfile", **given), Conflict)


def test_8_the_domain_keeps_an_owner_who_may_come_in(mesh, service):
    owners, gone = {"domain_unit_id": ROOT}, {"status": ProfileStatus.NOT_ASSIGNED}
    mesh.ask("ann", "UpdateUserProfile", user_profile_id="user-bob", **gone)
    told = mesh.refusal("ann", "SetDomainUnitOwners", owners=("user-bob",), **owners)
    assert isinstance(told, Conflict)
    group = mesh.ask("ann", "CreateGroupProfile", name="administrators")
    told = mesh.refusal("ann", "SetDomainUnitOwners", owners=(group.id,), **owners)
    assert isinstance(told, Conflict)
    given = {"user_profile_id": "user-ann", "groups": (group.id,)}
    mesh.ask("ann", "UpdateUserProfile", **given)
    mesh.ask("ann", "SetDomainUnitOwners", owners=(group.id,), **owners)
    told = mesh.refusal("ann", "UpdateUserProfile", **{**given, "groups": ()})
    assert isinstance(told, Conflict)
    assert mesh.ask("ann", "UpdateDomain", name="works").name == "works"


def test_8_whoever_is_not_assigned_may_do_nothing_and_that_is_explained(mesh):
    given = {"user_profile_id": "user-bob", "status": ProfileStatus.DEACTIVATED}
    mesh.ask("ann", "UpdateUserProfile", **given)
    told = mesh.ask("ann", "Explain", operation="GetDomain", principal_id="user-bob")
    assert (told.is_allowed, told.policies) == (False, [])


def test_7_a_password_is_changed_by_who_knows_it_and_reset_by_administrators(mesh):
    made = mesh.ask("ann", "CreateUserProfile", name="eve", password=PASSWORD)
    before, given = kept(mesh, made.id).text, {"user_profile_id": made.id}
    told = mesh.refusal("bob", "ResetPassword", password=f"{PASSWORD} 2", **given)
    assert isinstance(told, Forbidden)
    mesh.ask("ann", "ResetPassword", password=f"{PASSWORD} 2", **given)
    assert kept(mesh, made.id).text != before
    told = mesh.refusal("ann", "ChangePassword", password="x", current="y", **given)
    assert isinstance(told, Forbidden)


def test_7_a_token_is_issued_for_oneself_and_for_services_by_administrators(mesh, service):
    assert token(mesh, "bob", "user-bob").text.startswith("atoll_")
    assert isinstance(mesh.refusal("bob", "CreateAccessToken", **asked("user-cy")), Forbidden)
    assert isinstance(mesh.refusal("bob", "CreateAccessToken", **asked(service.id)), Forbidden)
    assert isinstance(mesh.refusal("ann", "CreateAccessToken", **asked("user-bob")), Forbidden)
    assert token(mesh, "ann", service.id).token.principal_id == service.id


def asked(profile):
    return {"name": "x", "user_profile_id": profile}


def test_7_a_token_is_shown_once_and_kept_as_a_hash_alone(mesh):
    issued = token(mesh, "bob", "user-bob")
    assert issued.text not in kept(mesh, issued.token.id).text
    listed = mesh.ask("bob", "ListAccessTokens", user_profile_id="user-bob")["items"]
    assert listed == [issued.token]
    told = mesh.refusal("cy", "GetAccessToken", access_token_id=issued.token.id)
    assert isinstance(told, NotFound)


def test_7_a_token_never_makes_one_that_reaches_further(mesh):
    given = {"by": frozenset({"write"}), **asked("user-ann")}
    assert mesh.ask("ann", "CreateAccessToken", scopes=("read", "CreateProject"), **given)
    for wanted in ("admin", "UpdateDomain"):
        told = mesh.refusal("ann", "CreateAccessToken", scopes=(wanted,), **given)
        assert isinstance(told, Forbidden)


def test_7_what_a_token_issued_ends_with_it(mesh):
    first = token(mesh, "bob", "user-bob", scopes=("write",), ttl_s=60).token
    second = issued_by(mesh, first, "user-bob")
    third = issued_by(mesh, second, "user-bob")
    assert first.expires_at == second.expires_at == third.expires_at
    other = token(mesh, "bob", "user-bob").token
    mesh.ask("bob", "RevokeAccessToken", access_token_id=first.id)
    page = mesh.ask("bob", "ListAccessTokens", user_profile_id="user-bob")["items"]
    assert {one.id for one in page if not one.revoked_at} == {other.id}


def test_7_a_session_that_a_token_opened_issues_none_that_outlasts_it(mesh):
    first = token(mesh, "bob", "user-bob", scopes=("write",), ttl_s=60).token
    session = Proof(
        id="s" * 40,
        type=ProofType.SESSION,
        text="",
        owner_id="user-bob",
        token_id=first.id,
        **STAMP,
    )
    mesh.store.write(lambda changes: changes.add(session))
    assert issued_by(mesh, session, "user-bob", session.via).parent_id == first.id


def test_7_administrators_see_and_revoke_tokens_of_others(mesh):
    issued = token(mesh, "bob", "user-bob")
    revoked = mesh.ask("ann", "RevokeAccessToken", access_token_id=issued.token.id)
    assert revoked.revoked_at
    again = mesh.ask("bob", "RevokeAccessToken", access_token_id=issued.token.id)
    assert again == revoked


def test_a_token_is_told_once_and_not_kept_for_a_repeated_call(mesh, service):
    issued = token(mesh, "ann", service.id, key="again")
    told = secrets_in(mesh, issued.text)
    assert told == []
    given = {"name": "ci", "user_profile_id": service.id, "key": "again"}
    assert "told once" in mesh.refusal("ann", "CreateAccessToken", **given).message


def test_7_what_one_token_did_is_not_told_to_another_of_theirs_that_could_not_do_it(mesh):
    given = {"domain_unit_id": ROOT, "name": "presses", "key": "again"}
    made = mesh.ask("ann", "CreateProject", **given)
    assert decoded(bytes(mesh.ask("ann", "CreateProject", **given)), Project) == made
    told = mesh.refusal("ann", "CreateProject", by=frozenset({"read"}), **given)
    assert isinstance(told, Forbidden)


def secrets_in(mesh, text):
    """The tables in which a text stands."""
    with mesh.store.engine.connect() as connection:
        return [
            table.name
            for table in METADATA.sorted_tables
            for row in connection.execute(table.select())
            if any(text in str(value) for value in row)
        ]


def change(mesh, current, password, key):
    given = {"user_profile_id": "user-bob", "current": current, "password": password}
    return mesh.ask("bob", "ChangePassword", key=key, **given)


def test_a_repeated_call_is_answered_before_it_is_prepared_again(mesh):
    mesh.ask("ann", "ResetPassword", user_profile_id="user-bob", password=PASSWORD)
    done = change(mesh, PASSWORD, f"{PASSWORD} more", "again")
    # The current password is another by now.
    assert bytes(change(mesh, PASSWORD, f"{PASSWORD} more", "again")) == b"{}"
    assert done is not None


def test_nobody_guesses_a_password_by_what_is_kept_for_repeated_calls(mesh):
    given = {"user_profile_id": "user-bob", "password": PASSWORD}
    mesh.ask("ann", "ResetPassword", key="again", **given)
    ask = OPERATIONS["ResetPassword"].ask(password=PASSWORD)
    guess = msgspec.json.encode(("ResetPassword", {"user_profile_id": "user-bob"}, ask))
    assert secrets_in(mesh, hashlib.sha256(guess).hexdigest()) == []


def test_who_was_unassigned_gets_no_answer_of_before(mesh):
    mesh.ask("bob", "EndSessions", user_profile_id="user-bob", key="again")
    given = {"user_profile_id": "user-bob", "status": ProfileStatus.NOT_ASSIGNED}
    mesh.ask("ann", "UpdateUserProfile", **given)
    again = {"user_profile_id": "user-bob", "key": "again"}
    assert isinstance(mesh.refusal("bob", "EndSessions", **again), Unauthenticated)
