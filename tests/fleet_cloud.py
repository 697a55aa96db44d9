"""Local clouds for tests: tiny machines, a world that fits the contract, a server to kill."""

from dataclasses import dataclass

from atoll.fleet.providers.local.world import SubnetSpec, World
from atoll.testing.provider_contract import ADDRESSES, RACKS, SUBNETS, TYPES

TOKEN = "s3cret"
# It does nothing, and leaves `facts.json` as $0 to whoever asks.
IDLE = ("sh", "-c", "exec sleep 1000")


@dataclass(frozen=True)
class Facts:
    """A type's."""

    vcpus: int = 4
    memory_gib: float = 16.0
    disk_gib: int = 64
    price_hour: float = 0.192


def small_world(command=IDLE, **more):
    return World(
        types={TYPES[0]: Facts(), TYPES[1]: Facts(8, 32.0, 128, 0.384)},
        subnets=(
            SubnetSpec(SUBNETS[0], "local-1a", ADDRESSES),
            SubnetSpec(SUBNETS[1], "local-1b", 40),
        ),
        racks_per_zone=RACKS,
        command=tuple(command),
        **{"disk_limit_mib": 4, **more},
    )
