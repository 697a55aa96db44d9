"""How our daemons use Java: bounded memory, few threads, no file outside the instance's disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from atoll.fleet.engine.place import Place


@dataclass(frozen=True)
class Memory:
    """Bounds of one JVM, in MiB.

    Attributes:
        heap: objects, at most; it begins with a tenth and shrinks again.
        young: of the heap, for new objects. Small: an idle daemon fills it, whatever its size.
        metaspace: classes; they are most of an idle daemon.
        direct: buffers outside the heap.
    """

    heap: int
    young: int
    metaspace: int
    direct: int


def jvm_flags(memory: Memory, place: Place, log_config: Path) -> tuple[str, ...]:
    """List the flags that every daemon of ours gets; a daemon that runs out of memory exits."""
    hosts = [f"-Djdk.net.hosts.file={place.hosts_file}"] if place.hosts_file else []
    return (
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={place.logs}/hs_err_%p.log",
        f"-Xmx{memory.heap}m",
        f"-Xms{memory.heap // 10}m",
        f"-Xmn{memory.young}m",
        "-XX:MinHeapFreeRatio=10",
        "-XX:MaxHeapFreeRatio=30",
        "-XX:ReservedCodeCacheSize=32m",
        f"-XX:MaxMetaspaceSize={memory.metaspace}m",
        f"-XX:MaxDirectMemorySize={memory.direct}m",
        "-Xss512k",
        "-Djava.net.preferIPv4Stack=true",
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={place.scratch}",
        f"-Dlog4j2.configurationFile={log_config.as_uri()}",
        *hosts,
    )
