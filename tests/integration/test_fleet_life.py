"""One cluster that loses its primaries in every way there is, one after another."""

import socket
import time
from contextlib import suppress

import pytest
from fleet_clients import aws_of
from fleet_cloud import why_no_netns
from listening import listening, written

from atoll.compute.sparkmaster import probe_master
from atoll.core.errors import Conflict, InvalidInput, NotFound
from atoll.fleet.engine.zookeeper_probe import probe_zookeeper
from atoll.fleet.host.home import keys_of, serving
from atoll.fleet.host.server import CLOUD
from atoll.fleet.model import Role
from atoll.fleet.providers.local.claims import home_key
from atoll.fleet.providers.local.links import Direction, sink_name
from atoll.fleet.providers.local.netns import bridge_of
from atoll.fleet.providers.reach import reach
from atoll.fleet.states import InstanceState
from bench.fleetbuild import Build
from bench.fleetclusters import AGENT, MASTER, WORKER, ZOOKEEPER, Job, await_, small_cluster

pytestmark = pytest.mark.slow
needs_wires = pytest.mark.skipif(bool(why_no_netns()), reason=f"netns: {why_no_netns()}")


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """The cluster, and all the while a look at which masters are active."""
    with small_cluster(tmp_path_factory.mktemp("life")) as cluster, cluster.watched() as watched:
        yield cluster, watched
        assert watched.reigns


@pytest.fixture
def watched(life):
    return life[1]


@pytest.fixture
def cluster(life):
    """The cluster, whole; never, in all of its life, did two masters reign at once."""
    cluster, watched = life
    await_("a whole cluster", cluster.is_whole)
    yield cluster
    assert watched.doubles() == []


def another_reigns(cluster, old):
    await_("another active master", lambda: cluster.active() not in (None, old.private_ip))


def replaced(cluster, old, why=""):
    """Wait until another machine serves in its place, and see that it was told why."""
    new = cluster.replaced(old)
    told = cluster.events("PRIMARY_REPLACED")
    assert any(f"{old.id} is replaced by {new.id}: " in one and why in one for one in told), told


def undone(cluster, how, old, **args):
    """Undo a fault of a machine that may have been replaced by now."""
    with suppress(Conflict, NotFound):
        cluster.fault(how, old, **args)


@pytest.mark.nightly
def test_a_build_outlives_the_active_primary_and_aws_shows_another_in_its_place(cluster, tmp_path):
    home = cluster.host.home
    aws = aws_of(serving(home).url, tmp_path, keys_of(home))
    before = shown(aws, cluster)
    build = Build(cluster, tmp_path / "build", seed=5, buckets=12).begun()
    old = cluster.active_machine()
    cluster.fault("crash", old)
    assert not build.is_over()
    another_reigns(cluster, old)
    replaced(cluster, old)
    assert build.is_exact()
    after = shown(aws, cluster)
    [new] = [one for id_, one in after.items() if id_ not in before]
    seen = before[old.id], after[old.id], new
    states = [one["Status"]["State"] for one in seen]
    assert states == ["RUNNING", "TERMINATED", "RUNNING"]
    assert {one["PrivateIpAddress"] for one in seen} == {old.private_ip}
    assert {one["PrivateDnsName"] for one in seen} == {old.private_dns}


def shown(aws, cluster):
    """See that `aws emr` shows a fleet of three primaries that runs; return all there ever were."""
    fleets = aws("emr", "list-instance-fleets", "--cluster-id", cluster.id)["InstanceFleets"]
    [fleet] = [one for one in fleets if one["InstanceFleetType"] == "MASTER"]
    assert (fleet["Status"]["State"], fleet["ProvisionedOnDemandCapacity"]) == ("RUNNING", 3)
    words = ("--cluster-id", cluster.id, "--instance-fleet-type", "MASTER")
    return {one["Ec2InstanceId"]: one for one in aws("emr", "list-instances", *words)["Instances"]}


def test_a_job_outlives_the_primary_that_it_runs_on(cluster, tmp_path):
    job = Job(cluster, tmp_path / "out", partitions=8).begun()
    where = cluster.step(job.step_id).machine_id
    old = next(one for one in cluster.primaries().values() if one.id == where)
    cluster.fault("crash", old)
    cluster.replaced(old)
    assert job.is_exact()
    step = cluster.step(job.step_id)
    assert (step.attempts, step.machine_id == old.id) == (2, False)
    assert any(old.id in told for told in cluster.events("STEP_MOVED"))


