"""The folder of a fleet host, and how its server is found and started."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from atoll.core.errors import NotFound, Unavailable
from atoll.core.files import reading, whole_file, writing
from atoll.fleet.codec import decode, encode
from atoll.fleet.providers.local.inventory import Process
from atoll.fleet.providers.local.processes import is_running

SERVING = "serve.json"
SETTINGS = "host.json"
LOG = "serve.log"
START_SECONDS = 300.0
OTHER_SECONDS = 5.0


@dataclass(frozen=True)
class HostSettings:
    """What a host keeps from its first start on.

    Attributes:
        provider: "netns", "loopback" or "ec2".
        region: of EC2.
        ec2: its settings; see `HostOptions`.
        token: as whom the command line asks.
        access_key, secret_key: as whom AWS's clients sign.
        cloud_token: as whom the clusters' controllers ask the local cloud.
        cloud_port: where it listens; clusters remember it.
    """

    provider: str
    region: str
    token: str
    cloud_token: str
    access_key: str
    secret_key: str
    cloud_port: int = 0
    ec2: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Serving:
    """A server under way.

    Attributes:
        url: where it listens.
        pid: its process.
        started_ticks: when that began; a later process may get the same number.
    """

    url: str
    pid: int
    started_ticks: int

    @property
    def is_running(self) -> bool:
        """Whether this very process lives."""
        return is_running(Process(self.pid, self.started_ticks))


def settings_of(home: Path, provider: str, region: str) -> HostSettings:
    """Return a host's settings; they are made at the first start, with tokens of their own."""
    path = home / SETTINGS
    if path.exists():
        with reading(path):
            return decode(path.read_bytes(), HostSettings, what=str(path))
    settings = HostSettings(
        provider,
        region,
        token=secrets.token_urlsafe(32),
        cloud_token=secrets.token_urlsafe(32),
        access_key=f"ATOLL{secrets.token_hex(8).upper()}",
        secret_key=secrets.token_urlsafe(32),
    )
    keep_settings(home, settings)
    return settings


def keep_settings(home: Path, settings: HostSettings) -> None:
    """Write a host's settings; only its owner may read them."""
    with writing(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with whole_file(home / SETTINGS) as file:
        # It holds tokens, and the folder may have been there before, readable for all.
        os.fchmod(file.fileno(), 0o600)
        file.write(encode(settings))


def serving(home: Path) -> Serving | None:
    """Return the server of a home; None: none runs."""
    path = home / SERVING
    try:
        found = decode(path.read_bytes(), Serving, what=str(path))
    except FileNotFoundError:
        return None
    return found if found.is_running else None


def token_of(home: Path) -> str:
    """Return the token of a home's server.

    Raises:
        NotFound: no server ever ran there.
    """
    return _kept(home).token


def keys_of(home: Path) -> tuple[str, str]:
    """Return the access key of a home's server, and its secret.

    Raises:
        NotFound: no server ever ran there.
    """
    settings = _kept(home)
    return settings.access_key, settings.secret_key


def provider_of(home: Path) -> str:
    """Return the provider of a home: "netns", "loopback" or "ec2".

    Raises:
        NotFound: no server ever ran there.
    """
    return _kept(home).provider


def _kept(home: Path) -> HostSettings:
    path = home / SETTINGS
    if not path.exists():
        raise NotFound(f"there is no fleet host in {home}; start one: atoll fleet serve")
    with reading(path):
        return decode(path.read_bytes(), HostSettings, what=str(path))


def start(home: Path, *args: str) -> Serving:
    """Start a home's server in the background, and wait until it answers.

    Raises:
        Unavailable: it ended, or did not answer in time; the message ends with what it said.
    """
    with writing(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "atoll", "fleet", "serve", "--home", str(home), *args]
    log = home / LOG
    with writing(log), log.open("ab") as out:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = serving(home)
        # Another command may have started one at the same time; one of the two serves.
        if found is not None:
            return found
        if process.poll() is not None:
            deadline = min(deadline, time.monotonic() + OTHER_SECONDS)
        time.sleep(0.05)
    # What comes too late must not hold the home against whoever tries again.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    told = log.read_text(errors="replace")[-600:].strip()
    raise Unavailable(f"the fleet host in {home} did not start: {told}", log=str(log))
