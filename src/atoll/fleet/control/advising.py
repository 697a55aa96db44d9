"""What the best practices say of a cluster that lives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from atoll.fleet.capacity import Subnet
from atoll.fleet.control.registry import ClusterRecord
from atoll.fleet.model import ClusterSpec, Role
from atoll.fleet.planning.advice import Advice, Observed, advise


def advice_on(record: ClusterRecord, subnets: Sequence[Subnet]) -> list[Advice]:
    """Check every best practice on a cluster as it is now.

    Args:
        record: the cluster.
        subnets: where it stands, as its provider sees them: its own machines count as foreign.
    """
    machines = [one.machine for one in record.known.instances.values() if one.is_serving]
    seen = Observed(
        core_nodes=sum(one.role is Role.CORE for one in machines),
        nodes=len(machines),
        subnets=tuple(
            replace(one, foreign_machines=max(0, one.foreign_machines - len(machines)))
            for one in subnets
        ),
        is_running=True,
    )
    return advise(_current(record), seen)


def _current(record: ClusterRecord) -> ClusterSpec:
    """Return the specification with what was changed since the cluster was created."""
    desired = record.desired
    return replace(
        desired.spec,
        fleets=tuple(one.spec for one in desired.fleets),
        termination_protected=desired.termination_protected,
    )
