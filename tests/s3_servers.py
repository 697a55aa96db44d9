"""S3 servers for tests, on free loopback ports: a real Ceph gateway, and the moto emulator."""

import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import boto3
from werkzeug.serving import make_server

from atoll.core.config import StorageOptions

CEPH_PROGRAMS = ["ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw"]
CEPH_PACKAGES = Path(__file__).parents[1].joinpath("debian-packages.txt").read_text().split()
_START_SECONDS = 90


@dataclass(frozen=True)
class S3Server:
    """A running server and the keys it knows."""

    endpoint: str
    access_key_id: str
    secret_access_key: str

    def options(self, **changes):
        known = {
            "endpoint": self.endpoint,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "allow_http": True,
            "retries": 1,
        }
        return StorageOptions(**known | changes)

    def client(self):
        session = boto3.Session(self.access_key_id, self.secret_access_key)
        return session.client("s3", endpoint_url=self.endpoint, region_name="us-east-1")

    def new_bucket(self):
        """Create a bucket of a fresh name and return its s3:// URL."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}"


def missing_ceph_programs():
    return [program for program in CEPH_PROGRAMS if shutil.which(program) is None]


@contextmanager
def moto_server(wrap=lambda app: app):
    """Serve moto's S3 from a thread; `wrap` may put a WSGI application around it."""
    from moto.server import DomainDispatcherApplication, create_backend_app

    app = wrap(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield S3Server(f"http://127.0.0.1:{server.port}", "test", "testsecret")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def ceph_server(memory_bytes=2 << 30):
    """Start one monitor, one object daemon in memory and one gateway; stop them at the end.

    `memory_bytes` is what the store may hold.
    """
    # Not pytest's folder: the daemons' sockets need a short path.
    folder = Path(tempfile.mkdtemp(prefix="atoll-ceph-"))
    daemons = []
    try:
        yield _start_ceph(folder, daemons, memory_bytes)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(5)
            daemon.kill()
            daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _start_ceph(folder, daemons, memory_bytes):
    port, *monitor_ports = _free_ports(3)
    monitor = f"[v2:127.0.0.1:{monitor_ports[0]}/0,v1:127.0.0.1:{monitor_ports[1]}/0]"
    cluster, osd = str(uuid.uuid4()), str(uuid.uuid4())
    for name in ("mon", "osd", "run", "log"):
        (folder / name).mkdir()
    config = folder / "ceph.conf"
    told = {"folder": folder, "cluster": cluster, "monitor": monitor, "port": port}
    config.write_text(_CEPH_CONF.format(memory=memory_bytes, **told))

    def run(program, *arguments):
        command = [program, "-c", config, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_START_SECONDS)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def start(program, *arguments):
        with (folder / "log" / f"{program}.out").open("wb") as log:
            daemons.append(
                subprocess.Popen(
                    [*_dying_with_us(), program, "-c", config, *arguments, "-f"],
                    stdout=log,
                    stderr=log,
                )
            )

    _make_keys(folder / "keyring")
    mapped = ["--create", "--clobber", "--fsid", cluster, "--addv", "a", monitor]
    subprocess.run(["monmaptool", *mapped, folder / "monmap"], check=True, capture_output=True)
    mon = ["-i", "a", "--mon-data", folder / "mon"]
    run("ceph-mon", "--mkfs", *mon, "--monmap", folder / "monmap", "--keyring", folder / "keyring")
    start("ceph-mon", *mon)
    run("ceph", "--connect-timeout", "30", "osd", "new", osd)
    run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
    start("ceph-osd", "-i", "0")
    _await(lambda: "1 up" in run("ceph", "osd", "stat"), folder)
    # radosgw-admin says no whatever the answer while pools are being made; it may try again.
    keys = ["--access-key", "lab", "--secret", secret := secrets.token_hex(8)]
    run("radosgw-admin", "-n", "client.rgw.a", "user", "create", "--uid=lab",
        "--display-name=lab", *keys)  # fmt: skip
    start("radosgw", "-n", "client.rgw.a")
    _await(lambda: _listens(port), folder)
    return S3Server(f"http://127.0.0.1:{port}", "lab", secret)


def _make_keys(keyring):
    for create, name, capabilities in (
        ("-C", "mon.", ["mon"]),
        (None, "client.admin", ["mon", "osd"]),
        (None, "client.rgw.a", ["mon", "osd"]),
        (None, "osd.0", ["mon", "osd"]),
    ):
        allowed = [word for part in capabilities for word in ("--cap", part, "allow *")]
        command = ["ceph-authtool", *filter(None, [create]), keyring, "--gen-key", "-n", name]
        subprocess.run([*command, *allowed], check=True, capture_output=True)


def _dying_with_us():
    # A test run that is killed must not leave daemons behind.
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def _free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _await(condition, folder):
    deadline = time.monotonic() + _START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text()[-2000:] for path in (folder / "log").iterdir())
            raise AssertionError(f"Ceph does not start:\n{logs}")
        time.sleep(0.1)


_CEPH_CONF = """
[global]
fsid = {cluster}
mon host = {monitor}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
public network = 127.0.0.0/8
ms bind ipv4 = true
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = {folder}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data avail warn = 1
mon data avail crit = 1
mon max pg per osd = 2000
osd max pg per osd hard ratio = 100
run dir = {folder}/run
admin socket = {folder}/run/$cluster-$name.asok
pid file = {folder}/run/$name.pid
log file = {folder}/log/$name.log
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {memory}
osd class load list = *
osd class default list = *
[mon.a]
host = localhost
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw enable apis = s3
rgw enable usage log = false
rgw enable ops log = false
rgw gc max objs = 4
rgw lc max objs = 4
rgw usage max shards = 2
rgw usage max user shards = 1
rgw data log num shards = 2
rgw md log max shards = 2
rgw reshard num logs = 2
rgw dynamic resharding = false
rgw thread pool size = 32
rgw run sync thread = false
"""