@pytest.mark.nightly
def test_the_machine_of_zookeepers_leader_is_replaced(cluster):
    old = cluster.leader_machine()
    cluster.fault("crash", old)
    cluster.replaced(old)
    assert cluster.leader_machine().id != old.id


def test_killed_daemons_are_started_again_in_their_places_and_others_take_over(cluster):
    old, leader = cluster.active_machine(), cluster.leader_machine()
    before = {one.machine.id for one in cluster.instances() if one.is_alive}
    [worker] = [one.machine for one in cluster.serving(Role.CORE)]
    cluster.fault("kill", old, pattern=MASTER)
    cluster.fault("kill", leader, pattern=ZOOKEEPER)
    another_reigns(cluster, old)
    await_("another leader", lambda: cluster.leader_machine().id != leader.id)
    await_("its return", lambda: probe_zookeeper(leader.private_ip).is_serving)
    await_("the master's return", cluster.is_whole)
    first = await_("the worker", lambda: workers_at(cluster, worker))
    cluster.fault("kill", worker, pattern=WORKER)
    await_("the worker's return", lambda: workers_at(cluster, worker) - first)
    assert {one.machine.id for one in cluster.instances() if one.is_alive} == before


def workers_at(cluster, machine):
    """Return Spark's ids of a machine's living workers; one that starts anew gets another."""
    active = cluster.active()
    found = probe_master(active).workers if active else ()
    return {one.id for one in found if (one.host, one.state) == (machine.private_ip, "ALIVE")}


def test_every_process_of_every_instance_listens_on_its_own_address_only(cluster):
    addresses = {one.machine.id: one.machine.private_ip for one in cluster.instances()}
    heard = set()
    for pid, machine in cluster.host.left().items():
        with suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
            found = listening(pid)
            assert found <= written(addresses[machine]), (machine, pid)
            heard |= {machine} if found else set()
    assert heard == {one.machine.id for one in cluster.instances() if one.is_alive}


def test_the_controllers_machine_is_replaced_by_the_next_when_its_agent_was_killed(cluster):
    old, before = cluster.controller_machine(), cluster.record.epoch
    cluster.fault("kill", old, pattern=AGENT)
    replaced(cluster, old)
    assert cluster.controller_machine().id != old.id
    assert cluster.record.epoch > before


def test_a_hung_master_is_found_and_its_machine_replaced(cluster):
    old = cluster.active_machine()
    cluster.fault("freeze", old, pattern=MASTER)
    replaced(cluster, old, "its master does not answer")


@pytest.mark.nightly
def test_a_master_that_hung_for_a_while_does_not_reign_beside_its_successor(cluster):
    old = cluster.active_machine()
    cluster.fault("freeze", old, pattern=MASTER)
    another_reigns(cluster, old)
    undone(cluster, "thaw", old, pattern=MASTER)
    await_("a whole cluster", cluster.is_whole)
    assert cluster.active() != old.private_ip


def test_a_frozen_machine_is_replaced(cluster):
    old = cluster.active_machine()
    cluster.fault("freeze", old, pattern="")
    replaced(cluster, old, "its agent is not heard")


@pytest.mark.nightly
def test_a_primary_with_a_full_disk_is_replaced(cluster):
    old = cluster.active_machine()
    cluster.fault("fill_disk", old, percent=95)
    replaced(cluster, old, "% full, over 90 %")


@needs_wires
def test_a_primary_that_is_cut_off_is_replaced(cluster):
    old = cluster.active_machine()
    cluster.fault("cut", old)
    another_reigns(cluster, old)
    replaced(cluster, old)


@needs_wires
def test_a_primary_healed_in_time_is_kept_and_no_longer_reigns(cluster):
    old = cluster.active_machine()
    cluster.fault("cut", old)
    another_reigns(cluster, old)
    undone(cluster, "heal", old)
    await_("a whole cluster", cluster.is_whole)
    assert cluster.active() != old.private_ip


@pytest.mark.nightly
@needs_wires
@pytest.mark.parametrize("direction", [Direction.IN, Direction.OUT])
def test_a_primary_that_hears_or_is_heard_only_is_replaced(cluster, direction):
    old = cluster.active_machine()
    cluster.fault("cut", old, direction=direction)
    cluster.replaced(old)


@pytest.mark.nightly
@needs_wires
def test_a_primary_that_does_not_hear_one_of_the_others_goes_on_or_is_replaced(cluster):
    old = cluster.active_machine()
    other = cluster.standby_machine()
    cluster.fault("cut", old, peers=[other.id], direction=Direction.IN)
    time.sleep(8)  # Longer than sessions last, and than hearts may be silent.
    await_("an active master", cluster.active)
    undone(cluster, "heal", old)
    await_("a whole cluster", cluster.is_whole)


