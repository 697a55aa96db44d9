"""Steps and bootstrap actions as EMR's API shows them."""

from __future__ import annotations

from typing import Any

from atoll.fleet.aws.values import given, instant
from atoll.fleet.life.records import Step
from atoll.fleet.model import BootstrapAction
from atoll.fleet.outputs import STDERR, SUFFIX, step_folder
from atoll.fleet.states import StepState


def step_view(step: Step, kept_at: str | None) -> dict[str, Any]:
    """Return a Step, or a StepSummary: they have the same members.

    Args:
        step: the step.
        kept_at: where its cluster's output is kept, a URL; None: on the instances only.
    """
    spec, has_failed = step.spec, step.state is StepState.FAILED
    log = step.log
    if log and kept_at is not None:
        log = f"{kept_at}/{step_folder(step.id, step.attempts)}/{STDERR}{SUFFIX}"
    failure = given(Reason="Unknown Error.", Message=step.message or None, LogFile=log or None)
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
