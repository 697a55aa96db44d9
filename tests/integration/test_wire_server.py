"""The server's sockets: clients that break HTTP, flood, drip, hang up; and how it ends."""

import re
import socket
import threading
import time

import pytest
from wire_services import Shelf

from atoll.core.errors import Conflict, InvalidInput
from atoll.fleet.wire.connection import Connection, Limits
from atoll.fleet.wire.message import Response
from atoll.fleet.wire.server import serve

DEADLINE_SECONDS = 30
LIMITS = Limits(head_bytes=4096, body_bytes=10_000)
HASTY = Limits(request_s=0.5, first_s=0.5, idle_s=0.5, connections=4)
PATIENT = Limits(request_s=60.0, first_s=60.0, connections=4, peer_connections=2)
LIST = (
    b"POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: ElasticMapReduce.ListClusters\r\n"
    b"Content-Type: application/x-amz-json-1.1\r\n"
)
CALL = LIST + b"Content-Length: 2\r\n\r\n{}"
UP = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"


def serving(limits):
    up = {"/metrics": lambda _: Response(200, b"up 1\n", "text/plain")}
    return serve(Shelf().services(), ("127.0.0.1", 0), routes=up, limits=limits)


@pytest.fixture
def server():
    with serving(LIMITS) as server:
        yield server


@pytest.fixture
def hasty():
    """A server that does not wait long."""
    with serving(HASTY) as server:
        yield server


def connect(server):
    return socket.create_connection(server.address, timeout=DEADLINE_SECONDS)


def all_of(sock):
    """Read to the end; a server that keeps the connection open for ever fails by time-out."""
    with sock:
        return b"".join(iter(lambda: sock.recv(65_536), b""))


def sent(server, data):
    """Send all there is to say, and read to the end."""
    sock = connect(server)
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    return all_of(sock)


def statuses(answer):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", answer)]


def test_a_connection_carries_call_after_call(server):
    with connect(server) as sock:
        for _ in range(3):
            sock.sendall(CALL)
            assert sock.recv(65_536).endswith(b'{"Clusters":[]}')


def test_calls_in_a_row_are_answered_in_order(server):
    assert statuses(sent(server, CALL + UP + CALL + UP)) == [200, 200, 200, 200]


def test_chunks_are_put_together(server):
    chunked = LIST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
    assert b'{"Clusters":[]}' in sent(server, chunked)


def test_a_client_that_asks_first_is_told_to_go_on(server):
    with connect(server) as sock:
        sock.sendall(LIST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(65_536).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"{}")
        assert sock.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_head_gets_no_body(server):
    answer = sent(server, UP.replace(b"GET", b"HEAD") + UP)
    assert statuses(answer) == [200, 200]
    assert answer.count(b"up 1") == 1


BROKEN = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no host": b"GET /metrics HTTP/1.1\r\n\r\n",
    "two hosts": UP.replace(b"Host: a", b"Host: a\r\nHost: b"),
    "two lengths": LIST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a negative length": LIST + b"Content-Length: -2\r\n\r\n{}",
    "a length in words": LIST + b"Content-Length: two\r\n\r\n{}",
    "a header without colon": UP.replace(b"Host: a", b"Host: a\r\nX-Amz-Target EMR"),
    "a space before the colon": UP.replace(b"Host: a", b"Host: a\r\nX-Amz-Target : EMR"),
    "a null in a header": UP.replace(b"Host: a", b"Host: a\0b"),
    "a carriage return alone": UP.replace(b"Host: a", b"Host: a\rX-Amz-Target: EMR"),
    "a target of two words": UP.replace(b"/metrics", b"/metrics /v1"),
    "an encoding unknown": LIST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "a chunk of a huge size": LIST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
    "endless headers": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 5_000,
    "an endless line": b"GET /" + b"a" * 100_000,
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_http_is_refused_and_ends_the_connection(server, name):
    (status,) = statuses(sent(server, BROKEN[name] + UP))
    assert 400 <= status < 500 or status == 501


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 10001\r\n\r\n", b"Content-Length: 99999999999999\r\n\r\n"]
)
def test_a_body_too_large_is_refused_before_it_comes(server, framing):
    assert statuses(sent(server, LIST + framing)) == [413]


def test_a_client_that_sends_it_all_the_same_reads_why(server):
    data = LIST + b"Content-Length: 3000000\r\n\r\n" + b"a" * 3_000_000
    assert statuses(sent(server, data)) == [413]


def test_chunks_are_counted_too(server):
    chunk = b"1000\r\n" + b"a" * 0x1000 + b"\r\n"
    assert statuses(sent(server, LIST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 5)) == [413]


def test_a_client_that_drips_is_cut_off(hasty):
    with connect(hasty) as sock:
        dripping = threading.Event()

        def drip():
            while not dripping.wait(0.05):
                try:
                    sock.send(b"a")
                except OSError:
                    return

        sock.sendall(b"GET /")
        thread = threading.Thread(target=drip)
        thread.start()
        assert statuses(sock.recv(65_536)) == [408]
        dripping.set()
        thread.join()


