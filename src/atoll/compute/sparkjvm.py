"""The JVM of a Spark driver: started here, found by pyspark, gone with us.

Started by `java` itself, not by Spark's script, which would hand on our whole environment, keys of
stores included, and show what it finds there.
"""

from __future__ import annotations

import struct
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atoll.compute.java import find_java
from atoll.compute.sparkhome import OPENING, spark_classpath, spark_home
from atoll.core.errors import Unavailable

HEAP_MIB = 512
START_SECONDS = 120.0
_POLL_SECONDS = 0.05
_END_SECONDS = 5.0
_TOLD_BYTES = 500
_INHERITED = ("PATH", "LANG", "TZ")
_QUIET = """\
status = error
appender.file.type = File
appender.file.name = file
appender.file.fileName = {log}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{HH:mm:ss.SSS}} %p %c{{1}} %m%n%ex{{5}}
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
"""


class DriverJvm:
    """A JVM that pyspark can talk to."""

    def __init__(self, folder: Path, address: str, environment: Mapping[str, str]) -> None:
        """Start it.

        Args:
            folder: for its files; only we may read it.
            address: the machine's, for the cluster.
            environment: where Java is looked for; of all else only paths and language are handed
                on.

        Raises:
            Unavailable: Java or Spark is missing, or it does not start.
        """
        java, home = find_java(environment), spark_home()
        self._log = folder / "driver.log"
        told = folder / "port"
        config = folder / "log4j2.properties"
        config.write_text(_QUIET.format(log=self._log))
        argv = [
            str(java.program),
            *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"),
            *(f"-Xmx{HEAP_MIB}m", "-Xss1m", "-Djava.net.preferIPv4Stack=true"),
            *(f"-Djava.io.tmpdir={folder}", f"-Dlog4j2.configurationFile={config.as_uri()}"),
            *OPENING,
            *("-cp", spark_classpath(home), "org.apache.spark.api.python.PythonGatewayServer"),
        ]
        env = {name: environment[name] for name in _INHERITED if name in environment} | {
            "JAVA_HOME": str(java.home),
            "SPARK_HOME": str(home),
            "SPARK_LOCAL_IP": address,
            "_PYSPARK_DRIVER_CONN_INFO_PATH": str(told),
            "MALLOC_ARENA_MAX": "1",
        }
        with self._log.open("ab") as log:
            # It ends when the other end of its input does: with this process at the latest. A
            # session of its own, so that Ctrl-C reaches only us.
            self._process = subprocess.Popen(
                argv,
                env=env,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
            )
        try:
            self._port, self._secret = self._await(told)
        except BaseException:
            self.end()
            raise

    def connect(self) -> Any:
        """Return pyspark's gateway to it."""
        from py4j.clientserver import ClientServer, JavaParameters, PythonParameters
        from py4j.java_gateway import java_import

        gateway = ClientServer(
            java_parameters=JavaParameters(
                port=self._port, auth_token=self._secret, auto_convert=True
            ),
            python_parameters=PythonParameters(port=0, eager_load=False),
        )
        gateway.proc = self._process
        for names in ("SparkConf", "api.java.*", "api.python.*", "resource.*"):
            java_import(gateway.jvm, f"org.apache.spark.{names}")
        return gateway

    def end(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def said(self) -> str:
        """Return the end of its log."""
        return self._log.read_bytes()[-_TOLD_BYTES:].decode(errors="replace").strip()

    def _await(self, told: Path) -> tuple[int, str]:
        deadline = time.monotonic() + START_SECONDS
        while not told.exists():
            if self._process.poll() is not None:
                raise Unavailable(f"Spark's driver did not start: {self.said()}")
            if time.monotonic() >= deadline:
                raise Unavailable(f"Spark's driver did not start within {START_SECONDS:g} s")
            time.sleep(_POLL_SECONDS)
        # It appears under its name when it is whole.
        data = told.read_bytes()
        port, length = struct.unpack_from(">ii", data)
        told.unlink()
        return port, data[8 : 8 + length].decode()
