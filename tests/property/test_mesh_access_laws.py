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
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from mesh_access import Plant
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
from atoll.mesh.model.notices import Job
from atoll.mesh.model.organisation import Association, AssociationStatus, Environment
from atoll.mesh.service.granting import _begun
from atoll.mesh.service.grants import ASSET_EDGES, GRANT_EDGES, overall
from atoll.mesh.service.requests import REQUEST_EDGES, considered
from atoll.mesh.service.subscriptions import SUBSCRIPTION_EDGES, ended, resumed, suspended

PEOPLE = st.sampled_from(["ann", "bob", "cy", "dee"])
PLACES = st.integers(0, 5)
KEPT = (SubscriptionRequest, Subscription, SubscriptionGrant, SubscriptionTarget, Job)
DECISIONS = ("AcceptSubscriptionRequest", "RejectSubscriptionRequest", "DeleteSubscriptionRequest")
ENDS = ("RevokeSubscription", "CancelSubscription")


class Access(RuleBasedStateMachine):
    """Four people, two projects, three listings, a target outside, a store that comes and goes."""

    def __init__(self):
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.mesh = self.stack.enter_context(world(f"sqlite:///{folder}/mesh.db", folder))
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

    @rule(who=PEOPLE, tables=st.sets(st.sampled_from(["public", "secret", "product"]), min_size=1))
    def ask(self, who, tables):
        listings = [getattr(self.plant, one) for one in sorted(tables)]
        self.attempt(lambda: self.plant.basket(*listings, by=who))

    @rule(who=PEOPLE)
    def ask_for_names(self, who):
        self.attempt(lambda: self.plant.ask(self.plant.secret, by=who, unmasked=("worker",)))

    @rule(who=PEOPLE, at=PLACES, name=st.sampled_from(DECISIONS))
    def decide(self, who, at, name):
        self.on(SubscriptionRequest, at, who, name)

    @rule(who=PEOPLE, at=PLACES)
    def unmask(self, who, at):
        self.on(SubscriptionRequest, at, who, DECISIONS[0], unmasked=("worker",))

    @rule(who=PEOPLE, at=PLACES)
    def ask_differently(self, who, at):
        given = {"on_low_score": OnLowScore.SUSPEND, "unmasked": ()}
        self.on(SubscriptionRequest, at, who, "UpdateSubscriptionRequest", **given)

    @rule(who=PEOPLE, at=PLACES, name=st.sampled_from(ENDS))
    def end(self, who, at, name):
        self.on(Subscription, at, who, name)

    @rule(who=PEOPLE, at=PLACES)
    def change_terms(self, who, at):
        given = {"takes_current_columns": True, "unmasked": ()}
        self.on(Subscription, at, who, "UpdateSubscriptionTerms", **given)

    @rule(
        at=PLACES,
        work=st.sampled_from(
            [
                (suspended, "bad"),
                (resumed,),
                (ended, SubscriptionStatus.EXPIRED, "over"),
            ]
        ),
    )
    def by_itself(self, at, work):
        if one := self.pick(Subscription, at):
            self.attempt(lambda: self.plant.act(Subscription, one.id, *work))

    @rule(at=PLACES)
    def consider(self, at):
        if one := self.pick(SubscriptionRequest, at):
            self.plant.act(SubscriptionRequest, one.id, considered)

    @rule(who=PEOPLE, at=PLACES)
    def retry(self, who, at):
        self.on(SubscriptionGrant, at, who, "RetrySubscriptionGrant")

    @rule(
        who=PEOPLE,
        at=PLACES,
        asset=st.sampled_from(["public", "internal", "secret"]),
        status=st.sampled_from(AssetGrantStatus),
    )
    def report(self, who, at, asset, status):
        given = {"asset_id": f"asset-{asset}", "status": status}
        self.on(SubscriptionGrant, at, who, "UpdateSubscriptionGrantStatus", **given)

    @rule()
    def work(self):
        self.mesh.work("grant")
        self.plant.do_now("grant-again")

    @rule()
    def die_in_the_middle_of_a_grant(self):
        for one in self.plant.every(Job, kind="grant"):
            self.mesh.attendant.act("Begin", "test", partial(_begun, wanted=one))

    @rule()
    def move_the_files(self):
        places = [self.plant.folder / "secret", self.plant.folder / "gone"]
        here, there = places if places[0].exists() else reversed(places)
        here.rename(there)

    @rule(who=PEOPLE)
    def remove_the_association(self, who):
        given = {"association_id": self.plant.storage.id}
        self.attempt(lambda: self.mesh.ask(who, "RemoveAssociation", **given))

    @rule()
    def associate_again(self):
        found = self.plant.find(Association, self.plant.storage.id)
        if found.status is AssociationStatus.REMOVED:
            self.plant.change(found, status=AssociationStatus.ACCEPTED)

    @rule(who=PEOPLE)
    def remove_the_target(self, who):
        for one in self.plant.every(SubscriptionTarget, name="warehouse"):
            remove = partial(self.mesh.ask, who, "DeleteSubscriptionTarget")
            self.attempt(partial(remove, subscription_target_id=one.id))

    def pick(self, kind, at):
        found = sorted(self.plant.every(kind), key=lambda one: (one.created_at, one.id))
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


Access.TestCase.settings = settings(max_examples=12, stateful_step_count=40, deadline=None)
TestAccess46 = Access.TestCase
