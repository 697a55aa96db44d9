"""Whatever people do in whatever order, nothing goes a way that no diagram has.

Requests, subscriptions and grants are in `test_mesh_access_laws`, proposals in
`test_mesh_metadata_laws`.
"""

import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from mesh_access import Plant
from mesh_databases import database_of
from mesh_lakes import equipped
from mesh_world import ROOT, world

from atoll.core.errors import AtollError
from atoll.mesh.model.access import CampaignStatus, ReviewCampaign, ReviewItem
from atoll.mesh.model.catalog import (
    DataSource,
    DataSourceRun,
    DataSourceStatus,
    Listing,
)
from atoll.mesh.model.notices import Notification, NotificationStatus
from atoll.mesh.model.organisation import (
    Association,
    AssociationKind,
    Environment,
    EnvironmentStatus,
)
from atoll.mesh.service.listings import LISTING_EDGES
from atoll.mesh.service.places import ASSOCIATION_EDGES
from atoll.mesh.service.reviews import VERDICT_EDGES
from atoll.mesh.service.runs import RUN_EDGES
from atoll.mesh.service.telling import tell
from atoll.mesh.store.writing import Transaction

E = EnvironmentStatus
# By kind: the field that says where a thing stands, and its diagram as the modules draw it.
DIAGRAMS = {
    Association: ("status", ASSOCIATION_EDGES),
    Environment: (
        "status",
        {
            E.ACTIVE: (E.SUSPENDED, E.INACCESSIBLE),
            E.SUSPENDED: (E.ACTIVE, E.INACCESSIBLE),
            E.INACCESSIBLE: (),
        },
    ),
    Listing: ("status", LISTING_EDGES),
    DataSource: (
        "status",
        {
            DataSourceStatus.READY: (DataSourceStatus.RUNNING,),
            DataSourceStatus.RUNNING: (DataSourceStatus.READY,),
        },
    ),
    DataSourceRun: ("status", RUN_EDGES),
    ReviewCampaign: (
        "status",
        {CampaignStatus.OPEN: (CampaignStatus.CLOSED,), CampaignStatus.CLOSED: ()},
    ),
    ReviewItem: ("verdict", VERDICT_EDGES),
    Notification: (
        "status",
        {
            NotificationStatus.ACTIVE: (NotificationStatus.INACTIVE,),
            NotificationStatus.INACTIVE: (),
        },
    ),
}
FIRST = {
    Association: ("PENDING",),
    Environment: ("ACTIVE",),
    Listing: ("ACTIVE",),
    DataSource: ("READY",),
    DataSourceRun: ("REQUESTED",),
    ReviewCampaign: ("OPEN",),
    ReviewItem: ("UNDECIDED",),
    Notification: ("ACTIVE",),
}
# Mostly who may.
GOVERNORS = st.sampled_from(["ann", "ann", "ann", "bob", "cy"])
OWNERS = st.sampled_from(["bob", "bob", "bob", "ann", "cy"])
AT = st.integers(0, 3)


