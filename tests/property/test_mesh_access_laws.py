"""Requests, subscriptions and grants under whatever is done to them, in any order.

No edge outside the diagrams, no trace of what was refused, and the audit tells of the same access
as the records.
"""

import tempfile
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from mesh_access import Plant
from mesh_databases import database_of
from mesh_world import STAMP, world

from atoll.core.errors import AtollError
from atoll.mesh.model.access import (
    LIVE,
    AssetGrantStatus,
    OnLowScore,
    Subscription,
    SubscriptionGrant,
    SubscriptionRequest,
    SubscriptionStatus,
    SubscriptionTarget,
    TargetProvider,
)
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import Association, AssociationStatus, Environment
from atoll.mesh.service.granting import _begun
from atoll.mesh.service.grants import ASSET_EDGES, GRANT_EDGES, overall
from atoll.mesh.service.requests import REQUEST_EDGES, considered
from atoll.mesh.service.subscriptions import SUBSCRIPTION_EDGES, ended, resumed, suspended

# Who may comes first: most of what is tried shall be done.
GIVES = st.sampled_from(["bob", "bob", "bob", "ann", "cy", "dee"])
READS = st.sampled_from(["cy", "dee", "cy", "dee", "ann", "bob"])
GOVERNS = st.sampled_from(["ann", "bob", "cy"])
PLACES = st.integers(0, 5)
THEN = st.sampled_from(["work", "die", "rest"])
KEPT = (SubscriptionRequest, Subscription, SubscriptionGrant, SubscriptionTarget, Job)
DECISIONS = ("AcceptSubscriptionRequest", "RejectSubscriptionRequest")


