"""What a client of the ensemble does with a call that gets no answer."""

import pytest
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KeeperState

from atoll.core.errors import Unavailable
from atoll.fleet.engine import client as module
from atoll.fleet.engine.client import ensemble_client
from atoll.fleet.life.store import ClusterStore


@pytest.fixture
def client(monkeypatch):
    """A client that takes every request and sends none, as kazoo's does when it loses one."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    client = ensemble_client("127.0.0.1:1", session_s=4.0)
    client._state = KeeperState.CONNECTED
    monkeypatch.setattr(client, "_call", lambda *_: None)
    return client


def test_a_call_without_an_answer_ends(client):
    with pytest.raises(KazooTimeoutError):
        client.get("/x")


@pytest.mark.parametrize("call", ["desired", "known", "hearts", "steps", "epoch", "end_choosing"])
def test_the_store_says_that_the_ensemble_does_not_answer(client, call):
    with pytest.raises(Unavailable, match="does not answer"):
        getattr(ClusterStore(client), call)()


def test_a_client_forgets_an_ensemble_that_it_has_not_heard_of_for_long(monkeypatch):
    client = ensemble_client("127.0.0.1:1", session_s=4.0)
    client.last_zxid = 7
    assert client.last_zxid == 7
    monkeypatch.setattr(module, "FORGET_SECONDS", 0.0)
    assert client.last_zxid == 0
    client.last_zxid = 8
    monkeypatch.undo()
    assert client.last_zxid == 8