@pytest.mark.nightly
@needs_wires
@pytest.mark.parametrize("percent", [30, 60])
def test_a_job_outlives_a_primary_that_loses_its_packets(cluster, tmp_path, percent):
    job = Job(cluster, tmp_path / "out", partitions=30).begun()
    old = cluster.active_machine()
    cluster.fault("cut", old, percent=percent)
    time.sleep(15)  # Packets are lost for so long: that may cost it its place, or nothing.
    undone(cluster, "heal", old)
    await_("a whole cluster", cluster.is_whole)
    assert job.is_exact()


@pytest.mark.nightly
def test_zookeepers_killed_one_after_another_cost_one_failover_each_at_most(
    cluster, watched, tmp_path
):
    job = Job(cluster, tmp_path / "out", partitions=30).begun()
    before = cluster.primaries()
    for ip, machine in before.items():
        reigns = len(watched.successions())
        cluster.fault("kill", machine, pattern=ZOOKEEPER)
        await_("its return", lambda ip=ip: probe_zookeeper(ip).is_serving)
        await_("masters that stand by", cluster.is_whole)
        active = cluster.active_machine().id
        await_("what is watched", lambda id_=active: watched.successions()[-1] == id_)
        assert len(watched.successions()) <= reigns + 1
    assert {one.id for one in cluster.primaries().values()} == {one.id for one in before.values()}
    assert job.is_exact()


@pytest.mark.nightly
def test_a_full_subnet_delays_a_replacement_until_an_address_is_free(cluster):
    active, leader = cluster.active_machine(), cluster.leader_machine()
    # Neither leads anything: its loss moves nothing.
    old = next(one for one in cluster.primaries().values() if one not in (active, leader))
    place = old.subnet_id
    crowd = {"subnet_id": place, "addresses": 1 << 12}
    cluster.host.client.call("faults.crowd", object, **crowd)
    cluster.fault("crash", old)
    replaced(cluster, old)  # a primary's own address is kept: a full subnet does not matter to it
    assert cluster.active_machine() == active
    worker = cluster.serving(Role.CORE)[0].machine
    cluster.fault("crash", worker)
    await_("the reason", lambda: cluster.record.known.status.blocked)
    assert place in "".join(cluster.events("BLOCKED"))
    cluster.host.client.call("faults.crowd", object, **{**crowd, "addresses": 0})
    await_("a whole cluster", cluster.is_whole)


@pytest.mark.nightly
def test_a_primary_lost_while_the_host_is_dead_is_replaced_when_it_is_back(cluster):
    old = cluster.standby_machine()
    cluster.fault("crash", old)
    cluster.host.kill()
    cluster.host.start()
    replaced(cluster, old)


@pytest.mark.nightly
def test_no_capacity_keeps_a_primary_with_a_hung_zookeeper_until_there_is_some(cluster):
    old = cluster.leader_machine()
    pool = {"instance_type": "m5.xlarge", "market": "ON_DEMAND", "subnet_id": old.subnet_id}
    cluster.host.client.call("faults.limit", object, **pool, capacity=0)
    cluster.fault("freeze", old, pattern=ZOOKEEPER)
    await_("the reason", lambda: "no m5.xlarge" in "".join(cluster.events("BLOCKED")))
    states = {one.machine.id: one.state for one in cluster.instances(Role.MASTER)}
    assert states[old.id] is InstanceState.SUSPECT
    cluster.host.client.call("faults.limit", object, **pool, capacity=None)
    replaced(cluster, old, "its zookeeper does not answer")


def test_a_protected_cluster_is_not_ended_and_an_ended_one_leaves_nothing(cluster):
    with pytest.raises(InvalidInput, match="termination protected"):
        cluster.call("terminate")
    provider = reach(cluster.record.desired.provider)
    assert len(provider.addresses(cluster.id)) == 3
    cluster.terminate()
    assert cluster.host.left() == {}
    assert all(not one.is_alive for one in cluster.instances())
    assert cluster.state.value == "TERMINATED"
    assert provider.addresses(cluster.id) == []
    assert wires(cluster.host) == set()


def wires(host):
    """Return the machines' ends of wires; the host's own bridges go with its home."""
    key = home_key(host.home / CLOUD)
    names = {name for _, name in socket.if_nameindex() if name.startswith(bridge_of(key))}
    return names - {bridge_of(key), sink_name(key)}
