from __future__ import annotations

from dataclasses import replace

from atoll.fleet.model import (
    FleetSpec,
    InstanceTypeConfig,
    Resizing,
    Role,
    SpotProvisioning,
    TimeoutAction,
)
from atoll.fleet.planning.timeouts import Held, Outcome, at_launch, at_resize
from atoll.fleet.states import ClusterReason

SPOT = SpotProvisioning(timeout_minutes=20)
FLEET = FleetSpec(Role.TASK, "task", 2, 10, (InstanceTypeConfig("m5.xlarge"),), spot=SPOT)
RESIZED = replace(FLEET, resizing=Resizing(spot_timeout_minutes=10, on_demand_timeout_minutes=30))


def launch(held, minutes, fleet=FLEET):
    return at_launch(fleet, held, waited_s=minutes * 60)


def resize(held, minutes, fleet=RESIZED):
    return at_resize(fleet, held, waited_s=minutes * 60)


def asked(verdict):
    return verdict.outcome, verdict.on_demand, verdict.spot


def test_before_the_timeout_what_is_missing_is_sought():
    assert asked(launch(Held(1, 7), 19.99)) == (Outcome.SEEK, 1, 3)


def test_at_the_timeout_exactly_the_rest_is_sought_on_demand():
    found = launch(Held(2, 7), 20)
    assert asked(found) == (Outcome.SWITCH_TO_ON_DEMAND, 3, 0)
    assert found.moved == 3
    assert "3 of 10 spot units of fleet 'task' did not come within 20 minutes" in found.reason


def test_what_was_moved_is_sought_on_demand_until_it_is_there():
    assert asked(launch(Held(4, 7, moved=3), 25)) == (Outcome.SEEK, 1, 0)
    assert asked(launch(Held(5, 7, moved=3), 26)) == (Outcome.COMPLETE, 0, 0)


def test_on_demand_that_overshot_does_not_lessen_the_rest():
    assert asked(launch(Held(5, 7), 20)) == (Outcome.SWITCH_TO_ON_DEMAND, 3, 0)


def test_terminate_cluster_ends_with_instance_fleet_timeout():
    action = replace(SPOT, timeout_action=TimeoutAction.TERMINATE_CLUSTER)
    found = launch(Held(2, 9), 20, replace(FLEET, spot=action))
    assert asked(found) == (Outcome.TERMINATE_CLUSTER, 0, 0)
    assert found.cluster_reason is ClusterReason.INSTANCE_FLEET_TIMEOUT


def test_missing_on_demand_has_no_timeout_at_launch():
    assert asked(launch(Held(1, 10), 5_000)) == (Outcome.SEEK, 1, 0)


def test_a_fleet_that_has_all_is_complete_at_any_time():
    assert asked(launch(Held(3, 12), 5_000)) == (Outcome.COMPLETE, 0, 0)
    assert asked(resize(Held(3, 12), 5_000)) == (Outcome.COMPLETE, 0, 0)


def test_a_resize_suspends_the_fleet_and_never_moves_spot_to_on_demand():
    found = resize(Held(2, 6), 10)
    assert asked(found) == (Outcome.SUSPEND, 0, 0)
    assert found.moved == 0
    assert found.reason == "fleet 'task': 4 spot units did not come within 10 minutes"


def test_a_resize_goes_on_with_the_market_whose_time_is_not_over():
    found = resize(Held(0, 6), 10)
    assert asked(found) == (Outcome.SEEK, 2, 0)
    assert "4 spot units" in found.reason
    assert asked(resize(Held(0, 6), 30)) == (Outcome.SUSPEND, 0, 0)


def test_a_resize_without_a_timeout_never_ends():
    assert asked(resize(Held(2, 0), 100_000, FLEET)) == (Outcome.SEEK, 0, 10)


def test_spot_moved_at_launch_stays_moved_in_a_resize():
    assert asked(resize(Held(5, 6, moved=3), 1)) == (Outcome.SEEK, 0, 1)
