"""A server that dies in the middle of a grant: started again, it finishes what it began, once."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from mesh_access import Plant
from mesh_world import world

from atoll.mesh.operations.jobs import Worker

DEADLINE_S = 60
# A server whose store never answers.
DYING = """
import sys, time
from pathlib import Path
from mesh_world import World
from atoll.mesh.operations.jobs import Worker
from atoll.mesh.service import granting

def wait(*_):
    print("asking", flush=True)
    time.sleep(600)

granting.check_location = wait
mesh = World(sys.argv[1], Path(sys.argv[2]))
Worker(mesh.store, mesh.attendant, "server")
time.sleep(600)
"""


def die(database, home):
    """Serve until a store is asked, and be killed."""
    path = [str(Path(__file__).parents[1]), *sys.path]
    server = subprocess.Popen(
        [sys.executable, "-c", DYING, database, str(home)],
        env={"PYTHONPATH": ":".join(path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout.readline() == "asking\n"
    finally:
        server.kill()
        server.communicate()


def await_status(plant, subscription, status):
    until = time.monotonic() + DEADLINE_S
    while plant.grant(subscription).status != status:
        assert time.monotonic() < until, plant.grant(subscription)
        time.sleep(0.05)


@pytest.mark.parametrize("is_revoked", [False, True])
def test_43_a_grant_that_a_dead_server_was_at_is_finished_once(database, tmp_path, is_revoked):
    with world(database) as mesh:
        plant = Plant(mesh, tmp_path / "lake")
        found = plant.subscription(plant.ask(plant.public))
        die(database, tmp_path)
        assert plant.grant(found).status == "IN_PROGRESS"
        if is_revoked:
            mesh.ask("bob", "RevokeSubscription", subscription_id=found.id)
        worker = Worker(mesh.store, mesh.attendant, "server")
        await_status(plant, found, "COMPLETED")
        worker.stop()
        granted = [one.asset_id for one in mesh.notes if one.operation == "GrantAccess"]
        assert granted == ([] if is_revoked else ["asset-public"])
        assert (plant.reads("public") is None) is is_revoked
