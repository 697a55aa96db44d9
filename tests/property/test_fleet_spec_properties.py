"""Laws of specifications: what is shown is read again; a broken text gives one kind of error."""

import json
from contextlib import suppress

from fleetspecs import REQUEST, SHORT, changed, post
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.core.errors import InvalidInput
from atoll.fleet.model import (
    ActionOnFailure,
    BootstrapAction,
    ClusterSpec,
    FleetSpec,
    HealthPolicy,
    InstanceTypeConfig,
    OnDemandStrategy,
    Resizing,
    Role,
    SpotProvisioning,
    SpotStrategy,
    StepSpec,
    TimeoutAction,
)
from atoll.fleet.spec.document import read_document
from atoll.fleet.spec.notices import settled
from atoll.fleet.spec.runjobflow import parse_run_job_flow
from atoll.fleet.spec.short import parse_short
from atoll.fleet.spec.show import show
from atoll.fleet.spec.template import Template, read_template
from atoll.fleet.spec.validate import problems_of

# What EMR's API takes as a text, without what a mapping's key could not be.
PLAIN = st.characters(
    min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"
)
CHARACTERS = PLAIN | st.sampled_from("\r\n\t\x85\u2028\ufeff'\"\\#:,{}[]&*!|>%@`-? ")
TEXTS = st.text(CHARACTERS, min_size=1, max_size=12)
MAYBE_TEXTS = st.none() | TEXTS
PATHS = TEXTS.map("/{}".format)
TYPE_NAMES = st.from_regex(r"[a-z][0-9][a-z]?\.[0-9]?xlarge", fullmatch=True)
PRIORITIES = st.none() | st.floats(0, 9)
TIMEOUTS = st.none() | st.integers(5, 10_080)


@st.composite
def types(draw, weights):
    bids = draw(st.sampled_from(["price", "percent"]))
    return InstanceTypeConfig(
        draw(TYPE_NAMES),
        weighted_capacity=draw(weights),
        bid_price=draw(st.floats(0.01, 9)) if bids == "price" else None,
        bid_price_percent=draw(st.floats(1, 200)) if bids == "percent" else 100.0,
        priority=draw(PRIORITIES),
        disk_gib=draw(st.none() | st.integers(1, 999)),
    )


@st.composite
def fleets(draw, role):
    is_primary = role is Role.MASTER
    weights = st.just(1) if is_primary else st.integers(1, 99)
    listed = st.lists(
        types(weights), min_size=1, max_size=4, unique_by=lambda one: one.instance_type
    )
    return FleetSpec(
        role=role,
        name=draw(TEXTS),
        target_on_demand=draw(st.sampled_from([1, 3]) if is_primary else st.integers(0, 99)),
        target_spot=0 if is_primary else draw(st.integers(1, 99)),
        types=tuple(draw(listed)),
        spot=SpotProvisioning(
            draw(st.sampled_from(SpotStrategy)),
            draw(st.integers(5, 1440)),
            draw(st.sampled_from(TimeoutAction)),
        ),
        # With this one, types may have priorities.
        on_demand_strategy=OnDemandStrategy.PRIORITIZED,
        resizing=Resizing(
            draw(st.none() | st.sampled_from(SpotStrategy)),
            draw(st.none() | st.sampled_from(OnDemandStrategy)),
            draw(TIMEOUTS),
            draw(TIMEOUTS),
        ),
    )


