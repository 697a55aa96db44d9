"""Lambda's Runtime API for one event: what a function's bootstrap asks and answers."""

import json
import os
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from s3_servers import _dying_with_us


def run_bootstrap(folder, environment, event, timeout_s):
    """Run a function once against a Runtime API of our own: (whether it failed, its answer)."""
    call = _Call(event if isinstance(event, bytes) else event.encode(), time.time() + timeout_s)
    api = ThreadingHTTPServer(("127.0.0.1", 0), call.handler())
    threading.Thread(target=api.serve_forever, daemon=True).start()
    own = {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}",
        "AWS_REGION": "us-east-1",
        "LAMBDA_TASK_ROOT": str(folder),
    }
    process = subprocess.Popen(
        [*_dying_with_us(), folder / "bootstrap"],
        cwd=folder,
        env=clean_environment() | own | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # As Lambda words what a function cannot say itself.
        while not call.is_answered.wait(0.02):
            if process.poll() is not None:
                return True, _failure("Runtime.ExitError", f"exit status {process.returncode}")
            if time.time() > call.deadline:
                return True, _failure("Sandbox.Timedout", f"Task timed out after {timeout_s:.2f} s")
        return call.is_error, call.answer
    finally:
        process.kill()
        process.wait()
        api.shutdown()
        api.server_close()


def _failure(kind, message):
    return json.dumps({"errorType": kind, "errorMessage": f"Error: {message}"}).encode()


@dataclass
class _Call:
    """One event of the Runtime API, and what came back."""

    event: bytes
    deadline: float
    answer: bytes = b""
    is_error: bool = False
    is_answered: threading.Event = field(default_factory=threading.Event)

    def handler(self):
        call = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4()))
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int(call.deadline * 1000)))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:::here")
                # Without it awslambdaric 4.2 dies of a segmentation fault.
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(call.event)))
                self.end_headers()
                self.wfile.write(call.event)

            def do_POST(self):
                call.answer = self.rfile.read(int(self.headers["Content-Length"]))
                call.is_error = self.path.endswith("/error")
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()
                call.is_answered.set()

            def log_message(self, *_):
                pass

        return Handler


def clean_environment():
    """Our environment without what would lead a function to another store."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "ATOLL_", "PYTHON", "COV"))
    }
