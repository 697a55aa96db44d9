"""Who may do what: every operation, by every kind of person, both ways."""

import pytest
from mesh_databases import database_of
from mesh_samples import SHARED, samples, shared
from mesh_world import ROOT, world

from atoll.core.errors import Forbidden, InvalidInput, NotFound
from atoll.mesh.hosting import Mesh
from atoll.mesh.model.access import ReviewCampaign
from atoll.mesh.model.organisation import AssociationKind, Designation, Domain, PolicyType
from atoll.mesh.model.people import AccessToken, UserProfile, UserType
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Right, actions, viewing
from atoll.mesh.operations.standings import standing
from atoll.mesh.policies.decisions import Authorizer
from atoll.mesh.service import OPERATIONS

# What each may do, by the right that operations take. Ann owns the root, Uma the unit, which Greg
# may make projects in; the others are in the project of the unit, or nowhere. Everybody acts for
# themselves.
GOVERNS = {Right.GOVERN, Right.CREATE, Right.VIEW, Right.DISCOVER, Right.REVOKE, Right.OVERSEE}
MEMBER = {Right.VIEW, Right.DISCOVER}
MAY = {
    "ann": GOVERNS,
    "uma": GOVERNS,
    "owner": MEMBER
    | {
        Right.CONSUME,
        Right.DESCRIBE,
        Right.CONTRIBUTE,
        Right.OWN,
        Right.REVIEW,
        Right.REVOKE,
        Right.OVERSEE,
    },
    "contributor": MEMBER | {Right.CONSUME, Right.DESCRIBE, Right.CONTRIBUTE},
    "steward": MEMBER | {Right.DESCRIBE},
    "consumer": MEMBER | {Right.CONSUME},
    "viewer": MEMBER,
    "greg": set(),
    "stranger": set(),
}
# Of what is between two projects: what those of the project that reads may do, and what those of
# the project whose data are read may.
READS = {Right.VIEW, Right.CONSUME, Right.CONTRIBUTE}
OF_ROOT = {"ann": {Right.VIEW, Right.REVOKE, Right.GOVERN}, "uma": set()}
GIVES = {Right.VIEW, Right.REVIEW, Right.REVOKE, Right.GOVERN}
DESIGNATIONS = {
    "owner": Designation.OWNER,
    "contributor": Designation.CONTRIBUTOR,
    "steward": Designation.STEWARD,
    "consumer": Designation.CONSUMER,
    "viewer": Designation.VIEWER,
}
# What each operation shall need, by the roles that docs/mesh-access.md tells of. Nothing here is
# taken from the operations: one that is declared wrongly, or not placed here, fails.
NEEDS = {
    # Whoever is assigned to the domain looks things up that are for everybody; lists hold what one
    # may look at, and proposals are for those who find what they are about.
    Right.BROWSE: """
        WhoAmI Explain ListPolicies GetDomain ListDomainUnits GetDomainUnit GetGuardrails
        ListGuardrails ListRules GetRule ListUserProfiles GetUserProfile ListGroupProfiles
        GetGroupProfile ListProjects ListAssociations ListGlossaries GetGlossary ListGlossaryTerms
        GetGlossaryTerm GetGlossaryTermUsage SearchGlossaryTerms ListFormTypes GetFormType
        ListAssetTypes GetAssetType Search SearchListings Suggest ListListings CreateProposal
        ListProposals ListSubscriptionRequests ListSubscriptions ListSubscriptionGrants
        ListReviewCampaigns ListReviewItems""",
    # People see to their own tokens, sessions, notices and proposals.
    Right.ACT: """
        ChangePassword EndSession EndSessions ListSessions CreateAccessToken ListAccessTokens
        GetAccessToken RevokeAccessToken CreatePortalLogin ListNotifications CountNotifications
        GetNotification MarkNotificationsRead GetNotificationSettings UpdateNotificationSettings
        RotateWebhookKey WithdrawProposal""",
    # Owners of units, and of the root: people, units, what holds in them, the audit.
    Right.GOVERN: """
        UpdateDomain CreateUserProfile UpdateUserProfile ResetPassword CreateGroupProfile
        UpdateGroupProfile DeleteGroupProfile UpdateDomainUnit MoveDomainUnit DeleteDomainUnit
        SetDomainUnitOwners MoveProject AppointProjectOwner AddPolicyGrant ListPolicyGrants
        GetPolicyGrant RemovePolicyGrant SetGuardrails CreateRule UpdateRule DeleteRule
        AcceptAssociation RemoveAssociation CreateReviewCampaign ListAccess ListAuditEvents
        VerifyAudit ExportAudit""",
    # Owners of units, and those to whom they grant it.
    Right.CREATE: """
        CreateDomainUnit CreateProject CreateEnvironment CreateGlossary CreateFormType
        CreateAssetType""",
    # All members see what is their project's own, and talk about requests.
    Right.VIEW: """
        GetProject ListProjectMemberships GetProjectMembership GetAssociation ListEnvironments
        GetEnvironment ListAssets GetAsset ListAssetRevisions DiffAssetRevisions ListDuplicates
        ListAssetFilters ListProjectAssetFilters GetAssetFilter ListDataProducts GetDataProduct
        ListDataProductRevisions ListDataSources GetDataSource ListDataSourceRuns GetDataSourceRun
        ListDataSourceRunActivities ListTimeSeriesDataPoints GetOwnerScorecard GetProposal
        GetSubscriptionRequest CreateComment ListComments GetComment GetSubscription
        GetSubscriptionGrant ListSubscriptionTargets GetSubscriptionTarget ListMyData
        ListDelegations GetDelegation GetReviewCampaign GetReviewItem""",
    # All who find a listing see what it shows; whose rows are read is decided by who subscribed.
    Right.DISCOVER: """
        GetListing GetListedAsset GetListedDataProduct ListListingFilters ListListingScores
        GetListingQuality ReadRows""",
    # Owners, contributors and consumers ask for data, and give them back.
    Right.CONSUME: """
        CreateSubscriptionRequests UpdateSubscriptionRequest DeleteSubscriptionRequest
        CancelSubscription RetrySubscriptionGrant""",
    # Stewards, too, keep texts, terms and forms, and say what is more sensitive.
    Right.DESCRIBE: """
        UpdateGlossary CreateGlossaryTerm UpdateGlossaryTerm UpdateFormType UpdateAsset
        UpdateAssetColumns UpdateDataProduct ClassifyAsset FlagPii AcceptProposal AcceptProposals
        RejectProposal RejectProposals""",
    # Owners and contributors register, publish, run, measure, and remove what holds no data.
    Right.CONTRIBUTE: """
        CreateAsset RefreshAsset ArchiveAsset RestoreAsset CreateListingChangeSet
        CreateDataProduct SetDataProductItems DeleteDataProduct CreateDataProductListingChangeSet
        CreateDataSource UpdateDataSource DeleteDataSource StartDataSourceRun
        PostTimeSeriesDataPoints DeleteGlossary DeleteGlossaryTerm DeleteFormType UpdateAssetType
        DeleteAssetType UpdateSubscriptionGrantStatus""",
    # Owners alone: members, places, filters, what is less sensitive, what is gone for good.
    Right.OWN: """
        UpdateProject DeleteProject CreateProjectMembership DeleteProjectMembership Associate
        WithdrawAssociation UpdateEnvironment DeleteEnvironment DeleteAsset DeclassifyAsset
        DecidePii CreateAssetFilter UpdateAssetFilter DeleteAssetFilter CreateSubscriptionTarget
        UpdateSubscriptionTarget DeleteSubscriptionTarget CreateDelegation DeleteDelegation""",
    # Owners of the data, and those whom they let decide.
    Right.REVIEW: """
        AcceptSubscriptionRequest RejectSubscriptionRequest UpdateSubscriptionTerms
        UnflagSubscription DecideReviewItem""",
    # They, and owners of the unit above.
    Right.REVOKE: "RevokeSubscription",
    # Owners, and owners of the unit above, but not whoever works in the project.
    Right.OVERSEE: "ListAssetAccess ListProjectAccess ListAssetEvents ListProjectEvents",
}
GRANTS = {
    "CreateDomainUnit": PolicyType.CREATE_DOMAIN_UNIT,
    "CreateProject": PolicyType.CREATE_PROJECT,
    "CreateEnvironment": PolicyType.CREATE_ENVIRONMENT,
    "CreateGlossary": PolicyType.CREATE_GLOSSARY,
    "CreateFormType": PolicyType.CREATE_FORM_TYPE,
    "CreateAssetType": PolicyType.CREATE_ASSET_TYPE,
    "SetDomainUnitOwners": PolicyType.OVERRIDE_DOMAIN_UNIT_OWNERS,
    "AppointProjectOwner": PolicyType.OVERRIDE_PROJECT_OWNERS,
}
OF_THE_DOMAIN = {"Domain", "UserProfile", "GroupProfile", "AccessToken"}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    with world(database_of(tmp_path_factory.mktemp("rights"))) as made:
        yield made


