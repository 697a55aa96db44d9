"""A cluster whose fleets are changed, reclaimed and crashed while it works."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from fleet_cloud import why_no_netns

from atoll.compute.sparkmaster import probe_master
from atoll.fleet.host.home import LOG
from atoll.fleet.model import Market, Role
from atoll.fleet.states import InstanceState
from bench.fleetclusters import Job, atoll, await_, small_cluster

pytestmark = pytest.mark.slow
needs_wires = pytest.mark.skipif(bool(why_no_netns()), reason=f"netns: {why_no_netns()}")
TASK = "spot: 1\ntypes: {m5.xlarge: 1}\n"


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """The cluster, and the file in which each instance's bootstrap action writes its role."""
    folder = tmp_path_factory.mktemp("changes")
    script, roles = folder / "bootstrap.sh", folder / "roles"
    script.write_text(f'#!/bin/sh\necho "$ATOLL_ROLE $1" >> {roles}\n')
    actions = f'[{{name: tools, run: "{script} well"}}]'
    home = folder / "disk" / "home"
    with disk_of_its_own(home.parent), small_cluster(home, bootstrap=actions) as cluster:
        yield cluster, roles


@contextmanager
def disk_of_its_own(folder):
    """Mount a small disk, where that may be done; machines on loopback would not fit it."""
    folder.mkdir()
    if why_no_netns():
        yield
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def cluster(story):
    cluster, _ = story
    await_("a whole cluster", cluster.is_whole)
    return cluster


def workers(cluster, role, count):
    await_(
        f"{count} of {role}",
        lambda: len(cluster.serving(role)) == count and cluster.is_whole(),
    )
    return [one.machine for one in cluster.serving(role)]


@pytest.mark.nightly
def test_bootstrap_actions_run_on_new_instances_and_on_replaced_ones(story, cluster):
    _, roles = story
    assert sorted(roles.read_text().split("\n")) == ["", "CORE well", *3 * ["MASTER well"]]
    old = cluster.standby_machine()
    cluster.fault("crash", old)
    cluster.replaced(old)
    assert roles.read_text().count("MASTER") == 4


@pytest.mark.nightly
def test_a_job_outlives_the_crash_of_its_worker(cluster, tmp_path):
    job = Job(cluster, tmp_path / "out", partitions=12).begun()
    [old] = workers(cluster, Role.CORE, 1)
    cluster.fault("crash", old)
    assert job.is_exact()
    [new] = workers(cluster, Role.CORE, 1)
    assert new.id != old.id


def test_targets_go_up_and_down_from_the_command_line(cluster):
    home = cluster.host.home
    status, said = atoll(home, "resize", "small", "core", "--on-demand", "2")
    assert (status, "2 on demand" in said) == (0, True), said
    before = {one.id for one in workers(cluster, Role.CORE, 2)}
    atoll(home, "resize", "small", "core", "--on-demand", "1")
    [kept] = workers(cluster, Role.CORE, 1)
    [gone] = before - {kept.id}
    ended = await_(
        "the end of one that drained",
        lambda: [
            one
            for one in cluster.instances(Role.CORE)
            if one.machine.id == gone and one.state is InstanceState.TERMINATED
        ],
    )
    assert "the target of fleet core was lowered" in ended[0].message
    assert any("drains" in told for told in cluster.events("DRAINING"))


def test_what_a_subnet_has_no_room_for_is_refused_before_anything_starts(cluster):
    before = len(cluster.instances())
    status, said = atoll(cluster.host.home, "resize", "small", "core", "--on-demand", "5000")
    assert status == 1
    assert cluster.record.desired.subnet_id in said
    assert cluster.fleet(Role.CORE).spec.target_on_demand == 1
    assert len(cluster.instances()) == before


def test_a_task_fleet_is_added_and_its_spot_drained_and_replaced_when_it_is_reclaimed(
    cluster, tmp_path
):
    fleet = tmp_path / "task.yaml"
    fleet.write_text(TASK)
    status, said = atoll(cluster.host.home, "add-fleet", "small", "--file", str(fleet))
    assert status == 0, said
    [old] = workers(cluster, Role.TASK, 1)
    assert old.market is Market.SPOT
    cluster.fault("reclaim", old, notice_s=20)
    await_("the drain", lambda: "DECOMMISSIONED" in _states_at(cluster, old.private_ip))
    await_("its replacement", lambda: _others(cluster, old))
    assert any("the provider takes it back (spot)" in told for told in cluster.events("DRAINING"))
    ended = await_("its end", lambda: _ended(cluster, old))
    assert "SpotInstanceTermination" in ended.message


def _states_at(cluster, ip):
    return [one.state for one in probe_master(cluster.active()).workers if one.host == ip]


def _others(cluster, old):
    return [one for one in cluster.serving(Role.TASK) if one.machine.id != old.id]


def _ended(cluster, old):
    found = (one for one in cluster.instances(Role.TASK) if one.machine.id == old.id)
    return next((one for one in found if not one.is_alive), None)


def test_spot_that_is_taken_without_notice_is_replaced(cluster):
    [old] = workers(cluster, Role.TASK, 1)
    cluster.fault("reclaim", old, notice_s=0)
    await_("its replacement", lambda: _others(cluster, old))


def test_two_command_lines_that_change_targets_at_once_both_count(cluster):
    env = {**os.environ, "ATOLL_FLEET_HOME": str(cluster.host.home)}
    command = [sys.executable, "-m", "atoll", "fleet", "resize", "small"]
    changes = [["core", "--on-demand", "2"], ["task", "--spot", "0"]]
    running = [subprocess.Popen([*command, *change], env=env) for change in changes]
    assert [one.wait() for one in running] == [0, 0]
    assert cluster.fleet(Role.CORE).spec.target_on_demand == 2
    assert cluster.fleet(Role.TASK).spec.target_spot == 0
    workers(cluster, Role.CORE, 2)
    workers(cluster, Role.TASK, 0)


def test_a_second_host_on_the_same_home_is_refused(cluster):
    home = cluster.host.home
    before = cluster.host.process.pid
    status, said = atoll(home, "serve", "--home", str(home))
    assert (status, "another process serves" in said) == (1, True), said
    assert cluster.host.process.poll() is None
    assert cluster.record.id == cluster.id
    assert f"pid={before}" not in said
    assert (home / LOG).exists()


@needs_wires
def test_while_the_hosts_disk_is_full_what_waits_is_told_and_then_made_up_for(cluster):
    disk, old = cluster.host.home.parent, cluster.standby_machine()
    with full(disk):
        cluster.fault("kill", old, pattern="atoll.fleet.agent")
        await_("the reason", lambda: re.search("No space|disk", cluster.zookeepers_word()))
        assert cluster.host.process.poll() is None
    cluster.replaced(old)


@contextmanager
def full(disk):
    """Leave not a byte of a disk while the block runs."""
    left = os.statvfs(disk)
    with (disk / "filling").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, left.f_bavail * left.f_frsize)
    yield
    (disk / "filling").unlink()


def test_after_kill_9_of_everything_nothing_is_left_once_garbage_is_collected(cluster):
    host = cluster.host
    host.kill()
    for pid in host.left():
        with suppress(ProcessLookupError):  # it ended with one of the others
            os.kill(pid, 9)
    status, said = atoll(host.home, "gc", "--everything")
    assert (status, host.left()) == (0, {}), said
    assert not host.home.exists()
    assert str(host.home) not in Path("/proc/self/mounts").read_text()
    assert atoll(host.home, "gc", "--everything") == (0, "nothing to remove\n")
