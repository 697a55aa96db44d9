"""What a cluster tells an agent at its start; where it is, the provider tells it (facts)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from atoll.core.errors import InvalidInput
from atoll.fleet.codec import decode
from atoll.fleet.life.records import Desired, Slot
from atoll.fleet.model import BootstrapAction, Role
from atoll.fleet.providers.facts import MachineFacts
from atoll.fleet.providers.port import ProviderAt


@dataclass(frozen=True)
class AgentTask:
    """What a cluster wants of an instance.

    Attributes:
        cluster_id, role: whose it is, and what for.
        slots: the primaries.
        provider: whom the controller asks for machines.
        founding: what the cluster shall be, for its first primaries, but for its steps, which the
            host hands over; None for all later ones, which find it in ZooKeeper.
        bootstrap_actions: run before the daemons start.
        spark_properties: for steps that run here.
        log_uri: where what steps and bootstrap actions print is kept; None: on the instance only.
    """

    cluster_id: str
    role: Role
    slots: tuple[Slot, ...]
    provider: ProviderAt
    founding: Desired | None = None
    bootstrap_actions: tuple[BootstrapAction, ...] = ()
    spark_properties: dict[str, str] = field(default_factory=dict)
    log_uri: str | None = None

    def slot_at(self, private_ip: str) -> Slot | None:
        """Return the slot of an address; None: it is no primary's."""
        return next((one for one in self.slots if one.address.private_ip == private_ip), None)


def without_repeats(desired: Desired) -> Desired:
    """Leave out of what goes along with a machine what is said twice, and the steps."""
    return replace(desired, spec=replace(desired.spec, fleets=(), steps=()))


def read_task(facts: MachineFacts) -> AgentTask:
    """Read what the cluster wants of a machine.

    Raises:
        InvalidInput: it shall be a primary, and has no slot at its address.
    """
    task = decode(facts.user_data, AgentTask, what=f"user_data of machine {facts.id}")
    if task.role is Role.MASTER and task.slot_at(facts.private_ip) is None:
        known = ", ".join(one.address.private_ip for one in task.slots)
        raise InvalidInput(f"{facts.private_ip} is none of the primaries' addresses {known}")
    if task.founding is None:
        return task
    return replace(task, founding=replace(task.founding, spec=task.founding.current_spec))
