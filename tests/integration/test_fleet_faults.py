import socket
import sys
import time

import pytest
from fleet_cloud import cloud_here, why_no_netns

from atoll.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress
from atoll.fleet.model import Market
from atoll.fleet.providers.facts import NOTICE
from atoll.fleet.providers.local.disk import used_bytes
from atoll.fleet.providers.local.faults import Faults
from atoll.fleet.providers.local.links import Direction
from atoll.fleet.providers.port import ENDED_ITSELF, FleetRequest, MachineState
from atoll.testing.machine_contract import PORT
from atoll.testing.provider_contract import (
    ADDRESSES,
    CLUSTER,
    PLACEMENT,
    PRIMARY,
    SUBNETS,
    TYPES,
    WORKERS,
)

needs_wires = pytest.mark.skipif(bool(why_no_netns()), reason=f"netns: {why_no_netns()}")
POOL = (TYPES[0], Market.SPOT, SUBNETS[0])


@pytest.fixture
def cloud(tmp_path):
    with cloud_here(tmp_path / "home", "loopback") as cloud:
        yield cloud


@pytest.fixture
def wired(tmp_path):
    with cloud_here(tmp_path / "home", "netns") as cloud:
        yield cloud


def launched(cloud, *, on_demand=0, spot=0, token="workers"):
    request = FleetRequest("if-2", WORKERS, on_demand, spot)
    return cloud.provider.launch_fleet(request, PLACEMENT, token=token)


def state_of(cloud, machine):
    found = cloud.provider.machines(CLUSTER)
    return next(one.state for one in found if one.id == machine.id)


def answers(machine):
    """Whether the host hears from a machine; patient with one that is still starting."""
    for _ in range(100):
        try:
            with socket.create_connection((machine.private_ip, PORT), 0.5) as connection:
                return connection.recv(99).decode() == machine.id
        except ConnectionRefusedError:
            time.sleep(0.02)
        except TimeoutError:
            return False
    return False


def test_spot_goes_when_its_notice_has_run_out(cloud):
    [machine] = launched(cloud, spot=1)
    Faults(cloud.provider).reclaim(machine.id, notice_s=3600)
    cloud.provider.tick()
    assert state_of(cloud, machine) is MachineState.RUNNING
    assert (cloud.home / "machines" / machine.id / NOTICE).exists()
    Faults(cloud.provider).reclaim(machine.id, notice_s=0)
    cloud.provider.tick()
    assert state_of(cloud, machine) is MachineState.TERMINATED
    [ended] = cloud.provider.machines(CLUSTER)
    assert ended.reason == "Server.SpotInstanceTermination"


def test_on_demand_is_not_taken_back(cloud):
    [machine] = launched(cloud, on_demand=1)
    with pytest.raises(InvalidInput, match="not spot"):
        Faults(cloud.provider).reclaim(machine.id, notice_s=0)


def test_a_limited_pool_gives_what_it_has(cloud):
    Faults(cloud.provider).limit(*POOL, capacity=2)
    assert len(launched(cloud, spot=3)) == 2
    assert launched(cloud, spot=1, token="more") == []
    Faults(cloud.provider).limit(*POOL, capacity=None)
    assert len(launched(cloud, spot=1, token="again")) == 1


def test_a_primary_without_capacity_is_refused_and_may_be_asked_for_again(cloud):
    faults, provider = Faults(cloud.provider), cloud.provider
    pool = (TYPES[0], Market.ON_DEMAND, SUBNETS[0])
    address = provider.reserve(SUBNETS[0], token="a", cluster_id=CLUSTER, epoch=1)
    faults.limit(*pool, capacity=0)
    with pytest.raises(InsufficientCapacity, match=TYPES[0]):
        provider.launch_primary(PRIMARY, address, "if-1", PLACEMENT, token="a")
    faults.limit(*pool, capacity=1)
    machine = provider.launch_primary(PRIMARY, address, "if-1", PLACEMENT, token="a")
    assert machine.private_ip == address.private_ip


def test_prices_and_scores_change(cloud):
    Faults(cloud.provider).reprice(*POOL, price=9.5)
    Faults(cloud.provider).rescore(*POOL, score=0.1)
    pools = cloud.provider.pools(TYPES[:1], SUBNETS[:1])
    [spot] = [one for one in pools if one.market is Market.SPOT]
    assert (spot.price, spot.score) == (9.5, 0.1)


def test_a_crowded_subnet_has_no_address_until_it_is_freed(cloud):
    faults = Faults(cloud.provider)
    faults.crowd(SUBNETS[0], ADDRESSES)
    with pytest.raises(NoFreeAddress, match=SUBNETS[0]):
        launched(cloud, on_demand=1)
    faults.crowd(SUBNETS[0], 0)
    assert len(launched(cloud, on_demand=1)) == 1


