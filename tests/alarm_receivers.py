"""Who is notified of alarms: a webhook over HTTP, and a mail server that speaks just SMTP."""

import json
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Webhook:
    """Keeps what it gets; answers with the statuses it is told to, then with 200."""

    def __init__(self):
        self.got, self.statuses, self.url = [], [], ""

    def bodies(self):
        return [json.loads(body) for _, body in self.got]


@contextmanager
def webhook():
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.got.append((dict(self.headers), body))
            self.send_response(hook.statuses.pop(0) if hook.statuses else 200)
            self.end_headers()

        def log_message(self, *args):
            pass

    with _running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
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
