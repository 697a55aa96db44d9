"""`atoll serve` as a process of its own, and `atoll mesh` as one who uses it."""

import os
import re
import signal
import subprocess
import sys
from contextlib import closing, contextmanager

from click.testing import CliRunner
from mesh_databases import elsewhere

from atoll.core.config import Settings
from atoll.mesh.cli import mesh
from atoll.mesh.cli.client import MeshClient
from atoll.mesh.hosting import FIRST_NAME
from atoll.mesh.service import OPERATIONS

YEAR_SECONDS = 31_536_000


class Server:
    """One server and its folder; it can be killed and started again.

    `url` is where it is, `token` an administrator's, `client` asks by it.
    """

    def __init__(self, home, *arguments, environment=None, signs_in=True):
        self.home, self._arguments = home, arguments
        if "--database" not in arguments and (url := elsewhere(home)):
            self._arguments += ("--database", url)
        self._environment = {**os.environ, **(environment or {})}
        self.start()
        self.client, self.token = MeshClient(self.url, ""), ""
        if signs_in:
            self.sign_in()

    def sign_in(self):
        """Come in as the administrator."""
        name, self.password = (self.home / "first-administrator.txt").read_text().split()
        with closing(self.client) as client:
            self.token = client.sign_in(
                name, self.password, scopes=["admin"], ttl_s=YEAR_SECONDS // 2
            )
        self.client = MeshClient(self.url, self.token)

    def open_session(self):
        """Come in as the administrator in one more browser."""
        body = {"name": FIRST_NAME, "password": self.password}
        with closing(MeshClient(self.url, "")) as client:
            client.ask("POST", "/sign-in", body=body)

    def start(self, port=0):
        """Start it, and wait until it says where."""
        command = [sys.executable, "-m", "atoll", "serve", "--home", str(self.home)]
        place = self.home.parent / f"{self.home.name}.log"
        with place.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(port), *self._arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment,
            )
        found = re.search(r"http://\S+", self._process.stdout.readline())
        assert found, place.read_text()
        self.url = found[0]

    @property
    def pid(self):
        return self._process.pid

    def kill(self):
        """End it at once."""
        self._process.kill()
        self._end()

    def restart(self):
        """Start it again, at the same address."""
        self.start(self.url.rpartition(":")[2])

    def stop(self):
        """End it as an administrator would."""
        self._process.send_signal(signal.SIGTERM)
        self._end()

    def do(self, name, /, **given):
        """Perform an operation as the administrator."""
        answer = self.client.perform(OPERATIONS[name], given)
        return list(answer) if OPERATIONS[name].is_list else answer

    def run(self, *arguments, token=None, fails=False):
        """Run `atoll mesh ...`; return what it prints, or how it fails."""
        environment = {"ATOLL_MESH_URL": self.url, "ATOLL_MESH_TOKEN": token or self.token}
        done = subprocess.run(
            [sys.executable, "-m", "atoll", "mesh", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**self._environment, **environment},
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def invoke(self, *arguments, token=None, **more):
        """Run `atoll mesh ...` in this process; return what click tells of it."""
        settings = Settings(mesh_url=self.url, mesh_token=token or self.token)
        return CliRunner().invoke(mesh, [*map(str, arguments)], obj=settings, **more)

    def told(self, *arguments, token=None):
        """Run `atoll mesh ...` in this process; return what it prints."""
        result = self.invoke(*arguments, token=token)
        assert result.exception is None, f"{result.output}{result.exception}"
        return result.stdout

    def _end(self):
        self._process.wait(timeout=60)
        self._process.stdout.close()


@contextmanager
def mesh_server(home, *arguments, environment=None, signs_in=True):
    """Serve a mesh in a folder; arguments are those of `atoll serve`."""
    server = Server(home, *arguments, environment=environment, signs_in=signs_in)
    try:
        yield server
    finally:
        server.client.close()
        if server._process.poll() is None:
            server.stop()
