"""Browsers before a mesh that is served, and what its answers must look like."""

from contextlib import suppress

from mesh_databases import elsewhere
from starlette.testclient import TestClient

from atoll.core.errors import TooManyRequests
from atoll.mesh.hosting import Mesh

PORTAL = "https://mesh"
PLACE = "testclient"


def opened(home, portal_url=PORTAL, **given):
    """A mesh as a server has it; its database is where all are."""
    return Mesh(home, database=elsewhere(home), portal_url=portal_url, **given)


def browser_at(application):
    # Not its own scheme: cookies of ours are for TLS only.
    return TestClient(application, PORTAL, raise_server_exceptions=False, follow_redirects=False)


def error(answer, status):
    """The error that an answer tells, in the one shape."""
    assert answer.status_code == status, answer.text
    told = answer.json()["error"]
    assert set(told) == {"code", "message", "details"}
    return told


def used_up(throttle, *keys):
    """Try until there is a wait."""
    with suppress(TooManyRequests):
        while True:
            throttle.attempt(*keys)
