import pytest
from fleet_cloud import TOKEN, small_world

from atoll.fleet.providers.client import RemoteProvider
from atoll.fleet.providers.local.opening import open_provider
from atoll.fleet.providers.server import Calls, listen, serving
from atoll.testing.provider_contract import ProviderContract


class TestLoopback(ProviderContract):
    @pytest.fixture
    def provider(self, tmp_path):
        with open_provider(tmp_path / "home", "loopback", small_world()) as provider:
            yield provider
            end_everything(provider)


class TestLoopbackOverTcp(ProviderContract):
    @pytest.fixture
    def provider(self, tmp_path):
        with open_provider(tmp_path / "home", "loopback", small_world()) as local:
            listening = listen(local.ground.gateway)
            host, port = listening.getsockname()
            with serving(Calls(local, TOKEN), [listening]):
                yield RemoteProvider(host, port, TOKEN)
            end_everything(local)


def end_everything(provider):
    for record in provider.inventory.living():
        provider.terminate([record.machine.id], epoch=1000, reason="the test is over")
