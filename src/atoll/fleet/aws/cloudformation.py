"""CloudFormation's API over a fleet: a stack is one template, which has one cluster."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from atoll.core.errors import AtollError, InvalidInput, NotFound
from atoll.fleet.aws.account import Account
from atoll.fleet.aws.paging import page
from atoll.fleet.aws.stacks import Happening, Status, history, status_of
from atoll.fleet.aws.stackstore import Deletion, KeptStack, StackStore
from atoll.fleet.aws.stackviews import event_views, resource_view, stack_summary, stack_view
from atoll.fleet.aws.templates import UNSUPPORTED, body_of, validation_of
from atoll.fleet.aws.values import given, refuse
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress
from atoll.fleet.control.ids import new_cluster_id
from atoll.fleet.control.service import FleetService
from atoll.fleet.registry import ClusterRecord
from atoll.fleet.spec.template import Stack, Template, read_template
from atoll.fleet.wire.errors import CLOUDFORMATION, ErrorTable, Name, ServiceError
from atoll.fleet.wire.service import Service

_NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}")
_INVALID = Name("ValidationError", 400)
_ERRORS: ErrorTable = {**CLOUDFORMATION, InsufficientCapacity: _INVALID, NoFreeAddress: _INVALID}


class CloudFormation:
    """Makes, shows and deletes stacks. Calls may come from any thread."""

    def __init__(self, fleet: FleetService, stacks: StackStore, account: Account) -> None:
        """Take the fleet, where stacks are remembered, and whose they are."""
        self._fleet, self._stacks, self._account = fleet, stacks, account
        self._making = threading.Lock()
        self._begun: str | None = None

    def service(self) -> Service:
        """Return the service that `wire` serves."""
        handlers = {
            "CreateStack": self._create,
            "DescribeStacks": self._describe,
            "DescribeStackEvents": self._events,
            "DescribeStackResources": self._resources,
            "ListStacks": self._list,
            "GetTemplate": self._template,
            "ValidateTemplate": self._validate,
            "UpdateStack": self._update,
            "UpdateTerminationProtection": self._protect,
            "DeleteStack": self._delete,
        }
        return Service("cloudformation", handlers, _ERRORS)

    # Making and deleting.

    def _create(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse(request, UNSUPPORTED)
        stack = self._asked(request)
        template = self._read(stack)
        with self._making:
            found = self._living(stack.name)
            if found is not None:
                return {"StackId": _same(found, stack).id}
            self._begun = stack.id
            try:
                self._begin(stack, template)
            finally:
                self._begun = None
        self._fleet.note(stack.cluster_id, template.notices)
        return {"StackId": stack.id}

    def _begin(self, stack: KeptStack, template: Template) -> None:
        # Written first: a host killed from here on knows of the stack and its cluster.
        self._stacks.put(stack)
        try:
            tags = {**stack.tags, **template.spec.tags}
            self._fleet.create(replace(template.spec, tags=tags), stack.cluster_id)
        except AtollError:
            self._stacks.forget(stack)
            raise

    def _asked(self, request: dict[str, Any]) -> KeptStack:
        name = request["StackName"]
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"Value '{name[:200]}' at 'stackName' failed to satisfy constraint: Member must "
                "satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*, and have at most 128 "
                "characters"
            )
        if "OnFailure" in request and "DisableRollback" in request:
            raise InvalidInput("You can specify either OnFailure or DisableRollback, but not both")
        usual = "DO_NOTHING" if request.get("DisableRollback") else "ROLLBACK"
        return KeptStack(
            id=self._account.stack_arn(name, str(uuid.uuid4())),
            name=name,
            template=body_of(request),
            cluster_id=new_cluster_id(),
            created_at=time.time(),
            parameters=_parameters(request),
            tags={one["Key"]: one["Value"] for one in request.get("Tags", [])},
            on_failure=request.get("OnFailure", usual),
            token=request.get("ClientRequestToken"),
            is_protected=request.get("EnableTerminationProtection", False),
        )

    def _update(self, request: dict[str, Any]) -> dict[str, Any]:
        raise InvalidInput(
            "UpdateStack is not supported by Atoll: change the cluster itself (aws emr "
            "modify-instance-fleet), or delete the stack and create it anew"
        )

    def _protect(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._making:
            stack = self._stack(request["StackName"])
            self._stacks.put(replace(stack, is_protected=request["EnableTerminationProtection"]))
        return {"StackId": stack.id}

    def _delete(self, request: dict[str, Any]) -> dict[str, Any]:
        why = "a stack's one resource ends with it"
        own = UNSUPPORTED["RoleARN"]
        reasons = {"RetainResources": why, "DeletionMode": why, "RoleARN": own}
        refuse(request, reasons, {"DeletionMode": "STANDARD"})
        # As CloudFormation does: a stack that is not there is no error.
        with self._making, suppress(NotFound):
            self._delete_one(self._stack(request["StackName"]), request)
        return {}

    def _delete_one(self, stack: KeptStack, request: dict[str, Any]) -> None:
        if stack.deletion or self._is_deleted(stack):
            return  # it is under way, or was done
        if stack.is_protected:
            raise InvalidInput(
                f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
            )
        refused = ""
        try:
            self._fleet.terminate(stack.cluster_id)
        except NotFound:
            pass  # the host ended before the cluster was begun
        except AtollError as error:
            refused = error.message
        asked = Deletion(time.time(), refused, request.get("ClientRequestToken"))
        self._stacks.put(replace(stack, deletions=(*stack.deletions, asked)))

    # Looking.

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request.get("StackName")
        stacks = [self._stack(name)] if name else self._all(is_deleted=False)
        found, token = page(stacks, request.get("NextToken"), key=_newest_first)
        views = []
        for one in found:
            record, happenings = self._history(one)
            views.append(stack_view(one, self._read(one), happenings, record))
        return given(Stacks=views, NextToken=token)

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        statuses = request.get("StackStatusFilter", [])
        known = [(one, stack_summary(one, self._history(one)[1])) for one in self._stacks.all()]
        found, token = page(
            known,
            request.get("NextToken"),
            key=lambda one: _newest_first(one[0]),
            wanted=lambda one: not statuses or one[1]["StackStatus"] in statuses,
        )
        return given(StackSummaries=[summary for _, summary in found], NextToken=token)

    def _events(self, request: dict[str, Any]) -> dict[str, Any]:
        stack = self._stack(request["StackName"])
        events = event_views(stack, self._read(stack), self._history(stack)[1])
        # Each stays at its place, counted from the oldest.
        numbered = enumerate(reversed(events))
        found, token = page(numbered, request.get("NextToken"), key=lambda one: (-one[0],))
        return given(StackEvents=[event for _, event in found], NextToken=token)

    def _resources(self, request: dict[str, Any]) -> dict[str, Any]:
        stack = self._of_resource(request)
        view = resource_view(stack, self._read(stack), self._history(stack)[1])
        logical_id = request.get("LogicalResourceId", view["LogicalResourceId"])
        is_wanted = logical_id == view["LogicalResourceId"]
        return {"StackResources": [view] if is_wanted else []}

    def _of_resource(self, request: dict[str, Any]) -> KeptStack:
        if "StackName" in request:
            return self._stack(request["StackName"])
        physical_id = request.get("PhysicalResourceId")
        for one in self._stacks.all():
            if one.cluster_id == physical_id:
                return one
        raise NotFound(f"Stack for {physical_id} does not exist; give StackName")

    def _template(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse(request, {"ChangeSetName": "there are no change sets"})
        stack = self._stack(request.get("StackName", ""))
        # There are no macros: both stages are the same.
        return {"TemplateBody": stack.template, "StagesAvailable": ["Original", "Processed"]}

    def _validate(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse(request, UNSUPPORTED)
        return validation_of(body_of(request))

    # Under the hood.

    def _read(self, stack: KeptStack) -> Template:
        known = Stack(stack.name, stack.id, self._account.region, self._account.id)
        return read_template(stack.template, parameters=stack.parameters, stack=known)

    def _history(self, stack: KeptStack) -> tuple[ClusterRecord | None, list[Happening]]:
        # Asked before the cluster is sought: it may come to be in between.
        is_begun = stack.id != self._begun
        try:
            record = self._fleet.cluster(stack.cluster_id)
        except NotFound:
            return None, history(stack, None, is_begun=is_begun)
        return record, history(stack, record)

    def _stack(self, name_or_id: str) -> KeptStack:
        """Find a stack by its name, or, deleted ones too, by its id."""
        is_id = name_or_id.startswith("arn:")
        found = self._stacks.of(name_or_id) if is_id else [self._living(name_or_id)]
        if not found or found[0] is None:
            # CloudFormation's words; its waiters know them.
            raise NotFound(f"Stack with id {name_or_id} does not exist", stack=name_or_id)
        return found[0]

    def _living(self, name: str) -> KeptStack | None:
        """Find the stack of a name that was not deleted."""
        named = [one for one in self._stacks.of(name) if one.name == name]
        living = [one for one in named if not self._is_deleted(one)]
        return living[0] if living else None

    def _all(self, *, is_deleted: bool) -> list[KeptStack]:
        return [one for one in self._stacks.all() if self._is_deleted(one) is is_deleted]

    def _is_deleted(self, stack: KeptStack) -> bool:
        return status_of(self._history(stack)[1]).status is Status.DELETE_COMPLETE


def _newest_first(stack: KeptStack) -> tuple[float, str]:
    return -stack.created_at, stack.id


def _same(found: KeptStack, asked: KeptStack) -> KeptStack:
    """Return the stack that the same request made before.

    Raises:
        ServiceError: another request made it.
    """
    if asked.token is None or asked.token != found.token:
        raise ServiceError(
            f"Stack [{asked.name}] already exists", name="AlreadyExistsException", http_status=400
        )
    if (found.template, found.parameters) != (asked.template, asked.parameters):
        raise ServiceError(
            f"Token {asked.token} was used for another template or other parameters",
            name="TokenAlreadyExistsException",
            http_status=400,
        )
    return found


def _parameters(request: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for one in request.get("Parameters", []):
        refuse(one, {"UsePreviousValue": "a new stack has no previous values"})
        found[one.get("ParameterKey", "")] = one.get("ParameterValue", "")
    return found
