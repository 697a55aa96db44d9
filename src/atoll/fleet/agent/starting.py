"""Starts a step on a primary: its command, its environment, its folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from atoll.compute.java import find_java
from atoll.compute.sparkhome import spark_home
from atoll.fleet.agent.children import spawn
from atoll.fleet.agent.command import command_of
from atoll.fleet.agent.daemons import peers
from atoll.fleet.engine.spark import master_url
from atoll.fleet.life.records import Step
from atoll.fleet.life.task import AgentTask
from atoll.fleet.outputs import STDERR, STDOUT
from atoll.fleet.providers.facts import MachineFacts
from atoll.fleet.providers.reach import LOCAL


def start_step(
    task: AgentTask, facts: MachineFacts, step: Step, log: Path
) -> subprocess.Popen[bytes]:
    """Start a step.

    Args:
        task, facts: the primary.
        step: the step.
        log: the folder that gets what it prints.

    Raises:
        OSError: it cannot be started.
    """
    work = Path(facts.disk) / "steps" / step.id
    for folder in (log, work):
        folder.mkdir(parents=True, exist_ok=True)
    url = master_url(peers(task))
    argv = command_of(step.spec.args, url, task.spark_properties)
    env = _environment(task, facts, url)
    return spawn(argv, env=env, output=log / STDOUT, errors=log / STDERR, folder=work)


def _environment(task: AgentTask, facts: MachineFacts, url: str) -> dict[str, str]:
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
        **files,
    }
