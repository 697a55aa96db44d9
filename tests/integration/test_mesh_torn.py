"""A change that dies right before its commit left nothing; one that dies right after, everything.

Each operation that changes something does so twice: who waits for it hears of a database that does
not answer, before the commit and after it. What another connection then sees is compared, table by
table, with what there was, and with what the transaction had come to.
"""

import json
import random
import subprocess
import sys
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from itertools import count
from operator import attrgetter
from pathlib import Path

import msgspec
import pytest
from mesh_access import Plant
from mesh_databases import database_of
from mesh_files import csv_bytes, plant_table
from mesh_invariants import assert_whole
from mesh_lakes import equipped
from mesh_storm import GOOD, MAKERS, Storm
from mesh_world import KEY, SCOPES, STAMP, world

from atoll.core.errors import AtollError, Conflict, Unavailable
from atoll.core.records import converted
from atoll.mesh.hosting import KEY_FILE
from atoll.mesh.identity import passwords
from atoll.mesh.model.access import (
    ReviewItem,
    Subscription,
    SubscriptionGrant,
    SubscriptionRequest,
    SubscriptionTarget,
)
from atoll.mesh.model.catalog import Asset, Listing
from atoll.mesh.model.describing import Proposal
from atoll.mesh.model.notices import Notification, NotificationType
from atoll.mesh.model.organisation import Association, PolicyGrant
from atoll.mesh.model.people import Proof, ProofType
from atoll.mesh.operations.calls import Caller, Demands
from atoll.mesh.service import OPERATIONS
from atoll.mesh.service.signing import Doorkeeper, Visit
from atoll.mesh.store import writing
from atoll.mesh.store.tables import METADATA

TRIES, NEWEST = 30, 2
# They change nothing, and are told to the audit.
TOLD = {"ExportAudit", "ReadRows"}
# The one of four that fits what is there: left to chance, 3 of 12 times no try of TRIES drew it.
RIGHT = {"UpdateSubscriptionGrantStatus": {"status": "GRANT_IN_PROGRESS"}}
NUMBERS, CHANCE = count(), random.Random(0)


class Inside:
    """Stands for a server, and does in this process what a storm asks of one."""

    password = GOOD

    def __init__(self, mesh, home):
        self.mesh, self.home = equipped(mesh), home
        (home / KEY_FILE).write_text(KEY.secret.hex())
        proof = {"type": ProofType.PASSWORD, "text": passwords.hashed(GOOD)}
        ann = Proof(id="user-ann", owner_id="user-ann", **proof, **STAMP)
        mesh.store.write(lambda changes: changes.add(ann))
        self.via = "test"
        token = self.do("CreateAccessToken", user_profile_id="user-ann", name="own")
        self.via = token["token"]["id"]

    def open_session(self):
        keeper = Doorkeeper(self.mesh.store, self.mesh.tools.throttle)
        keeper.sign_in("ann", GOOD, Visit("here"))

    def do(self, name, /, **given):
        """Do something, and what follows from it."""
        answer = self.perform(name, given)
        self.mesh.work()
        found = json.loads(msgspec.json.encode(answer))
        return found["items"] if OPERATIONS[name].is_list else found

    def perform(self, name, given, key=""):
        operation = OPERATIONS[name]
        rest = dict(given)
        ids = {operation.about: rest.pop(operation.about)} if operation.about else {}
        caller, ask = Caller("user-ann", self.via, SCOPES), converted(rest, operation.ask)
        return self.mesh.performer.perform(operation, caller, ids, ask, Demands(key=key))


class Death:
    """Where the next transaction ends.

    Attributes:
        when: "before" or "after" its commit; empty: it lives.
        seen: all that it saw at its end.
    """

    def __init__(self):
        self.when, self.seen, self._writing_to = "", {}, writing.writing_to

    @contextmanager
    def writing_to(self, engine):
        with self._writing_to(engine) as connection:
            yield connection
            if self.when:
                self.seen = kept(connection)
            if self.when == "before":
                raise Unavailable("died before its commit")
        if self.when == "after":
            raise Unavailable("died after its commit")

    @contextmanager
    def at(self, when):
        self.when = when
        try:
            yield
        finally:
            self.when = ""


@pytest.fixture(scope="module")
def death():
    with pytest.MonkeyPatch.context() as patch:
        made = Death()
        patch.setattr(writing, "writing_to", made.writing_to)
        yield made


@pytest.fixture(scope="module")
def storm(death, tmp_path_factory):
    home = tmp_path_factory.mktemp("torn") / "home"
    home.mkdir()
    url = database_of(home)
    with world(url, home) as mesh, closing(Storm(Inside(mesh, home), url, 0)) as made:
        yield made
        with made.reading() as reader:
            assert_whole(reader, [KEY])


def kept(connection):
    """All rows of all tables."""
    return {name: set(connection.execute(one.select())) for name, one in METADATA.tables.items()}