@pytest.fixture(scope="module")
def things(mesh):
    """One record of each kind, in the unit or the project that people have roles in."""
    unit = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="production")
    for name in MAY.keys() - {"ann"}:
        mesh.person(name)
    robot = mesh.ask("ann", "CreateUserProfile", name="robot", type=UserType.SERVICE)
    mesh.ask("ann", "SetDomainUnitOwners", domain_unit_id=unit.id, owners=("user-uma",))
    given = {"policy_type": PolicyType.CREATE_PROJECT, "principal_id": "user-greg"}
    grant = mesh.ask("ann", "AddPolicyGrant", domain_unit_id=unit.id, **given)
    project = mesh.ask("uma", "CreateProject", domain_unit_id=unit.id, name="press")
    for name, designation in DESIGNATIONS.items():
        given = {"member_id": f"user-{name}", "designation": designation}
        joined = mesh.ask("uma", "CreateProjectMembership", project_id=project.id, **given)
    given = {"member_id": "user-uma", "project_id": project.id}
    mesh.ask("uma", "DeleteProjectMembership", **given)
    group = mesh.ask("ann", "CreateGroupProfile", name="engineers")
    token = mesh.ask("ann", "CreateAccessToken", user_profile_id=robot.id, name="ci").token
    domain = mesh.ask("ann", "GetDomain")
    place, environment = places(mesh, project)
    made = [domain, unit, project, joined, grant, group, robot, token, place, environment]
    others = mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="others")
    given = {"project_id": others.id, "member_id": mesh.person("other").id}
    mesh.ask("ann", "CreateProjectMembership", designation=Designation.OWNER, **given)
    mesh.ask("ann", "DeleteProjectMembership", project_id=others.id, member_id="user-ann")
    sampled = samples(project.id, unit.id, "user-somebody")
    read, given = shared(project.id, others.id, "read"), shared(others.id, project.id, "given")
    mesh.store.write(lambda changes: [changes.add(one) for one in (*sampled, *read, *given)])
    found = {type(one).__name__: one for one in [*made, *sampled, *read]}
    return found, {type(one).__name__: one for one in given}


