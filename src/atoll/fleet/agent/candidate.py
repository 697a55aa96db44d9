"""A primary's candidacy for controller: elected by kazoo's recipe, one of the primaries leads."""

from __future__ import annotations

import logging
import threading
import time

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from atoll.core.errors import AtollError
from atoll.fleet.life.controller import Controller
from atoll.fleet.life.store import ELECTION, ClusterStore
from atoll.fleet.life.task import AgentTask
from atoll.fleet.providers.reach import reach

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5


class Candidate(threading.Thread):
    """Stands for election as long as the agent lives."""

    def __init__(self, client: KazooClient, task: AgentTask, machine_id: str) -> None:
        """Take a started client of the cluster's ensemble."""
        super().__init__(name="candidate", daemon=True)
        self._client, self._task, self._machine_id = client, task, machine_id
        self.is_controller = False

    def run(self) -> None:
        """Stand, lead, stand again."""
        while True:
            try:
                self._client.Election(ELECTION, self._machine_id).run(self._lead)
            except (KazooException, KazooTimeoutError, AtollError) as error:
                logger.warning("candidacy ended error=%s", error)
            time.sleep(PAUSE_SECONDS)

    def _lead(self) -> None:
        # What is not certain is not led: a suspended session may already be somebody else's turn.
        session = self._client.client_id

        def is_leading() -> bool:
            is_connected = self._client.state == KazooState.CONNECTED
            return bool(is_connected and self._client.client_id == session)

        self.is_controller = True
        try:
            provider = reach(self._task.provider)
            controller = Controller(ClusterStore(self._client), provider, self._machine_id)
            controller.run(self._task.founding, is_leading)
        finally:
            self.is_controller = False
