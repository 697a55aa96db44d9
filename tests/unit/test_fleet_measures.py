"""What is measured of a cluster, and how Prometheus is told."""

from dataclasses import replace

import pytest
from fleetspecs import post_spec

from atoll.fleet.host.exposition import of_clusters, write
from atoll.fleet.life.records import ClusterStatus, Desired, Fleet, InstanceRecord, Known
from atoll.fleet.model import Market, Role
from atoll.fleet.monitoring.measures import UNITS, measures
from atoll.fleet.monitoring.ownalarms import own_alarms
from atoll.fleet.providers.port import Machine, MachineState, ProviderAt
from atoll.fleet.registry import ClusterRecord, Phase
from atoll.fleet.states import ClusterState, InstanceState

SPEC = post_spec()
FLEETS = tuple(Fleet(f"if-{one.role.value}", one) for one in SPEC.fleets)


def instance(number, role, state=InstanceState.RUNNING, kind="m6i.xlarge"):
    machine = Machine(
        f"i-{number}", "j-1", f"if-{role.value}", role, Market.ON_DEMAND, kind,
        MachineState.RUNNING, f"10.0.0.{number}", f"ip-{number}", "subnet-1", "1a", 1.0,
    )  # fmt: skip
    return InstanceRecord(f"ci-{number}", machine, state, created_at=1.0, ready_at=2.0)


def record(*instances, ready_at=5.0, state=ClusterState.RUNNING, phase=Phase.LIVING, spec=SPEC):
    desired = Desired(
        "j-1", ProviderAt("local"), spec, "subnet-1", "1a", (), FLEETS, True, created_at=1.0
    )
    known = Known(ClusterStatus(state, 1.0, ready_at), {one.machine.id: one for one in instances})
    return ClusterRecord(desired, phase, known)


def primaries(*states):
    return [instance(number, Role.MASTER, state) for number, state in enumerate(states, 1)]


@pytest.mark.parametrize(
    ("third", "running", "share"),
    [
        ("RUNNING", 3, 1),
        ("SUSPECT", 2, 2 / 3),
        ("BOOTSTRAPPING", 2, 2 / 3),
        ("TERMINATED", 2, 2 / 3),
    ],
)
def test_primaries_count_while_they_run_and_are_well(third, running, share):
    up = InstanceState.RUNNING
    found = measures(record(*primaries(up, up, InstanceState(third))))
    assert found["MultiMasterInstanceGroupNodesRunning"] == running
    assert found["MultiMasterInstanceGroupNodesRunningPercentage"] == pytest.approx(share)
    assert found["MultiMasterInstanceGroupNodesRequested"] == 3


def test_primaries_that_do_not_answer_do_not_count_where_the_cluster_cannot_tell():
    up = InstanceState.RUNNING
    found = measures(record(*primaries(up, up, up)), answering={"10.0.0.2"})
    assert found["MultiMasterInstanceGroupNodesRunning"] == 1


def test_primaries_are_not_measured_before_the_cluster_was_ready():
    found = measures(record(*primaries(InstanceState.BOOTSTRAPPING), ready_at=None))
    assert not [name for name in found if name.startswith("MultiMaster")]


def test_workers_are_counted_in_nodes_and_in_units():
    workers = [
        instance(1, Role.CORE, kind="m6i.4xlarge"),
        instance(2, Role.CORE, InstanceState.PROVISIONING),
        instance(3, Role.CORE, InstanceState.DRAINING),
        instance(4, Role.CORE, InstanceState.SUSPECT),
    ]
    found = measures(record(*workers))
    assert (found["CoreNodesRunning"], found["CoreNodesPending"]) == (2, 1)
    assert (found["CoreUnitsRunning"], found["CoreUnitsRequested"]) == (5, 4)
    assert (found["TaskNodesRunning"], found["TaskUnitsRequested"]) == (0, 4)
    assert found.keys() <= UNITS.keys()


def test_cluster_that_waits_is_idle():
    assert measures(record(state=ClusterState.WAITING))["IsIdle"] == 1
    assert measures(record(state=ClusterState.RUNNING))["IsIdle"] == 0


def test_highly_available_cluster_has_three_alarms_and_another_none():
    alarms = own_alarms(record(), ("https://x/y",))
    assert [one.threshold for one in alarms] == [1.0, 0.5, 1.0]
    assert {one.alarm_actions for one in alarms} == {("https://x/y",)}
    single = replace(SPEC, fleets=(replace(SPEC.fleets[0], target_on_demand=1), *SPEC.fleets[1:]))
    assert own_alarms(record(spec=single), ()) == []


def test_page_counts_ended_clusters_and_shows_no_more_of_them():
    living = record(*primaries(InstanceState.RUNNING), spec=replace(SPEC, name='a "b"\n\\c'))
    ended = record(state=ClusterState.TERMINATED, phase=Phase.ENDED)
    page = write(of_clusters([living, ended], lambda id_: {"IsIdle": 1.0}))
    assert 'atoll_fleet_clusters{state="TERMINATED"} 1' in page
    assert r'name="a \"b\"\n\\c",state="RUNNING"} 1' in page
    assert page.count("cluster_state{") == 1
    assert 'atoll_fleet_is_idle{cluster="j-1"} 1\n' in page
    assert 'instances{cluster="j-1",role="MASTER",state="RUNNING"} 1' in page
