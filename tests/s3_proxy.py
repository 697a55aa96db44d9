"""A proxy in front of an S3 server: counts requests by itself, delays, refuses or breaks some."""

import http.client
import random
import socket
import socketserver
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade"}


@dataclass
class Behaviour:
    """What the proxy does, and what it has seen; may be changed while it runs.

    Attributes:
        delay_s: before each answer.
        failing: share of requests refused with 503 SlowDown.
        is_down: close each connection without an answer.
        refuses: (kind, path) -> whether to refuse a request with 503 SlowDown.
        breaks: (kind, path) -> whether to damage the answer's last byte.
        requests, bytes_out, refused: by method, seen so far; bytes of objects that went to clients.
        paths: of each request, with its method.
    """

    delay_s: float = 0.0
    failing: float = 0.0
    is_down: bool = False
    refuses: object = None
    breaks: object = None
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    requests: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    bytes_out: Counter = field(default_factory=Counter)
    paths: list = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self):
        """Do and count what a new one does."""
        new = Behaviour()
        with self.lock:
            for each in fields(self):
                if each.name != "lock":
                    setattr(self, each.name, getattr(new, each.name))

    def forget(self):
        """Count anew."""
        with self.lock:
            self.requests.clear()
            self.refused.clear()
            self.bytes_out.clear()
            self.paths.clear()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True


@contextmanager
def proxied(server):
    """Put a proxy before an `S3Server`; yields the server as seen through it, and its behaviour."""
    behaviour = Behaviour()
    upstream = urlsplit(server.endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body would wait for each other's acknowledgement.
        disable_nagle_algorithm = True

        upstream = None

        def finish(self):
            super().finish()
            self.forget_upstream()

        def forget_upstream(self):
            if self.upstream is not None:
                self.upstream.close()
                self.upstream = None

        def handle_one_request(self):
            try:
                super().handle_one_request()
            except (ConnectionError, TimeoutError):
                self.close_connection = True

        def serve(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind = _kind(self.command, self.path)
            with behaviour.lock:
                behaviour.requests[kind] += 1
                behaviour.paths.append((kind, self.path))
                is_refused = behaviour.dice.random() < behaviour.failing
                if behaviour.refuses and behaviour.refuses(kind, self.path):
                    is_refused = True
                behaviour.refused[kind] += is_refused
            if behaviour.is_down:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            time.sleep(behaviour.delay_s)
            if is_refused:
                self.answer(503, [("Content-Type", "application/xml")], SLOW_DOWN)
                return
            status, headers, data = self.ask(body)
            if behaviour.breaks and data and behaviour.breaks(kind, self.path):
                data = data[:-1] + bytes([data[-1] ^ 1])
            with behaviour.lock:
                behaviour.bytes_out[kind] += len(data) if status < 300 else 0
            self.answer(status, headers, data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

        def ask(self, body):
            # The Host header stays the client's own: it is part of what was signed.
            for attempt in range(2):
                if self.upstream is None:
                    self.upstream = http.client.HTTPConnection(upstream)
                connection = self.upstream
                try:
                    connection.putrequest(
                        self.command, self.path, skip_host=True, skip_accept_encoding=True
                    )
                    for name, value in self.headers.items():
                        if name.lower() not in _HOP_BY_HOP | {"expect"}:
                            connection.putheader(name, value)
                    connection.endheaders(body or None)
                    answer = connection.getresponse()
                    return answer.status, answer.getheaders(), answer.read()
                except (http.client.HTTPException, OSError):
                    self.forget_upstream()
                    if attempt:
                        raise
            raise AssertionError

        def answer(self, status, headers, data):
            length = {name.lower(): value for name, value in headers}.get("content-length")
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                    self.send_header(name, value)
            is_head = self.command == "HEAD"
            self.send_header("Content-Length", length if is_head and length else str(len(data)))
            self.end_headers()
            if not is_head:
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    with _Server(("127.0.0.1", 0), Handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield replace(server, endpoint=f"http://127.0.0.1:{proxy.server_address[1]}"), behaviour
        finally:
            proxy.shutdown()
            thread.join()


def _kind(method, path):
    """Name a request as a bill does: get, list, put, delete."""
    if method in ("GET", "HEAD"):
        return "list" if "list-type=2" in path else "get"
    return "delete" if method == "DELETE" else "put"