def test_a_body_that_does_not_come_whole_is_not_waited_for(hasty):
    sock = connect(hasty)
    sock.sendall(LIST + b"Content-Length: 100\r\n\r\n{}")
    assert statuses(all_of(sock)) == [408]


def test_a_client_that_says_nothing_is_let_go(hasty):
    assert all_of(connect(hasty)) == b""


def test_clients_that_hang_up_leave_the_server_well(server):
    for data in (b"", b"GET /", CALL[:-1], CALL):
        with connect(server) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.sendall(data)
    assert statuses(sent(server, UP)) == [200]


@pytest.mark.parametrize("said", [b"", b"GET /"])
def test_connections_that_ask_nothing_keep_nobody_out(said):
    with serving(PATIENT) as server:
        held = [connect(server) for _ in range(PATIENT.connections)]
        for sock in held:
            sock.sendall(said)
        assert statuses(sent(server, UP)) == [200]
        # The one that waited longest had to go.
        assert held[0].recv(1) == b""
        for sock in held:
            sock.close()


def test_more_connections_than_allowed_are_closed_unread_while_all_are_being_answered():
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(_):
        begun.release()
        go_on.wait(DEADLINE_SECONDS)
        return Response(200, b"up 1\n", "text/plain")

    with serve((), ("127.0.0.1", 0), routes={"/metrics": slow}, limits=PATIENT) as server:
        held = [connect(server) for _ in range(PATIENT.connections)]
        for sock in held:
            sock.sendall(UP)
            assert begun.acquire(timeout=DEADLINE_SECONDS)
        assert all_of(connect(server)) == b""
        go_on.set()
        assert all(statuses(sock.recv(65_536)) == [200] for sock in held)
        for sock in held:
            sock.close()


def test_another_machine_has_a_share_of_the_connections_only():
    with serving(PATIENT) as server:
        assert all(server._has_room("10.0.0.1") for _ in range(3))
        for number in range(PATIENT.peer_connections):
            ours, theirs = socket.socketpair()
            theirs.close()
            one = Connection(ours, server._gateway, PATIENT, "10.0.0.1")
            server._open[threading.Thread(name=str(number))] = one
        assert not server._has_room("10.0.0.1")
        assert server._has_room("10.0.0.2")
        assert server._has_room("127.0.0.1")
        for one in server._open.values():
            one.close()
        server._open.clear()


def test_a_connection_that_no_thread_is_free_for_is_closed_and_the_next_one_answered(
    server, monkeypatch
):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert all_of(connect(server)) == b""
    assert b"up 1" in sent(server, UP)


def test_a_response_cannot_be_split_by_what_a_route_returns(server, caplog):
    evil = (("x-note", "a\r\nSet-Cookie: b"),)
    routes = {"/v1": lambda _: Response(200, b"", "text/plain", evil)}
    with serve([], ("127.0.0.1", 0), routes=routes) as other:
        assert sent(other, UP.replace(b"/metrics", b"/v1")) == b""
    assert "connection failed" in caplog.text


def test_a_call_under_way_is_answered_when_the_server_stops():
    entered, leave = threading.Event(), threading.Event()

    def slow(_):
        entered.set()
        leave.wait(DEADLINE_SECONDS)
        return Response(200, b"done\n", "text/plain")

    server = serve([], ("127.0.0.1", 0), routes={"/metrics": slow})
    # Connections are taken in their order: the idle one, too, when the other's call has come.
    with connect(server) as idle, connect(server) as sock:
        sock.sendall(UP)
        assert entered.wait(DEADLINE_SECONDS)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert idle.recv(1) == b""
        leave.set()
        assert all_of(sock).endswith(b"done\n")
        stopping.join()
    with pytest.raises(ConnectionRefusedError):
        connect(server)


def test_a_call_that_does_not_end_is_cut_off_at_the_end_of_the_grace():
    entered, leave = threading.Event(), threading.Event()
    hanging = {"/metrics": lambda _: entered.set() or leave.wait(DEADLINE_SECONDS)}
    server = serve([], ("127.0.0.1", 0), routes=hanging)
    sock = connect(server)
    sock.sendall(UP)
    assert entered.wait(DEADLINE_SECONDS)
    server.stop(grace_s=0.1)
    assert all_of(sock) == b""
    leave.set()


def test_nothing_is_left_of_a_server():
    before = threading.active_count()
    with serve([], ("127.0.0.1", 0)) as server:
        sent(server, b"GET / HTTP/1.0\r\n\r\n")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_socket_that_listens_already_is_taken():
    listener = socket.create_server(("127.0.0.1", 0))
    with serve([], listener) as server:
        assert server.address == server._listener.getsockname()
        assert statuses(sent(server, b"GET / HTTP/1.0\r\n\r\n")) == [404]


def test_a_port_in_use_is_named(server):
    with pytest.raises(Conflict, match=str(server.address[1])):
        serve([], server.address)


def test_other_machines_are_not_served_without_keys():
    with pytest.raises(InvalidInput, match=r"0\.0\.0\.0"):
        serve(Shelf().services(), ("0.0.0.0", 0))
