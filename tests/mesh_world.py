"""A small mesh for tests: a plant, its people, and a way to ask on behalf of each."""

import atexit
import shutil
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from atoll.compute.processes import ProcessExecutor
from atoll.core.errors import AtollError
from atoll.mesh.audit.keys import Key
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import Domain, DomainUnit
from atoll.mesh.model.people import UserProfile
from atoll.mesh.operations.calls import Call, Caller, Demands, Performer
from atoll.mesh.operations.indexing import indexers
from atoll.mesh.operations.jobs import HANDLERS, Attendant, _put_back
from atoll.mesh.operations.registry import actions
from atoll.mesh.operations.standings import standing
from atoll.mesh.operations.tools import Sealing, Tools
from atoll.mesh.policies.decisions import Authorizer
from atoll.mesh.service import OPERATIONS
from atoll.mesh.service.shipped import add_shipped
from atoll.mesh.store.database import opened
from atoll.mesh.store.events import append
from atoll.mesh.store.upgrading import upgrade
from atoll.mesh.store.writing import Store
from atoll.storage import open_storage

STAMP = {"created_at": 1, "created_by": "test", "updated_at": 1, "updated_by": "test"}
ROOT = "unit-root"
KEY = Key(b"one key for all worlds: they may share a database")
PEOPLE = ("ann", "bob", "cy", "dee")  # Ann owns the root
SCOPES = frozenset({"admin"})


class World:
    """A mesh without doors."""

    def __init__(self, url, home, policies="", **tools):
        engine = with_tables(url)
        self.notes = []
        self.sealing = Sealing(KEY, open_storage(home / "anchors"))
        self.store = Store(engine, self.append)
        with self.store.reading() as reader:
            is_new = reader.any(Domain) is None
        if is_new:
            self.store.write(_begin)
        self.authorizer = authorizer(policies)
        self.indexers = indexers(self.store, home / "index")
        self.tools = Tools(home, self.sealing, self.indexers, ProcessExecutor(1), **tools)
        self.attendant = Attendant(self.store, self.authorizer, self.tools)
        self.performer = Performer(self.store, self.authorizer, self.tools)

    def append(self, connection, notes):
        self.notes += notes
        append(connection, notes, now(), self.sealing.key)

    def ask(self, who, name, /, *, by=SCOPES, version=0, key="", **given):
        """Perform an operation for somebody; what is in the path and what is asked, by name.

        `by` are the scopes that they came with.
        """
        operation = OPERATIONS[name]
        ids = {operation.about: given.pop(operation.about)} if operation.about else {}
        caller = Caller(f"user-{who}", "test", by)
        ask = operation.ask(**given)
        return self.performer.perform(operation, caller, ids, ask, Demands(version, key))

    def call(self, reader, who, scopes=SCOPES):
        """Begin a call for somebody, to ask the policies with."""
        found = standing(reader, f"user-{who}", scopes, now())
        return Call(reader, found, "test", self.authorizer, self.tools)

    def work(self, kind=""):
        """Do the jobs that are due now, of one kind or of all, as a server would."""
        for _ in range(100):
            with self.store.reading() as reader:
                until = now()
                due = [one for one in reader.all(Job) if one.due_at <= until]
            wanted = [one for one in due if kind in ("", one.kind) and one.subject_id]
            if not wanted:
                return
            for one in wanted:
                again = HANDLERS[one.kind].run(self.attendant, one)
                self.store.write(
                    lambda changes, one=one, again=again: _put_back(changes, one, again, "")
                )

    def person(self, name):
        """Assign somebody, who has no password."""
        profile = UserProfile(id=f"user-{name}", name=name, **STAMP)
        return self.store.write(lambda changes: changes.add(profile))

    def refusal(self, who, name, /, **given):
        """Return the error that an operation ends in."""
        try:
            self.ask(who, name, **given)
        except AtollError as error:
            return error
        raise AssertionError(f"{who} may do {name}")


def now():
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


def with_tables(url):
    """Open a database; a new file is copied, as it takes longer to make the tables."""
    kind, _, place = url.partition(":///")
    if kind == "sqlite" and not Path(place).exists():
        shutil.copy(template(), place)
    engine = opened(url)
    upgrade(engine)
    return engine


@cache
def template():
    """A file with all tables."""
    folder = tempfile.mkdtemp(prefix="atoll-mesh-")
    atexit.register(shutil.rmtree, folder)
    place = Path(folder) / "mesh.db"
    engine = opened(f"sqlite:///{place}")
    upgrade(engine)
    engine.dispose()
    return place


@cache
def authorizer(policies=""):
    """Read the policies once."""
    return Authorizer(actions(), policies)


@contextmanager
def world(url, home=None, policies="", **tools):
    """A mesh; `policies` are those of the house, `tools` what its server has at hand."""
    with tempfile.TemporaryDirectory(prefix="atoll-mesh-") as temporary:
        made = World(url, home or Path(temporary), policies, **tools)
        try:
            yield made
        finally:
            for one in made.indexers.values():
                one.stop()
            made.store.close()


def _begin(changes):
    for name in PEOPLE:
        changes.add(UserProfile(id=f"user-{name}", name=name, **STAMP))
    changes.add(DomainUnit(id=ROOT, name="plant", owners=("user-ann",), **STAMP))
    changes.add(Domain(id="domain-plant", name="plant", root_domain_unit_id=ROOT, **STAMP))
    add_shipped(changes, STAMP)
