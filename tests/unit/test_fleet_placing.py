"""What goes along with a machine: all that the cluster shall be, within EC2's 16 KiB."""

import random
from dataclasses import replace

import pytest

from atoll.core.errors import InvalidInput
from atoll.fleet.life.placing import placement, require_launchable
from atoll.fleet.life.records import Desired, Fleet, Slot
from atoll.fleet.life.task import read_task
from atoll.fleet.model import (
    BootstrapAction,
    ClusterSpec,
    FleetSpec,
    InstanceTypeConfig,
    Market,
    Role,
    StepSpec,
)
from atoll.fleet.providers.ec2.userdata import user_data
from atoll.fleet.providers.facts import MachineFacts
from atoll.fleet.providers.port import Address, ProviderAt, require_short
from atoll.fleet.spec.catalogue import load_catalogue
from atoll.fleet.spec.validate import problems_of

NAMES = sorted(load_catalogue().types)
# As many as EMR takes; the catalogue has fewer.
TYPES = tuple(
    InstanceTypeConfig(f"{NAMES[n % len(NAMES)]}{n}", 1 + n, bid_price_percent=60.0 + n)
    for n in range(30)
)
SPEC = ClusterSpec(
    "a-cluster",
    "emr-7.10.0",
    (
        FleetSpec(Role.MASTER, "primary", 3, 0, (InstanceTypeConfig("m5.xlarge"),)),
        *(FleetSpec(role, f"{role}-{n}", 4, 40, TYPES)
          for n, role in enumerate((Role.CORE, Role.TASK, Role.TASK))),
    ),
    steps=tuple(StepSpec(f"step {n}", ("spark-submit", f"s3://jobs/{n}.py") * 20)
                for n in range(256)),
    bootstrap_actions=tuple(BootstrapAction(f"b{n}", f"s3://scripts/{n}.sh") for n in range(16)),
    tags={f"key{n}": f"value {n}" for n in range(43)},
)  # fmt: skip


def desired(spec):
    slots = tuple(
        Slot(n, Address(f"eni-{n}", "subnet-1", f"10.0.0.{n}", f"ip-10-0-0-{n}"), "m5.xlarge")
        for n in (1, 2, 3)
    )
    fleets = tuple(Fleet(f"if-{n}", one) for n, one in enumerate(spec.fleets))
    at = ProviderAt("ec2", "us-east-1", settings={"package_url": "s3://bucket/atoll.whl"})
    return Desired("j-1", at, spec, "subnet-1", "us-east-1a", slots, fleets, False, 1e9)


def facts(told):
    return MachineFacts(
        "i-1", Market.ON_DEMAND, "10.0.0.1", 4, 16384, "/d", 1, "/etc/hosts", True, "/n", told
    )


def test_as_much_as_emr_takes_goes_along_with_a_machine():
    assert not problems_of(SPEC)
    wanted = desired(SPEC)
    require_launchable(wanted)
    told = placement(wanted, wanted.primary_fleet, epoch=1, is_founding=True).user_data
    require_short(told)
    assert len(user_data(told, wanted.provider.settings, "us-east-1")) <= 16 << 10


def test_a_primary_finds_all_that_the_cluster_shall_be_but_its_steps():
    wanted = desired(SPEC)
    told = placement(wanted, wanted.primary_fleet, epoch=1, is_founding=True).user_data
    founding = read_task(facts(told)).founding
    assert founding == replace(wanted, spec=replace(SPEC, steps=()))


def test_what_does_not_fit_is_refused_before_anything_is_launched():
    noise = random.Random(1)
    values = (f"{noise.getrandbits(1000):x}" for _ in range(99))
    spec = replace(SPEC, spark_properties={f"spark.x{n}": one for n, one in enumerate(values)})
    with pytest.raises(InvalidInput, match=r"specification has [0-9]+ bytes, packed"):
        require_launchable(desired(spec))
