"""Clusters that lose their quorum: what goes on, what a repair brings back, what it refuses."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from fleet_cloud import why_no_netns

from atoll.core.errors import Conflict
from atoll.fleet.model import Role
from atoll.fleet.providers.reach import reach
from atoll.fleet.states import StepState
from bench.fleetclusters import Job, atoll, await_, small_cluster

pytestmark = pytest.mark.slow
needs_wires = pytest.mark.skipif(bool(why_no_netns()), reason=f"netns: {why_no_netns()}")


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disasters")
    with small_cluster(folder) as cluster, cluster.watched() as watched:
        yield cluster, watched
        assert watched.reigns


@pytest.fixture
def cluster(life):
    """The cluster, whole; never, in all of its life, did two masters reign at once."""
    cluster, watched = life
    await_("a whole cluster", cluster.is_whole)
    yield cluster
    assert watched.doubles() == []


def destroyed(cluster, machines):
    """End machines and their disks, as somebody at the provider's console may."""
    record = cluster.record
    provider = reach(record.desired.provider)
    ids = [one.id for one in machines]
    provider.terminate(ids, epoch=record.epoch, reason="ended by hand")


def at_once(cluster, kind, machines):
    """Do the same to machines at the same time: the place of one alone would soon be another's."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda one: cluster.fault(kind, one), machines))


@contextmanager
def losing_its_quorum(cluster):
    """Wait, after the block, until this loss was told: there may have been others before."""
    before = len(cluster.events("NO_QUORUM"))
    yield
    await_("the loss of the quorum", lambda: len(cluster.events("NO_QUORUM")) > before)


def ids_by_address(cluster):
    return {ip: one.id for ip, one in cluster.primaries().items()}


def knows(cluster, step):
    """Whether the cluster itself, not only its host, has a step on record as it ended."""
    with cluster.store() as store:
        return step in store.steps()


def test_a_cluster_with_a_quorum_is_not_repaired(cluster):
    with pytest.raises(Conflict, match="has a quorum"):
        cluster.repair()


def test_a_job_ends_without_a_quorum_and_two_primaries_come_back_with_their_disks(
    cluster, tmp_path
):
    job = Job(cluster, tmp_path / "out", partitions=15).begun()
    where = cluster.step(job.step_id).machine_id
    lost = [one for one in cluster.primaries().values() if one.id != where]
    with losing_its_quorum(cluster):
        at_once(cluster, "crash", lost)
    await_("the end of the job", job.out.exists)
    status, said = atoll(cluster.host.home, "repair", "small")
    assert (status, said.count("started with its disk")) == (0, 2), said
    assert job.is_exact()
    assert cluster.step(job.step_id).attempts == 1
    await_("a whole cluster", cluster.is_whole)
    assert {one.id for one in lost} <= {one.id for one in cluster.primaries().values()}


@pytest.mark.nightly
def test_three_primaries_that_stopped_come_back_with_their_disks_and_all_that_is_known(cluster):
    ended = cluster.completed(cluster.submit("true"))
    before = ids_by_address(cluster)
    with losing_its_quorum(cluster):
        at_once(cluster, "crash", cluster.primaries().values())
    repair = cluster.repair()
    assert (repair.has_quorum, len(repair.did)) == (True, 3)
    await_("a whole cluster", cluster.is_whole)
    assert ids_by_address(cluster) == before
    assert knows(cluster, ended)


@needs_wires
def test_two_primaries_that_were_cut_off_come_back_as_they_were(cluster):
    before = ids_by_address(cluster)
    cut = cluster.active_machine(), cluster.standby_machine()
    with losing_its_quorum(cluster):
        for one in cut:
            cluster.fault("cut", one)
    at_once(cluster, "heal", cut)
    await_("a whole cluster", cluster.is_whole)
    assert ids_by_address(cluster) == before


@pytest.mark.nightly
def test_one_disk_of_three_is_enough_to_keep_what_is_known(cluster):
    ended = cluster.completed(cluster.submit("true"))
    survivor, *lost = cluster.primaries().values()
    with losing_its_quorum(cluster):
        destroyed(cluster, lost)
    assert cluster.repair().has_quorum
    for one in lost:
        cluster.replaced(one)
    assert cluster.primaries()[survivor.private_ip].id == survivor.id
    assert knows(cluster, ended)


@pytest.mark.nightly
def test_without_any_disk_a_cluster_begins_anew_only_when_told_to(cluster, tmp_path):
    ended = cluster.completed(cluster.submit("true"))
    worker = cluster.serving(Role.CORE)[0].machine
    cluster.resize(Role.CORE, on_demand=2)
    await_("the second worker", lambda: len(cluster.serving(Role.CORE)) == 2)
    with losing_its_quorum(cluster):
        destroyed(cluster, cluster.primaries().values())
    with pytest.raises(Conflict, match="repair --from-backup"):
        cluster.repair()
    assert len(cluster.repair(from_backup=True).did) == 3
    cluster.ready()
    assert cluster.step(ended.id).state is StepState.COMPLETED
    assert worker.id in [one.machine.id for one in cluster.serving(Role.CORE)]
    assert cluster.fleet(Role.CORE).spec.target_on_demand == 2
    lost = cluster.standby_machine()
    cluster.fault("crash", lost)
    cluster.replaced(lost)
    # No master finds the workers on record, and they ask for the one that they had.
    assert Job(cluster, tmp_path / "out", partitions=2).begun().is_exact()
