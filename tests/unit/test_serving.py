"""How `atoll serve` listens."""

import socket

from atoll.app.server import _listening


def test_the_second_half_of_an_answer_does_not_wait_for_the_first():
    with (
        _listening("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
