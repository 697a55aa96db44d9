"""What runs on an instance of EC2: the script, what it knows of itself, notices."""

import base64
import gzip
import random
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.resources import files

import pytest
from instance_metadata import entries, metadata_service

from atoll.core.errors import InvalidInput, NotFound, Unavailable
from atoll.fleet.agent.interruption import ENTRY, Interruption
from atoll.fleet.codec import decode
from atoll.fleet.model import Market, Role
from atoll.fleet.providers.ec2.boot import USER_DATA, Disk, facts_of, largest_store
from atoll.fleet.providers.ec2.metadata import ENDPOINT_VARIABLE, Metadata
from atoll.fleet.providers.ec2.userdata import package, script, user_data
from atoll.fleet.providers.facts import Notice
from atoll.fleet.providers.port import Machine, MachineState

REGION = "us-east-1"
MACHINE = Machine(
    id="i-1",
    cluster_id="j-1",
    fleet_id="if-1",
    role=Role.TASK,
    market=Market.SPOT,
    instance_type="m5.xlarge",
    state=MachineState.RUNNING,
    private_ip="10.1.0.4",
    private_dns="ip-10-1-0-4.ec2.internal",
    subnet_id="subnet-1",
    zone="us-east-1a",
    launched_at=0.0,
)


@pytest.fixture
def told():
    return entries(MACHINE)


@pytest.fixture
def metadata(told):
    with metadata_service(told) as endpoint:
        yield Metadata({ENDPOINT_VARIABLE: endpoint})


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_script_is_one_that_shells_can_read(shell):
    text = script("{}", {"package_url": "https://host/it's.whl"}, REGION)
    subprocess.run([shell, "-n"], input=text, text=True, check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_the_script_has_nothing_that_shellcheck_warns_of():
    text = script("{}", {}, REGION)
    subprocess.run(["shellcheck", "-S", "warning", "-"], input=text, text=True, check=True)


def test_the_script_carries_what_the_cluster_wants():
    wanted = '{"quotes": "\'$(reboot)`", "cluster_id": "j-1"}'
    setting = next(
        line for line in script(wanted, {}, REGION).splitlines() if "ATOLL_USER_DATA=" in line
    )
    packed = subprocess.run(
        ["sh", "-c", f'{setting}; echo "$ATOLL_USER_DATA"'], capture_output=True, check=True
    ).stdout
    assert gzip.decompress(base64.b64decode(packed)).decode() == wanted


def test_the_same_wish_makes_the_same_user_data():
    assert user_data("{}", {}, REGION) == user_data("{}", {}, REGION)


def test_a_large_wish_fits_when_it_packs_well():
    assert len(user_data("{" + " " * 16_000 + "}", {}, REGION)) < 16 << 10


def test_a_wish_that_does_not_fit_is_refused():
    noise = "".join(map(chr, random.Random(1).choices(range(128), k=16 << 10)))
    with pytest.raises(InvalidInput, match="packed"):
        user_data(noise, {}, REGION)


def test_a_wheel_in_s3_is_fetched_before_pip_sees_it():
    wanted = package({"package_url": "s3://bucket/wheels/atoll-1.0-py3-none-any.whl"})
    assert wanted == "atoll[fleet] @ file:///var/lib/atoll/atoll-1.0-py3-none-any.whl"


def test_without_a_wheel_this_very_version_is_installed():
    assert package({}).startswith("atoll[fleet]==")


def test_the_agent_is_a_service_that_systemd_accepts(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    body = (files("atoll.fleet.providers.ec2") / "boot.sh").read_text()
    unit = body.split("<<EOF\n")[1].split("EOF\n")[0]
    settings = {"$PYTHON": "/bin/true", "$STATE": "/var/lib/atoll", "$ATOLL_REGION": REGION}
    for name, value in settings.items():
        unit = unit.replace(name, value)
    path = tmp_path / "atoll-agent.service"
    path.write_text(unit)
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True)
    assert str(path.name) not in done.stderr, done.stderr
    assert done.returncode == 0


def test_an_instance_learns_what_it_is(metadata, tmp_path):
    wanted = '{"cluster_id": "j-1", "role": "TASK", "slots": []}'
    (tmp_path / USER_DATA).write_text(wanted)
    facts = facts_of(tmp_path, Disk(tmp_path / "disk", 1 << 30), metadata)
    assert (facts.id, facts.private_ip, facts.market) == ("i-1", "10.1.0.4", Market.SPOT)
    assert facts.user_data == wanted
    assert facts.vcpus > 0
    assert facts.memory_mib > 0


def test_an_entry_that_is_not_there_is_not_found(metadata):
    with pytest.raises(NotFound, match="spot/instance-action"):
        metadata.get(ENTRY)


def test_a_machine_outside_ec2_is_told_so():
    with pytest.raises(Unavailable, match="is this an instance of EC2"):
        Metadata({ENDPOINT_VARIABLE: "http://127.0.0.1:1"}).get("mac")


def block(folder, name, model, sectors):
    (folder / name / "device").mkdir(parents=True)
    (folder / name / "device/model").write_text(f"{model}  \n")
    (folder / name / "size").write_text(f"{sectors}\n")


def test_the_largest_instance_store_is_the_disk(tmp_path):
    block(tmp_path, "nvme0n1", "Amazon Elastic Block Store", 9_000_000)
    block(tmp_path, "nvme1n1", "Amazon EC2 NVMe Instance Storage", 1_000_000)
    block(tmp_path, "nvme2n1", "Amazon EC2 NVMe Instance Storage", 2_000_000)
    assert largest_store(tmp_path) == "nvme2n1"


def test_an_instance_without_stores_uses_its_root_disk(tmp_path):
    block(tmp_path, "nvme0n1", "Amazon Elastic Block Store", 9_000_000)
    assert largest_store(tmp_path) is None


def test_a_notice_of_ec2_is_left_where_the_agent_looks(told, metadata, tmp_path):
    path = tmp_path / "notice.json"
    watch = Interruption(path, metadata, look_s=0.01)
    watch.start()
    assert not path.exists()
    told[ENTRY] = '{"action": "terminate", "time": "2026-11-26T08:22:00Z"}'
    watch.join(10)
    at = datetime(2026, 11, 26, 8, 22, 0, tzinfo=UTC).timestamp()
    assert decode(path.read_bytes(), Notice, what="notice").reclaim_at == at
