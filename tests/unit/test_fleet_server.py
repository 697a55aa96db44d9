"""A provider's server and those who do not know its token."""

import json
import socket
import time
from contextlib import contextmanager, suppress

import pytest

from atoll.core.errors import Forbidden
from atoll.fleet.providers import server
from atoll.fleet.providers.client import Caller
from atoll.fleet.providers.server import Calls, listen, serving

TOKEN = "s3cret"


@pytest.fixture
def place():
    listening = listen("127.0.0.1")
    place = listening.getsockname()
    with serving(Calls(Nothing(), TOKEN, {"length": length}), [listening]):
        yield place


class Nothing:
    def __getattr__(self, name):
        return lambda **args: None


def length(text: str) -> int:
    return len(text)


@contextmanager
def connected(place):
    with socket.create_connection(place, 10) as connection:
        yield connection, connection.makefile("rb")


def asked(token, text):
    return json.dumps({"token": token, "call": "length", "args": {"text": text}}).encode()


def test_who_knows_the_token_may_send_long_lines(place):
    assert Caller(*place, TOKEN).call("length", text="x" * (1 << 20)) == 1 << 20


def test_lines_come_in_parts_and_several_at_once(place):
    with connected(place) as (connection, answers):
        connection.sendall(asked(TOKEN, "a") + b"\n" + asked(TOKEN, "ab")[:20])
        connection.sendall(asked(TOKEN, "ab")[20:] + b"\n")
        assert [json.loads(answers.readline())["result"] for _ in range(2)] == [1, 2]


def test_a_stranger_s_long_line_is_not_read_to_its_end(place):
    with connected(place) as (connection, answers):
        with suppress(OSError):
            for _ in range(100):
                connection.sendall(b"x" * (64 << 10))
        with suppress(ConnectionResetError):
            assert json.loads(answers.readline())["error"]["code"] == "invalid_input"
            assert answers.readline() == b""


def test_a_wrong_token_is_refused(place):
    with pytest.raises(Forbidden):
        Caller(*place, "another").call("length", text="x")


def test_a_line_that_does_not_end_in_time_ends_the_connection(place, monkeypatch):
    monkeypatch.setattr(server, "_LINE_SECONDS", 0.2)
    with connected(place) as (connection, answers):
        connection.sendall(asked(TOKEN, "a"))
        assert answers.readline() == b""


def test_one_caller_too_many_is_sent_away_and_may_come_again(monkeypatch):
    monkeypatch.setattr(server, "_CONNECTIONS", 1)
    listening = listen("127.0.0.1")
    place = listening.getsockname()
    with serving(Calls(Nothing(), TOKEN, {"length": length}), [listening]):
        with connected(place) as (connection, answers):
            connection.sendall(asked(TOKEN, "a") + b"\n")
            assert json.loads(answers.readline())["result"] == 1
            with connected(place) as (_, nothing):
                assert nothing.readline() == b""
        # Its place is free a moment after it left.
        for _ in range(1000):
            with suppress(OSError), connected(place) as (connection, answers):
                connection.sendall(asked(TOKEN, "a") + b"\n")
                if answers.readline():
                    return
            time.sleep(0.01)
        pytest.fail("nobody is let in any more")
