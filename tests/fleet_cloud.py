"""Local clouds for tests: a small world, clouds in this process and in one that can be killed."""

import os
import pwd
import shutil
import site
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import atoll
from atoll.fleet.providers.client import ProviderCaller, RemoteProvider
from atoll.fleet.providers.local.gc import remove_home
from atoll.fleet.providers.local.ground import Ran
from atoll.fleet.providers.local.housekeeping import keeping_house
from atoll.fleet.providers.local.opening import open_provider
from atoll.fleet.providers.local.privileges import is_privileged
from atoll.fleet.providers.local.world import SubnetSpec, World
from atoll.fleet.providers.server import serve_provider
from atoll.fleet.wire.server import listen
from atoll.testing.machine_contract import DISK_MIB, LISTENER
from atoll.testing.provider_contract import ADDRESSES, RACKS, SUBNETS, TYPES

TOKEN = "s3cret"
NOBODY = "nobody"
IDLE = ("sh", "-c", "exec sleep 1000")


@dataclass(frozen=True)
class Facts:
    vcpus: int = 4
    memory_gib: float = 16.0
    disk_gib: int = 64
    price_hour: float = 0.192


@dataclass(frozen=True)
class LocalCloud:
    """A cloud in this process, or asked over HTTP."""

    provider: object
    run: object
    stop: object
    home: Path
    url: str = ""


def small_world(**more):
    return World(
        types={TYPES[0]: Facts(), TYPES[1]: Facts(8, 32.0, 128, 0.384)},
        subnets=(
            SubnetSpec(SUBNETS[0], "local-1a", ADDRESSES),
            SubnetSpec(SUBNETS[1], "local-1b", 40),
        ),
        racks_per_zone=RACKS,
        **{"command": LISTENER, "disk_limit_mib": DISK_MIB, **more},
    )


@contextmanager
def cloud_here(home, kind, **more):
    """Open a cloud in this process; its home is removed at the end."""
    try:
        with open_provider(home, kind, small_world(**more)) as provider:

            def stop(machine_id):
                provider.stop(machine_id, reason="crashed")

            yield LocalCloud(provider, provider.run, stop, home)
    finally:
        remove_home(home)


@contextmanager
def served_cloud(home, kind, *, user=None):
    """Serve a cloud from a process of its own, another user's if asked; remove its home at the end.

    Yields:
        The cloud, and the number of the process.
    """
    try:
        with server_process(home, kind, user=user) as (pid, port):
            yield remote_cloud(home, port), pid
    finally:
        remove_home(home)


@contextmanager
def server_process(home, kind, *, user=None):
    """Run `main` below in a process of its own; yield its number and its port."""
    command, environment = command_of(user)
    process = subprocess.Popen(
        [*command, __file__, str(home), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    try:
        port, pid = map(int, process.stdout.readline().split())
        yield pid, port
    finally:
        process.communicate()


def command_of(user):
    """Return how to run Python as a user, and its environment."""
    found = python_of(user)
    prefix = [] if user is None else ["runuser", "-u", user, "--"]
    # Another Python of the same version may use the packages of this one.
    paths = [str(Path(atoll.__file__).parents[1]), *site.getsitepackages()]
    return [*prefix, found], {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(paths)}


@cache
def python_of(user):
    """Return a Python that a user may run: this one lies in a private folder at times."""
    other = "/usr/bin/python3"
    if user is None or _may_run(user, sys.executable) or not _may_run(user, other):
        return sys.executable
    return other


def _may_run(user, python):
    code = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    command = ["runuser", "-u", user, "--", python, "-c", code]
    return subprocess.run(command, capture_output=True).returncode == 0


def remote_cloud(home, port):
    url = f"http://127.0.0.1:{port}"
    caller = ProviderCaller(url, TOKEN)

    def run(machine_id, command):
        return caller.call("run", Ran, machine_id=machine_id, command=command)

    def stop(machine_id):
        caller.call("stop", object, machine_id=machine_id, reason="crashed")

    return LocalCloud(RemoteProvider(url, TOKEN), run, stop, home, url)


@contextmanager
def home_of(user):
    """Make a folder that this user may reach and owns, below no private one."""
    folder = Path(tempfile.mkdtemp(prefix="atoll-"))
    try:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        yield folder / "home"
    finally:
        shutil.rmtree(folder)


def why_no_netns(user=None):
    """Return why namespaces cannot be tested, as this user; None: they can."""
    if user is None:
        return None if is_privileged() else "needs root"
    if os.geteuid() != 0:
        return f"only root may become {user}"
    command, environment = command_of(user)
    code = "import atoll.fleet.providers.local.opening as o, sys; o.enter(o.Path(sys.argv[1]))"
    with home_of(user) as home:
        done = subprocess.run(
            [*command, "-c", code, str(home.parent)],
            capture_output=True,
            text=True,
            env=environment,
        )
        remove_home(home.parent)
        home.parent.mkdir()
    return f"{user} cannot: {done.stderr.strip().splitlines()[-1]}" if done.returncode else None


def main(home, kind):
    """Serve a home until standard input ends."""
    outside = listen("127.0.0.1")
    with open_provider(home, kind, small_world()) as provider:
        more = {"run": provider.run, "stop": provider.stop}
        inside = listen(provider.ground.gateway)
        with (
            keeping_house(provider),
            serve_provider(provider, TOKEN, outside, more=more),
            serve_provider(provider, TOKEN, inside, more=more),
        ):
            print(outside.getsockname()[1], os.getpid(), flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
