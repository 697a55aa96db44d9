"""The servers that tests use, for benches, and the `atoll` command in a process beside them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.measure import ROOT

# They import each other by their plain names.
sys.path.insert(0, str(ROOT / "tests"))
from aws_servers import deploy, ministack_server
from s3_proxy import proxied
from s3_servers import ceph_server, missing_ceph_programs

__all__ = ["Store", "absent", "ceph_server", "command", "deployed", "ministack_server", "proxied"]

PROGRAM = [sys.executable, "-c", "from atoll.app.main import main; main()"]
IMAGE = "registry.example/atoll:1"
HANDLER = "atoll.app.awslambda.handler"


@dataclass(frozen=True)
class Store:
    """How to reach an object store: what a process elsewhere is told, JSON-ready."""

    endpoint: str
    access_key_id: str
    secret_access_key: str

    @classmethod
    def of(cls, server: Any) -> Store:
        return cls(server.endpoint, server.access_key_id, server.secret_access_key)

    def environment(self, home: Path) -> dict[str, str]:
        """Say it to a command that runs alone at home, where its caches lie."""
        return {
            "HOME": str(home),
            "ATOLL_ENDPOINT": self.endpoint,
            "ATOLL_ALLOW_HTTP": "1",
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }


def absent() -> str:
    """Say what is missing for a real store and an emulator of AWS; empty where nothing is."""
    missing = [*missing_ceph_programs()]
    missing += [name for name in ("ministack", "awslambdaric") if find_spec(name) is None]
    return f"{', '.join(missing)} not installed" if missing else ""


def deployed(
    aws: Any, store: Store, template: str, home: Path, *, concurrency: int, disk_cache: bool
) -> Any:
    """Create a stack whose functions run as processes of this machine, at home.

    Returns:
        The stack, as `tests/aws_servers.py` describes it.
    """
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HOME")
    told = store.environment(home)
    return deploy(
        aws,
        template,
        handler=HANDLER,
        environment={key: told[key] for key in keys}
        | ({} if disk_cache else {"ATOLL_DISK_CACHE": "off"}),
        parameters={
            "S3Endpoint": store.endpoint,
            "S3AllowHttp": "true",
            "MaxConcurrency": concurrency,
        },
    )


def command(*words: Any, environment: Mapping[str, str]) -> tuple[str, str, float]:
    """Run `atoll` in a process of its own, which has to succeed.

    Returns:
        What it printed, what it said besides, and seconds from its start to its end.
    """
    began = time.perf_counter()
    done = subprocess.run(
        [*PROGRAM, *map(str, words)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    took = time.perf_counter() - began
    if done.returncode:
        raise AssertionError(f"atoll {' '.join(map(str, words))}: {done.stderr}")
    return done.stdout, done.stderr, took
