"""Templates in requests: what of a request is not taken, and what a template asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.fleet.aws.values import given
from atoll.fleet.spec.document import read_document
from atoll.fleet.spec.parameters import read_parameters
from atoll.fleet.spec.reader import Reader, Section, refusal
from atoll.fleet.spec.template import CLUSTER, TASK_FLEET, read_template

UNSUPPORTED = {
    "TemplateURL": "send the template itself as TemplateBody",
    "RollbackConfiguration": "there are no rollback triggers",
    "TimeoutInMinutes": "a cluster has its own timeouts, by fleet",
    "NotificationARNs": "there is no SNS; have alarms notify a URL or an address",
    "ResourceTypes": "a template has one resource type, AWS::EMR::Cluster",
    "RoleARN": "Atoll acts with the credentials it was started with",
    "StackPolicyBody": "stacks are not updated",
    "StackPolicyURL": "stacks are not updated",
    "RetainExceptOnCreate": "nothing is retained",
    "DeploymentConfig": "there is one way to deploy",
    "DisableValidation": "templates are always checked",
}
LONGEST_DESCRIPTION = 1024
"""CloudFormation's, in characters."""
_SECTIONS = (
    "AWSTemplateFormatVersion",
    "Conditions",
    "Hooks",
    "Mappings",
    "Metadata",
    "Outputs",
    "Rules",
    "Transform",
)


def body_of(request: Mapping[str, Any]) -> str:
    """Return the template of a request.

    Raises:
        InvalidInput: it has none.
    """
    body = request.get("TemplateBody")
    if body is None:
        # CloudFormation's words.
        raise InvalidInput("Either Template URL or Template Body must be specified.")
    return str(body)


def validation_of(text: str) -> dict[str, Any]:
    """Check a template, and list its parameters.

    What it makes of its parameters is checked only where each has a default.

    Raises:
        InvalidInput: all that is wrong with it.
    """
    reader = Reader()
    top = reader.section(read_document(text, "the template", functions=True), "")
    declared = top.inner("Parameters")
    parameters = read_parameters(declared, {}, reader, is_launched=False)
    with_default = {name for name in parameters if "Default" in declared.inner(name)}
    if set(parameters) == with_default:
        read_template(text)
    _check_outline(top)
    reader.close_sections()
    if reader.problems:
        raise refusal(reader.problems)
    views = [
        given(
            ParameterKey=one.name,
            DefaultValue=one.value if one.name in with_default else None,
            NoEcho=one.is_hidden,
            Description=one.description or None,
        )
        for one in parameters.values()
    ]
    return given(Parameters=views, Description=top.text("Description") or None)


def _check_outline(top: Section) -> None:
    """Check what no parameter changes: the head, and that there are resources with types."""
    top.text("Description", longest=LONGEST_DESCRIPTION)
    for name in _SECTIONS:
        top.raw(name)
    resources = top.inner("Resources")
    if not resources.names():
        # CloudFormation's words.
        top.problem("", "At least one Resources member must be defined.")
    for name in resources.names():
        one = resources.inner(name)
        kind = one.needed("Type")
        if kind and kind not in (CLUSTER, TASK_FLEET):
            one.problem("Type", f"not supported by Atoll: {kind}; it has {CLUSTER}, {TASK_FLEET}")
        one.names()