def now_kept(storm):
    with storm.engine.connect() as connection, connection.begin():
        return kept(connection)


def do(storm, name, /, **given):
    return storm.server.do(name, **given)


def new_name():
    return f"new-{next(NUMBERS)}"


def made(*names):
    """Do operations as in a storm, on what is newest."""

    def first(storm):
        for name in names:
            do(storm, name, **told(storm, name))

    return first


def told(storm, name):
    newest = {kind: ids[-NEWEST:] for kind, ids in storm.pools().items()}
    return MAKERS[name](storm, newest, CHANCE) | RIGHT.get(name, {})


def write(storm, name, rows=5):
    table = plant_table(rows)
    columns = [f"{one} {name}" for one in table.column_names[1:]]
    renamed = table.rename_columns(["udi", *columns])
    (storm.lake / f"{name}.csv").write_bytes(csv_bytes(renamed))


def listed(storm, classification="INTERNAL"):
    """A table that is published; returns its asset and its listing."""
    name = new_name()
    write(storm, name)
    given = {"location": f"{storm.lake.as_uri()}/{name}.csv", "classification": classification}
    asset = do(storm, "CreateAsset", project_id=storm.gives, **given)["asset"]["id"]
    return asset, do(storm, "CreateListingChangeSet", asset_id=asset, action="PUBLISH")["id"]


def unpublished(storm):
    asset, _ = listed(storm)
    do(storm, "CreateListingChangeSet", asset_id=asset, action="UNPUBLISH")
    return asset


def archived(storm):
    do(storm, "ArchiveAsset", asset_id=unpublished(storm))


def suspected(storm):
    asset, _ = listed(storm)
    do(storm, "FlagPii", asset_id=asset, columns=["udi"], kind="person_id")


def grown(storm):
    listed(storm)
    with storm.reading() as reader:
        name = reader.get(Asset, storm.pools()[Asset][-1]).name
    write(storm, name, 6)


def bundled(storm):
    """A data product of a table that carries a term."""
    asset, _ = listed(storm)
    glossary = do(storm, "CreateGlossary", project_id=storm.gives, name=new_name())["id"]
    term = do(storm, "CreateGlossaryTerm", glossary_id=glossary, name=new_name())["id"]
    do(storm, "UpdateAsset", asset_id=asset, glossary_terms=[term])
    given = {"name": new_name(), "items": [{"asset_id": asset}]}
    do(storm, "CreateDataProduct", project_id=storm.gives, **given)


def asked_for(storm, classification="CONFIDENTIAL"):
    """A request for a table, which is returned; somebody must decide, as it is confidential."""
    asset, listing = listed(storm, classification)
    given = {"listings": [{"listing_id": listing}], "request_reason": "to see"}
    do(storm, "CreateSubscriptionRequests", project_id=storm.reads, **given)
    return asset


def subscribed(storm):
    return asked_for(storm, "PUBLIC")


def flagged(storm):
    subscribed(storm)
    with storm.reading() as reader:
        held = reader.get(Subscription, storm.pools()[Subscription][-1])
    changed = replace(held, version=held.version + 1, is_flagged=True)
    storm.server.mesh.store.write(lambda changes: changes.put(changed))


def reviewed(storm):
    subscribed(storm)
    made("CreateReviewCampaign")(storm)


def at_a_target(storm):
    """A grant that somebody must report on; returns it, and the table."""
    with storm.reading() as reader:
        others = [one.id for one in reader.all(SubscriptionTarget) if one.environment_id]
    for one in others:
        do(storm, "DeleteSubscriptionTarget", subscription_target_id=one)
    lake, group = storm.places
    given = {"project_id": storm.reads, "name": new_name()}
    environment = do(storm, "CreateEnvironment", storage_id=lake, workgroup_id=group, **given)["id"]
    target = do(storm, "CreateSubscriptionTarget", environment_id=environment, **given)["id"]
    asset = subscribed(storm)
    with storm.reading() as reader:
        return reader.one(SubscriptionGrant, target_id=target).id, asset


def failed(storm):
    grant, asset = at_a_target(storm)
    for status in ("GRANT_IN_PROGRESS", "GRANT_FAILED"):
        given = {"asset_id": asset, "status": status}
        do(storm, "UpdateSubscriptionGrantStatus", subscription_grant_id=grant, **given)


def proposed(storm):
    asset, _ = listed(storm)
    do(storm, "CreateProposal", subject_id=asset, path="description", after="other")


def notified(storm):
    given = {"recipient_id": "user-ann", "type": NotificationType.EVENT, "topic": "SAMPLE"}
    given |= {"subject_kind": "asset", "subject_id": "asset-none", "event": 1, "title": "told"}
    told = Notification(id=new_name(), **given, **STAMP)
    storm.server.mesh.store.write(lambda changes: changes.add(told))


