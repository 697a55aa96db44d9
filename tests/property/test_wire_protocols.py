"""Every operation of the three models, in every protocol, against botocore as the client."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from wire_shapes import as_answer, as_request, operations, values

from atoll.fleet.wire.conform import misfits
from atoll.fleet.wire.gateway import PROTOCOLS
from atoll.fleet.wire.service import load_model

CALLS = list(operations())
NOTHING = object()


def protocol_named(name):
    return next(protocol for protocol in PROTOCOLS if protocol.name == name)


def pruned(value):
    """Leave out the structures and maps without members: a form cannot say them."""
    if isinstance(value, dict):
        kept = {key: pruned(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item is not NOTHING} or NOTHING
    if isinstance(value, list) and value:
        return [item for item in map(pruned, value) if item is not NOTHING] or NOTHING
    return value


def as_form_says(parameters):
    found = pruned(parameters)
    return {} if found is NOTHING else found


def check_input(name, protocol, operation, data):
    model = load_model(name)
    shape = model.operation_model(operation).input_shape
    sent = data.draw(values(shape)) if shape else {}
    assert misfits(sent, shape) == []
    request = as_request(model, protocol, operation, sent)
    ours = protocol_named(protocol)
    assert [known.name for known in PROTOCOLS if known.speaks(request)] == [protocol]
    call = ours.call(request)
    assert (call.target, call.operation) == (ours.target(model), operation)
    got = ours.read(model.operation_model(operation), call.payload)
    assert got == (as_form_says(sent) if protocol == "query" else sent)


def check_output(name, protocol, operation, data):
    model = load_model(name)
    shape = model.operation_model(operation).output_shape
    returned = data.draw(values(shape)) if shape else {}
    assert misfits(returned, shape) == []
    ours = protocol_named(protocol)
    response = ours.write(model.operation_model(operation), returned, "an-id")
    assert as_answer(model, protocol, operation, response) == returned


def trying(examples):
    return settings(
        max_examples=examples,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


every_call = pytest.mark.parametrize(("name", "protocol", "operation"), CALLS)


@every_call
@trying(2)
@given(data=st.data())
def test_what_botocore_sends_is_read_as_it_was_meant(name, protocol, operation, data):
    check_input(name, protocol, operation, data)


@every_call
@trying(2)
@given(data=st.data())
def test_what_is_answered_botocore_reads_as_it_was_meant(name, protocol, operation, data):
    check_output(name, protocol, operation, data)


@pytest.mark.nightly
@every_call
@trying(50)
@given(data=st.data())
def test_calls_and_answers_survive_the_wire_whatever_they_hold(name, protocol, operation, data):
    check_input(name, protocol, operation, data)
    check_output(name, protocol, operation, data)
