"""Starts a step on a primary: its command, its environment, its folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from atoll.compute.java import find_java
from atoll.compute.sparkhome import spark_home
from atoll.fleet.agent.command import command_of
from atoll.fleet.agent.daemons import peers
from atoll.fleet.agent.work import Work, most_bytes
from atoll.fleet.engine.spark import master_url
from atoll.fleet.life.records import Step
from atoll.fleet.life.store import ClusterStore
from atoll.fleet.life.task import AgentTask
from atoll.fleet.providers.facts import MachineFacts
from atoll.fleet.providers.reach import LOCAL


def work_folder(disk: Path, step_id: str, attempt: int) -> Path:
    """Return where an attempt at a step runs; what it leaves there goes when it ends."""
    return disk / "steps" / f"{step_id}-{attempt}"


def start_step(
    task: AgentTask, facts: MachineFacts, store: ClusterStore, step: Step, log: Path
) -> Work:
    """Start a step.

    Args:
        task, facts: the primary.
        store: knows the cluster's name.
        step: the step.
        log: the folder that gets what it prints.

    Raises:
        OSError: it cannot be started.
    """
    folder = work_folder(Path(facts.disk), step.id, step.attempts)
    for one in (log, folder):
        one.mkdir(parents=True, exist_ok=True)
    url = master_url(peers(task))
    argv = command_of(step.spec.args, url, task.spark_properties)
    found = store.desired()
    env = _environment(task, facts, url, found[0].spec.name if found else "")
    return Work(argv, env=env, output=log, most=most_bytes(facts.disk_bytes), folder=folder)


def _environment(task: AgentTask, facts: MachineFacts, url: str, name: str) -> dict[str, str]:
    # A local cloud's machines are folders of one machine.
    files = {"ATOLL_SPARK_FILES": "shared"} if task.provider.name == LOCAL else {}
    binaries = f"{Path(sys.executable).parent}:{spark_home() / 'bin'}"
    return {
        **os.environ,
        "PATH": f"{binaries}:{os.environ.get('PATH', '')}",
        "JAVA_HOME": str(find_java(os.environ).home),
        "SPARK_HOME": str(spark_home()),
        "SPARK_LOCAL_IP": facts.private_ip,
        "PYSPARK_PYTHON": sys.executable,
        "ATOLL_SPARK_MASTER": url,
        "ATOLL_CLUSTER_ID": task.cluster_id,
        "ATOLL_CLUSTER_NAME": name,
        **files,
    }
