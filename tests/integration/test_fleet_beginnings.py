"""Clusters that cannot begin: they end at once, and say why and what to do about it."""

import gzip
import os
import threading
from contextlib import contextmanager

import pytest
from fleet_cloud import NOBODY, why_no_netns

from atoll.fleet.capacity import NoFreeAddress
from atoll.fleet.host.garbage import remove
from atoll.fleet.host.home import serving
from atoll.fleet.host.server import HostOptions, serve_host
from atoll.fleet.registry import ClusterRecord, Phase
from atoll.fleet.states import ClusterReason, ClusterState
from bench.fleetclusters import SMALL, Host, Job, atoll, await_, fleet_host

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with fleet_host(tmp_path_factory.mktemp("beginnings") / "home") as host:
        yield host


@contextmanager
def host_here(home):
    """Serve a home from this process, as it stands; its machines are loopback's."""
    stopped = threading.Event()
    options = HostOptions(home=home, provider="loopback")
    thread = threading.Thread(target=serve_host, args=(options, stopped))
    thread.start()
    try:
        await_("the host", lambda: serving(home))
        yield Host(home, "loopback")
    finally:
        stopped.set()
        thread.join()
        remove(home, everything=True)


def ended(cluster):
    await_("the end", lambda: cluster.record.phase is Phase.ENDED)
    assert cluster.host.left() == {}
    assert cluster.state is ClusterState.TERMINATED_WITH_ERRORS
    return cluster.record.known.status


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    return f'[{{name: tools, run: "{path}"}}]'


def test_machines_without_java_end_the_cluster_and_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with host_here(tmp_path / "home") as host:
        cluster = host.create(SMALL.format(name="small"))
        status = ended(cluster)
        assert status.reason is ClusterReason.BOOTSTRAP_FAILURE
        assert "Spark needs Java 17" in status.message
        assert "apt-get install openjdk-17-jre-headless" in status.message
        assert any("openjdk" in told for told in cluster.events("CLUSTER_TERMINATED"))


@pytest.mark.skipif(
    bool(why_no_netns(NOBODY)), reason=f"netns without root: {why_no_netns(NOBODY)}"
)
@pytest.mark.nightly
def test_a_host_without_root_has_clusters_that_work(tmp_path):
    # Root may not map itself into a namespace without that one capability.
    drop = ["setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all"]
    prefix = drop if os.geteuid() == 0 else []
    with fleet_host(tmp_path / "home", "netns", prefix) as host:
        cluster = host.create(SMALL.format(name="rootless")).ready()
        assert host.is_walled_off
        assert Job(cluster, tmp_path / "out", partitions=2).submitted(seconds=0).is_exact()


def test_a_host_without_java_is_not_started_and_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    (tmp_path / "spec.yaml").write_text(SMALL.format(name="small"))
    status, said = atoll(tmp_path / "home", "create", "x", "--file", str(tmp_path / "spec.yaml"))
    assert (status, "Spark needs Java 17" in said) == (1, True), said
    assert "apt-get install openjdk-17-jre-headless" in said


def test_a_bootstrap_action_that_fails_everywhere_ends_the_launch(host, tmp_path):
    actions = script(tmp_path / "fails.sh", "echo no such package; exit 3")
    kept = tmp_path / "kept"
    cluster = host.create(SMALL.format(name="fails"), bootstrap=actions, log_uri=kept)
    status = ended(cluster)
    assert status.reason is ClusterReason.BOOTSTRAP_FAILURE
    assert "'tools' ended with status 3" in status.message
    assert "no such package" in status.message
    printed = kept.glob(f"{cluster.id}/node/i-*/bootstrap-actions/1/stdout.gz")
    assert b"no such package\n" in [gzip.decompress(one.read_bytes()) for one in printed]


def test_a_bootstrap_action_that_fails_on_a_core_node_ends_the_launch(host, tmp_path):
    actions = script(tmp_path / "core.sh", '[ "$ATOLL_ROLE" != CORE ] || exit 4')
    status = ended(host.create(SMALL.format(name="core"), bootstrap=actions))
    assert status.reason is ClusterReason.BOOTSTRAP_FAILURE
    assert status.message.startswith("CORE ")
    assert "'tools' ended with status 4" in status.message


def test_a_cluster_that_no_subnet_has_room_for_is_refused_before_anything_starts(host):
    text = SMALL.format(name="large").replace("on_demand: 1", "on_demand: 5000")
    with pytest.raises(
        NoFreeAddress, match=r"subnet-local-1[ab] has \d+ free addresses, 5003 are needed"
    ):
        host.create(text)
    names = [one.desired.spec.name for one in host.client.call("clusters", list[ClusterRecord])]
    assert "large" not in names


def test_a_template_that_is_not_json_is_refused_with_the_place(host, tmp_path):
    template = tmp_path / "template.json"
    template.write_text('{"Resources": {"Cluster": ')
    status, said = atoll(host.home, "create", "x", "--template", str(template))
    assert status == 1
    assert str(template) in said
    assert "JSON" in said


def test_a_cluster_that_is_ended_while_it_begins_leaves_nothing(host):
    cluster = host.create(SMALL.format(name="hasty"))
    await_("its machines", host.left)
    cluster.terminate()
    assert host.left() == {}
