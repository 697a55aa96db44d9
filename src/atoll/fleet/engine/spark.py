"""Spark's master and worker on an instance: configuration and commands.

Source: Spark 4.3, "Spark Standalone Mode" and "Configuration".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.compute.java import Java
from atoll.compute.sparkhome import OPENING, spark_classpath
from atoll.compute.sparkmaster import MASTER_UI_PORT
from atoll.fleet.engine.daemon import Daemon
from atoll.fleet.engine.jars import scala_version
from atoll.fleet.engine.jvm import Memory, jvm_flags
from atoll.fleet.engine.logs import log4j2
from atoll.fleet.engine.place import Place
from atoll.fleet.engine.zookeeper import CLIENT_PORT, Peer

MASTER_PORT = 7077
WORKER_PORT = 7078
WORKER_UI_PORT = 8081
# A worker drains when it gets this signal: it takes no new task, moves its blocks away.
DRAIN_SIGNAL = "SIGPWR"
ZNODE = "/spark"

MASTER_MEMORY = Memory(heap=160, young=8, metaspace=128, direct=64)
WORKER_MEMORY = Memory(heap=128, young=8, metaspace=128, direct=64)
RECOVERY_SECONDS = 10
WORKER_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Capacity:
    """What a worker offers to executors; the worker's own JVM comes on top.

    Attributes:
        cores: tasks at once.
        memory_mib: for all executors together.
    """

    cores: int
    memory_mib: int


def master_url(primaries: Sequence[Peer]) -> str:
    """Say where drivers and workers find the master, whichever it is.

    >>> master_url([Peer(1, "10.0.0.4"), Peer(2, "10.0.0.5")])
    'spark://10.0.0.4:7077,10.0.0.5:7077'
    """
    return "spark://" + ",".join(f"{peer.address}:{MASTER_PORT}" for peer in primaries)


def master_daemon(place: Place, *, java: Java, home: Path) -> Daemon:
    """Configure the master on a primary: active or standby as ZooKeeper decides.

    It asks its own instance's server only: a master that loses its connection gives up its
    leadership, and whichever other server it had chosen could be lost without it.
    """
    options = {
        "spark.deploy.recoveryMode": "ZOOKEEPER",
        "spark.deploy.zookeeper.url": f"{place.address}:{CLIENT_PORT}",
        "spark.deploy.zookeeper.dir": ZNODE,
        "spark.deploy.recoveryTimeout": f"{RECOVERY_SECONDS}s",
        "spark.deploy.retainedApplications": 20,
        "spark.deploy.retainedDrivers": 20,
        "spark.worker.timeout": WORKER_TIMEOUT_SECONDS,
        "spark.master.rest.enabled": "false",
        "spark.ui.killEnabled": "false",
    }
    args = ["--host", place.address, "--port", str(MASTER_PORT)]
    args += ["--webui-port", str(MASTER_UI_PORT)]
    return _daemon("master", _MASTER, args, options, MASTER_MEMORY, place, java, home)


def worker_daemon(
    primaries: Sequence[Peer], place: Place, capacity: Capacity, *, java: Java, home: Path
) -> Daemon:
    """Configure the worker on a core or task node."""
    options = {
        "spark.decommission.enabled": "true",
        "spark.worker.decommission.signal": DRAIN_SIGNAL.removeprefix("SIG"),
        "spark.worker.timeout": WORKER_TIMEOUT_SECONDS,
        "spark.worker.cleanup.enabled": "true",
        "spark.worker.cleanup.interval": 300,
        "spark.worker.cleanup.appDataTtl": 3600,
        "spark.worker.ui.retainedExecutors": 50,
        "spark.worker.ui.retainedDrivers": 20,
        "spark.executor.logs.rolling.strategy": "size",
        "spark.executor.logs.rolling.maxSize": 1 << 20,
        "spark.executor.logs.rolling.maxRetainedFiles": 3,
    }
    args = ["--host", place.address, "--port", str(WORKER_PORT)]
    args += ["--webui-port", str(WORKER_UI_PORT), "--cores", str(capacity.cores)]
    args += ["--memory", f"{capacity.memory_mib}m", "--work-dir", str(place.disk / "work")]
    args.append(master_url(primaries))
    return _daemon("worker", _WORKER, args, options, WORKER_MEMORY, place, java, home)


_MASTER = "org.apache.spark.deploy.master.Master"
_WORKER = "org.apache.spark.deploy.worker.Worker"
# A daemon is at its port or not at all: by default Spark would take the next one.
_COMMON = {
    "spark.port.maxRetries": 0,
    "spark.rpc.netty.dispatcher.numThreads": 2,
    "spark.rpc.io.serverThreads": 2,
    "spark.rpc.io.clientThreads": 2,
}


def _daemon(
    name: str,
    main: str,
    args: Sequence[str],
    options: Mapping[str, object],
    memory: Memory,
    place: Place,
    java: Java,
    home: Path,
) -> Daemon:
    properties = place.conf / f"{name}.conf"
    log_config = place.conf / f"{name}-log4j2.properties"
    # The last argument of a worker is the master's; options come before it.
    argv = (
        str(java.program),
        *jvm_flags(memory, place, log_config),
        *OPENING,
        "-cp",
        spark_classpath(home),
        main,
        "--properties-file",
        str(properties),
        *args,
    )
    return Daemon(
        name=name,
        argv=argv,
        env=_environment(place, java, home),
        files={
            properties: "".join(
                f"{key} {value}\n" for key, value in {**_COMMON, **options}.items()
            ),
            log_config: log4j2(place.logs / f"{name}.log"),
        },
        folders=(place.logs, place.scratch, place.disk / "work", place.disk / "local"),
    )


def _environment(place: Place, java: Java, home: Path) -> dict[str, str]:
    # Executors inherit a worker's environment, and so do their Python processes.
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "JAVA_HOME": str(java.home),
        "SPARK_HOME": str(home),
        # Without it a worker looks for Spark's source tree, and starts no executor.
        "SPARK_SCALA_VERSION": scala_version(home),
        "SPARK_LOCAL_IP": place.address,
        "SPARK_PUBLIC_DNS": place.address,
        "SPARK_LOCAL_DIRS": str(place.disk / "local"),
        "MALLOC_ARENA_MAX": "1",
    }