def places(mesh, project):
    """The owner's storage, and an environment on it."""
    given = {"project_id": project.id, "kind": AssociationKind.STORAGE}
    storage = mesh.ask("owner", "Associate", name="lake", location="s3://plant/press", **given)
    given["kind"] = AssociationKind.WORKGROUP
    group = mesh.ask("owner", "Associate", name="small", **given)
    for one in (storage, group):
        mesh.ask("ann", "AcceptAssociation", association_id=one.id)
    given = {"storage_id": storage.id, "workgroup_id": group.id, "name": "test"}
    return storage, mesh.ask("uma", "CreateEnvironment", project_id=project.id, **given)


@pytest.mark.parametrize("right", Right)
def test_5_each_operation_needs_the_right_that_it_shall_need(right):
    assert {name for name, one in OPERATIONS.items() if one.right is right} == {
        *NEEDS[right].split()
    }


def test_5_what_can_be_granted_is_what_shall_be():
    assert {name: one.grant for name, one in OPERATIONS.items() if one.grant} == GRANTS


@pytest.mark.parametrize("name", OPERATIONS)
def test_who_may_do_what(mesh, things, name):
    operation = OPERATIONS[name]
    thing = things[0][operation.on.__name__]
    may = {who for who in MAY if expected(who, operation)}
    assert allowed(mesh, operation, thing) == may


@pytest.mark.parametrize("name", [key for key, one in OPERATIONS.items() if one.on in SHARED])
def test_who_may_do_what_to_access_that_their_project_gives(mesh, things, name):
    operation = OPERATIONS[name]
    may = {who for who in MAY if operation.right in MAY[who] & GIVES}
    assert allowed(mesh, operation, things[1][operation.on.__name__]) == may


def allowed(mesh, operation, thing):
    """Who may do it, of all kinds of people."""
    with mesh.store.reading() as reader:
        calls = {who: mesh.call(reader, who) for who in MAY}
        return {
            who
            for who, call in calls.items()
            if call.decide(operation.action, thing, grant=operation.grant).is_allowed
        }


