"""Runs an instance's agent: `python -m atoll.fleet.agent FACTS`."""

from __future__ import annotations

import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from atoll.core.errors import AtollError
from atoll.fleet.agent.agent import Agent
from atoll.fleet.agent.daemons import Setting
from atoll.fleet.engine.archives import ARCHIVES_VARIABLE
from atoll.fleet.life.task import read_task
from atoll.fleet.outputs import LOG_FORMAT
from atoll.fleet.providers.facts import read_facts

_LOG_BYTES = 1 << 20


def main(path: Path) -> None:
    """Run until the machine ends."""
    facts = read_facts(path)
    log = Path(facts.disk) / "logs" / "agent.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(log, maxBytes=_LOG_BYTES, backupCount=2, delay=True)
    logging.basicConfig(
        level=logging.INFO,
        format=LOG_FORMAT,
        handlers=[handler],
    )
    logging.getLogger("kazoo").setLevel(logging.WARNING)
    archives = os.environ.get(ARCHIVES_VARIABLE)
    marker = {key: value for key, value in os.environ.items() if key.startswith("ATOLL_")}
    task = read_task(facts)
    setting = Setting(facts, task, marker, Path(archives) if archives else None)
    Agent(setting, path.parent).run()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except AtollError as error:
        sys.exit(f"agent: {error}")
