"""What EMR's API changes: clusters, their fleets, their steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from atoll.core.errors import AtollError, InvalidInput
from atoll.fleet.aws.account import Account
from atoll.fleet.aws.values import given, refuse
from atoll.fleet.control.service import FleetService, Resize
from atoll.fleet.model import ClusterSpec
from atoll.fleet.spec.changes import (
    parse_add_instance_fleet,
    parse_add_job_flow_steps,
    parse_modify_instance_fleet,
)
from atoll.fleet.spec.runjobflow import parse_run_job_flow
from atoll.fleet.spec.validate import check

_BY_FORCE = "Atoll ends a cancelled step's processes at once, as TERMINATE_PROCESS does"


class EmrChanges:
    """Hands requests on to the fleet."""

    def __init__(self, fleet: FleetService, account: Account) -> None:
        """Take the fleet and whose it is."""
        self._fleet, self._account = fleet, account

    def handlers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return a handler by operation."""
        return {
            "RunJobFlow": self._run_job_flow,
            "TerminateJobFlows": self._terminate,
            "SetTerminationProtection": self._protect,
            "SetKeepJobFlowAliveWhenNoSteps": self._keep_alive,
            "SetUnhealthyNodeReplacement": self._replace_unhealthy,
            "ModifyCluster": self._modify_cluster,
            "AddTags": self._add_tags,
            "RemoveTags": self._remove_tags,
            "ModifyInstanceFleet": self._modify_fleet,
            "AddInstanceFleet": self._add_fleet,
            "AddJobFlowSteps": self._add_steps,
            "CancelSteps": self._cancel_steps,
        }

    def _run_job_flow(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = parse_run_job_flow(request)
        record = self._fleet.create(wanted.spec)
        self._fleet.note(record.id, wanted.notices)
        return {"JobFlowId": record.id, "ClusterArn": self._account.cluster_arn(record.id)}

    def _terminate(self, request: dict[str, Any]) -> dict[str, Any]:
        return _each(request["JobFlowIds"], self._fleet.terminate)

    def _protect(self, request: dict[str, Any]) -> dict[str, Any]:
        is_protected = request["TerminationProtected"]
        return _each(request["JobFlowIds"], lambda id_: self._fleet.protect(id_, is_protected))

    def _keep_alive(self, request: dict[str, Any]) -> dict[str, Any]:
        keeps = request["KeepJobFlowAliveWhenNoSteps"]

        def change(old: ClusterSpec) -> ClusterSpec:
            if old.is_highly_available and not keeps:
                raise InvalidInput("a highly available cluster stays when no step is left")
            return replace(old, keeps_alive=keeps)

        return _each(request["JobFlowIds"], lambda id_: self._fleet.change_spec(id_, change))

    def _replace_unhealthy(self, request: dict[str, Any]) -> dict[str, Any]:
        replaces = request["UnhealthyNodeReplacement"]

        def change(old: ClusterSpec) -> ClusterSpec:
            return replace(old, health=replace(old.health, replaces_unhealthy=replaces))

        return _each(request["JobFlowIds"], lambda id_: self._fleet.change_spec(id_, change))

    def _modify_cluster(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse(request, {"ExtendedSupport": "it is a contract with AWS"})
        level = request.get("StepConcurrencyLevel")
        if level is None:
            raise InvalidInput("nothing is changed; give StepConcurrencyLevel")

        def change(old: ClusterSpec) -> ClusterSpec:
            new = replace(old, step_concurrency=level)
            check(new)
            return new

        self._fleet.change_spec(request["ClusterId"], change)
        return {"StepConcurrencyLevel": level}

    def _add_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        tags = {one.get("Key", ""): one.get("Value", "") for one in request["Tags"]}

        def change(old: ClusterSpec) -> ClusterSpec:
            new = replace(old, tags={**old.tags, **tags})
            check(new)
            return new

        self._fleet.change_spec(_tagged(request), change)
        return {}

    def _remove_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        gone = set(request["TagKeys"])

        def change(old: ClusterSpec) -> ClusterSpec:
            kept = {key: value for key, value in old.tags.items() if key not in gone}
            return replace(old, tags=kept)

        self._fleet.change_spec(_tagged(request), change)
        return {}

    def _modify_fleet(self, request: dict[str, Any]) -> dict[str, Any]:
        cluster_id, asked = request.get("ClusterId", ""), request.get("InstanceFleet", {})
        fleet = self._fleet.fleet(cluster_id, asked.get("InstanceFleetId", ""))
        wanted = parse_modify_instance_fleet(request, fleet.spec)
        resize = Resize(
            fleet.id,
            wanted.target_on_demand,
            wanted.target_spot,
            resizing=wanted.resizing,
            types=wanted.types,
        )
        self._fleet.resize(cluster_id, resize)
        return {}

    def _add_fleet(self, request: dict[str, Any]) -> dict[str, Any]:
        record = self._fleet.cluster(request["ClusterId"])
        added = parse_add_instance_fleet(request, record.desired.current_spec)
        fleet = self._fleet.add_fleet(record.id, added.fleet)
        self._fleet.note(record.id, added.notices)
        arn = self._account.cluster_arn(record.id)
        return {"ClusterId": record.id, "InstanceFleetId": fleet.id, "ClusterArn": arn}

    def _add_steps(self, request: dict[str, Any]) -> dict[str, Any]:
        record = self._fleet.cluster(request["JobFlowId"])
        waiting = sum(not one.state.is_over for one in record.steps)
        steps = parse_add_job_flow_steps(request, record.desired.spec, waiting)
        return {"StepIds": self._fleet.add_steps(record.id, steps)}

    def _cancel_steps(self, request: dict[str, Any]) -> dict[str, Any]:
        outcomes = self._fleet.cancel_steps(request["ClusterId"], request["StepIds"])
        is_forced = request.get("StepCancellationOption") == "TERMINATE_PROCESS"
        return {
            "CancelStepsInfoList": [
                given(
                    StepId=id_,
                    Status="FAILED" if why else "SUBMITTED",
                    Reason=why or (None if is_forced else _BY_FORCE),
                )
                for id_, why in outcomes.items()
            ]
        }


def _each(ids: Sequence[str], change: Callable[[str], object]) -> dict[str, Any]:
    """Change each cluster; those that cannot be do not keep the others from it.

    Raises:
        AtollError: the error of the first that could not be, with the messages of all.
    """
    errors: list[AtollError] = []
    for id_ in ids:
        try:
            change(id_)
        except AtollError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise InvalidInput("; ".join(one.message for one in errors)) from errors[0]
    return {}


def _tagged(request: dict[str, Any]) -> str:
    """Return the cluster that tags are for: its id, or the end of its ARN."""
    return str(request["ResourceId"]).rpartition("/")[2]
