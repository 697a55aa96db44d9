"""Steps and bootstrap actions as EMR's API shows them."""

from __future__ import annotations

from typing import Any

from atoll.fleet.aws.values import given, instant
from atoll.fleet.life.records import Step
from atoll.fleet.model import BootstrapAction
from atoll.fleet.states import StepState


def step_view(step: Step) -> dict[str, Any]:
    """Return a Step, or a StepSummary: they have the same members."""
    spec, has_failed = step.spec, step.state is StepState.FAILED
    failure = given(Reason="Unknown Error.", Message=step.message or None, LogFile=step.log or None)
    return {
        "Id": step.id,
        "Name": spec.name,
        "Config": {"Jar": spec.jar, "Properties": {}, "Args": list(spec.args)},
        "ActionOnFailure": spec.action_on_failure.value,
        "Status": given(
            State=step.state.value,
            StateChangeReason=given(Message=step.message or None),
            FailureDetails=failure if has_failed else None,
            Timeline=given(
                CreationDateTime=instant(step.created_at),
                StartDateTime=instant(step.started_at),
                EndDateTime=instant(step.ended_at),
            ),
        ),
    }


def bootstrap_view(action: BootstrapAction) -> dict[str, Any]:
    """Return a Command."""
    return {"Name": action.name, "ScriptPath": action.path, "Args": list(action.args)}
