"""A local cloud whose provider is killed, restarted, served to strangers, and swept away."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from fleet_cloud import (
    IDLE,
    NOBODY,
    TOKEN,
    cloud_here,
    home_of,
    remote_cloud,
    served_cloud,
    server_process,
    small_world,
    why_no_netns,
)
from fleet_kills import kill_at

from atoll.core.errors import Conflict, Corrupt, Forbidden, InvalidInput, NotFound, Unavailable
from atoll.fleet.providers.client import ProviderCaller, RemoteProvider
from atoll.fleet.providers.local.claims import home_key
from atoll.fleet.providers.local.gc import remove_home, remove_unclaimed
from atoll.fleet.providers.local.ground import MARKER, PATH
from atoll.fleet.providers.local.inventory import FILE
from atoll.fleet.providers.local.opening import held, open_provider
from atoll.fleet.providers.local.processes import marked
from atoll.fleet.providers.port import FleetRequest, MachineState
from atoll.testing.provider_contract import (
    ADDRESSES,
    CLUSTER,
    PLACEMENT,
    PRIMARY,
    SUBNETS,
    WORKERS,
)

# These fork what is to be killed; another test of this process may have imported Lance.
pytestmark = pytest.mark.filterwarnings("ignore:lance is not fork-safe")

# Of a life on loopback: all at which the provider writes or acts.
POINTS = 68
KILLS_PER_SEED = 5
needs_nobody = pytest.mark.skipif(
    bool(why_no_netns(NOBODY)), reason=f"netns without root: {why_no_netns(NOBODY)}"
)


def live_a_life(provider, name):
    """Do everything once: keep, launch, stop, start, end, release."""
    address = provider.reserve(SUBNETS[0], token=name, cluster_id=CLUSTER, epoch=1)
    machine = provider.launch_primary(PRIMARY, address, "if-1", PLACEMENT, token=name)
    [worker] = provider.launch_fleet(
        FleetRequest("if-2", WORKERS, 1, 0), PLACEMENT, token=f"{name} workers"
    )
    provider.stop(worker.id, reason="crashed")
    provider.start(worker.id, epoch=1)
    provider.terminate([machine.id, worker.id], epoch=1, reason="over")
    provider.release(address.id, epoch=1)


def die_in_a_life(home, point):
    """Live in a child process that kills itself at a point; return how it ended."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        kill_at(point)
        with open_provider(home, "loopback", small_world(command=IDLE)) as provider:
            live_a_life(provider, "killed")
    finally:
        # Nothing of the test runner's is to run twice.
        os._exit(0)


def check_truth(home, provider):
    """Assert that just what is said to run does, and that no address is lost or given twice."""
    machines = provider.machines(CLUSTER)
    assert all(one.state is not MachineState.PENDING for one in machines)
    running = {one.id for one in machines if one.state is MachineState.RUNNING}
    assert set(marked(home_key(home)).values()) == running
    held = {one.private_ip for one in machines if one.state is not MachineState.TERMINATED}
    held |= {one.private_ip for one in provider.addresses(CLUSTER)}
    assert provider.subnets(SUBNETS[:1])[0].free_addresses == ADDRESSES - len(held)


def test_a_provider_killed_at_any_point_is_finished_by_the_next(tmp_path, kill_seed):
    for point in random.Random(kill_seed).sample(range(1, POINTS + 1), KILLS_PER_SEED):
        home = tmp_path / str(point)
        try:
            assert die_in_a_life(home, point) == signal.SIGKILL, f"there is no point {point}"
            with open_provider(home, "loopback", small_world(command=IDLE)) as provider:
                check_truth(home, provider)
                machines = [one.id for one in provider.machines(CLUSTER)]
                provider.terminate(machines, epoch=1, reason="swept")
                live_a_life(provider, "next")
                check_truth(home, provider)
                assert marked(home_key(home)) == {}
        finally:
            remove_home(home)


def test_a_life_has_as_many_points_as_are_tried(tmp_path):
    home = tmp_path / "home"
    try:
        assert die_in_a_life(home, POINTS) == signal.SIGKILL
        remove_home(home)
        assert die_in_a_life(home, POINTS + 1) == 0
    finally:
        remove_home(home)


@pytest.mark.parametrize("kind", ["loopback", "netns"])
def test_machines_outlive_a_killed_provider_and_are_adopted(tmp_path, kind):
    if kind == "netns" and why_no_netns():
        pytest.skip(f"netns: {why_no_netns()}")
    outlive(tmp_path / "home", kind, user=None)


@needs_nobody
def test_machines_without_root_outlive_a_killed_provider():
    with home_of(NOBODY) as home:
        outlive(home, "netns", user=NOBODY)


def outlive(home, kind, user):
    with served_cloud(home, kind, user=user) as (cloud, server):
        [machine] = launch(cloud.provider, 1)
        cloud.run(machine.id, ["sh", "-c", "echo kept > disk/note"])
        end(server, home)
        with pytest.raises(Unavailable, match="did not answer"):
            cloud.provider.machines(CLUSTER)
        with server_process(home, kind, user=user) as (_, port):
            again = remote_cloud(home, port)
            [seen] = again.provider.machines(CLUSTER)
            assert seen == machine
            assert again.run(machine.id, ["cat", "disk/note"]).output == "kept\n"
            assert launch(again.provider, 1) == [machine]


