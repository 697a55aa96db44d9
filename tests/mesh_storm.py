"""Changes of every kind, from several clients at once, against a server that is killed.

Each call carries an idempotency key. One whose answer was lost is made again with it, so in the end
each is known to have been done once, or refused.
"""

import random
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from operator import attrgetter

from mesh_files import csv_bytes, plant_table
from mesh_invariants import assert_whole

from atoll.core.errors import AtollError, Unavailable
from atoll.mesh.audit.keys import Key
from atoll.mesh.cli.client import MeshClient
from atoll.mesh.hosting import KEY_FILE
from atoll.mesh.model.access import (
    Delegation,
    ReviewItem,
    Subscription,
    SubscriptionGrant,
    SubscriptionRequest,
    SubscriptionTarget,
    Verdict,
)
from atoll.mesh.model.catalog import (
    Asset,
    AssetFilter,
    AssetType,
    DataProduct,
    DataSource,
    EntityType,
    Listing,
    ListingStatus,
)
from atoll.mesh.model.describing import FormType, Glossary, GlossaryTerm, Proposal, Rule
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import (
    Association,
    AssociationKind,
    DomainUnit,
    Environment,
    PolicyGrant,
    Project,
)
from atoll.mesh.model.people import AccessToken, GroupProfile, Proof, ProofType, UserType
from atoll.mesh.operations.registry import Download
from atoll.mesh.service import OPERATIONS
from atoll.mesh.store.database import opened
from atoll.mesh.store.reading import Reader

CLIENTS = 4
GOOD = "correct horse battery staple"
TABLES = 6
SESSIONS = 5
_BY_HAND = [f"by-hand-{number}" for number in range(20)]
DEADLINE_S = 120
DAY_US = 86_400_000_000
_VIEW = {"columnConfiguration": {"includedColumnNames": ["udi"]}}


