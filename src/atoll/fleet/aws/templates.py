"""Templates in requests: what of a request is not taken, and what a template asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.fleet.aws.values import given
from atoll.fleet.spec.document import read_document
from atoll.fleet.spec.reader import Reader
from atoll.fleet.spec.template import read_template

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
    document = read_document(text, "the template", functions=True)
    top = Reader().section(document, "")
    declared = top.inner("Parameters")
    sections = {name: declared.inner(name) for name in declared.names()}
    if all("Default" in one for one in sections.values()):
        read_template(text)
    parameters = [
        given(
            ParameterKey=name,
            DefaultValue=one.text("Default") if "Default" in one else None,
            NoEcho=one.flag("NoEcho", False),
            Description=one.text("Description") or None,
        )
        for name, one in sections.items()
    ]
    return given(Parameters=parameters, Description=top.text("Description") or None)
