"""A driver: this process's application on a Spark cluster, started when first needed.

One task is one Spark job of one attempt, so that whatever becomes of it ends nothing else. Tasks
travel through Spark's own connections; of what we are told to keep secret (keys of stores) nothing
is in a property, an environment or a log.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll.compute import sparkworker
from atoll.compute.sparkcluster import EXECUTOR_MIB
from atoll.compute.sparkjvm import DriverJvm
from atoll.core.errors import Conflict, Unavailable
from atoll.core.files import scratch_folder

logger = logging.getLogger(__name__)
# It tells of each connection it closes.
logging.getLogger("py4j").setLevel(logging.WARNING)

_TOLD_CHARACTERS = 500


class ProcessLost(Exception):
    """An attempt ended without an answer: its machine, or Spark's processes on it, are gone."""


class Cancelled(Exception):
    """An attempt was cancelled by us."""


@dataclass(frozen=True)
class DriverOptions:
    """How a driver is set up.

    Attributes:
        master: URL of all masters.
        name: by which the cluster's pages show it.
        address: of this machine, for the cluster.
        python: Python on the cluster's machines.
        shares_files: whether those see the files of this one.
        scratch: folder for the driver's files; None is the system's temporary folder.
        environment: where Java is looked for.
    """

    master: str
    name: str
    address: str
    python: str
    shares_files: bool
    scratch: Path | None
    environment: Mapping[str, str]

    def properties(self, folder: Path) -> dict[str, str]:
        """List what Spark is told; it is no secret."""
        return {
            "spark.master": self.master,
            "spark.app.name": self.name,
            "spark.submit.deployMode": "client",
            "spark.driver.host": self.address,
            "spark.driver.bindAddress": self.address,
            "spark.local.dir": str(folder),
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.dynamicAllocation.enabled": "false",
            "spark.decommission.enabled": "true",
            "spark.locality.wait": "0s",
            "spark.task.cpus": "1",
            # We count attempts, by what ended them.
            "spark.task.maxFailures": "1",
            "spark.excludeOnFailure.enabled": "false",
            # One executor for each worker, with all of its cores; tasks live outside its JVM.
            "spark.executor.memory": f"{EXECUTOR_MIB}m",
            "spark.executor.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 "
            "-XX:-UsePerfData",
            # Lance takes seconds to import.
            "spark.python.worker.reuse": "true",
        }

    def tasks_environment(self) -> dict[str, str]:
        """List what tasks find in their environment; it is no secret either."""
        shown = {"LANCE_LOG": "error"}
        if self.shares_files:
            shown["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        return shown


class Driver:
    """A running application."""

    def __init__(self, options: DriverOptions) -> None:
        """Start it, and register with the active master.

        Raises:
            Unavailable: Java or Spark is missing, or no master takes us.
            Conflict: this process has a Spark application already.
        """
        self._options = options
        with ExitStack() as opened:
            folder = opened.enter_context(scratch_folder(options.scratch, "spark"))
            path = list(sys.path)
            self._context = _context(options, folder, opened)
            # Pyspark puts a folder for files of its own there.
            sys.path[:] = path
            self._opened = opened.pop_all()
        logger.info("spark application started master=%s", options.master)

    def attempt(self, packed: bytes, group: str) -> sparkworker.Answer:
        """Have a task tried once; called by many threads at a time.

        Args:
            packed: the task.
            group: what `cancel` calls it by.

        Raises:
            ProcessLost: it may be tried again.
            Unavailable: no task can run: the application has ended, or instances lack Atoll.
        """
        from py4j.protocol import Py4JError

        try:
            self._context.setJobGroup(group, "atoll", interruptOnCancel=True)
            rows = self._context.parallelize([packed], 1).mapPartitions(sparkworker.attempt)
            [answer] = rows.collect()
        except (Py4JError, OSError, EOFError) as error:
            raise self._explained(error) from error
        return answer  # type: ignore[no-any-return]  # pyspark's types are not read

    def cancel(self, group: str) -> None:
        """End the tasks of a group, those too that are yet to come."""
        from py4j.protocol import Py4JError

        with suppress(Py4JError, OSError):
            self._context._jsc.sc().cancelJobGroupAndFutureJobs(group, "cancelled by its caller")

    @property
    def executors(self) -> int:
        """How many executors there are."""
        # The driver is among them.
        return int(self._context._jsc.sc().getExecutorMemoryStatus().size()) - 1

    def close(self) -> None:
        """End the application; its executors end with it."""
        self._opened.close()

    def _explained(self, error: Exception) -> Exception:
        told = _reason(error)
        if "cancelled by its caller" in told or "part of cancelled job group" in told:
            return Cancelled(told)
        if self._has_ended():
            return Unavailable(
                f"the application on {self._options.master} has ended: {told}; see whether the "
                "cluster runs, and start again"
            )
        if "PythonException" in told or "Cannot run program" in told:
            return Unavailable(
                f"the cluster's machines cannot run tasks of Atoll: {told}; there must be the same "
                f"version of Atoll for {self._options.python} on each of them"
            )
        return ProcessLost(told)

    def _has_ended(self) -> bool:
        from py4j.protocol import Py4JError

        try:
            return bool(self._context._jsc.sc().isStopped())
        except (Py4JError, OSError):
            return True


def _context(options: DriverOptions, folder: Path, opened: ExitStack) -> Any:
    """Start the JVM and the application in it; `opened` ends both."""
    try:
        from py4j.protocol import Py4JError
        from pyspark.conf import SparkConf
        from pyspark.core.context import SparkContext
    except ImportError as error:
        raise Unavailable("Spark's Python package is missing; install atoll[fleet]") from error
    if SparkContext._gateway is not None:
        raise Conflict(
            "this process has a Spark application already; a process can have one at a time: "
            "close the other first"
        )
    jvm = DriverJvm(folder, options.address, options.environment)
    opened.callback(jvm.end)
    opened.callback(_forget, SparkContext)
    gateway = jvm.connect()
    opened.callback(_hang_up, gateway)
    conf = SparkConf(loadDefaults=False)
    for name, value in options.properties(folder).items():
        conf.set(name, value)
    try:
        with _own_interrupts():
            context = SparkContext(
                conf=conf, gateway=gateway, environment=options.tasks_environment()
            )
    except (Py4JError, OSError) as error:
        raise Unavailable(
            f"no application could be started on {options.master}: {_reason(error)} {jvm.said()}"
        ) from error
    opened.callback(context.stop)
    context.pythonExec = options.python
    return context


def _forget(kind: Any) -> None:
    """Have pyspark forget a JVM that ends, so that it takes the next one."""
    kind._gateway = kind._jvm = None


def _hang_up(gateway: Any) -> None:
    gateway.shutdown()


@contextmanager
def _own_interrupts() -> Iterator[None]:
    """Keep Ctrl-C ours: pyspark takes it over."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _reason(error: Exception) -> str:
    """Tell in one line what Spark's long errors say."""
    raised = getattr(error, "java_exception", None)
    told = str(error)
    if raised is not None:
        with suppress(Exception):
            told = str(raised.getMessage())
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("at ", "File ", "Traceback"))]
    shown = [kept[0], *(line for line in kept[1:] if "Error: " in line)] if kept else [told]
    return " ".join(dict.fromkeys(shown))[:_TOLD_CHARACTERS]