class Storm:
    """What is changed, by whom, and what was answered.

    Attributes:
        done: how often each operation was answered.
        refused: how often each was refused.
        unavailable: why calls were not answered.
        via: id of the token that all of it was done with.
    """

    def __init__(self, server, database, seed):
        self.server, self.lake = server, server.home.parent / "lake"
        self.engine = opened(database)
        self.key = Key(bytes.fromhex((server.home / KEY_FILE).read_text()))
        self.done, self.refused, self.unavailable = Counter(), Counter(), set()
        self.chance, self._lock = random.Random(seed), threading.Lock()
        self._lost, self._faults = [], []
        self._set_up()

    def close(self):
        self.engine.dispose()

    @contextmanager
    def reading(self):
        """Look into the database, past the server."""
        with self.engine.connect() as connection, connection.begin():
            yield Reader(connection)

    def _set_up(self):
        do = self.server.do
        self.admin = do("WhoAmI")["profile"]["id"]
        self.root = do("ListDomainUnits")[0]["id"]
        unit = do("CreateDomainUnit", domain_unit_id=self.root, name="plant")["id"]
        self.gives, self.reads = (
            do("CreateProject", domain_unit_id=unit, name=name)["id"] for name in ("gives", "reads")
        )
        self.side = do("CreateDomainUnit", domain_unit_id=self.root, name="side")["id"]
        given = {"policy_type": "OVERRIDE_PROJECT_OWNERS", "principal_id": self.admin}
        given |= {"domain_unit_id": self.root, "includes_children": True}
        overrides = do("AddPolicyGrant", **given)["id"]
        given = {"name": "clerk", "type": str(UserType.LOCAL), "password": GOOD}
        self.clerk = do("CreateUserProfile", **given)["id"]
        for _ in range(SESSIONS):
            self.server.open_session()
        self.lake.mkdir(parents=True)
        for name in (*(f"t{number}" for number in range(TABLES)), *_BY_HAND):
            columns = [f"{one} {name}" for one in plant_table(1).column_names[1:]]
            table = plant_table(5).rename_columns(["udi", *columns])
            (self.lake / f"{name}.csv").write_bytes(csv_bytes(table))
        of_storage = {"kind": AssociationKind.STORAGE, "location": self.lake.as_uri()}
        of_group = {"kind": AssociationKind.WORKGROUP}
        self.places = [
            do("Associate", project_id=self.gives, name=name, **kind)["id"]
            for name, kind in (("lake", of_storage), ("group", of_group))
        ]
        for one in self.places:
            do("AcceptAssociation", association_id=one)
        given = {"project_id": self.gives, "name": "all", "location": self.lake.as_uri()}
        given |= {"include": ["t*"], "classification": "INTERNAL"}
        source = do("CreateDataSource", **given, publish_on_import=True)
        run = do("StartDataSourceRun", data_source_id=source["id"])["id"]
        with self.reading() as reader:
            [token] = reader.all(AccessToken)
        self.via, self.kept = token.id, {token.id, overrides, self.gives, self.reads, self.side}
        self.kept |= {*self.places}
        until = time.monotonic() + DEADLINE_S
        while do("GetDataSourceRun", data_source_run_id=run)["status"] in ("REQUESTED", "RUNNING"):
            assert time.monotonic() < until
            time.sleep(0.1)
        with self.reading() as reader:
            self._before = self._allowed(reader)

    def blow(self, seconds, disaster):
        """Change things for some seconds; then something happens, and is over again.

        What was not answered is tried again until it is.
        """
        stop = threading.Event()
        pools = self.pools()
        threads = [
            threading.Thread(target=self._change_things, args=(stop, pools, self.chance.random()))
            for _ in range(CLIENTS)
        ]
        for one in threads:
            one.start()
        time.sleep(seconds)
        disaster(stop.set)
        stop.set()
        for one in threads:
            one.join()
        until = time.monotonic() + DEADLINE_S
        while self._lost:
            assert time.monotonic() < until, (self._lost, self.unavailable)
            lost, self._lost = self._lost, []
            with closing(MeshClient(self.server.url, self.server.token)) as client:
                for one in lost:
                    self._make(client, *one)
        assert not self._faults, self._faults

    def settle(self):
        """Wait until all that is to be done now is done."""
        until = time.monotonic() + DEADLINE_S
        while left := self._due():
            assert time.monotonic() < until, left
            time.sleep(0.2)

    def assert_done_once(self):
        """See that what was answered, and nothing else, was done, once, and wholly."""
        self.settle()
        with self.reading() as reader:
            assert_whole(reader, [self.key])
            assert self._allowed(reader) - self._before == self.done
            listed = {one.id for one in reader.all(Listing, status=ListingStatus.ACTIVE)}
        found = self.server.do("SearchListings", limit=100)
        assert {one["id"] for one in found["items"]} == listed
        assert self.server.do("VerifyAudit")["is_whole"]

    def _allowed(self, reader):
        """How often the audit says that something was done by our token."""
        return Counter(
            one.operation
            for one in reader.events(principal=self.admin)
            if one.outcome == "ALLOWED" and one.via == self.via and one.operation in MAKERS
        )

    def _due(self):
        now = time.time_ns() // 1000
        with self.reading() as reader:
            return [one for one in reader.all(Job) if one.subject_id and one.due_at <= now]

    def pools(self):
        """List the ids of what there is, the newest last."""
        newest = attrgetter("created_at")
        with self.reading() as reader:
            found = {kind: sorted(reader.all(kind), key=newest) for kind in _POOLED}
            return {kind: [one.id for one in records] for kind, records in found.items()} | {
                "unpublished": [
                    one.entity_id
                    for one in found[Listing]
                    if one.status is ListingStatus.INACTIVE and one.entity_type is EntityType.ASSET
                ],
                "sessions": [one.via for one in reader.all(Proof, type=ProofType.SESSION)],
            }

    def _change_things(self, stop, pools, seed):
        chance = random.Random(seed)
        names = sorted(set(MAKERS))
        with closing(MeshClient(self.server.url, self.server.token)) as client:
            while not stop.is_set():
                name = chance.choice(names)
                try:
                    given = MAKERS[name](self, pools, chance)
                except IndexError:  # there is none of that kind yet
                    continue
                answer = self._make(client, name, given, f"{name} {chance.random()}")
                kind = OPERATIONS[name].answer
                if answer and kind in pools and name.startswith(("Create", "Associate", "Add")):
                    pools[kind].append(answer["id"])

    def _make(self, client, name, given, key):
        operation = OPERATIONS[name]
        try:
            answer = _performed(client, operation, given, {"Idempotency-Key": key})
        except Unavailable as error:
            with self._lock:
                self._lost.append((name, given, key))
                self.unavailable.add(error.message)
            time.sleep(0.1)
        except AtollError as error:
            with self._lock:
                is_done = "its answer is told once" in error.message
                (self.done if is_done else self.refused)[name] += 1
                if type(error) is AtollError:
                    self._faults.append((name, given, error.message))
        else:
            with self._lock:
                self.done[name] += 1
            return answer
        return None


def _performed(client, operation, given, headers):
    if operation.answer is Download:
        return b"".join(client.download(operation, given, headers))
    return client.perform(operation, given, headers)