def expected(who, operation):
    if operation.right is Right.BROWSE:
        return True
    if operation.right is Right.ACT:  # the token and the user are a service's
        return who == "ann" and operation.on in (UserProfile, AccessToken)
    if operation.on in SHARED:
        return operation.right in (MAY[who] & READS if who not in ("ann", "uma") else OF_ROOT[who])
    if operation.on.__name__ in OF_THE_DOMAIN or operation.name == "AcceptAssociation":
        return who == "ann"
    if operation.on is ReviewCampaign:
        return who in ("ann", "uma") and operation.right in GOVERNS
    if who == "greg":
        return operation.grant == PolicyType.CREATE_PROJECT
    return operation.right in MAY[who]


def test_every_kind_can_be_looked_at_and_has_its_facts(things):
    assert {one.on.__name__ for one in OPERATIONS.values()} <= set(things[0])
    for one in OPERATIONS.values():
        assert viewing(one.on).name in OPERATIONS, one.name


def test_every_policy_has_an_id_and_says_what_it_is_for(mesh):
    for id_, text in mesh.authorizer.named.items():
        assert f'@id("{id_}")' in text
        assert "@description(" in text


def test_a_decision_is_explained_by_its_policies(mesh, things):
    asked = {"operation": "CreateProject", "resource_id": things[0]["DomainUnit"].id}
    told = mesh.ask("greg", "Explain", **asked)
    assert (told.is_allowed, [one.id for one in told.policies]) == (True, ["granted-by-the-unit"])
    assert told.policies[0].text.endswith("};")
    told = mesh.ask("stranger", "Explain", **asked)
    assert (told.is_allowed, told.policies) == (False, [])


def test_only_owners_of_the_domain_ask_for_others_and_nobody_about_what_is_hidden(mesh, things):
    asked = {"operation": "GetProject", "resource_id": things[0]["Project"].id}
    told = mesh.ask("ann", "Explain", principal_id="user-viewer", **asked)
    assert [one.id for one in told.policies] == ["members-view"]
    refused = mesh.refusal("uma", "Explain", principal_id="user-viewer", **asked)
    assert isinstance(refused, Forbidden)
    assert isinstance(mesh.refusal("stranger", "Explain", **asked), NotFound)


EVERYTHING = "(principal, action, resource)"
LONG = "x" * 101


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"permit {EVERYTHING}", "no Cedar"),
        (f'@id("x") permit {EVERYTHING} when {{ resource.nothing == 1 }};', "'x'.*`nothing`"),
        ('@id("x") permit (principal, action == Action::"Fly", resource);', "'x'.*Fly"),
        (f'@id("members-view") permit {EVERYTHING};', "of its own"),
        (f"permit {EVERYTHING};", "of its own"),
        (f'@description("all") @id("x") permit {EVERYTHING};', "line of its own"),
        ('@id("x") permit (principal == ?principal, action, resource);', "templates"),
        (b"\xff", "utf-8"),
        (f'@id("stewards ask too") permit {EVERYTHING};', "'stewards ask too' is no name"),
        (f'@id("stewards\u3000ask") permit {EVERYTHING};', "is no name of a policy"),
        (f'@id("stewards\\u{{9}}ask") permit {EVERYTHING};', "is no name of a policy"),
        (f'@id("") permit {EVERYTHING};', "'' is no name"),
        (f'@id("{LONG}") permit {EVERYTHING};', "take 1 to 100"),
    ],
    ids=[
        *("no Cedar", "not of the schema", "no operation", "an id twice", "no id"),
        *("id not first", "a template", "no text"),
        *("a space", "a wide space", "a tab", "an empty id", "a long id"),
    ],
)
def test_policies_that_cannot_be_are_refused_at_the_start(tmp_path, text, why):
    place = tmp_path / "house.cedar"
    place.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidInput, match=rf"house\.cedar are refused: .*{why}"):
        Mesh(tmp_path / "home", policies=place)
    assert not (tmp_path / "home").exists()


def test_a_policy_of_the_house_can_forbid_what_others_allow(mesh, things):
    more = """@id("frozen")
@description("Nobody changes the organisation in the summer.")
forbid (principal, action in Action::"Govern", resource);"""
    authorizer = Authorizer(actions(), more)
    with mesh.store.reading() as reader:
        [domain] = reader.all(Domain)
        who = standing(reader, "user-ann", frozenset({"admin"}), 0)
        call = Call(reader, who, "test", authorizer, mesh.tools)
        decision = call.decide(OPERATIONS["UpdateDomain"].action, domain)
    assert (decision.is_allowed, decision.policies) == (False, ("frozen",))
