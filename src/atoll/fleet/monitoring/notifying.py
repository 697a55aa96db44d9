"""Sends notifications of alarms until each has arrived, or was tried often enough.

They are taken from the host's file, so a restart loses none; one that arrived just before a crash
is sent again, with the same id. A target that is slow or down holds up no other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from atoll.core.errors import AtollError
from atoll.fleet.monitoring.alarmstore import AlarmStore, Entry, Notification

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
FIRST_BACKOFF_SECONDS = 2.0
MOST_BACKOFF_SECONDS = 3600.0
MOST_ATTEMPTS = 20
"""With the pauses between, about nine hours."""
SENDERS = 4
Send = Callable[[Notification], None]


def backoff(attempts: int) -> float:
    """Return the seconds to wait after so many tries.

    >>> [backoff(attempts) for attempts in (1, 2, 3, 20)]
    [2.0, 4.0, 8.0, 3600.0]
    """
    return min(FIRST_BACKOFF_SECONDS * 2.0 ** (attempts - 1), MOST_BACKOFF_SECONDS)


class Notifier:
    """One host's."""

    def __init__(
        self, store: AlarmStore, send: Send, pause: Callable[[int], float] = backoff
    ) -> None:
        """Take where notifications wait, what sends one, and how long to wait after tries.

        Args:
            store: where they wait.
            send: returns once it has arrived, raises `AtollError` where it has not.
            pause: seconds after so many tries.
        """
        self._store, self._send, self._pause = store, send, pause
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End `run`; what was not sent waits for the next start."""
        self._stopping.set()

    def run(self) -> None:
        """Send what is due again and again, until `stop` is called."""
        with ThreadPoolExecutor(SENDERS, "notify") as senders:
            while not self._stopping.is_set():
                try:
                    self._begin(senders)
                except AtollError as error:
                    logger.warning("notifications not looked for error=%s", error)
                self._stopping.wait(LOOK_SECONDS)

    def _begin(self, senders: ThreadPoolExecutor) -> None:
        by_target: dict[str, list[tuple[int, Notification]]] = {}
        for number, one in self._store.due(time.time()):
            by_target.setdefault(one.target, []).append((number, one))
        with self._lock:
            free = by_target.keys() - self._busy
            self._busy |= free
        for target in free:
            senders.submit(self._send_all, target, by_target[target])

    def _send_all(self, target: str, waiting: list[tuple[int, Notification]]) -> None:
        try:
            for number, one in waiting:
                if self._stopping.is_set() or not self._send_one(number, one):
                    return
        except AtollError as error:
            logger.warning("notification not settled error=%s", error)
        finally:
            with self._lock:
                self._busy.discard(target)

    def _send_one(self, number: int, one: Notification) -> bool:
        attempts = one.attempts + 1
        try:
            self._send(one)
        except AtollError as error:
            self._failed(number, replace(one, attempts=attempts), error.message)
            return False
        except Exception as error:
            # Whatever it is: untold and uncounted it would be tried each second for ever.
            logger.exception("notification failed alarm=%s", one.alarm_name)
            self._failed(
                number, replace(one, attempts=attempts), f"{type(error).__name__}: {error}"
            )
            return False
        self._settled(number, one, f"Successfully notified {one.target}")
        return True

    def _failed(self, number: int, one: Notification, why: str) -> None:
        # Not the target: a webhook's path may be a secret.
        logger.warning(
            "notification not sent alarm=%s attempts=%d error=%s", one.alarm_name, one.attempts, why
        )
        if one.attempts >= MOST_ATTEMPTS:
            said = f"Failed to notify {one.target}, given up after {one.attempts} tries: {why}"
            self._settled(number, one, said)
            return
        self._store.postpone(number, one, time.time() + self._pause(one.attempts))

    def _settled(self, number: int, one: Notification, summary: str) -> None:
        facts = {"target": one.target, "id": one.id, "subject": one.subject}
        entry = Entry(one.alarm_name, time.time(), "Action", summary[:255], facts)
        self._store.settle(number, entry)