class Diagrams(RuleBasedStateMachine):
    """A plant, and people who try everything that changes where something stands."""

    def __init__(self):
        super().__init__()
        self._stack = ExitStack()
        home = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.mesh = equipped(self._stack.enter_context(world(database_of(home), home)))
        self.plant = Plant(self.mesh, home / "lake")
        (home / "lake" / "readable.csv").write_bytes(b"a,b\n1,2\n")
        self.plant.subscribe(self.plant.public)
        self.told = 0
        group = {"kind": AssociationKind.WORKGROUP, "project_id": self.plant.owner}
        group = self.mesh.ask("bob", "Associate", name="group", **group)
        self.mesh.ask("ann", "AcceptAssociation", association_id=group.id)
        self.places = {"storage_id": self.plant.storage.id, "workgroup_id": group.id}
        for number in range(2):
            given = {"project_id": self.plant.owner, "name": f"e{number}", **self.places}
            self.mesh.ask("ann", "CreateEnvironment", **given)
            given = {"project_id": self.plant.owner, "name": f"s{number}"}
            self.mesh.ask("bob", "CreateDataSource", **given, location=self.plant.storage.location)
        self.steps, self.made = [], 0
        self._stack.enter_context(self._watching())

    def teardown(self):
        self._stack.close()

    @rule(who=GOVERNORS, at=AT, name=st.sampled_from(["Accept", "Accept", "Remove"]))
    def decide_on_association(self, who, at, name):
        self._on(Association, at, who, f"{name}Association", "association_id")

    @rule(who=OWNERS, at=AT)
    def withdraw_association(self, who, at):
        self._on(Association, at, who, "WithdrawAssociation", "association_id")

    @rule(kind=st.sampled_from(list(AssociationKind)))
    def associate(self, kind):
        self.made += 1
        more = {"location": f"s3://more/{self.made}"} if kind is AssociationKind.STORAGE else {}
        given = {"project_id": self.plant.owner, "name": f"a{self.made}", "kind": kind}
        self._try("bob", "Associate", **given, **more)

    @rule(who=OWNERS, at=AT, is_suspended=st.booleans())
    def suspend(self, who, at, is_suspended):
        more = {"is_suspended": is_suspended}
        self._on(Environment, at, who, "UpdateEnvironment", "environment_id", **more)

    @rule(
        who=OWNERS,
        table=st.sampled_from(["public", "internal", "secret"]),
        action=st.sampled_from(["PUBLISH", "UNPUBLISH"]),
    )
    def list(self, who, table, action):
        given = {"asset_id": f"asset-{table}", "action": action}
        self._try(who, "CreateListingChangeSet", **given)

    @rule(who=OWNERS, at=AT, is_done_at_once=st.booleans())
    def start_a_run(self, who, at, is_done_at_once):
        self._on(DataSource, at, who, "StartDataSourceRun", "data_source_id")
        if is_done_at_once:
            self.mesh.work("run-data-source")

    @rule(who=OWNERS, at=AT)
    def replace_a_source(self, who, at):
        self._on(DataSource, at, who, "DeleteDataSource", "data_source_id")
        self.made += 1
        given = {"project_id": self.plant.owner, "name": f"s{self.made}"}
        self._try(who, "CreateDataSource", **given, location=self.plant.storage.location)

    @rule(who=GOVERNORS, days=st.integers(1, 2), revokes=st.booleans())
    def review(self, who, days, revokes):
        self.made += 1
        due = self.mesh.attendant.now() + days * 86_400_000_000
        given = {"name": f"r{self.made}", "due_at": due, "revokes_undecided": revokes}
        self._try(who, "CreateReviewCampaign", domain_unit_id=ROOT, **given)

    @rule(who=OWNERS, at=AT, verdict=st.sampled_from(["KEEP", "REVOKE", "UNDECIDED"]))
    def decide(self, who, at, verdict):
        more = {"verdict": verdict}
        self._on(ReviewItem, at, who, "DecideReviewItem", "review_item_id", **more)
        self.mesh.work("close-campaign")

    @rule(who=OWNERS)
    def read_notices(self, who):
        self._try(who, "MarkNotificationsRead", user_profile_id=f"user-{who}")

    @rule()
    def work(self):
        self.mesh.work()

    @rule()
    def tell(self):
        self.told = tell(self.mesh.attendant, self.told)

    @invariant()
    def every_step_is_in_a_diagram(self):
        for kind, before, after in self.steps:
            edges = DIAGRAMS[kind][1]
            assert after in (FIRST[kind] if before is None else (before, *edges[before]))
        self.steps.clear()

    @contextmanager
    def _watching(self):
        """Note where things stand before and after each change, whoever makes it."""
        add, put = Transaction.add, Transaction.put

        def added(changes, record):
            self._note(None, record)
            return add(changes, record)

        def changed(changes, record):
            self._note(changes.find(type(record), record.id), record)
            return put(changes, record)

        with patch.object(Transaction, "add", added), patch.object(Transaction, "put", changed):
            yield

    def _note(self, before, after):
        if type(after) in DIAGRAMS:
            field = DIAGRAMS[type(after)][0]
            self.steps.append(
                (type(after), before and getattr(before, field), getattr(after, field))
            )

    def _all(self):
        return {
            (kind, one.id): getattr(one, field)
            for kind, (field, _) in DIAGRAMS.items()
            for one in self.plant.every(kind)
        }

    def _on(self, kind, at, who, name, key, /, **given):
        found = self.plant.every(kind)
        found.sort(key=lambda one: (-one.created_at, one.id))
        if found:
            self._try(who, name, **{key: found[at % len(found)].id}, **given)

    def _try(self, who, name, /, **given):
        before = self._all()
        try:
            self.mesh.ask(who, name, **given)
        except AtollError:
            assert self._all() == before


Diagrams.TestCase.settings = settings(max_examples=8, stateful_step_count=60, deadline=None)
TestDiagrams3And14And15And47 = Diagrams.TestCase
