"""A cluster of one primary, from the user data that EC2 got to Spark's master, on a bare Debian."""

import base64
import gzip
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import bare_debian
import boto3
import pytest
from ec2_cloud import Answers
from instance_metadata import entries, metadata_service
from moto.server import ThreadedMotoServer
from s3_servers import _free_ports

from atoll.compute.sparkmaster import probe_master
from atoll.fleet.control.service import FleetService
from atoll.fleet.engine.zookeeper_probe import probe_zookeeper
from atoll.fleet.model import ClusterSpec, FleetSpec, InstanceTypeConfig, Role
from atoll.fleet.monitoring.opening import monitored
from atoll.fleet.providers.ec2.addresses import Patience
from atoll.fleet.providers.ec2.metadata import ENDPOINT_VARIABLE
from atoll.fleet.providers.ec2.provider import Ec2Provider
from atoll.fleet.providers.port import ProviderAt
from atoll.fleet.registry import FILE, Registry
from atoll.fleet.states import InstanceState

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
REGION = "us-east-1"
INSTALL_SECONDS = 1500
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    argv = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([sys.executable, *argv, str(ROOT)], check=True)
    (found,) = folder.glob("atoll-*.whl")
    return found


@pytest.fixture
def machine_root(request, tmp_path, wheel):
    """A bare Debian that forgets; the clean one is kept in pytest's cache, or where told."""
    if why := bare_debian.missing():
        pytest.skip(why)
    kept = os.environ.get("ATOLL_TEST_DEBIAN") or request.config.cache.mkdir("debian")
    with bare_debian.overlaid(bare_debian.bare_root(Path(kept)), tmp_path, wheel.parent) as root:
        yield root


@pytest.fixture
def endpoint(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    (port,) = _free_ports(1)
    server = ThreadedMotoServer("127.0.0.1", port)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@contextmanager
def fleet(endpoint, wheel, folder):
    """Serve a fleet of EC2, emulated, whose subnet has loopback addresses."""
    client = boto3.client("ec2", region_name=REGION, endpoint_url=endpoint)
    network = client.create_vpc(CidrBlock="127.88.0.0/16")["Vpc"]["VpcId"]
    cidr = f"127.88.{os.getpid() % 250}.0/24"
    subnet = client.create_subnet(VpcId=network, CidrBlock=cidr)["Subnet"]["SubnetId"]
    image = client.describe_images()["Images"][0]["ImageId"]
    settings = {"endpoint_url": endpoint, "image": image, "package_url": f"file://{wheel}"}
    provider = Ec2Provider(REGION, settings=settings, patience=Patience(0.1, 10.0), lag_s=0.0)
    Answers().attach(provider._api.client)
    registry = Registry(folder / FILE)
    at = ProviderAt("ec2", REGION, settings=settings)
    with monitored(folder / FILE, registry, (), lambda: True) as monitoring:
        service = FleetService(provider, at, registry, monitoring.monitor, monitoring.alarms)
        try:
            yield client, service, subnet
        finally:
            service.close()
            registry.close()


def awaited(question, seconds):
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.5)
    return answer


def script_of(client, machine_id):
    told = client.describe_instance_attribute(InstanceId=machine_id, Attribute="userData")
    return gzip.decompress(base64.b64decode(told["UserData"]["Value"])).decode()


def test_a_bare_machine_becomes_a_cluster_by_its_user_data(endpoint, wheel, machine_root, tmp_path):
    kind = (InstanceTypeConfig("m5.xlarge"),)
    fleets = FleetSpec(Role.MASTER, "primary", 1, 0, kind), FleetSpec(Role.CORE, "core", 1, 0, kind)
    with fleet(endpoint, wheel, tmp_path) as (client, service, subnet):
        spec = ClusterSpec("bare", "emr-7.10.0", fleets, subnet_ids=(subnet,))
        cluster_id = service.create(spec).id
        (machine,) = awaited(lambda: service._provider.machines(cluster_id), 60)
        script = script_of(client, machine.id)
        with metadata_service(entries(machine)) as metadata:
            environment = KEYS | {ENDPOINT_VARIABLE: metadata}
            log = tmp_path / "console.log"
            with bare_debian.running(machine_root, script, environment, log) as process:
                awaited(lambda: _acts(service, cluster_id, process, log), INSTALL_SECONDS)
                assert probe_zookeeper(machine.private_ip).value == "standalone"
                assert probe_master(machine.private_ip).status == "ALIVE"
                service.terminate(cluster_id)
                awaited(lambda: _state(service, cluster_id) == "TERMINATED", 60)
        assert client.describe_network_interfaces()["NetworkInterfaces"] == []


def _acts(service, cluster_id, process, log):
    """Whether the primary is in service, and its controller has launched the core node."""
    assert process.poll() is None, log.read_text(errors="replace")[-3000:]
    instances = service.cluster(cluster_id).known.instances.values()
    states = {one.machine.role: one.state for one in instances}
    return states.get(Role.MASTER) is InstanceState.RUNNING and Role.CORE in states


def _state(service, cluster_id):
    return service.cluster(cluster_id).known.status.state.value


def test_a_machine_that_cannot_be_installed_ends_and_says_why(machine_root, tmp_path):
    script = "#!/bin/sh\nATOLL_PACKAGE=\nATOLL_PACKAGE_URL=\nATOLL_REGION=\nATOLL_USER_DATA=\n"
    body = (ROOT / "src/atoll/fleet/providers/ec2/boot.sh").read_text()
    impatient = body.replace("TRIES=5", "TRIES=1").replace("apt-get -q", "false")
    log = tmp_path / "console.log"
    with bare_debian.running(machine_root, script + impatient, {}, log) as process:
        assert process.wait(60) == 1
    assert "FAILED with status 1 to install Java and Python" in log.read_text()
