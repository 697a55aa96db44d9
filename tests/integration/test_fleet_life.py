"""One cluster that loses its primaries in every way there is, one after another."""

import time

import pytest
from fleet_cloud import why_no_netns

from atoll.core.errors import InvalidInput
from atoll.fleet.model import Role
from atoll.fleet.providers.local.links import Direction
from atoll.fleet.states import InstanceState
from bench.fleetclusters import AGENT, MASTER, ZOOKEEPER, Job, await_, small_cluster

pytestmark = pytest.mark.slow
needs_wires = pytest.mark.skipif(bool(why_no_netns()), reason=f"netns: {why_no_netns()}")


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """The cluster, and all the while a look at which masters are active."""
    with small_cluster(tmp_path_factory.mktemp("life")) as cluster, cluster.watched() as watched:
        yield cluster, watched


@pytest.fixture
def cluster(life):
    """The cluster, whole; never, in all of its life, did two masters reign at once."""
    cluster, watched = life
    await_("a whole cluster", cluster.is_whole)
    yield cluster
    assert watched.doubles() == []


def test_a_job_outlives_the_active_primary_and_its_place_is_filled(cluster, tmp_path):
    job = Job(cluster, tmp_path / "out", partitions=12).begun()
    old = cluster.active_machine()
    cluster.fault("crash", old)
    await_("another active master", lambda: cluster.active() not in (None, old.private_ip))
    cluster.replaced(old)
    assert job.is_exact()
    primaries = cluster.fleet(Role.MASTER)
    assert cluster.record.known.status.fleets[primaries.id].state.value == "RUNNING"
    assert any(old.id in told for told in cluster.events("PRIMARY_REPLACED"))


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


def test_a_standby_is_replaced_while_the_active_master_stays(cluster):
    active, old = cluster.active(), cluster.standby_machine()
    cluster.fault("crash", old)
    cluster.replaced(old)
    assert cluster.active() == active


@pytest.mark.nightly
def test_the_machine_of_zookeepers_leader_is_replaced(cluster):
    old = cluster.leader_machine()
    cluster.fault("crash", old)
    cluster.replaced(old)
    assert cluster.leader_machine().id != old.id


def test_a_killed_master_is_started_again_and_another_takes_over(cluster):
    old = cluster.active_machine()
    cluster.fault("kill", old, pattern=MASTER)
    await_("another active master", lambda: cluster.active() not in (None, old.private_ip))
    await_("its return", lambda: cluster.masters()[old.private_ip] == "STANDBY")
    assert old.id in {one.id for one in cluster.primaries().values()}


def test_a_killed_zookeeper_is_started_again_in_its_place(cluster):
    old = cluster.leader_machine()
    cluster.fault("kill", old, pattern=ZOOKEEPER)
    await_("another leader", lambda: cluster.leader_machine().id != old.id)
    await_("a whole cluster", cluster.is_whole)
    assert old.id in {one.id for one in cluster.primaries().values()}


def test_a_machine_whose_agent_was_killed_is_replaced(cluster):
    old = cluster.active_machine()
    cluster.fault("kill", old, pattern=AGENT)
    cluster.replaced(old)


def test_a_hung_master_is_found_and_its_machine_replaced(cluster):
    old = cluster.active_machine()
    cluster.fault("freeze", old, pattern=MASTER)
    cluster.replaced(old)
    assert any(old.id in told for told in cluster.events("PRIMARY_REPLACED"))


@pytest.mark.nightly
def test_a_master_that_hung_for_a_while_does_not_reign_beside_its_successor(cluster):
    old = cluster.active_machine()
    cluster.fault("freeze", old, pattern=MASTER)
    await_("another active master", lambda: cluster.active() not in (None, old.private_ip))
    if old.id in {one.id for one in cluster.primaries().values()}:
        cluster.fault("thaw", old, pattern=MASTER)
    await_("a whole cluster", cluster.is_whole)


@pytest.mark.nightly
def test_a_hung_zookeeper_is_found_and_its_machine_replaced(cluster):
    old = cluster.leader_machine()
    cluster.fault("freeze", old, pattern=ZOOKEEPER)
    cluster.replaced(old)
    assert any("its zookeeper does not answer" in told for told in cluster.events("REPLACED"))


def test_a_frozen_machine_is_replaced(cluster):
    old = cluster.active_machine()
    cluster.fault("freeze", old, pattern="")
    cluster.replaced(old)
    assert any("its agent is not heard" in told for told in cluster.events("REPLACED"))


def test_a_primary_with_a_full_disk_is_replaced(cluster):
    old = cluster.active_machine()
    cluster.fault("fill_disk", old, percent=95)
    cluster.replaced(old)
    assert any("% full, over 90 %" in told for told in cluster.events("REPLACED"))


@needs_wires
def test_a_primary_that_is_cut_off_is_replaced(cluster):
    old = cluster.active_machine()
    cluster.fault("cut", old)
    await_("another active master", lambda: cluster.active() not in (None, old.private_ip))
    cluster.replaced(old)


@needs_wires
def test_a_primary_healed_in_time_is_kept_and_no_longer_reigns(cluster):
    old = cluster.active_machine()
    cluster.fault("cut", old)
    await_("another active master", lambda: cluster.active() not in (None, old.private_ip))
    if old.id in {one.id for one in cluster.primaries().values()}:
        cluster.fault("heal", old)
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
    if old.id in {one.id for one in cluster.primaries().values()}:
        cluster.fault("heal", old)
    await_("a whole cluster", cluster.is_whole)


def test_a_full_subnet_delays_a_replacement_until_an_address_is_free(cluster):
    old = cluster.standby_machine()
    place = old.subnet_id
    crowd = {"subnet_id": place, "addresses": 1 << 12}
    cluster.host.client.call("faults.crowd", object, **crowd)
    cluster.fault("crash", old)
    cluster.replaced(old)  # a primary's own address is kept: a full subnet does not matter to it
    worker = cluster.serving(Role.CORE)[0].machine
    cluster.fault("crash", worker)
    await_("the reason", lambda: cluster.record.known.status.blocked)
    assert place in "".join(cluster.events("BLOCKED"))
    cluster.host.client.call("faults.crowd", object, **{**crowd, "addresses": 0})
    await_("a whole cluster", cluster.is_whole)


def test_a_primary_lost_while_the_host_is_dead_is_replaced_when_it_is_back(cluster):
    old = cluster.standby_machine()
    cluster.fault("crash", old)
    cluster.host.kill()
    cluster.host.start()
    cluster.replaced(old)


def test_no_capacity_keeps_an_ill_primary_until_there_is_some(cluster):
    old = cluster.standby_machine()
    pool = {"instance_type": "m5.xlarge", "market": "ON_DEMAND", "subnet_id": old.subnet_id}
    cluster.host.client.call("faults.limit", object, **pool, capacity=0)
    cluster.fault("freeze", old, pattern=MASTER)
    await_("the reason", lambda: "no m5.xlarge" in "".join(cluster.events("BLOCKED")))
    states = {one.machine.id: one.state for one in cluster.instances(Role.MASTER)}
    assert states[old.id] is InstanceState.SUSPECT
    cluster.host.client.call("faults.limit", object, **pool, capacity=None)
    cluster.replaced(old)


def test_a_protected_cluster_is_not_ended_and_an_ended_one_leaves_nothing(cluster):
    with pytest.raises(InvalidInput, match="termination protected"):
        cluster.call("terminate")
    cluster.terminate()
    assert cluster.host.left() == {}
    assert all(not one.is_alive for one in cluster.instances())
    assert cluster.state.value == "TERMINATED"
