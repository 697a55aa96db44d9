"""`atoll serve` over a plant, for benches, and somebody who asks it over HTTP."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from atoll.core.errors import Unavailable
from bench.measure import ROOT
from bench.meshplant import Plant, fill

# They import each other by their plain names.
sys.path.insert(0, str(ROOT / "tests"))
from mesh_server import Server, mesh_server
from postgres_server import postgres_server, programs

DATABASES = ("SQLite", "PostgreSQL")
DAY_SECONDS = 86_400
IDLE_S = 4.0  # the server hangs up after five


def absent(database: str) -> str:
    """Say what is missing for a database; empty where nothing is."""
    return "PostgreSQL not installed" if database == "PostgreSQL" and not programs() else ""


@contextmanager
def serving(home: Path, plant: Plant, database: str) -> Iterator[Server]:
    """Serve a plant from a database that waits for its disk; the search index is made."""
    is_postgres = database == "PostgreSQL"
    with postgres_server(is_durable=True) if is_postgres else nullcontext() as postgres:
        url = postgres.new_database() if postgres else f"sqlite:///{home / 'mesh.db'}"
        with mesh_server(home, *(["--database", url] if postgres else [])) as server:
            server.stop()
            fill(url, home / "lake", plant)
            server.restart()
            _await_index(server)
            yield server


def _await_index(server: Server) -> None:
    while True:
        try:
            server.client.ask("GET", "/search/listings")
        except Unavailable:  # each time after some seconds
            continue
        return


def token(server: Server, profile_id: str) -> str:
    """Issue a token to a service."""
    given = {"name": "bench", "scopes": ["read", "write"], "ttl_s": DAY_SECONDS}
    issued = server.do("CreateAccessToken", user_profile_id=profile_id, **given)
    return str(issued["text"])


class Person:
    """Asks over one connection that stays open, unless nothing is asked for some seconds."""

    def __init__(self, url: str, token: str) -> None:
        """Ask the mesh at an address, by a token."""
        self._last = 0.0
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, **given: Any) -> Any:
        """Make a request; of a GET, what is given is its query.

        Raises:
            AssertionError: the mesh does not do it.
        """
        is_read = method == "GET"
        query = f"?{urlencode(given, doseq=True)}" if is_read and given else ""
        body = None if is_read else json.dumps(given)
        if time.monotonic() - self._last > IDLE_S:
            self._connection.close()  # it opens again by itself
        self._connection.request(method, f"/v1{path}{query}", body, self._headers)
        answer = self._connection.getresponse()
        told = json.loads(answer.read())
        self._last = time.monotonic()
        if answer.status >= 400:
            raise AssertionError(f"{method} {path}: {answer.status} {told}")
        return told
