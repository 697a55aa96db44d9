"""What a provider's server takes and answers."""

import pytest

from atoll.core.errors import AtollError, Forbidden, Unavailable
from atoll.fleet.capacity import NoFreeAddress
from atoll.fleet.providers.client import ProviderCaller, RemoteProvider
from atoll.fleet.providers.server import serve_provider
from atoll.fleet.wire.server import listen

TOKEN = "s3cret"


class Nothing:
    def __getattr__(self, name):
        return lambda **args: None

    def release(self, **args):
        raise NoFreeAddress("none is left", subnet_id="subnet-1")

    def machines(self, **args):
        raise ZeroDivisionError("a fault of ours")


def length(text: str) -> int:
    return len(text)


@pytest.fixture
def url():
    with serve_provider(Nothing(), TOKEN, listen("127.0.0.1"), more={"length": length}) as server:
        yield server.url


def test_user_data_and_many_machines_have_room(url):
    assert ProviderCaller(url, TOKEN).call("length", int, text="x" * (3 << 20)) == 3 << 20


def test_more_is_refused_unread(url):
    with pytest.raises(Unavailable, match="length"):
        ProviderCaller(url, TOKEN).call("length", int, text="x" * (4 << 20))


def test_a_wrong_token_is_refused_and_long_bodies_beside_it_unread(url):
    stranger = ProviderCaller(url, "another")
    with pytest.raises(Forbidden):
        stranger.call("length", int, text="x")
    with pytest.raises(Unavailable, match="length"):
        stranger.call("length", int, text="x" * (65 << 10))


def test_what_the_provider_raises_comes_as_it_is(url):
    with pytest.raises(NoFreeAddress, match="none is left") as raised:
        RemoteProvider(url, TOKEN).release("a-1", epoch=1)
    assert raised.value.details == {"subnet_id": "subnet-1"}


def test_a_fault_of_the_provider_s_own_is_told_and_it_goes_on(url):
    with pytest.raises(AtollError, match="ZeroDivisionError: a fault of ours; see its log"):
        RemoteProvider(url, TOKEN).machines("j-1")
    assert RemoteProvider(url, TOKEN).start("i-1", epoch=1) is None
