"""Which instances end when a fleet's target is lowered.

EMR's rule: nodes with the fewest tasks, or none, end first, after their tasks have drained. Among
equals ours is: the newest first, then by name. Prices have no say: a controller does not know what
an instance that it bought long ago costs now. Instances that are not ready have no tasks. Capacity
never falls below the target: an instance heavier than what is too much stays, and a lighter one
ends in its place.

Source: EMR management guide, "Cluster scale-down" (terminate at task completion).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Endable:
    """An instance that may end: of one fleet and market, neither draining nor under notice.

    Attributes:
        id: the instance.
        weight: its capacity units.
        tasks: tasks that run on it.
        launched_at: seconds since the epoch.
    """

    id: str
    weight: int
    tasks: int
    launched_at: float


def to_end(instances: Sequence[Endable], target: int) -> tuple[str, ...]:
    """Choose what to drain and end so that the rest still reaches the target.

    Args:
        instances: all that count toward the target.
        target: capacity units wanted from now on.

    Returns:
        Ids in the order in which they should end. Without them at least the target is left, and no
        further instance could end.
    """
    over = sum(one.weight for one in instances) - target
    ended = []
    for one in sorted(instances, key=_order):
        if one.weight <= over:
            ended.append(one.id)
            over -= one.weight
    return tuple(ended)


def _order(one: Endable) -> tuple[int, float, str]:
    return one.tasks, -one.launched_at, one.id
