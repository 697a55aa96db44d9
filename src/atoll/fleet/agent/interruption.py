"""Hears of EC2's interruption notice, and leaves it where every provider leaves it.

Source: EC2 user guide, Spot Instance interruption notices; it says to look every five seconds.
"""

from __future__ import annotations

import logging
import threading
from datetime import datetime
from pathlib import Path

import msgspec

from atoll.core.errors import NotFound, Unavailable
from atoll.core.files import whole_file
from atoll.fleet.codec import decode, encode
from atoll.fleet.providers.ec2.metadata import Metadata
from atoll.fleet.providers.facts import Notice

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
ENTRY = "spot/instance-action"


class Action(msgspec.Struct):
    """The notice: what will be done to the instance, and when."""

    action: str
    time: datetime


class Interruption(threading.Thread):
    """Looks until a notice comes."""

    def __init__(self, notice_file: Path, metadata: Metadata, look_s: float = LOOK_SECONDS) -> None:
        """Take where the notice goes, and where it comes from."""
        super().__init__(name="interruption", daemon=True)
        self._notice_file, self._metadata, self._look_s = notice_file, metadata, look_s
        self._pause = threading.Event()

    def run(self) -> None:
        """Look, and look again."""
        while not self._look():
            self._pause.wait(self._look_s)

    def _look(self) -> bool:
        try:
            said = self._metadata.get(ENTRY)
        except NotFound:
            return False
        except Unavailable as error:
            logger.warning("interruption notices not known error=%s", error)
            return False
        reclaim_at = decode(said, Action, what=ENTRY).time.timestamp()
        with whole_file(self._notice_file) as file:
            file.write(encode(Notice(reclaim_at)))
        logger.warning("spot capacity is taken back at=%.0f", reclaim_at)
        return True