_POOLED = (
    *(Asset, AssetFilter, AssetType, Association, DataProduct, DataSource, Delegation),
    *(DomainUnit, Environment, FormType, Glossary, GlossaryTerm, GroupProfile, Listing),
    *(PolicyGrant, Project, Proposal, ReviewItem, Rule, Subscription, SubscriptionGrant),
    *(SubscriptionRequest, SubscriptionTarget, AccessToken),
)


def _name(chance):
    return f"n{chance.randrange(10**12)}"


def _about(key, kind, /, **rest):
    """Make what is told of something there is; values that are functions are drawn."""

    def make(storm, pools, chance):
        drawn = {name: _drawn(one, storm, pools, chance) for name, one in rest.items()}
        if kind is None:
            return drawn
        id_ = kind(storm) if callable(kind) and not isinstance(kind, type) else None
        return {key: id_ or chance.choice(pools[kind]), **drawn}

    return make


def _drawn(value, storm, pools, chance):
    return value(storm, pools, chance) if callable(value) else value


def _some_name(storm, pools, chance):
    return _name(chance)


def _one(kind):
    return lambda storm, pools, chance: chance.choice(pools[kind])


def _several(kind):
    def some(storm, pools, chance):
        return chance.sample(pools[kind], chance.randint(0, min(2, len(pools[kind]))))

    return some


def _any_of(*values):
    return lambda storm, pools, chance: chance.choice(values)


def _later(storm, pools, chance):
    return time.time_ns() // 1000 + chance.randint(1, 10) * DAY_US


def _but_kept(key, kind, /, **rest):
    """As `_about`, of what is not needed by everything else."""

    def make(storm, pools, chance):
        left = [one for one in pools[kind] if one not in storm.kept]
        return _about(key, kind, **rest)(storm, {**pools, kind: left}, chance)

    return make


def _wanted(storm, pools, chance):
    return [
        {"listing_id": chance.choice(pools[Listing]), "expires_at": _later(storm, pools, chance)}
    ]


def _file(storm, pools, chance):
    return f"{storm.lake.as_uri()}/{chance.choice(_BY_HAND)}.csv"


def _gives(storm):
    return storm.gives


def _reads(storm):
    return storm.reads


def _side(storm):
    return storm.side


def _clerk(storm):
    return storm.clerk


def _owners(storm, pools, chance):
    return [storm.admin, *chance.choice(([], [storm.clerk]))]


def _password(storm, pools, chance):
    return storm.server.password


def _admin(storm):
    return storm.admin


_NEW = {"name": _some_name, "description": _some_name}
_STATUS = _any_of("ENABLED", "DISABLED")
_CLASSES = _any_of("PUBLIC", "INTERNAL", "CONFIDENTIAL")
_ACTION = _any_of("PUBLISH", "PUBLISH", "UNPUBLISH")
_TERMS = {"expires_at": _later, "comment": "as said"}
_REQUEST = "subscription_request_id"

