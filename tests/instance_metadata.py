"""An instance metadata service of version 2 on a free loopback port."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "a-token"


def entries(machine):
    """Return what the service says to a machine, by path."""
    return {
        "instance-id": machine.id,
        "instance-life-cycle": "spot" if machine.market == "SPOT" else "on-demand",
        "local-ipv4": machine.private_ip,
    }


@contextmanager
def metadata_service(told):
    """Serve what `told` holds now; yields the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            wants = "X-aws-ec2-metadata-token-ttl-seconds" in self.headers
            self._say(200 if wants else 400, TOKEN)

        def do_GET(self):
            if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
                self._say(401, "")
                return
            entry = told.get(self.path.removeprefix("/latest/meta-data/"))
            self._say(404 if entry is None else 200, entry or "")

        def _say(self, status, text):
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
