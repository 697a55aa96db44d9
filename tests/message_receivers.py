"""Who gets messages: a webhook over HTTP, a mail server that speaks just SMTP, and a real one."""

import email
import json
import socket
import socketserver
import threading
from contextlib import contextmanager
from email import policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller


class Webhook:
    """Keeps what it gets; answers with the statuses it is told to, then with 200.

    It waits before it answers where it is told to: until `holding` is set.
    """

    def __init__(self):
        self.got, self.statuses, self.url, self.holding = [], [], "", None

    def bodies(self):
        return [json.loads(body) for _, body in self.got]


@contextmanager
def webhook(tls=None):
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.got.append((dict(self.headers), body))
            if hook.holding:
                hook.holding.wait()
            self.send_response(hook.statuses.pop(0) if hook.statuses else 200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    with _running(server) as port:
        hook.url = f"http://127.0.0.1:{port}/hook?team=search"
        yield hook


@contextmanager
def mail_server():
    """Yield its port and the mails it took: sender, receivers, text."""
    mails = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self._say("220 here")
            sender, receivers = "", []
            while line := self.rfile.readline():
                word, _, told = line.decode().strip().partition(":")
                match word.upper().split()[0]:
                    case "EHLO":
                        self._say("250-here\r\n250 8BITMIME")
                    case "MAIL":
                        sender = told
                        self._say("250 ok")
                    case "RCPT":
                        receivers.append(told)
                        self._say("250 ok")
                    case "DATA":
                        self._say("354 go on")
                        mails.append((sender, receivers, self._text()))
                        self._say("250 taken")
                    case _:
                        # Whatever is said last, the mail was taken.
                        self._say("502 no")

        def _say(self, text):
            self.wfile.write(f"{text}\r\n".encode())

        def _text(self):
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line.decode())
            return "".join(lines)

    with _running(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, mails


class SmtpServer:
    """Keeps the mail it gets, for whom it knows."""

    def __init__(self, unknown):
        self.port, self.got, self._unknown = 0, [], unknown

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self._unknown:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server, session, envelope):
        self.got.append((envelope.rcpt_tos, envelope.content))
        return "250 taken"

    def messages(self):
        return [email.message_from_bytes(one, policy=policy.default) for _, one in self.got]


@contextmanager
def smtp_server(unknown=()):
    handler = SmtpServer(unknown)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(handler, "127.0.0.1", port)
    controller.start()
    handler.port = port
    try:
        yield handler
    finally:
        controller.stop()


@contextmanager
def _running(server):
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
