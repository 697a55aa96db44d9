"""Class archives: what a JVM parses and verifies at each start is done once, and kept in a file.

Two thirds of what a daemon's start costs is loading classes. Java can keep them ("class data
sharing"): three ZooKeepers, three masters and a worker took 28 to 32 s of processor time to start
without archives, 15 to 19 s with them.
An archive fits one build of Java and one set of jars; Java itself refuses any other, and then
starts as slowly as without.
"""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from atoll.compute.java import Java
from atoll.core.errors import AtollError, Unavailable
from atoll.core.files import scratch_folder
from atoll.fleet.engine.daemon import Daemon
from atoll.fleet.engine.ensemble import write_marker
from atoll.fleet.engine.place import Place
from atoll.fleet.engine.spark import Capacity, master_daemon, worker_daemon
from atoll.fleet.engine.spark_probe import probe_worker
from atoll.fleet.engine.zookeeper import Peer, data_folder, zookeeper_daemon
from atoll.fleet.engine.zookeeper_probe import probe_zookeeper

_POLL_SECONDS = 0.1
# Of each daemon. A start takes 10 s; where so many others work that it takes longer, it is better
# to go on without archives than to have whoever waits for the host give up.
_DEADLINE_SECONDS = 90
ARCHIVES_VARIABLE = "ATOLL_CLASS_ARCHIVES"
"""Tells agents of a machine where its archives are."""
_NAMES = ("zookeeper", "master", "worker")


def archives_folder(cache: Path, *, java: Java, home: Path) -> Path:
    """Name the folder for the archives of this Java and these jars.

    Args:
        cache: a folder for what can be made again; several clusters may share it.
        java: what will read them.
        home: SPARK_HOME.
    """
    jars = sorted((jar.name, jar.stat().st_mtime_ns) for jar in (home / "jars").glob("*.jar"))
    told = repr((str(java.program), java.build, str(home), jars)).encode()
    return cache / f"classes-{hashlib.sha256(told).hexdigest()[:16]}"


def with_archive(daemon: Daemon, folder: Path) -> Daemon:
    """Let a daemon use its archive; where there is none, it starts without, only slower."""
    archive = folder / f"{daemon.name}.jsa"
    return _with_flags(daemon, f"-XX:SharedArchiveFile={archive}") if archive.exists() else daemon


def make_archives(folder: Path, *, address: str, java: Java, home: Path) -> None:
    """Run a cluster of one instance for some seconds, and keep the classes it loads.

    It takes about 20 s of processor time and 110 MB of disk. Whoever comes second in a race finds
    the other's archives; nobody ever sees half of one.

    Args:
        folder: as `archives_folder` names it; where it exists, nothing is done.
        address: a free one of this machine, for as long as this takes.
        java: what is run.
        home: SPARK_HOME.

    Raises:
        Unavailable: the cluster did not come up, or a daemon left no archive.
    """
    if folder.exists():
        return
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with scratch_folder(folder.parent, "classes") as scratch:
        made = scratch / "made"
        made.mkdir()
        place = Place(address, scratch / "instance")
        _train(made, place, java=java, home=home)
        # Another process may have been quicker: its archives are as good.
        with suppress(OSError):
            made.rename(folder)


def _train(made: Path, place: Place, *, java: Java, home: Path) -> None:
    peers = [Peer(1, place.address)]
    zookeeper = zookeeper_daemon(1, peers, place, java=java, home=home)
    write_marker(data_folder(place))
    with _recording(zookeeper, made):
        _until(lambda: probe_zookeeper(place.address).is_serving, "ZooKeeper", place)
        master = master_daemon(place, java=java, home=home)
        worker = worker_daemon(peers, place, Capacity(1, 1024), java=java, home=home)
        with _recording(master, made), _recording(worker, made):
            _until(lambda: bool(probe_worker(place.address).masterurl), "Spark", place)
    for name in _NAMES:
        if not (made / f"{name}.jsa").exists():
            raise Unavailable(f"{java.program} left no class archive of {name}; is the disk full?")


@contextmanager
def _recording(daemon: Daemon, made: Path) -> Iterator[None]:
    """Run a daemon; when it ends, it leaves its archive. It does not outlive this process."""
    told = _with_flags(daemon, f"-XX:ArchiveClassesAtExit={made}/{daemon.name}.jsa")
    daemon.prepare()
    process = subprocess.Popen(
        [*_dying_with_us(), *told.argv],
        env=dict(told.env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
        process.send_signal(signal.SIGTERM)
        process.wait(_DEADLINE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{daemon.name} did not end within {_DEADLINE_SECONDS} s") from error
    finally:
        process.kill()
        process.wait()


def _dying_with_us() -> list[str]:
    """Return the command before a command that has it killed when this process is."""
    # Of util-linux; a system without it leaves two or three JVMs behind where we are killed.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def _until(is_there: Callable[[], bool], what: str, place: Place) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    told = "it serves nobody"
    while time.monotonic() < deadline:
        try:
            if is_there():
                return
        except AtollError as error:
            told = error.message
        time.sleep(_POLL_SECONDS)
    raise Unavailable(
        f"{what} did not start within {_DEADLINE_SECONDS} s to have its classes archived: {told}",
        address=place.address,
    )


def _with_flags(daemon: Daemon, *flags: str) -> Daemon:
    program, *arguments = daemon.argv
    return replace(daemon, argv=(program, *flags, "-Xlog:disable", "-Xlog:all=error", *arguments))
