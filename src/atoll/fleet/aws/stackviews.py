"""Stacks as CloudFormation's API shows them."""

from __future__ import annotations

from typing import Any

from atoll.fleet.aws.clusterviews import primary_dns
from atoll.fleet.aws.stacks import CLUSTER_TYPE, STACK_TYPE, Happening, Status, status_of
from atoll.fleet.aws.stackstore import KeptStack
from atoll.fleet.aws.values import given, instant, tags_of
from atoll.fleet.registry import ClusterRecord
from atoll.fleet.spec.template import Template


def stack_summary(stack: KeptStack, happenings: list[Happening]) -> dict[str, Any]:
    """Return a StackSummary."""
    now = status_of(happenings)
    is_gone = now.status is Status.DELETE_COMPLETE
    return given(
        StackId=stack.id,
        StackName=stack.name,
        CreationTime=instant(stack.created_at),
        DeletionTime=instant(stack.deletion.at if stack.deletion else now.at) if is_gone else None,
        StackStatus=now.status.value,
        StackStatusReason=now.reason or None,
    )


def stack_view(
    stack: KeptStack, template: Template, happenings: list[Happening], record: ClusterRecord | None
) -> dict[str, Any]:
    """Return a Stack."""
    return {
        **stack_summary(stack, happenings),
        **given(
            Description=template.description or None,
            Parameters=[
                {"ParameterKey": one.name, "ParameterValue": one.shown}
                for one in template.parameters.values()
            ],
            DisableRollback=stack.on_failure == "DO_NOTHING",
            NotificationARNs=[],
            Tags=tags_of(stack.tags),
            EnableTerminationProtection=stack.is_protected,
            Outputs=_outputs(template, happenings, record),
        ),
    }


def _outputs(
    template: Template, happenings: list[Happening], record: ClusterRecord | None
) -> list[dict[str, str]] | None:
    if record is None or not any(one.status is Status.CREATE_COMPLETE for one in happenings):
        return None
    found = template.outputs(record.id, primary_dns(record) or "")
    return [
        given(
            OutputKey=one.key,
            OutputValue=one.value,
            Description=one.description or None,
            ExportName=one.export_name,
        )
        for one in found
    ] or None


def event_views(
    stack: KeptStack, template: Template, happenings: list[Happening]
) -> list[dict[str, Any]]:
    """Return StackEvents, the newest first; what is told of one stays as it is."""
    ordered = sorted(happenings, key=lambda one: one.at)
    return [_event_view(stack, template, one) for one in ordered[::-1]]


def _event_view(stack: KeptStack, template: Template, one: Happening) -> dict[str, Any]:
    name = stack.name if one.is_stack else template.cluster_id
    # A stack and its cluster may have one name, and begin at one time; ids have no underscore.
    own = f"{one.status}-{int(one.at * 1000)}"
    return given(
        StackId=stack.id,
        EventId=own if one.is_stack else f"{name}-{own}",
        StackName=stack.name,
        LogicalResourceId=name,
        PhysicalResourceId=stack.id if one.is_stack else stack.cluster_id,
        ResourceType=STACK_TYPE if one.is_stack else CLUSTER_TYPE,
        Timestamp=instant(one.at),
        ResourceStatus=one.status.value,
        ResourceStatusReason=one.reason or None,
        ClientRequestToken=one.token,
    )


def resource_view(
    stack: KeptStack, template: Template, happenings: list[Happening]
) -> dict[str, Any]:
    """Return the cluster as a StackResource."""
    now = status_of(happenings, of_stack=False)
    return given(
        StackName=stack.name,
        StackId=stack.id,
        LogicalResourceId=template.cluster_id,
        PhysicalResourceId=stack.cluster_id,
        ResourceType=CLUSTER_TYPE,
        Timestamp=instant(now.at),
        ResourceStatus=now.status.value,
        ResourceStatusReason=now.reason or None,
    )
