"""What operations and jobs need of the world outside the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore
from typing import BinaryIO

from atoll.compute.port import Executor
from atoll.core.config import MailServer, StorageOptions
from atoll.core.errors import Unavailable
from atoll.core.files import writing
from atoll.mesh.audit.keys import Key
from atoll.mesh.harvest.model import CollectionReader
from atoll.mesh.identity.throttle import Throttle
from atoll.mesh.model.organisation import Association
from atoll.mesh.model.record import new_id
from atoll.mesh.operations.entries import Indexed
from atoll.mesh.operations.indexing import Indexer
from atoll.mesh.operations.names import Names
from atoll.mesh.operations.visibility import Visibility
from atoll.messages.addresses import Network
from atoll.storage import Storage

FILES_FOLDER = "sending"
SCANS_AT_ONCE = 4


@dataclass(frozen=True)
class Sealing:
    """What the audit is sealed with.

    Attributes:
        key: the one in force.
        anchors: a storage outside the database, where the chain's end is written down.
    """

    key: Key
    anchors: Storage


@dataclass(frozen=True)
class Tools:
    """What one server has at hand.

    Attributes:
        home: its folder.
        sealing: what the audit is sealed with.
        indexers: have the search indexes, by what is searched for; see `operations.indexing`.
        executor: processes of its own, in which foreign files are read.
        collections: knows vector collections; None: they are not read.
        credentials: how to reach a store, by the names that associations give.
        throttle: slows down whoever guesses.
        mail: through what it sends mail; None: it sends none.
        webhook_networks: where webhooks may go besides public addresses.
        visibility: remembers which classes of things people may see.
        names: remembers what projects and domain units are called.
        unanswered: ids of storages, each as often as a look into it has not come back.
        scans: held by whoever reads rows in another process; so many at once have memory.
    """

    home: Path
    sealing: Sealing
    indexers: Mapping[type[Indexed], Indexer]
    executor: Executor
    collections: CollectionReader | None = None
    credentials: Mapping[str, StorageOptions] = field(default_factory=dict)
    throttle: Throttle = field(default_factory=Throttle)
    mail: MailServer | None = None
    webhook_networks: tuple[Network, ...] = ()
    visibility: Visibility = field(default_factory=Visibility)
    names: Names = field(default_factory=Names)
    unanswered: list[str] = field(default_factory=list)
    scans: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(SCANS_AT_ONCE))

    @contextmanager
    def new_file(self, prefix: str) -> Iterator[tuple[Path, BinaryIO]]:
        """Make a file to be sent; it is removed if that fails, or when the server starts again."""
        path = self.home / FILES_FOLDER / new_id(prefix)
        with writing(path):
            path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            with writing(path), path.open("xb") as file:
                yield path, file
        except BaseException:
            path.unlink(missing_ok=True)
            raise

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
