"""What every provider promises. Subclass `ProviderContract` in a test module and make a provider.

    class TestMine(ProviderContract):
        @pytest.fixture
        def provider(self) -> Iterator[Provider]:
            yield MyProvider()

The world it needs: subnets `SUBNETS`, of which the first has `ADDRESSES` addresses and the second
more; types `TYPES`; `RACKS` racks in a zone, where it spreads. Its machines need do nothing.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from atoll.core.errors import Conflict, InvalidInput, NotFound
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress
from atoll.fleet.model import ClusterSpec, FleetSpec, InstanceTypeConfig, Market, Role
from atoll.fleet.providers.port import (
    USER_DATA_BYTES,
    Address,
    FleetRequest,
    Machine,
    MachineState,
    Placement,
    Provider,
)

SUBNETS = ("subnet-small", "subnet-large")
ADDRESSES = 5
RACKS = 3
TYPES = ("m5.xlarge", "m5.2xlarge")
CLUSTER = "j-CONTRACT"

PLACEMENT = Placement(CLUSTER, epoch=1, subnet_id=SUBNETS[0], user_data='{"hello": 1}')
PRIMARY = InstanceTypeConfig(TYPES[0])
PRIMARIES = FleetSpec(Role.MASTER, "primary", 3, 0, (PRIMARY,))
WORKERS = FleetSpec(Role.CORE, "core", 0, 0, (InstanceTypeConfig(TYPES[0]),))


class ProviderContract:
    """The suite. `fences`: stale epochs are refused. `spreads`: groups stand on their own racks."""

    fences = True
    spreads = True

    @pytest.fixture
    def provider(self) -> Iterator[Provider]:
        """Yield the provider under test, with nothing launched."""
        raise NotImplementedError

    def test_subnets_are_listed_with_their_free_addresses(self, provider: Provider) -> None:
        [small] = provider.subnets([SUBNETS[0]])
        assert (small.id, small.free_addresses) == (SUBNETS[0], ADDRESSES)
        assert {one.id for one in provider.subnets()} >= set(SUBNETS)

    def test_an_unknown_subnet_is_named(self, provider: Provider) -> None:
        with pytest.raises(NotFound, match="subnet-0dead"):
            provider.subnets(["subnet-0dead"])

    def test_every_type_can_be_had_on_both_markets_and_spot_is_cheaper(
        self, provider: Provider
    ) -> None:
        pools = provider.pools(TYPES, SUBNETS)
        assert len(pools) == len(TYPES) * len(SUBNETS) * len(Market)
        price = {(one.instance_type, one.market): one.price or 0.0 for one in pools}
        assert all(price.values())
        assert all(price[kind, Market.SPOT] < price[kind, Market.ON_DEMAND] for kind in TYPES)

    def test_an_unknown_type_is_named(self, provider: Provider) -> None:
        with pytest.raises(InvalidInput, match=r"m99\.tiny"):
            provider.pools(["m99.tiny"], SUBNETS[:1])

    def test_what_a_cluster_asks_for_and_will_not_have_is_told_and_launches_nothing(
        self, provider: Provider
    ) -> None:
        spec = ClusterSpec(
            "c",
            "emr-7.10.0",
            (PRIMARIES, WORKERS),
            subnet_ids=SUBNETS[:1],
            primary_security_group="sg-0dead",
            worker_security_group="sg-0dead",
        )
        assert [one for one in provider.warnings(spec) if re.search(r"security.group", one)]
        assert provider.machines(CLUSTER) == []

    def test_a_token_keeps_one_address(self, provider: Provider) -> None:
        first, again = _reserve(provider, "one"), _reserve(provider, "one")
        other = _reserve(provider, "two")
        assert first == again
        assert other.private_ip != first.private_ip
        assert provider.addresses(CLUSTER) == [first, other]

    def test_a_full_subnet_keeps_no_further_address_until_one_is_released(
        self, provider: Provider
    ) -> None:
        kept = [_reserve(provider, str(number)) for number in range(ADDRESSES)]
        with pytest.raises(NoFreeAddress, match=SUBNETS[0]):
            _reserve(provider, "more")
        provider.release(kept[2].id, epoch=1)
        assert _reserve(provider, "more").private_ip == kept[2].private_ip

    def test_releasing_twice_is_no_error(self, provider: Provider) -> None:
        address = _reserve(provider, "one")
        provider.release(address.id, epoch=1)
        provider.release(address.id, epoch=1)
        assert provider.addresses(CLUSTER) == []

    def test_an_address_in_use_is_not_released(self, provider: Provider) -> None:
        machine = _primary(provider, "one")
        with pytest.raises(Conflict, match=machine.id):
            provider.release(str(machine.address_id), epoch=1)

    def test_a_primary_is_what_was_asked_for(self, provider: Provider) -> None:
        address = _reserve(provider, "one")
        machine = _launch(provider, address, "launch")
        assert machine.state in (MachineState.PENDING, MachineState.RUNNING)
        assert (machine.private_ip, machine.private_dns) == (
            address.private_ip,
            address.private_dns,
        )
        assert (machine.role, machine.market) == (Role.MASTER, Market.ON_DEMAND)
        assert (machine.cluster_id, machine.fleet_id) == (CLUSTER, "if-1")
        assert [one.id for one in provider.machines(CLUSTER)] == [machine.id]

    def test_a_token_launches_one_primary(self, provider: Provider) -> None:
        address = _reserve(provider, "one")
        first, again = _launch(provider, address, "a"), _launch(provider, address, "a")
        assert first.id == again.id
        assert len(provider.machines(CLUSTER)) == 1

    def test_an_address_holds_one_living_machine(self, provider: Provider) -> None:
        address = _reserve(provider, "one")
        machine = _launch(provider, address, "a")
        with pytest.raises(Conflict, match=machine.id):
            _launch(provider, address, "b")

    def test_a_replacement_takes_the_same_address_at_once(self, provider: Provider) -> None:
        old = _primary(provider, "one")
        provider.terminate([old.id], epoch=1, reason="unhealthy")
        new = _launch(provider, provider.addresses(CLUSTER)[0], "replacement")
        assert new.id != old.id
        assert (new.private_ip, new.private_dns) == (old.private_ip, old.private_dns)
        shown = {one.id: one for one in provider.machines(CLUSTER)}
        assert shown[old.id].state is MachineState.TERMINATED
        assert shown[old.id].ended_at is not None
        assert "unhealthy" in shown[old.id].reason

    def test_terminating_twice_is_no_error_and_frees_the_address(self, provider: Provider) -> None:
        machines = _workers(provider, 2)
        for _ in range(2):
            provider.terminate([one.id for one in machines], epoch=1, reason="done")
        assert _free(provider) == ADDRESSES
        assert not any(one.is_alive for one in provider.machines(CLUSTER))

    def test_a_fleet_is_launched_once_for_a_token(self, provider: Provider) -> None:
        first = _workers(provider, 2, token="a")
        again = _workers(provider, 2, token="a")
        assert {one.id for one in first} == {one.id for one in again}
        assert len(provider.machines(CLUSTER)) == 2
        assert _free(provider) == ADDRESSES - 2

    def test_a_fleet_counts_in_capacity_units_on_demand_and_spot(self, provider: Provider) -> None:
        fleet = replace(WORKERS, types=(InstanceTypeConfig(TYPES[0], weighted_capacity=2),))
        request = FleetRequest("if-2", fleet, on_demand=3, spot=2)
        machines = provider.launch_fleet(request, PLACEMENT, token="a")
        markets = sorted(one.market for one in machines)
        assert markets == [Market.ON_DEMAND, Market.ON_DEMAND, Market.SPOT]
        assert len({one.private_ip for one in machines}) == 3

    def test_a_fleet_that_does_not_fit_the_subnet_launches_nothing(
        self, provider: Provider
    ) -> None:
        with pytest.raises(NoFreeAddress, match=str(ADDRESSES)):
            _workers(provider, ADDRESSES + 1)
        assert provider.machines(CLUSTER) == []
        assert _free(provider) == ADDRESSES

    def test_two_callers_with_one_token_get_the_same_machines(self, provider: Provider) -> None:
        got: list[list[str]] = []

        def launch() -> None:
            got.append(sorted(one.id for one in _workers(provider, 2, token="a")))

        callers = [threading.Thread(target=launch) for _ in range(2)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert got[0] == got[1]
        assert len(provider.machines(CLUSTER)) == 2

    def test_two_callers_never_get_the_same_address(self, provider: Provider) -> None:
        def launch(name: str) -> None:
            _workers(provider, 2, token=name)

        callers = [threading.Thread(target=launch, args=(name,)) for name in "ab"]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert len({one.private_ip for one in provider.machines(CLUSTER)}) == 4

    def test_another_cluster_sees_nothing(self, provider: Provider) -> None:
        _primary(provider, "one")
        assert provider.machines("j-OTHER") == []
        assert provider.addresses("j-OTHER") == []

    def test_a_controller_that_has_a_successor_is_refused(self, provider: Provider) -> None:
        self._only_if(self.fences, "no epochs are kept here")
        [worker] = _workers(provider, 1)
        successor = replace(PLACEMENT, epoch=2)
        provider.launch_fleet(FleetRequest("if-2", WORKERS, 1, 0), successor, token="later")
        with pytest.raises(Conflict, match="epoch 1"):
            provider.terminate([worker.id], epoch=1, reason="stale")
        with pytest.raises(Conflict, match="epoch 1"):
            _workers(provider, 1, token="stale")
        with pytest.raises(Conflict, match="epoch 1"):
            _reserve(provider, "stale")
        assert all(one.is_alive for one in provider.machines(CLUSTER))

    def test_epochs_of_one_cluster_do_not_bind_another(self, provider: Provider) -> None:
        self._only_if(self.fences, "no epochs are kept here")
        provider.reserve(SUBNETS[0], token="a", cluster_id=CLUSTER, epoch=7)
        other = provider.reserve(SUBNETS[0], token="a", cluster_id="j-OTHER", epoch=1)
        assert provider.addresses("j-OTHER") == [other]

    def test_machines_of_a_spread_group_stand_on_racks_of_their_own(
        self, provider: Provider
    ) -> None:
        self._only_if(self.spreads, "hardware is not known here")
        spread = replace(PLACEMENT, spread_group="primaries")
        machines = [_primary(provider, str(number), spread) for number in range(RACKS)]
        assert len({one.rack for one in machines}) == RACKS
        with pytest.raises(InsufficientCapacity, match="SPREAD"):
            _primary(provider, "one too many", spread)

    def test_to_end_what_is_not_there_is_no_error(self, provider: Provider) -> None:
        [worker] = _workers(provider, 1)
        provider.terminate(["i-0123456789abcdef0", worker.id], epoch=1, reason="done")
        assert not any(one.is_alive for one in provider.machines(CLUSTER))

    def test_user_data_that_is_too_long_is_refused(self, provider: Provider) -> None:
        noise = "".join(map(chr, random.Random(1).choices(range(128), k=USER_DATA_BYTES + 4096)))
        with pytest.raises(InvalidInput, match="packed"):
            _primary(provider, "one", replace(PLACEMENT, user_data=noise))

    @staticmethod
    def _only_if(able: bool, why: str) -> None:
        if not able:
            pytest.skip(why)


def _reserve(provider: Provider, token: str) -> Address:
    return provider.reserve(SUBNETS[0], token=token, cluster_id=CLUSTER, epoch=1)


def _launch(
    provider: Provider, address: Address, token: str, placement: Placement = PLACEMENT
) -> Machine:
    return provider.launch_primary(PRIMARY, address, "if-1", placement, token=token)


def _primary(provider: Provider, token: str, placement: Placement = PLACEMENT) -> Machine:
    return _launch(provider, _reserve(provider, token), token, placement)


def _workers(provider: Provider, units: int, token: str = "workers") -> list[Machine]:
    return provider.launch_fleet(FleetRequest("if-2", WORKERS, units, 0), PLACEMENT, token=token)


def _free(provider: Provider) -> int:
    return provider.subnets([SUBNETS[0]])[0].free_addresses
