"""A process that does the jobs of a mesh, to be killed in the middle of one.

    python mesh_servants.py URL HOME [STOP]

Tells of each commit in a line; after STOP of them it does nothing more, and waits to be killed.
"""

import sys
import threading
from pathlib import Path

from mesh_world import KEY

import atoll.mesh.service  # noqa: F401 - the handlers
from atoll.compute.inline import InlineExecutor
from atoll.mesh.operations import jobs
from atoll.mesh.operations.indexing import indexers
from atoll.mesh.operations.jobs import HANDLERS, Attendant, Worker
from atoll.mesh.operations.registry import actions
from atoll.mesh.operations.tools import Sealing, Tools
from atoll.mesh.policies.decisions import Authorizer
from atoll.mesh.store.database import opened
from atoll.mesh.store.writing import Store
from atoll.storage import open_storage


def serve(url, home, stop):
    # Schedules would change things in between.
    for kind in [kind for kind, one in HANDLERS.items() if one.is_standing]:
        del HANDLERS[kind]
    # On a slow machine it would be made longer meanwhile, by commits that nobody counts.
    jobs.LEASE_S = 3600
    store = Store(opened(url), lambda connection, notes: None)
    done = [0]

    def told():
        done[0] += 1
        print(done[0], flush=True)
        if done[0] == stop:
            threading.Event().wait()

    store.listeners.append(told)
    sealing = Sealing(KEY, open_storage(f"{home}/anchors"))
    tools = Tools(Path(home), sealing, indexers(store, Path(home) / "index"), InlineExecutor())
    Worker(store, Attendant(store, Authorizer(actions()), tools), "the same server")
    threading.Event().wait()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
