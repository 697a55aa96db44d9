"""The tags by which EC2 remembers whose a machine is: there is no other inventory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from atoll.fleet.model import Role
from atoll.fleet.providers.port import Placement

CLUSTER = "atoll:cluster"
FLEET = "atoll:fleet"
ROLE = "atoll:role"
TOKEN = "atoll:token"
ADDRESS = "atoll:address"
"""The kept address of a primary: EC2 forgets which one an ended machine held."""
REASON = "atoll:reason"
OF_MACHINES = (CLUSTER, FLEET, ROLE, TOKEN, ADDRESS, REASON)
VALUE_CHARACTERS = 256


def machine_tags(placement: Placement, fleet_id: str, role: Role, token: str) -> dict[str, str]:
    """Return the tags of a machine: whoever launched it, and what people want."""
    own = {CLUSTER: placement.cluster_id, FLEET: fleet_id, ROLE: role.value, TOKEN: token}
    return {**placement.tags, **own}


def as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Write tags as EC2 takes them."""
    return [{"Key": key, "Value": value[:VALUE_CHARACTERS]} for key, value in tags.items()]


def as_dict(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Read tags as EC2 gives them."""
    return {one["Key"]: one["Value"] for one in tags}


def specifications(tags: Mapping[str, str], *kinds: str) -> list[dict[str, object]]:
    """Tag what a call creates, such as "instance" and "volume"."""
    return [{"ResourceType": kind, "Tags": as_list(tags)} for kind in kinds]


def client_token(cluster_id: str, token: str) -> str:
    """Make EC2's idempotency token out of ours: at most 64 characters.

    The epoch of a controller is not part of it: a successor that repeats an order must get what
    its predecessor got.
    """
    return hashlib.sha256(f"{cluster_id}/{token}".encode()).hexdigest()
