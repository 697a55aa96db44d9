"""What the command line does when a host drops its connection, over real sockets."""

import socket
import threading
from contextlib import contextmanager

import pytest

from atoll.core.errors import Unavailable
from atoll.fleet.host.client import FleetClient
from atoll.fleet.rpc import client as module
from atoll.fleet.rpc.client import TRIES

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"result": 7}'


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)


def whole(sock):
    """Read a request; the client sends head and body apart."""
    request = b""
    while not request.endswith(b"}"):
        request += sock.recv(65_536)
    return request


@contextmanager
def host(answers):
    """Take one connection for each answer and say that; b"" drops it after the request was read."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            for answer in answers:
                sock, _ = listener.accept()
                with sock:
                    asked.append(whole(sock))
                    sock.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield FleetClient(f"http://127.0.0.1:{listener.getsockname()[1]}", "t"), asked
        thread.join(5)


def test_a_question_is_asked_again_when_its_connection_drops():
    with host([b"", ANSWER[:-4], ANSWER]) as (client, asked):
        assert client.call("cluster", int, cluster_id="j-1") == 7
    assert len(asked) == TRIES == 3
    assert len(set(asked)) == 1


def test_a_host_that_always_drops_it_is_said_not_to_answer():
    with (
        host([b""] * TRIES) as (client, _),
        pytest.raises(Unavailable, match=r"did not answer cluster .*without response") as found,
    ):
        client.call("cluster", int, cluster_id="j-1")
    assert "may have been done" not in found.value.message


@pytest.mark.parametrize("call", ["create", "resize", "add_steps", "terminate"])
def test_a_change_is_never_asked_for_twice_and_may_have_been_made(call):
    with host([b""]) as (client, asked), pytest.raises(Unavailable, match="may have been done"):
        client.call(call, int)
    assert len(asked) == 1


def test_a_host_that_is_not_there_has_done_nothing():
    with host([]) as (client, _):
        pass
    with pytest.raises(Unavailable, match="does it run") as found:
        client.call("create", int)
    assert "may have been done" not in found.value.message


def test_what_is_asked_again_is_what_the_service_offers_and_changes_nothing():
    changes = {
        "create", "note", "protect", "terminate", "repair", "resize", "add_fleet", "add_steps",
        "cancel_steps",
    }  # fmt: skip
    assert FleetClient.reads | changes == offered()
    assert not FleetClient.reads & changes


def offered():
    from atoll.fleet.control.service import FleetService

    return set(FleetService.calls(object.__new__(FleetService)))
