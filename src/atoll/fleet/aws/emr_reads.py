"""What EMR's API tells of clusters."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from atoll.core.errors import InvalidInput, NotFound
from atoll.fleet.aws.account import Account
from atoll.fleet.aws.clusterviews import cluster_summary, cluster_view
from atoll.fleet.aws.fleetviews import fleet_view, instance_view
from atoll.fleet.aws.paging import page
from atoll.fleet.aws.values import given, refuse
from atoll.fleet.aws.workviews import bootstrap_view, step_view
from atoll.fleet.control.service import FleetService
from atoll.fleet.life.records import InstanceRecord, Step
from atoll.fleet.outputs import cluster_url
from atoll.fleet.registry import ClusterRecord

MOST_INSTANCES = 2000
"""EMR's: instances on a page."""
_NO_GROUPS = "clusters here have instance fleets; give InstanceFleetType or InstanceFleetId"


class EmrReads:
    """Answers from what was seen last of each cluster."""

    def __init__(self, fleet: FleetService, account: Account) -> None:
        """Take the fleet and whose it is."""
        self._fleet, self._account = fleet, account

    def handlers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return a handler by operation."""
        return {
            "ListClusters": self._list_clusters,
            "DescribeCluster": self._describe_cluster,
            "ListInstanceFleets": self._list_fleets,
            "ListInstances": self._list_instances,
            "ListSteps": self._list_steps,
            "DescribeStep": self._describe_step,
            "ListBootstrapActions": self._list_bootstrap_actions,
        }

    def _list_clusters(self, request: dict[str, Any]) -> dict[str, Any]:
        states = request.get("ClusterStates", [])
        after, before = request.get("CreatedAfter"), request.get("CreatedBefore")

        def wanted(one: ClusterRecord) -> bool:
            at, state = one.desired.created_at, one.known.status.state.value
            return (
                (not states or state in states)
                and (after is None or at >= after.timestamp())
                and (before is None or at <= before.timestamp())
            )

        records = self._fleet.clusters()
        found, marker = page(
            records,
            request.get("Marker"),
            key=lambda one: (-one.desired.created_at, one.id),
            wanted=wanted,
        )
        now = time.time()
        clusters = [cluster_summary(one, self._account, now) for one in found]
        return given(Clusters=clusters, Marker=marker)

    def _describe_cluster(self, request: dict[str, Any]) -> dict[str, Any]:
        record = self._fleet.cluster(request["ClusterId"])
        return {"Cluster": cluster_view(record, self._account, time.time())}

    def _list_fleets(self, request: dict[str, Any]) -> dict[str, Any]:
        record = self._fleet.cluster(request["ClusterId"])
        numbered = enumerate(record.desired.fleets)
        found, marker = page(numbered, request.get("Marker"), key=lambda one: (one[0],))
        views = [fleet_view(record, one) for _, one in found]
        return given(InstanceFleets=views, Marker=marker)

    def _list_instances(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse(request, {"InstanceGroupId": _NO_GROUPS, "InstanceGroupTypes": _NO_GROUPS})
        record = self._fleet.cluster(request["ClusterId"])
        fleet_id, states = request.get("InstanceFleetId"), request.get("InstanceStates", [])
        role = request.get("InstanceFleetType")
        if fleet_id is not None and record.desired.fleet(fleet_id) is None:
            raise NotFound(f"Instance fleet id '{fleet_id}' is not valid.", fleet_id=fleet_id)

        def wanted(one: InstanceRecord) -> bool:
            return (
                fleet_id in (None, one.machine.fleet_id)
                and role in (None, one.machine.role.value)
                and (not states or one.state.shown.value in states)
            )

        found, marker = page(
            record.known.instances.values(),
            request.get("Marker"),
            key=lambda one: (-one.created_at, one.id),
            wanted=wanted,
            size=MOST_INSTANCES,
        )
        return given(Instances=[instance_view(one) for one in found], Marker=marker)

    def _list_steps(self, request: dict[str, Any]) -> dict[str, Any]:
        record = self._fleet.cluster(request["ClusterId"])
        states, ids = request.get("StepStates", []), request.get("StepIds", [])
        if len(ids) > 10:
            # Source: EMR API reference, ListSteps: "up to 10 Step IDs".
            raise InvalidInput(f"StepIds has {len(ids)} ids; 10 are the most")

        def wanted(one: Step) -> bool:
            return (not states or one.state.value in states) and (not ids or one.id in ids)

        found, marker = page(
            self._fleet.steps(record.id),
            request.get("Marker"),
            key=lambda one: (-one.created_at, one.id),
            wanted=wanted,
        )
        kept_at = _kept_at(record)
        return given(Steps=[step_view(one, kept_at) for one in found], Marker=marker)

    def _describe_step(self, request: dict[str, Any]) -> dict[str, Any]:
        step_id, record = request["StepId"], self._fleet.cluster(request["ClusterId"])
        for step in self._fleet.steps(record.id):
            if step.id == step_id:
                return {"Step": step_view(step, _kept_at(record))}
        # EMR's words.
        raise NotFound(f"Step id '{step_id}' is not valid.", step_id=step_id)

    def _list_bootstrap_actions(self, request: dict[str, Any]) -> dict[str, Any]:
        actions = self._fleet.cluster(request["ClusterId"]).desired.spec.bootstrap_actions
        found, marker = page(enumerate(actions), request.get("Marker"), key=lambda one: (one[0],))
        return given(BootstrapActions=[bootstrap_view(one) for _, one in found], Marker=marker)


def _kept_at(record: ClusterRecord) -> str | None:
    log_uri = record.desired.spec.log_uri
    return None if log_uri is None else cluster_url(log_uri, record.id)