# What an operation is done to, or for, is made first: by the kind that it is about, or by its name.
OF_KIND = {
    Asset: listed,
    Listing: listed,
    Association: made("Associate"),
    PolicyGrant: made("CreateDomainUnit", "AddPolicyGrant"),
    Proposal: proposed,
    ReviewItem: reviewed,
    Subscription: subscribed,
    SubscriptionGrant: at_a_target,
    SubscriptionRequest: asked_for,
    SubscriptionTarget: made("CreateEnvironment", "CreateSubscriptionTarget"),
}
FIRST = {
    "AcceptProposals": proposed,
    "RejectProposals": proposed,
    "ArchiveAsset": unpublished,
    "DeleteAsset": unpublished,
    "RestoreAsset": archived,
    "RefreshAsset": grown,
    "CreateProposal": listed,
    "DecidePii": suspected,
    "CreateDataProductListingChangeSet": bundled,
    "CreateProjectMembership": made("CreateGroupProfile", "CreateProject"),
    "DeleteProjectMembership": made(
        "CreateGroupProfile", "CreateProject", "CreateProjectMembership"
    ),
    "CreateSubscriptionRequests": listed,
    "CreateSubscriptionTarget": made("CreateEnvironment"),
    "EndSession": lambda storm: storm.server.open_session(),
    "MarkNotificationsRead": notified,
    "RemoveAssociation": made("Associate", "AcceptAssociation"),
    "RetrySubscriptionGrant": failed,
    "UnflagSubscription": flagged,
}


def first_of(name):
    on = OPERATIONS[name].on
    creates = f"Create{on.__name__}"
    return FIRST.get(name) or OF_KIND.get(on) or (made(creates) if creates in MAKERS else made())


def is_done(death, name, before):
    """Whether the transaction that died had done an operation."""
    last = max(death.seen["event"], key=attrgetter("seq"))
    changed = {table for table, rows in death.seen.items() if rows != before[table]}
    is_new = last.seq > len(before["event"])
    is_told = is_new and (last.operation, last.outcome) == (name, "ALLOWED")
    return is_told and (name in TOLD or changed > {"event"})


def dead_before(storm, death, name):
    """Draw what an operation is told until it does something, were it not for the commit."""
    why = []
    for _ in range(TRIES):
        death.seen = {}
        try:
            first_of(name)(storm)
            before, given = now_kept(storm), told(storm, name)
            with death.at("before"):
                storm.server.perform(name, given)
        # What was drawn is not always right for it.
        except AtollError as error:
            why.append(error.message)
        if death.seen and is_done(death, name, before):
            return given, before
    raise AssertionError(f"{name} was never done: {why}")


@pytest.mark.parametrize("name", MAKERS)
def test_46_48_a_change_that_dies_at_its_commit_is_there_wholly_or_not_at_all(storm, death, name):
    given, before = dead_before(storm, death, name)
    assert now_kept(storm) == before
    key = f"once {name}"
    with death.at("after"), pytest.raises(Unavailable, match="after its commit"):
        storm.server.perform(name, given, key)
    after = now_kept(storm)
    assert after == death.seen
    assert is_done(death, name, before)
    if not OPERATIONS[name].only_looks:  # that is done, and told, again
        with suppress(Conflict):  # its answer is told once
            storm.server.perform(name, given, key)
        assert now_kept(storm) == after
    storm.server.mesh.work()


# A process that is gone at the commit of a request which a policy accepts at once.
DYING = """
import os, sys
from contextlib import contextmanager
from pathlib import Path
from mesh_access import Plant
from mesh_world import World
from atoll.mesh.service.requests import WantedListing
from atoll.mesh.store import writing

mesh, begun = World(sys.argv[1], Path(sys.argv[2])), writing.writing_to

@contextmanager
def writing_to(engine):
    with begun(engine) as connection:
        yield connection
        if sys.argv[3] == "before":
            os._exit(9)
    os._exit(9)

writing.writing_to = writing_to
given = {"listings": (WantedListing(listing_id=sys.argv[4]),), "project_id": sys.argv[5]}
mesh.ask("cy", "CreateSubscriptionRequests", request_reason="to see", **given)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_46_48_of_a_process_that_is_gone_at_its_commit_all_is_there_or_nothing(
    database, tmp_path, when
):
    with world(database) as mesh:
        plant = Plant(mesh, tmp_path / "lake")
        path = {"PYTHONPATH": ":".join([str(Path(__file__).parents[1]), *sys.path])}
        words = [database, str(tmp_path), when, plant.public, plant.reader]
        done = subprocess.run([sys.executable, "-c", DYING, *words], env=path, timeout=60)
        assert done.returncode == 9
        found = [plant.every(kind) for kind in (SubscriptionRequest, Subscription)]
        assert list(map(len, found)) == ([1, 1] if when == "after" else [0, 0])
        with mesh.store.reading() as reader:
            told = list(reader.events(operation="CreateSubscriptionRequests"))
            assert_whole(reader, [KEY])
        assert len(told) == (when == "after")
