"""What machines of a local cloud promise beyond the provider port: disks, names, walls.

Subclass `MachineContract` beside `ProviderContract`, with the same world; its machines run
`LISTENER`. A `Cloud` lets a test look inside them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

import pytest

from atoll.fleet.model import InstanceTypeConfig
from atoll.fleet.providers.local.ground import Ran
from atoll.fleet.providers.port import Machine, MachineState, Placement, Provider
from atoll.testing.provider_contract import CLUSTER, SUBNETS, TYPES

DISK_MIB = 4
PORT = 7000
_LISTEN = f"""
import json, socket, sys
facts = json.load(open(sys.argv[-1]))
listening = socket.create_server((facts["private_ip"], {PORT}))
while True:
    caller = listening.accept()[0]
    caller.sendall(facts["id"].encode())
    caller.close()
"""
LISTENER = (sys.executable, "-S", "-c", _LISTEN)
"""A machine's command: says the machine's id to whoever connects."""

_ASK = f"""
import json, socket, sys, time
facts, name = json.load(open("facts.json")), sys.argv[1]
lines = [line.split() for line in open(facts["hosts_file"])]
ip = socket.gethostbyname(name) if facts["has_own_hosts"] else next(
    words[0] for words in lines if name in words)
for _ in range(500):
    try:
        print(socket.create_connection((ip, {PORT}), 5).recv(99).decode())
        break
    except ConnectionRefusedError:
        time.sleep(0.02)
"""
_BIND = "import socket, sys; socket.create_server((sys.argv[1], 7001))"


class Cloud(Protocol):
    """A provider whose machines can be looked into."""

    provider: Provider

    def run(self, machine_id: str, command: Sequence[str]) -> Ran:
        """Run a command inside a machine, in its folder."""
        ...

    def stop(self, machine_id: str) -> None:
        """Stop a machine as a crash does."""
        ...


class MachineContract:
    """The suite. `isolates`: machines have walls between them (netns), not only manners."""

    isolates = True
    python = sys.executable
    """One that whoever runs the machines may run."""

    @pytest.fixture
    def cloud(self) -> Iterator[Cloud]:
        """Yield the cloud under test, with nothing launched."""
        raise NotImplementedError

    def test_a_machine_reaches_another_by_its_name(self, cloud: Cloud) -> None:
        one, other = _launch(cloud, "one"), _launch(cloud, "other")
        ran = cloud.run(one.id, [self.python, "-S", "-c", _ASK, other.private_dns])
        assert ran.output.strip() == other.id

    def test_a_replacement_answers_under_the_name_at_once(self, cloud: Cloud) -> None:
        one, old = _launch(cloud, "one"), _launch(cloud, "other")
        assert old.id in cloud.run(one.id, [self.python, "-S", "-c", _ASK, old.private_dns]).output
        cloud.provider.terminate([old.id], epoch=1, reason="replaced")
        new = _launch(cloud, "other", token="again")
        assert new.id in cloud.run(one.id, [self.python, "-S", "-c", _ASK, old.private_dns]).output

    def test_a_stopped_machine_keeps_its_disk(self, cloud: Cloud) -> None:
        machine = _launch(cloud, "one")
        cloud.run(machine.id, ["sh", "-c", "echo kept > disk/note"])
        cloud.stop(machine.id)
        assert _state(cloud, machine.id) is MachineState.STOPPED
        cloud.provider.start(machine.id, epoch=1)
        assert _state(cloud, machine.id) is MachineState.RUNNING
        assert cloud.run(machine.id, ["cat", "disk/note"]).output == "kept\n"

    def test_a_replacement_begins_with_an_empty_disk(self, cloud: Cloud) -> None:
        old = _launch(cloud, "one")
        cloud.run(old.id, ["sh", "-c", "echo gone > disk/note"])
        cloud.provider.terminate([old.id], epoch=1, reason="replaced")
        new = _launch(cloud, "one", token="again")
        assert cloud.run(new.id, ["ls", "disk"]).output == ""

    def test_a_machine_whose_command_ends_is_stopped(self, cloud: Cloud) -> None:
        machine = _launch(cloud, "one")
        assert _state(cloud, machine.id) is MachineState.RUNNING
        # Its first process is no ancestor of this one, so the whole machine is named.
        cloud.run(machine.id, ["sh", "-c", "kill -9 $(pgrep -f 'listening[.]accept')"])
        for _ in range(500):
            if _state(cloud, machine.id) is MachineState.STOPPED:
                return
        pytest.fail("the machine is still said to run")

    def test_what_a_machine_left_behind_ends_with_it(self, cloud: Cloud) -> None:
        machine = _launch(cloud, "one")
        hidden = "setsid --fork sleep 4321 </dev/null >/dev/null 2>&1"
        assert cloud.run(machine.id, ["sh", "-c", hidden]).status == 0
        cloud.provider.terminate([machine.id], epoch=1, reason="over")
        other = _launch(cloud, "one", token="again")
        assert "sleep 4321" not in cloud.run(other.id, ["ps", "-eo", "args"]).output

    def test_a_machine_may_use_its_own_address_only(self, cloud: Cloud) -> None:
        self._only_if_isolating()
        one, other = _launch(cloud, "one"), _launch(cloud, "other")
        assert cloud.run(one.id, [self.python, "-S", "-c", _BIND, one.private_ip]).status == 0
        refused = cloud.run(one.id, [self.python, "-S", "-c", _BIND, other.private_ip])
        assert "Cannot assign requested address" in refused.output

    def test_a_machine_sees_its_own_processes_and_name_only(self, cloud: Cloud) -> None:
        self._only_if_isolating()
        machine = _launch(cloud, "one")
        assert cloud.run(machine.id, ["hostname"]).output.strip() == machine.private_dns
        seen = cloud.run(machine.id, ["ps", "-eo", "pid="]).output.split()
        assert len(seen) <= 4
        assert "1" in seen

    def test_a_disk_is_full_at_its_size(self, cloud: Cloud) -> None:
        self._only_if_isolating()
        machine = _launch(cloud, "one")
        fill = f"head -c {DISK_MIB + 1}M /dev/zero > disk/large"
        assert "No space left" in cloud.run(machine.id, ["sh", "-c", fill]).output
        assert cloud.run(machine.id, ["stat", "-c", "%s", "disk/large"]).output == (
            f"{DISK_MIB << 20}\n"
        )

    def test_no_machine_holds_the_disk_of_another(self, cloud: Cloud) -> None:
        self._only_if_isolating()
        _launch(cloud, "one")
        later = _launch(cloud, "other")
        count = 'grep -c " ${PWD%/*}/[^ ]*/disk " /proc/self/mountinfo'
        assert cloud.run(later.id, ["sh", "-c", count]).output == "1\n"

    def _only_if_isolating(self) -> None:
        if not self.isolates:
            pytest.skip("no walls between machines here")


def _launch(cloud: Cloud, name: str, *, token: str | None = None) -> Machine:
    address = cloud.provider.reserve(SUBNETS[0], token=name, cluster_id=CLUSTER, epoch=1)
    placement = Placement(CLUSTER, 1, SUBNETS[0], user_data="")
    config = InstanceTypeConfig(TYPES[0])
    return cloud.provider.launch_primary(config, address, "if-1", placement, token=token or name)


def _state(cloud: Cloud, machine_id: str) -> MachineState:
    machines = cloud.provider.machines(CLUSTER)
    return next(one.state for one in machines if one.id == machine_id)