class Access(RuleBasedStateMachine):
    """Four people, two projects, three listings, a target outside, a store that comes and goes."""

    def __init__(self):
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.mesh = self.stack.enter_context(world(database_of(folder), folder))
        self.plant = Plant(self.mesh, folder / "lake")
        made = {"id": "environment-lab", "name": "lab", "project_id": self.plant.reader}
        made |= {"storage_id": "s", "workgroup_id": "w", "prefix": "p"}
        self.plant.keep(Environment(**made, **STAMP))
        given = {"project_id": self.plant.reader, "environment_id": "environment-lab"}
        self.mesh.ask("cy", "CreateSubscriptionTarget", name="warehouse", **given)

    def teardown(self):
        try:
            self.assert_all_edges_are_drawn()
        finally:
            self.stack.close()

    @initialize(is_granted=st.booleans())
    def begin_with_something(self, is_granted):
        for one in self.plant.basket(self.plant.public, self.plant.product).requests[1:]:
            self.plant.accept(one)
        if is_granted:
            self.mesh.work("grant")

    @rule(who=READS, table=st.sampled_from(["public", "secret", "product"]), then=THEN)
    def ask(self, who, table, then):
        self.attempt(lambda: self.plant.ask(getattr(self.plant, table), by=who))
        self.work(then)

    @rule(who=READS, at=PLACES)
    def ask_for_names(self, who, at):
        self.attempt(lambda: self.plant.basket(self.plant.secret, by=who, unmasked=("worker",)))
        given = {"on_low_score": OnLowScore.SUSPEND, "unmasked": ()}
        self.on(SubscriptionRequest, at, who, "UpdateSubscriptionRequest", **given)

    @rule(who=GIVES, at=PLACES, name=st.sampled_from(DECISIONS), then=THEN)
    def decide(self, who, at, name, then):
        self.on(SubscriptionRequest, at, who, name)
        self.work(then)

    @rule(who=GIVES, at=PLACES)
    def unmask(self, who, at):
        self.on(SubscriptionRequest, at, who, DECISIONS[0], unmasked=("worker",))

    @rule(who=READS, at=PLACES)
    def take_back(self, who, at):
        self.on(SubscriptionRequest, at, who, "DeleteSubscriptionRequest")
        self.on(Subscription, at, who, "CancelSubscription")

    @rule(who=GIVES, at=PLACES, then=THEN)
    def revoke(self, who, at, then):
        self.on(Subscription, at, who, "RevokeSubscription")
        self.work(then)

    @rule(who=GIVES, at=PLACES)
    def change_terms(self, who, at):
        given = {"takes_current_columns": True, "unmasked": ()}
        self.on(Subscription, at, who, "UpdateSubscriptionTerms", **given)

    @rule(at=PLACES, then=THEN)
    def suspend_or_resume(self, at, then):
        if one := self.pick(Subscription, at, status=list(LIVE)):
            is_on = one.status is SubscriptionStatus.APPROVED
            work = (suspended, "bad") if is_on else (resumed,)
            self.plant.act(Subscription, one.id, *work)
        self.work(then)

    @rule(at=PLACES)
    def expire(self, at):
        if one := self.pick(Subscription, at):
            over = (ended, SubscriptionStatus.EXPIRED, "over")
            self.attempt(lambda: self.plant.act(Subscription, one.id, *over))

    @rule(at=PLACES)
    def consider(self, at):
        if one := self.pick(SubscriptionRequest, at):
            self.plant.act(SubscriptionRequest, one.id, considered)

    @rule(who=READS, at=PLACES, then=THEN)
    def retry(self, who, at, then):
        self.on(SubscriptionGrant, at, who, "RetrySubscriptionGrant")
        self.work(then)

    @rule(at=PLACES, edge=PLACES, wild=st.sampled_from(AssetGrantStatus))
    def report(self, at, edge, wild):
        """Mostly what the diagram allows."""
        targets = [one.id for one in self.plant.every(SubscriptionTarget, name="warehouse")]
        if one := self.pick(SubscriptionGrant, at, target_id=targets):
            asset = one.assets[at % len(one.assets)]
            steps = [*ASSET_EDGES[asset.status], wild]
            given = {"asset_id": asset.asset_id, "status": steps[edge % len(steps)]}
            about = {"subscription_grant_id": one.id, **given}
            self.attempt(lambda: self.mesh.ask("cy", "UpdateSubscriptionGrantStatus", **about))

    @rule(then=THEN)
    def work(self, then):
        """Do what waits to be done, or die in the middle of each grant."""
        for one in self.plant.every(Job, kind="grant") if then == "die" else ():
            self.mesh.attendant.act("Begin", "test", partial(_begun, task=one))
        if then == "work":
            self.mesh.work("grant")
            self.plant.do_now("grant-again")

    @rule(then=THEN)
    def move_the_files(self, then):
        places = [self.plant.folder / "secret", self.plant.folder / "gone"]
        here, there = places if places[0].exists() else reversed(places)
        here.rename(there)
        self.work(then)

    @rule(who=GOVERNS)
    def remove_the_association_or_bring_it_back(self, who):
        found = self.plant.find(Association, self.plant.storage.id)
        if found.status is AssociationStatus.REMOVED:
            self.plant.change(found, status=AssociationStatus.ACCEPTED)
        else:
            given = {"association_id": found.id}
            self.attempt(lambda: self.mesh.ask(who, "RemoveAssociation", **given))

    @precondition(lambda self: len(self.mesh.notes) > 60)
    @rule(who=READS)
    def remove_the_target(self, who):
        for one in self.plant.every(SubscriptionTarget, name="warehouse"):
            remove = partial(self.mesh.ask, who, "DeleteSubscriptionTarget")
            self.attempt(partial(remove, subscription_target_id=one.id))

    def pick(self, kind, at, **keys):
        found = self.plant.every(kind, **keys)
        found.sort(key=lambda one: (-one.created_at, one.id))
        return found[at % len(found)] if found else None

    def on(self, kind, at, who, name, **given):
        if one := self.pick(kind, at):
            words = {SubscriptionRequest: "request", SubscriptionGrant: "grant"}
            about = f"subscription_{words[kind]}_id" if kind in words else "subscription_id"
            self.attempt(lambda: self.mesh.ask(who, name, **{about: one.id}, **given))

    def attempt(self, do):
        """Do something; where it is refused, nothing is other than before, but for that note."""
        before = self.everything()
        told = len(self.mesh.notes)
        try:
            do()
        except AtollError:
            assert self.everything() == before
            assert {one.outcome for one in self.mesh.notes[told:]} <= {"DENIED"}

    def everything(self):
        return [self.plant.every(kind) for kind in KEPT]

    @invariant()
    def the_audit_tells_of_the_same_access_as_the_records(self):
        live = {one.id: one for one in self.plant.every(Subscription)}
        held = {
            (one.asset_id, grant.subscription_id)
            for grant in self.plant.every(SubscriptionGrant)
            for one in grant.assets
            if one.status is AssetGrantStatus.GRANTED
            and live[grant.subscription_id].status is SubscriptionStatus.APPROVED
        }
        assert {(one.asset_id, one.subscription) for one in self.plant.has_access()} == held

    @invariant()
    def the_doors_open_for_what_is_granted_there_and_nothing_else(self):
        doors = {
            one.id
            for one in self.plant.every(SubscriptionTarget)
            if one.provider is TargetProvider.ATOLL
        }
        associated = self.plant.find(Association, self.plant.storage.id).status
        for table in ("public", "internal", "secret"):
            granted = {
                grant.subscription_id
                for grant in self.plant.every(SubscriptionGrant)
                for one in grant.assets
                if one.asset_id == f"asset-{table}" and one.status is AssetGrantStatus.GRANTED
                if grant.target_id in doors
            }
            approved = {
                one.id
                for one in self.plant.every(Subscription)
                if one.id in granted and one.status is SubscriptionStatus.APPROVED
            }
            found = self.plant.reads(table)
            is_open = bool(approved) and associated is AssociationStatus.ACCEPTED
            assert (found is not None) is is_open
            assert found is None or found.id in approved

    @invariant()
    def nobody_has_a_listing_twice(self):
        pending = [
            one.listing_id
            for one in self.plant.every(SubscriptionRequest)
            if one.status == "PENDING"
        ]
        live = [one.listing_id for one in self.plant.every(Subscription) if one.status in LIVE]
        assert len({*pending, *live}) == len(pending) + len(live)

    @invariant()
    def a_grant_stands_where_its_assets_stand(self):
        live = {one.id for one in self.plant.every(Subscription) if one.status in LIVE}
        for one in self.plant.every(SubscriptionGrant):
            assert one.status is overall(one.assets, is_live=one.subscription_id in live)

    def assert_all_edges_are_drawn(self):
        with self.mesh.store.reading() as reader:
            for kind, edges in (
                (SubscriptionRequest, REQUEST_EDGES),
                (Subscription, SUBSCRIPTION_EDGES),
                (SubscriptionGrant, GRANT_EDGES),
            ):
                for one in self.plant.every(kind):
                    for before, after in pairwise(reader.history(kind, one.id)):
                        assert after.status in (before.status, *edges[before.status])
            for grant in self.plant.every(SubscriptionGrant):
                for before, after in pairwise(reader.history(SubscriptionGrant, grant.id)):
                    for was, now in zip(before.assets, after.assets, strict=True):
                        assert now.status in (was.status, *ASSET_EDGES[was.status])


Access.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestAccess46 = Access.TestCase
