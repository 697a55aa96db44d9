"""Finds a cluster by the URL of its masters: which one is active, what its workers offer."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from atoll.compute.port import Room
from atoll.compute.sparkmaster import MASTER_UI_PORT, MasterHealth, SeenWorker, probe_master
from atoll.core.errors import AtollError, InvalidInput, Unavailable

# Of each worker's memory, the JVM through which Spark reaches its Python processes.
EXECUTOR_MIB = 512
# A master that was lost is followed within seconds; a cluster that starts needs longer.
FIND_SECONDS = 60.0
_POLL_SECONDS = 0.5
_LEAST_TASK_MIB = 256
_URL = re.compile(r"spark://([\w.-]+:\d+(?:,[\w.-]+:\d+)*)", re.ASCII)


@dataclass(frozen=True)
class Cluster:
    """What a master knows of its workers.

    Attributes:
        cores: of all workers.
        room: what tasks may use of them.
    """

    cores: int
    room: Room


def masters_of(url: str) -> list[tuple[str, int]]:
    """Read "spark://host:port,host:port".

    Raises:
        InvalidInput: it is written otherwise.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise InvalidInput(
            f"{url!r} does not name Spark's masters; write spark://host:7077,host:7077", url=url
        )
    pairs = [each.rpartition(":") for each in found[1].split(",")]
    return [(host, int(port)) for host, _, port in pairs]


def find_cluster(url: str, *, wait_s: float = FIND_SECONDS) -> Cluster:
    """Ask the active one of a cluster's masters what there is.

    Args:
        url: of all masters.
        wait_s: how long there may be no active master, or no worker.

    Raises:
        InvalidInput: the URL is none.
        Unavailable: there was none for all that time.
    """
    hosts = [host for host, _ in masters_of(url)]
    deadline = time.monotonic() + wait_s
    while True:
        told, workers = _look(hosts)
        if workers:
            return described(workers)
        if time.monotonic() >= deadline:
            raise Unavailable(
                f"{url} has no worker to work with: {told}; see whether the cluster runs", url=url
            )
        time.sleep(_POLL_SECONDS)


def described(workers: Sequence[SeenWorker]) -> Cluster:
    """Add up workers; a task gets the least that a core of any has.

    >>> described([SeenWorker("w", "10.0.0.9", "ALIVE", 4, 0, 8704, 0)])
    Cluster(cores=4, room=Room(threads=4, memory_bytes=8589934592))
    """
    cores = sum(worker.cores for worker in workers)
    least = min((worker.memory - EXECUTOR_MIB) // worker.cores for worker in workers)
    return Cluster(cores, Room(cores, max(_LEAST_TASK_MIB, least) * cores << 20))


def own_address(url: str) -> str:
    """Return the address of this machine under which the cluster reaches it.

    Raises:
        Unavailable: there is no way to any master from here.
    """
    told = []
    for host, port in masters_of(url):
        try:
            # Nothing is sent: the system only chooses a way.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
                way.connect((host, port))
                return str(way.getsockname()[0])
        except OSError as error:
            told.append(f"{host}: {error}")
    raise Unavailable(f"no master of {url} can be reached: {'; '.join(told)}", url=url)


def _look(hosts: Sequence[str]) -> tuple[str, list[SeenWorker]]:
    """Ask each master; say why there are no workers."""
    told = []
    for host in hosts:
        try:
            health = probe_master(host)
        except AtollError as error:
            told.append(error.message)
            continue
        if workers := _alive(health):
            return "", workers
        what = "has no worker" if health.is_active else "waits"
        told.append(f"the master at {host}:{MASTER_UI_PORT} is {health.status} and {what}")
    return "; ".join(told), []


def _alive(health: MasterHealth) -> list[SeenWorker]:
    if not health.is_active:
        return []
    return [each for each in health.workers if each.state == "ALIVE" and each.cores > 0]
