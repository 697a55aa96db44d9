"""Runs an instance's agent: `python -m atoll.fleet.agent FACTS`."""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from atoll.core.errors import AtollError
from atoll.fleet.agent.agent import Agent
from atoll.fleet.life.task import read_task
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
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        handlers=[handler],
    )
    logging.getLogger("kazoo").setLevel(logging.WARNING)
    Agent(facts, read_task(facts), path.parent).run()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except AtollError as error:
        sys.exit(f"agent: {error}")
