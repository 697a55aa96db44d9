"""A real PostgreSQL server for tests, on a free loopback port, gone when they end."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from s3_servers import _free_ports

START_SECONDS = 60
# The server refuses to be root's; Debian's package makes this user.
_USER = "postgres"


@dataclass
class PostgresServer:
    """A server; it can be killed and started again."""

    port: int
    folder: Path
    is_durable: bool = False
    _process: subprocess.Popen | None = None

    def start(self):
        """Start it, and wait until it answers."""
        settings = [
            f"-cport={self.port}",
            "-clisten_addresses=127.0.0.1",
            f"-cunix_socket_directories={self.folder}",
        ]
        fsync = f"-cfsync={'on' if self.is_durable else 'off'}"
        command = ["postgres", "-D", f"{self.folder}/data", fsync, *settings]
        self._process = _run(command, self.folder)
        _await(self, self._process, self.folder)

    def kill(self):
        """End it as a machine that loses power would, as far as others see."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def stop(self):
        """End it, if it was started."""
        if self._process is None:
            return
        # Not SIGTERM, which waits for whoever is still connected.
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def url(self, database="postgres"):
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def new_database(self, template="template1"):
        """Create a database, empty or like another, and return its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop(self, url):
        """Remove a database, unless somebody still holds it."""
        with (
            psycopg.connect(self.url(), autocommit=True) as connection,
            suppress(psycopg.errors.ObjectInUse),
        ):
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]}")


def programs():
    """Return the folder of the newest server that is installed; None: there is none."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: float(one.parent.name)
    )
    return found[-1] if found else None


@contextmanager
def postgres_server(*, is_durable=False):
    """Serve an empty database; tests do not wait for the disk."""
    folder = Path(tempfile.mkdtemp(prefix="atoll-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, _USER)
    (port,) = _free_ports(1)
    initdb = [
        "initdb",
        "-D",
        f"{folder}/data",
        "-U",
        _USER,
        "--auth=trust",
        "--no-sync",
        "-E",
        "UTF8",
    ]
    _run(initdb, folder).wait(START_SECONDS)
    server = PostgresServer(port, folder, is_durable)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _run(command, folder):
    program, *words = command
    # A test run that is killed must not leave a server behind.
    words_before = ["setpriv", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        words_before += [f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [*words_before, str(programs() / program), *words],
            stdout=log,
            stderr=log,
            cwd=folder,
        )


def _await(server, process, folder):
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(server.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        else:
            return
