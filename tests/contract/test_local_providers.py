import pytest
from fleet_cloud import (
    IDLE,
    NOBODY,
    TOKEN,
    cloud_here,
    home_of,
    python_of,
    served_cloud,
    why_no_netns,
)

from atoll.fleet.providers.client import RemoteProvider
from atoll.fleet.providers.server import serve_provider
from atoll.fleet.wire.server import listen
from atoll.testing.machine_contract import MachineContract
from atoll.testing.provider_contract import ProviderContract

no_root = pytest.mark.skipif(bool(why_no_netns()), reason=f"netns as root: {why_no_netns()}")
no_nobody = pytest.mark.skipif(
    bool(why_no_netns(NOBODY)), reason=f"netns without root: {why_no_netns(NOBODY)}"
)


class TestLoopback(ProviderContract):
    @pytest.fixture
    def provider(self, tmp_path):
        with cloud_here(tmp_path / "home", "loopback", command=IDLE) as cloud:
            yield cloud.provider


class TestLoopbackOverHttp(ProviderContract):
    @pytest.fixture
    def provider(self, tmp_path):
        with cloud_here(tmp_path / "home", "loopback", command=IDLE) as cloud:
            listener = listen(cloud.provider.ground.gateway)
            with serve_provider(cloud.provider, TOKEN, listener) as server:
                yield RemoteProvider(server.url, TOKEN)


class TestLoopbackMachines(MachineContract):
    isolates = False

    @pytest.fixture
    def cloud(self, tmp_path):
        with cloud_here(tmp_path / "home", "loopback") as cloud:
            yield cloud


@no_root
class TestNetns(ProviderContract):
    @pytest.fixture
    def provider(self, tmp_path):
        with cloud_here(tmp_path / "home", "netns", command=IDLE) as cloud:
            yield cloud.provider


@no_root
class TestNetnsMachines(MachineContract):
    @pytest.fixture
    def cloud(self, tmp_path):
        with cloud_here(tmp_path / "home", "netns") as cloud:
            yield cloud


@no_nobody
class TestNetnsWithoutRoot(MachineContract):
    python = python_of(NOBODY)

    @pytest.fixture
    def cloud(self):
        with home_of(NOBODY) as home, served_cloud(home, "netns", user=NOBODY) as (cloud, _):
            yield cloud
