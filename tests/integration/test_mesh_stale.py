"""A change that names a version that is over changes nothing, whichever operation it is."""

import pytest
from mesh_databases import database_of
from mesh_hidden import Hidden, outcome
from mesh_world import SCOPES, world

from atoll.mesh.operations.calls import Caller, Demands
from atoll.mesh.service import OPERATIONS
from atoll.mesh.store.tables import TABLES

EVERYTHING = """@id("everything")
@description("Everybody does everything: what is tried here is something else.")
permit (principal, action, resource);"""
CHANGING = [one for one in OPERATIONS.values() if not one.is_read]


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    home = tmp_path_factory.mktemp("stale")
    with world(database_of(home), home, policies=EVERYTHING) as mesh:
        made = Hidden(mesh, home / "lake")
        mesh.ask("ann", "CreateGroupProfile", name="group")
        yield made


def some(mesh, kind):
    with mesh.store.reading() as reader:
        return reader.any(kind)


def kept(mesh):
    with mesh.store.reading() as reader:
        return {kind: list(reader.all(kind)) for kind in TABLES}


@pytest.mark.parametrize("operation", CHANGING, ids=lambda one: one.name)
def test_a_version_that_is_over_is_a_conflict_for_every_change(hidden, operation):
    mesh = hidden.mesh
    thing = some(mesh, operation.on)
    before = kept(mesh)

    def stale():
        ids = {operation.about: thing.id} if operation.about else {}
        caller = Caller("user-ann", "test", SCOPES)
        demands = Demands(version=thing.version + 1)
        return mesh.performer.perform(operation, caller, ids, None, demands)

    assert outcome(stale).startswith('["Conflict","conflict",409,"')
    assert f"is of version {thing.version}, not {thing.version + 1}" in outcome(stale)
    assert kept(mesh) == before
