"""What operations and jobs need of the world outside the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from atoll.compute.port import Executor
from atoll.core.config import MailServer, StorageOptions
from atoll.core.errors import Unavailable
from atoll.mesh.harvest.model import CollectionReader
from atoll.mesh.model.organisation import Association
from atoll.messages.addresses import Network


@dataclass(frozen=True)
class Tools:
    """What one server has at hand.

    Attributes:
        home: its folder.
        executor: processes of its own, in which foreign files are read.
        collections: knows vector collections; None: they are not read.
        credentials: how to reach a store, by the names that associations give.
        mail: through what it sends mail; None: it sends none.
        webhook_networks: where webhooks may go besides public addresses.
    """

    home: Path
    executor: Executor
    collections: CollectionReader | None = None
    credentials: Mapping[str, StorageOptions] = field(default_factory=dict)
    mail: MailServer | None = None
    webhook_networks: tuple[Network, ...] = ()

    def options_of(self, storage: Association) -> StorageOptions:
        """Return how to reach what lies in an associated storage.

        Raises:
            Unavailable: the server has no credentials of that name.
        """
        if not storage.credentials:
            return StorageOptions()
        found = self.credentials.get(storage.credentials)
        if found is None:
            raise Unavailable(
                f"the server has no credentials called '{storage.credentials}', which "
                f"'{storage.name}' needs; an administrator adds them to its settings"
            )
        return found