# One for every operation that changes something.
MAKERS = {
    "CreateGlossary": _about("project_id", _gives, **_NEW),
    "UpdateGlossary": _about("glossary_id", Glossary, description=_some_name, status=_STATUS),
    "DeleteGlossary": _about("glossary_id", Glossary),
    "CreateGlossaryTerm": _about(
        "glossary_id", Glossary, name=_some_name, is_a=_several(GlossaryTerm)
    ),
    "UpdateGlossaryTerm": _about(
        "glossary_term_id", GlossaryTerm, synonyms=lambda *a: [_name(a[2])], status=_STATUS
    ),
    "DeleteGlossaryTerm": _about("glossary_term_id", GlossaryTerm),
    "CreateFormType": _about(
        "project_id", _gives, name=_some_name, fields=[{"name": "line"}, {"name": "hall"}]
    ),
    "UpdateFormType": _about("form_type_id", FormType, description=_some_name),
    "DeleteFormType": _about("form_type_id", FormType),
    "CreateAssetType": _about("project_id", _gives, **_NEW),
    "UpdateAssetType": _about("asset_type_id", AssetType, description=_some_name),
    "DeleteAssetType": _about("asset_type_id", AssetType),
    "SetGuardrails": _about("domain_unit_id", _side, remind_after_s=_any_of(60, 70)),
    "CreateAssetFilter": _about("asset_id", Asset, name=_some_name, configuration=_VIEW),
    "UpdateAssetFilter": _about("asset_filter_id", AssetFilter, description=_some_name),
    "DeleteAssetFilter": _about("asset_filter_id", AssetFilter),
    "RetrySubscriptionGrant": _about("subscription_grant_id", SubscriptionGrant),
    "UpdateSubscriptionGrantStatus": _about(
        "subscription_grant_id",
        SubscriptionGrant,
        asset_id=_one(Asset),
        status=_any_of("GRANT_IN_PROGRESS", "GRANTED", "REVOKE_IN_PROGRESS", "REVOKED"),
    ),
    "CreateSubscriptionTarget": _about(
        "project_id", _reads, name=_some_name, environment_id=_one(Environment)
    ),
    "UpdateSubscriptionTarget": _about(
        "subscription_target_id", SubscriptionTarget, name=_some_name
    ),
    "DeleteSubscriptionTarget": _about("subscription_target_id", SubscriptionTarget),
    "RevokeSubscription": _about("subscription_id", Subscription, comment="no more"),
    "CancelSubscription": _about("subscription_id", Subscription),
    "UpdateSubscriptionTerms": _about("subscription_id", Subscription, **_TERMS),
    "UnflagSubscription": _about("subscription_id", Subscription),
    "PostTimeSeriesDataPoints": _about(
        "asset_id",
        Asset,
        timestamp=lambda *a: time.time_ns() // 1000 - a[2].randrange(DAY_US),
        score=_any_of(10.0, 99.0),
    ),
    "CreateRule": _about(
        "domain_unit_id",
        _side,
        name=_some_name,
        rule_type="METADATA_FORM_ENFORCEMENT",
        action="CREATE_LISTING_CHANGE_SET",
        form_types=["CommonAttributes"],
    ),
    "UpdateRule": _about("rule_id", Rule, description=_some_name),
    "DeleteRule": _about("rule_id", Rule),
    "CreateSubscriptionRequests": _about(
        "project_id", _reads, listings=_wanted, request_reason="to see"
    ),
    "UpdateSubscriptionRequest": _about(
        _REQUEST, SubscriptionRequest, request_reason=_some_name, min_score=_any_of(0.0, 50.0)
    ),
    "DeleteSubscriptionRequest": _about(_REQUEST, SubscriptionRequest),
    "AcceptSubscriptionRequest": _about(_REQUEST, SubscriptionRequest),
    "RejectSubscriptionRequest": _about(_REQUEST, SubscriptionRequest, comment="not now"),
    "CreateListingChangeSet": _about("asset_id", Asset, action=_ACTION),
    "CreateDataProductListingChangeSet": _about("data_product_id", DataProduct, action=_ACTION),
    "UpdateAsset": _about(
        "asset_id", Asset, description=_some_name, glossary_terms=_several(GlossaryTerm)
    ),
    "UpdateAssetColumns": _about(
        "asset_id", Asset, columns=lambda *a: [{"name": "udi", "description": _name(a[2])}]
    ),
    "ArchiveAsset": _about("asset_id", "unpublished"),
    "RestoreAsset": _about("asset_id", Asset),
    "DeleteAsset": _about("asset_id", "unpublished"),
    "CreateComment": _about(_REQUEST, SubscriptionRequest, text=_some_name),
    "CreateDelegation": _about("project_id", _gives, principal_id=lambda s, *_: s.admin),
    "DeleteDelegation": _about("delegation_id", Delegation),
    "MarkNotificationsRead": _about("user_profile_id", _admin),
    "UpdateNotificationSettings": _about(
        "user_profile_id", _admin, channels=_any_of({"": ["PORTAL"]}, {"": None})
    ),
    "RotateWebhookKey": _about("user_profile_id", _admin),
    "UpdateDomain": _about("", None, description=_some_name),
    "CreateDomainUnit": _about("domain_unit_id", _side, **_NEW),
    "UpdateDomainUnit": _about("domain_unit_id", DomainUnit, description=_some_name),
    "MoveDomainUnit": _about("domain_unit_id", DomainUnit, parent_domain_unit_id=_one(DomainUnit)),
    "DeleteDomainUnit": _but_kept("domain_unit_id", DomainUnit),
    "SetDomainUnitOwners": _about("domain_unit_id", _side, owners=_owners),
    "AddPolicyGrant": _about(
        "domain_unit_id",
        DomainUnit,
        policy_type=_any_of("CREATE_GLOSSARY", "CREATE_PROJECT"),
        principal_id="all-users",
    ),
    "RemovePolicyGrant": _but_kept("policy_grant_id", PolicyGrant),
    "CreateProject": _about("domain_unit_id", DomainUnit, **_NEW),
    "UpdateProject": _about("project_id", Project, description=_some_name),
    "MoveProject": _but_kept("project_id", Project, domain_unit_id=_one(DomainUnit)),
    "DeleteProject": _about("project_id", Project),
    "AppointProjectOwner": _about("project_id", Project, member_id=lambda s, *_: s.clerk),
    "CreateProjectMembership": _about(
        "project_id", Project, member_id=_one(GroupProfile), designation="PROJECT_CONTRIBUTOR"
    ),
    "DeleteProjectMembership": _about("project_id", Project, member_id=_one(GroupProfile)),
    "CreateUserProfile": _about("", None, name=_some_name, type=str(UserType.SERVICE)),
    "UpdateUserProfile": _about("user_profile_id", _admin, email=_any_of("a@b.c", "d@e.f")),
    "EndSessions": _about("user_profile_id", _admin),
    "EndSession": _about("user_profile_id", _admin, session_id=_one("sessions")),
    "ChangePassword": _about("user_profile_id", _admin, current=_password, password=_password),
    "ResetPassword": _about("user_profile_id", _clerk, password=GOOD),
    "CreatePortalLogin": _about("user_profile_id", _admin),
    "CreateGroupProfile": _about("", None, **_NEW),
    "UpdateGroupProfile": _about("group_profile_id", GroupProfile, description=_some_name),
    "DeleteGroupProfile": _about("group_profile_id", GroupProfile),
    "CreateAccessToken": _about("user_profile_id", _admin, name=_some_name),
    "RevokeAccessToken": _but_kept("access_token_id", AccessToken),
    "Associate": _about("project_id", _reads, name=_some_name, kind="WORKGROUP"),
    "AcceptAssociation": _about("association_id", Association),
    "WithdrawAssociation": _but_kept("association_id", Association),
    "RemoveAssociation": _but_kept("association_id", Association),
    "CreateEnvironment": _about(
        "project_id",
        _reads,
        name=_some_name,
        storage_id=lambda storm, *_: storm.places[0],
        workgroup_id=lambda storm, *_: storm.places[1],
    ),
    "UpdateEnvironment": _about("environment_id", Environment, is_suspended=_any_of(True, False)),
    "DeleteEnvironment": _about("environment_id", Environment),
    "CreateDataProduct": _about("project_id", _gives, **_NEW),
    "UpdateDataProduct": _about("data_product_id", DataProduct, description=_some_name),
    "SetDataProductItems": _about(
        "data_product_id", DataProduct, items=lambda s, p, c: [{"asset_id": c.choice(p[Asset])}]
    ),
    "DeleteDataProduct": _about("data_product_id", DataProduct),
    "CreateProposal": _about(
        "", None, subject_id=_one(Asset), path="description", after=_some_name
    ),
    "AcceptProposal": _about("proposal_id", Proposal),
    "RejectProposal": _about("proposal_id", Proposal),
    "WithdrawProposal": _about("proposal_id", Proposal),
    "AcceptProposals": _about(
        "project_id", _gives, proposal_ids=lambda s, p, c: [c.choice(p[Proposal])]
    ),
    "RejectProposals": _about(
        "project_id", _gives, proposal_ids=lambda s, p, c: [c.choice(p[Proposal])]
    ),
    "CreateAsset": _about("project_id", _gives, location=_file),
    "RefreshAsset": _about("asset_id", Asset),
    "CreateReviewCampaign": _about(
        "domain_unit_id", lambda storm: storm.root, name=_some_name, due_at=_later
    ),
    "DecideReviewItem": _about(
        "review_item_id", ReviewItem, verdict=_any_of(str(Verdict.KEEP), str(Verdict.REVOKE))
    ),
    "ClassifyAsset": _about("asset_id", Asset, classification=_CLASSES),
    "DeclassifyAsset": _about("asset_id", Asset, classification=_CLASSES),
    "FlagPii": _about("asset_id", Asset, columns=["udi"], kind="person_id"),
    "DecidePii": _about("asset_id", Asset, columns=["udi"], is_personal=_any_of(True, False)),
    "CreateDataSource": _about(
        "project_id",
        _gives,
        name=_some_name,
        location=lambda s, *_: s.lake.as_uri(),
        include=["t*"],
    ),
    "UpdateDataSource": _about("data_source_id", DataSource, description=_some_name),
    "DeleteDataSource": _about("data_source_id", DataSource),
    "StartDataSourceRun": _about("data_source_id", DataSource),
    "ReadRows": _about("listing_id", Listing, project_id=lambda s, *_: s.gives),
    "ExportAudit": _about("", None),
}