def end(pid, home):
    """Kill a server and wait until its home is free: its threads may end after it is gone."""
    os.kill(pid, signal.SIGKILL)
    for _ in range(1000):
        with suppress(Conflict), held(home):
            return
        time.sleep(0.01)
    pytest.fail(f"{home} is still held")


def launch(provider, count):
    request = FleetRequest("if-2", WORKERS, count, 0)
    return provider.launch_fleet(request, PLACEMENT, token="workers")


def test_two_processes_cannot_serve_one_home(tmp_path):
    with (
        served_cloud(tmp_path / "home", "loopback"),
        pytest.raises(Conflict, match="another process serves"),
        open_provider(tmp_path / "home", "loopback", small_world()),
    ):
        pytest.fail("both serve it")


def test_a_home_stays_of_its_kind(tmp_path):
    with (
        cloud_here(tmp_path / "home", "loopback"),
        pytest.raises(InvalidInput, match="'loopback', 'netns'"),
        open_provider(tmp_path / "other", "docker", small_world()),
    ):
        pytest.fail("there is no such kind")


def test_two_homes_have_networks_of_their_own(tmp_path):
    with (
        cloud_here(tmp_path / "one", "loopback") as one,
        cloud_here(tmp_path / "other", "loopback") as other,
    ):
        [first], [second] = launch(one.provider, 1), launch(other.provider, 1)
        assert first.private_ip.split(".")[1] != second.private_ip.split(".")[1]


def test_an_unknown_subnet_is_adopted_where_that_is_wanted(tmp_path):
    with cloud_here(tmp_path / "home", "loopback", adopts_subnets=True) as cloud:
        [adopted] = cloud.provider.subnets(["subnet-0123abcd"])
        assert (adopted.zone, adopted.free_addresses) == ("local-1c", ADDRESSES)
        assert "-2-4.atoll.internal" in (cloud.home / "hosts").read_text()
        with pytest.raises(NotFound, match="net-0123abcd"):
            cloud.provider.subnets(["net-0123abcd"])


def test_a_damaged_inventory_is_named(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / FILE).write_bytes(b"this is no database, whatever the name says")
    with (
        pytest.raises(Corrupt, match=r"inventory\.sqlite is damaged"),
        open_provider(home, "loopback", small_world()),
    ):
        pytest.fail("it was opened")


def test_a_stranger_without_the_token_is_refused(tmp_path):
    with served_cloud(tmp_path / "home", "loopback") as (cloud, _):
        with pytest.raises(Forbidden, match="token"):
            RemoteProvider(cloud.url, "guessed").machines(CLUSTER)
        caller = ProviderCaller(cloud.url, TOKEN)
        with pytest.raises(NotFound, match="no call 'format_disk'"):
            caller.call("format_disk", object)
        with pytest.raises(InvalidInput, match="missing"):
            caller.call("machines", object)
        with pytest.raises(InvalidInput, match="fit"):
            caller.call("machines", object, cluster_id=7)


@pytest.mark.parametrize("kind", ["loopback", "netns"])
def test_nothing_is_left_when_all_was_killed_and_swept(tmp_path, kind):
    if kind == "netns" and why_no_netns():
        pytest.skip(f"netns: {why_no_netns()}")
    home = tmp_path / "home"
    with served_cloud(home, kind) as (cloud, server):
        launch(cloud.provider, 2)
        end(server, home)
        (home / FILE).unlink()
        kinds = {one.kind for one in remove_home(home)}
        assert kinds >= {"process", "network", "folder"}
        assert (kind == "netns") == ({"mount", "interface"} <= kinds)
        assert traces_of(home) == []


@needs_nobody
def test_nothing_is_left_of_a_home_without_root():
    with home_of(NOBODY) as home:
        with served_cloud(home, "netns", user=NOBODY) as (cloud, server):
            launch(cloud.provider, 2)
            end(server, home)
        assert traces_of(home) == []


def traces_of(home):
    """List what this host knows of a home."""
    shown = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    links = [line for line in shown.splitlines() if home_key(home) in line]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(home) in line]
    return [*marked(home_key(home)), *links, *mounts, *([home] if home.exists() else [])]


def test_what_no_inventory_claims_is_swept_and_the_rest_stays(tmp_path):
    with cloud_here(tmp_path / "home", "loopback", command=IDLE) as cloud:
        machines = launch(cloud.provider, 2)
        stray = f"{home_key(cloud.home)}:i-stray"
        sleep = subprocess.Popen(["sleep", "1000"], env={MARKER: stray, "PATH": PATH})
        (cloud.home / "machines" / "i-stray").mkdir()
        removed = remove_unclaimed(cloud.home)
        assert [one.kind for one in removed] == ["process", "folder"]
        assert sleep.wait() == -signal.SIGKILL
        assert set(marked(home_key(cloud.home)).values()) == {one.id for one in machines}


def test_a_served_home_is_not_swept_away(tmp_path):
    with (
        served_cloud(tmp_path / "home", "loopback"),
        pytest.raises(Conflict, match="another process serves"),
    ):
        remove_home(tmp_path / "home")
