"""The states of what there is, as EMR's own clients know them and as the docs draw them."""

import re
from pathlib import Path

import pytest
from botocore.session import Session

from atoll.fleet.states import (
    CLUSTER_EDGES,
    FLEET_EDGES,
    INSTANCE_EDGES,
    STEP_EDGES,
    ClusterReason,
    ClusterState,
    FleetState,
    InstanceReason,
    InstanceState,
    StepState,
)

PAGE = Path(__file__).parents[2] / "docs" / "fleet-operations.md"
ENDS = {"TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS"}


@pytest.fixture(scope="module")
def emr():
    return Session().get_service_model("emr")


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text()


@pytest.mark.parametrize(
    ("ours", "shape", "missing", "added"),
    [
        (ClusterState, "ClusterState", set(), set()),
        (ClusterReason, "ClusterStateChangeReasonCode", set(), set()),
        (FleetState, "InstanceFleetState", {"RECONFIGURING"}, set()),
        (InstanceState, "InstanceState", set(), {"SUSPECT", "DRAINING"}),
        (InstanceReason, "InstanceStateChangeReasonCode", set(), set()),
        (StepState, "StepState", set(), set()),
    ],
)
def test_states_are_emr_s_but_for_those_that_the_docs_tell(emr, page, ours, shape, missing, added):
    names, theirs = {one.value for one in ours}, set(emr.shape_for(shape).enum)
    assert (theirs - names, names - theirs) == (missing, added)
    assert all(f"{name} does not exist here" in page for name in missing)
    assert all(name in page for name in added)


def test_states_of_our_own_are_shown_as_one_of_emr_s(emr):
    assert {one.shown.value for one in InstanceState} == set(emr.shape_for("InstanceState").enum)


@pytest.mark.parametrize("edges", [CLUSTER_EDGES, FLEET_EDGES, INSTANCE_EDGES, STEP_EDGES])
def test_every_state_has_its_edges(edges):
    (kind,) = {type(state) for state in edges}
    assert edges.keys() == set(kind)


@pytest.mark.parametrize(
    ("title", "edges"),
    [
        ("A cluster:", CLUSTER_EDGES),
        ("An instance fleet:", FLEET_EDGES),
        ("An instance:", INSTANCE_EDGES),
    ],
)
def test_docs_draw_each_edge_but_the_ends_which_they_tell(page, title, edges):
    drawing = page.partition(f"\n{title}\n")[2].split("```")[1]
    drawn = set(re.findall(r"(\w+) --> (\w+)", drawing))
    there = {(old.value, new.value) for old, following in edges.items() for new in following}
    assert drawn <= there
    assert {new for _, new in there - drawn} <= ENDS