@needs_wires
@pytest.mark.parametrize("kind", ["cloud", "wired"])
def test_a_disk_is_filled_and_freed(kind, request):
    cloud = request.getfixturevalue(kind)
    faults, [machine] = Faults(cloud.provider), launched(cloud, on_demand=1)
    box, _ = cloud.provider.inside(machine.id)
    faults.fill_disk(machine.id, 95)
    assert 0.94 < used_bytes(box.disk) / box.disk_bytes < 0.96
    faults.free_disk(machine.id)
    assert used_bytes(box.disk) == 0


def test_a_crashed_machine_is_stopped_and_cannot_be_looked_into(cloud):
    [machine] = launched(cloud, on_demand=1)
    Faults(cloud.provider).crash(machine.id)
    assert state_of(cloud, machine) is MachineState.STOPPED
    with pytest.raises(Conflict, match="does not run"):
        cloud.run(machine.id, ["true"])


@needs_wires
@pytest.mark.parametrize("kind", ["cloud", "wired"])
def test_a_frozen_machine_is_silent_until_it_is_thawed(kind, request):
    cloud = request.getfixturevalue(kind)
    faults, [machine] = Faults(cloud.provider), launched(cloud, on_demand=1)
    assert answers(machine)
    assert faults.freeze(machine.id, "accept") >= 1
    assert not answers(machine)
    faults.thaw(machine.id)
    assert answers(machine)


def test_a_machine_whose_command_ended_says_what_it_said_last(tmp_path):
    command = ("sh", "-c", "sleep 1; echo no java here >&2; exit 1")
    with cloud_here(tmp_path / "home", "loopback", command=command) as cloud:
        [machine] = launched(cloud, on_demand=1)
        while (state := state_of(cloud, machine)) is MachineState.RUNNING:
            time.sleep(0.05)
        assert state is MachineState.STOPPED
        [seen] = cloud.provider.machines(CLUSTER)
        assert seen.reason.startswith(ENDED_ITSELF)
        assert seen.reason.endswith("its console says: no java here")


def test_a_process_is_killed_by_what_it_runs(cloud):
    faults, [machine] = Faults(cloud.provider), launched(cloud, on_demand=1)
    faults.busy(machine.id, loops=2, seconds=60)
    assert faults.kill(machine.id, "^timeout") == 2
    assert state_of(cloud, machine) is MachineState.RUNNING
    with pytest.raises(NotFound, match="QuorumPeer"):
        faults.kill(machine.id, "QuorumPeer")


def test_loopback_says_that_it_cannot_cut_a_wire(cloud):
    [machine] = launched(cloud, on_demand=1)
    with pytest.raises(Unavailable, match="use netns"):
        Faults(cloud.provider).cut(machine.id)


@needs_wires
@pytest.mark.parametrize("direction", Direction)
def test_a_cut_machine_is_silent_until_it_is_healed(wired, direction):
    faults, [machine] = Faults(wired.provider), launched(wired, on_demand=1)
    assert answers(machine)
    faults.cut(machine.id, direction=direction)
    assert not answers(machine)
    faults.heal(machine.id)
    assert answers(machine)


@needs_wires
def test_a_machine_loses_only_the_peers_that_are_named(wired):
    faults, (one, other) = Faults(wired.provider), launched(wired, on_demand=2)
    faults.cut(one.id, peers=[other.id, "10.99.99.99"])
    assert answers(one)
    assert answers(other)
    faults.cut(one.id, peers=[wired.provider.ground.gateway])
    assert not answers(one)
    assert answers(other)


@needs_wires
def test_a_lossy_wire_loses_a_share_of_its_packets(wired):
    faults, [machine] = Faults(wired.provider), launched(wired, on_demand=1)
    faults.cut(machine.id, percent=30, direction=Direction.OUT)
    send = "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    send += "for _ in range(2000): s.sendto(b'x', (sys.argv[1], int(sys.argv[2])))"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hearing:
        hearing.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        hearing.bind((wired.provider.ground.gateway, 0))
        port = str(hearing.getsockname()[1])
        gateway = wired.provider.ground.gateway
        assert wired.run(machine.id, [sys.executable, "-S", "-c", send, gateway, port]).status == 0
        assert 1200 < heard(hearing) < 1600


def heard(hearing):
    hearing.settimeout(0.5)
    count = 0
    try:
        while hearing.recv(9):
            count += 1
    except TimeoutError:
        pass
    return count
