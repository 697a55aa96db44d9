"""A primary's candidacy for controller: elected by kazoo's recipe, one of the primaries leads."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from atoll.core.errors import AtollError
from atoll.fleet.agent.daemons import peers
from atoll.fleet.engine.client import ensemble_client
from atoll.fleet.engine.zookeeper import connect_string
from atoll.fleet.life.controller import Controller
from atoll.fleet.life.store import ELECTION, ClusterStore
from atoll.fleet.life.task import AgentTask
from atoll.fleet.providers.reach import reach

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5
SESSION_SECONDS = 2.0


class Candidate(threading.Thread):
    """Stands for election as long as the agent lives."""

    def __init__(self, task: AgentTask, machine_id: str) -> None:
        """Take what the cluster is, and the machine this runs on."""
        super().__init__(name="candidate", daemon=True)
        self._task, self._machine_id = task, machine_id

    def run(self) -> None:
        """Stand, lead, stand again."""
        while True:
            # Its own session, shorter than the agent's: a successor soon takes over from a dead
            # controller, while steps do not move for a hiccup.
            hosts = connect_string(peers(self._task))
            client = ensemble_client(hosts, session_s=SESSION_SECONDS, most_pause_s=PAUSE_SECONDS)
            client.start_async()
            try:
                self._stand(client)
            except (KazooException, KazooTimeoutError, AtollError) as error:
                logger.warning("candidacy ended error=%s", error)
            except Exception:
                # A round gone wrong must not cost the cluster its controller: it stands again.
                logger.exception("candidacy ended")
            # A turn in the queue whose end is not certain ends with its session: others, and we
            # ourselves, would wait for it for ever.
            with suppress(KazooException):
                client.stop()
                client.close()
            time.sleep(PAUSE_SECONDS)

    def _stand(self, client: KazooClient) -> None:
        while True:
            while not client.connected:
                time.sleep(PAUSE_SECONDS / 5)
            client.Election(ELECTION, self._machine_id).run(self._lead, client)
            time.sleep(PAUSE_SECONDS)

    def _lead(self, client: KazooClient) -> None:
        # What is not certain is not led: a suspended session may already be somebody else's turn.
        session = client.client_id

        def is_leading() -> bool:
            return bool(client.state == KazooState.CONNECTED and client.client_id == session)

        provider = reach(self._task.provider)
        controller = Controller(ClusterStore(client), provider, self._machine_id)
        controller.run(self._task.founding, is_leading)
