"""Changes to a cluster that runs: a fleet added, a fleet resized, steps added."""

from dataclasses import replace

import pytest
from fleet_world import desired
from fleetspecs import fleet, problems, request_spec

from atoll.core.errors import InvalidInput
from atoll.fleet.spec.changes import (
    parse_add_instance_fleet,
    parse_add_job_flow_steps,
    parse_modify_instance_fleet,
)

CLUSTER = request_spec()
PRIMARIES, CORE, TASK = CLUSTER.fleets


def added(**more):
    body = {"ClusterId": "j-1", "InstanceFleet": fleet("TASK", spot=2) | more}
    return parse_add_instance_fleet(body, CLUSTER)


def modified(one, **more):
    body = {"ClusterId": "j-1", "InstanceFleet": {"InstanceFleetId": "if-1"} | more}
    return parse_modify_instance_fleet(body, one)


def step(**more):
    jar = {"Jar": "command-runner.jar", "Args": ["true"]}
    return {"Name": "one", "HadoopJarStep": jar} | more


def steps(*found, waiting=0, cluster=CLUSTER):
    body = {"JobFlowId": "j-1", "Steps": list(found)}
    return parse_add_job_flow_steps(body, cluster, waiting)


def refused(call, *args, **more):
    with pytest.raises(InvalidInput) as caught:
        call(*args, **more)
    return problems(caught.value)


def test_an_added_fleet_has_a_name_and_the_releases_strategy():
    found = added().fleet
    assert (found.name, found.target_spot, found.spot.strategy) == (
        "task-2",
        2,
        TASK.spot.strategy,
    )


def test_only_task_fleets_are_added():
    for role in ("MASTER", "CORE"):
        ((path, message), *_) = refused(added, InstanceFleetType=role)
        assert path == "InstanceFleet.InstanceFleetType"
        assert "takes TASK fleets only" in message


def test_an_added_fleet_is_held_to_the_rules():
    found = refused(added, TargetSpotCapacity=0)
    assert found[0][0] == "InstanceFleet.TargetOnDemandCapacity"


def test_a_resize_changes_the_targets_and_nothing_else():
    found = modified(CORE, TargetOnDemandCapacity=8, TargetSpotCapacity=2)
    assert (found.target_on_demand, found.target_spot) == (8, 2)
    assert (found.types, found.name, found.spot) == (CORE.types, CORE.name, CORE.spot)


def test_a_resize_keeps_the_resize_timeout_it_does_not_name():
    both = {"TargetOnDemandCapacity": 8, "TargetSpotCapacity": 2}
    spot = {"SpotResizeSpecification": {"TimeoutDurationMinutes": 30}}
    on_demand = {"OnDemandResizeSpecification": {"TimeoutDurationMinutes": 40}}
    first = modified(CORE, **both, ResizeSpecifications=spot)
    second = modified(first, **both, ResizeSpecifications=on_demand)
    resizing = second.resizing
    assert (resizing.spot_timeout_minutes, resizing.on_demand_timeout_minutes) == (30, 40)


def test_a_resize_names_both_targets():
    (_, message), *_ = refused(modified, CORE, TargetOnDemandCapacity=8)
    assert message == (
        "The instance fleet (if-1) should have both targetOnDemandCapacity and "
        "targetSpotCapacity specified."
    )


def test_a_task_fleet_may_shrink_to_nothing_and_a_core_fleet_not():
    none = {"TargetOnDemandCapacity": 0, "TargetSpotCapacity": 0}
    assert modified(TASK, **none).target_spot == 0
    assert refused(modified, CORE, **none)[0][1].startswith("At least one of TargetSpotCapacity")


def test_the_primaries_are_not_resized():
    both = {"TargetOnDemandCapacity": 5, "TargetSpotCapacity": 0}
    assert "not resized" in refused(modified, PRIMARIES, **both)[0][1]


def test_steps_are_read_in_their_order():
    found = steps(step(), step(Name="two"))
    assert [one.name for one in found] == ["one", "two"]


def test_no_more_than_256_steps_wait():
    assert len(steps(step(), waiting=255)) == 1
    assert refused(steps, step(), waiting=256)[0][0] == "Steps"


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"HadoopJarStep": {"Jar": "s3://mine.jar", "Args": ["x"]}}, "Steps[0].HadoopJarStep.Jar"),
        ({"HadoopJarStep": {"Jar": "command-runner.jar"}}, "Steps[0].HadoopJarStep.Args"),
        ({"Name": ""}, "Steps[0].Name"),
        ({"ActionOnFailure": "IGNORE"}, "Steps[0].ActionOnFailure"),
    ],
)
def test_a_step_that_cannot_run_is_refused(more, path):
    assert path in [where for where, _ in refused(steps, step(**more))]


def test_steps_that_run_at_once_cannot_end_the_cluster():
    together = request_spec("StepConcurrencyLevel", 4)
    found = refused(steps, step(ActionOnFailure="TERMINATE_CLUSTER"), cluster=together)
    assert found[0][0] == "Steps[0].ActionOnFailure"
    assert len(steps(step(ActionOnFailure="CONTINUE"), cluster=together)) == 1


def test_the_current_specification_has_what_was_changed_since():
    made = desired(core=2, task=1)
    kept = made.fleets[1]
    grown = replace(kept, spec=replace(kept.spec, target_on_demand=5))
    now = replace(made, fleets=(made.fleets[0], grown), termination_protected=True).current_spec
    assert [one.target_on_demand for one in now.fleets] == [3, 5]
    assert now.termination_protected
