"""The short form: one way to write each thing, and what it says when it is written wrong."""

import pytest
from fleetspecs import SHORT, post_spec, problems, short_spec

from atoll.core.errors import InvalidInput
from atoll.fleet.model import ActionOnFailure, OnDemandStrategy, Role
from atoll.fleet.spec.releases import LATEST
from atoll.fleet.spec.short import parse_short
from atoll.fleet.spec.show import show

FULL = (
    SHORT
    + """
protected: true
step_concurrency: 2
bootstrap: [{name: tools, run: "s3://b/tools.sh --with 'two words'"}]
steps: [{name: index, run: spark-submit x.py, on_failure: continue}]
spark: {spark.executor.memory: 2g, spark.dynamicAllocation.enabled: true}
health: {disk_percent: 80, replaces_unhealthy: false}
tags: {team: search, version: 1.10}
"""
)


def refused(text):
    with pytest.raises(InvalidInput) as caught:
        parse_short(text)
    return problems(caught.value)


def test_ten_lines_are_a_cluster():
    spec = short_spec()
    primaries, core, task = spec.fleets
    assert (spec.release_label, spec.is_highly_available) == (LATEST.label, True)
    assert [one.instance_type for one in primaries.types] == ["m5.xlarge", "m5.2xlarge"]
    assert (core.target_on_demand, core.weight_of("m5.2xlarge")) == (4, 2)
    assert (task.role, task.target_spot, task.types[1].bid_price_percent) == (Role.TASK, 8, 70)


def test_the_rest_is_read_too():
    spec = short_spec(FULL)
    assert spec.bootstrap_actions[0].args == ("--with", "two words")
    assert spec.steps[0].args == ("spark-submit", "x.py")
    assert spec.steps[0].action_on_failure is ActionOnFailure.CONTINUE
    assert spec.spark_properties["spark.dynamicAllocation.enabled"] == "true"
    assert (spec.health.disk_percent, spec.health.replaces_unhealthy) == (80, False)
    assert spec.tags == {"team": "search", "version": "1.10"}


def test_primaries_may_say_as_much_as_other_fleets():
    more = "{on_demand: 3, on_demand_strategy: prioritized, types: {m5.xlarge: {priority: 0}}}"
    spec = short_spec(SHORT.replace("3 x m5.xlarge, m5.2xlarge", more))
    assert spec.primaries.on_demand_strategy is OnDemandStrategy.PRIORITIZED
    assert parse_short(show(spec)).spec == spec


@pytest.mark.parametrize("text", [SHORT, FULL])
def test_what_is_shown_is_read_as_the_same_specification(text):
    assert parse_short(show(short_spec(text))).spec == short_spec(text)


def test_the_posts_cluster_is_shown_in_the_short_form():
    assert parse_short(show(post_spec())).spec == post_spec()
    assert len(show(post_spec()).splitlines()) <= 22


def test_what_goes_without_saying_is_not_shown():
    shown = show(short_spec())
    assert "primary: 3 x m5.xlarge, m5.2xlarge\n" in shown
    for word in ("health", "keeps_alive", "protected", "spot_strategy", "null", "resize"):
        assert word not in shown


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("3 x", "3 y", ("primary", "'3 y m5.xlarge, m5.2xlarge' is not such as 3 x m5.xlarge, ")),
        ("3 x", "2 x", ("primary.on_demand", "is 2; a cluster has 3 primaries, or 1 that may ")),
        ("on_demand: 4", "on_demnd: 4", ("core.on_demnd", "did you mean on_demand?")),
        ("weight: 2", "weight: 0", ("task[0].types.r5.xlarge.weight", "is 0; 1 to 1,000,000 ")),
        (
            "bid_percent: 70",
            "priority: 1",
            ("task[0].types.r5.xlarge.priority", "priorities count"),
        ),
        ("spot: 8", "spot: 8\n  spot_timeout_minutes: 1", ("task[0].spot_timeout_minutes", "is 1")),
        ("spread: true", "spread: yes", ("spread", "'yes' is neither true nor false")),
        ("name: embeddings", "", ("name", "is missing; give it")),
        ("primary: 3 x m5.xlarge, m5.2xlarge", "", ("primary", "is missing; write primary: 3 x")),
        ("spread: true", "release: 7.10", ("release", "'7.10' is no release label")),
        ("spread: true", "steps: [{name: a, run: a 'b}]", ("steps[0].run", "no closing quotation")),
        ("spread: true", "steps: [{name: a}]", ("steps[0].run", "is missing; give it")),
        ("spread: true", "tags:", ("tags", "is null; write a value or leave it out")),
        ("subnets: [subnet-a, subnet-b]", "subnets: subnet-a", ("subnets", "is no list")),
    ],
)
def test_what_is_wrong_is_said_with_its_path(old, new, problem):
    assert old in SHORT
    found = refused(SHORT.replace(old, new))
    assert any(path == problem[0] and problem[1] in message for path, message in found), found


def test_a_cluster_without_core_nodes_is_refused():
    alone = "name: x\nprimary: 3 x m5.xlarge\n"
    assert refused(alone) == [
        ("the cluster", "has no CORE fleet; primaries run no tasks: give one")
    ]