@st.composite
def clusters(draw):
    tasks = draw(st.lists(fleets(Role.TASK), max_size=2))
    words = st.lists(TEXTS, min_size=1, max_size=3).map(tuple)
    tags = st.dictionaries(TEXTS.filter(lambda key: not key.lower().startswith("aws:")), TEXTS)
    properties = st.dictionaries(TEXTS.map("spark.{}".format), TEXTS, max_size=2)
    return ClusterSpec(
        name=draw(TEXTS),
        release_label=draw(st.sampled_from(["emr-6.8.1", "emr-6.15.0", "emr-7.10.0"])),
        fleets=(draw(fleets(Role.MASTER)), draw(fleets(Role.CORE)), *tasks),
        subnet_ids=tuple(draw(st.lists(TEXTS, max_size=2, unique=True))),
        applications=draw(words),
        spread_primaries=draw(st.booleans()),
        termination_protected=draw(st.booleans()),
        keeps_alive=draw(st.booleans()),
        idle_timeout_s=draw(st.none() | st.integers(60, 604_800)),
        bootstrap_actions=tuple(
            draw(st.lists(st.builds(BootstrapAction, TEXTS, TEXTS, words), max_size=2))
        ),
        steps=tuple(
            draw(
                st.lists(
                    st.builds(StepSpec, TEXTS, words, st.sampled_from(ActionOnFailure)), max_size=2
                )
            )
        ),
        spark_properties=draw(properties),
        health=HealthPolicy(
            disk_percent=draw(st.floats(1, 100)), failing_probes=draw(st.integers(1, 9))
        ),
        tags=draw(tags),
        log_uri=draw(st.none() | PATHS),
        key_name=draw(MAYBE_TEXTS),
        root_volume_gib=draw(st.none() | st.integers(1, 999)),
        additional_worker_groups=tuple(draw(st.lists(TEXTS, max_size=2))),
    )


@settings(max_examples=20)
@given(clusters())
def test_what_is_shown_is_read_as_the_same_specification(spec):
    spec = settled(spec)
    assert problems_of(spec) == []
    assert parse_short(show(spec)).spec == spec


def places(value, path=()):
    """Yield the path of each value in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for step, inner in items:
        yield (*path, step)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, step))


FUNCTIONS = [
    "Ref",
    "Fn::Sub",
    "Fn::Join",
    "Fn::If",
    "Fn::Select",
    "Fn::Split",
    "Fn::GetAtt",
    "Fn::And",
]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
KEYS = st.sampled_from(FUNCTIONS) | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=6,
)
HOSTILE = VALUES | st.sampled_from(
    [10**30, -1, "1e999", "9" * 400, [], {}, {"Ref": "AWS::NoValue"}]
)
POST = post()


@settings(max_examples=100)
@given(st.sampled_from(list(places(POST))), HOSTILE)
def test_a_template_with_one_value_changed_gives_a_cluster_or_invalid_input(path, value):
    with suppress(InvalidInput):
        read = read_template(json.dumps(changed(POST, path, value)))
        assert isinstance(read, Template)
        assert problems_of(read.spec) == []


@settings(max_examples=60)
@given(st.sampled_from(list(places(REQUEST))), HOSTILE)
def test_a_request_with_one_value_changed_gives_a_cluster_or_invalid_input(path, value):
    with suppress(InvalidInput):
        assert problems_of(parse_run_job_flow(changed(REQUEST, path, value)).spec) == []


@settings(max_examples=100)
@given(st.sampled_from(list(places(POST))))
def test_a_template_with_one_value_missing_gives_a_cluster_or_invalid_input(path):
    with suppress(InvalidInput):
        read_template(json.dumps(changed(POST, path)))


@settings(max_examples=60)
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_text_is_a_document_or_invalid_input(text):
    with suppress(InvalidInput):
        read_document(text, "x", functions=True)


@settings(max_examples=60)
@given(st.integers(0, len(SHORT)), st.integers(0, 4), st.text(max_size=4))
def test_the_short_form_with_some_of_it_replaced_gives_a_cluster_or_invalid_input(at, count, new):
    with suppress(InvalidInput):
        assert problems_of(parse_short(SHORT[:at] + new + SHORT[at + count :]).spec) == []


@given(VALUES)
def test_a_value_of_json_is_read_with_its_numbers_as_text(value):
    def as_text(one):
        if isinstance(one, dict):
            return {key: as_text(inner) for key, inner in one.items()}
        if isinstance(one, list):
            return [as_text(inner) for inner in one]
        is_number = isinstance(one, int | float) and not isinstance(one, bool)
        return json.dumps(one) if is_number else one

    text = json.dumps({"a": value})
    if not any(word in text for word in ("NaN", "Infinity")):
        assert read_document(text, "x") == as_text({"a": value})
