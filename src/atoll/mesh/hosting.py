"""One mesh, opened: its folder or database, and all that works on it."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import sqlalchemy as sa
from starlette.applications import Starlette

from atoll.compute.processes import ProcessExecutor
from atoll.core.config import MailServer, StorageOptions
from atoll.core.errors import Conflict, Corrupt, InvalidInput
from atoll.core.files import reading, whole_file, writing
from atoll.mesh.audit.keys import Key, new_key
from atoll.mesh.audit.model import AuditEvent, new_event
from atoll.mesh.harvest import CollectionReader
from atoll.mesh.http.application import application
from atoll.mesh.identity import passwords, secret
from atoll.mesh.model.organisation import Domain, DomainUnit
from atoll.mesh.model.people import Proof, ProofType, UserProfile
from atoll.mesh.model.record import new_id
from atoll.mesh.operations.calls import Performer
from atoll.mesh.operations.following import Follower
from atoll.mesh.operations.indexing import indexers
from atoll.mesh.operations.jobs import Attendant, Worker
from atoll.mesh.operations.registry import actions
from atoll.mesh.operations.tools import FILES_FOLDER, Sealing, Tools
from atoll.mesh.policies.decisions import Authorizer
from atoll.mesh.service.shipped import add_shipped
from atoll.mesh.service.signing import Doorkeeper
from atoll.mesh.service.telling import tell
from atoll.mesh.store.database import opened, reaching
from atoll.mesh.store.events import append, head
from atoll.mesh.store.upgrading import upgrade
from atoll.mesh.store.writing import Store, Transaction
from atoll.messages.addresses import Network
from atoll.storage import Storage, open_storage

if TYPE_CHECKING:
    from atoll.mesh.identity.configured import Configured
    from atoll.mesh.service.sso import SingleSignOn

DATABASE_FILE = "mesh.db"
LOCK_FILE = "serving.lock"
FIRST_FILE = "first-administrator.txt"
FIRST_NAME = "administrator"
KEY_FILE = "audit.key"
ANCHORS_FOLDER = "anchors"
INDEX_FOLDER = "index"
FOREIGN_BYTES = 2 << 30  # memory for reading one foreign file


class Mesh:
    """One mesh, open until `close`.

    Attributes:
        first: where the first administrator's password is kept; None: it was made long ago.
    """

    def __init__(
        self,
        home: Path,
        *,
        database: str = "",
        portal_url: str = "",
        anchors: Storage | None = None,
        policies: Path | None = None,
        collections: CollectionReader | None = None,
        providers: Path | None = None,
        credentials: Mapping[str, StorageOptions] | None = None,
        mail: MailServer | None = None,
        webhook_networks: tuple[Network, ...] = (),
    ) -> None:
        """Open a mesh; the first time, make it.

        Args:
            home: its folder; made if need be.
            database: URL; empty: a SQLite file in the folder.
            portal_url: where people reach it; empty: where they did before.
            anchors: where the end of the audit is written down now and then, best a store that
                whoever has the database cannot write to; None: the home folder.
            policies: file of further policies, in Cedar; None: there are only Atoll's.
            collections: knows vector collections; None: they are not read.
            providers: file of the sign-in providers, see `identity.configured`; None: none.
            credentials: how to reach a store, by the names that associations give.
            mail: through what it sends mail; None: it sends none.
            webhook_networks: where webhooks may go besides public addresses.

        Raises:
            Conflict: it is served already, was made by a newer Atoll, or its audit is sealed with
                another key than that of the folder.
            Unavailable, Forbidden, Corrupt: folder or database cannot be used.
            InvalidInput, NotFound, Forbidden: the file of providers or policies cannot be used.
        """
        configured, authorizer = _configured(providers), _authorizer(policies)
        with ExitStack() as undo:
            undo.enter_context(_alone_in(home))
            engine = opened(database or f"sqlite:///{home / DATABASE_FILE}")
            undo.callback(engine.dispose)
            upgrade(engine)
            shutil.rmtree(home / FILES_FOLDER, ignore_errors=True)
            key = _key(home / KEY_FILE)
            _check_key(engine, key, home / KEY_FILE)
            self.store: Store[AuditEvent] = Store(
                engine, lambda connection, events: _seal(connection, events, key)
            )
            undo.callback(self.store.close)
            self.first = _begun(self.store, home / FIRST_FILE, portal_url)
            sealing = Sealing(key, anchors or open_storage(home / ANCHORS_FOLDER))
            made = indexers(self.store, home / INDEX_FOLDER)
            for one in made.values():
                undo.callback(one.stop)
                one.follow()
            tools = Tools(
                home,
                sealing,
                made,
                ProcessExecutor(1, memory_bytes=FOREIGN_BYTES),
                collections,
                credentials or {},
                mail=mail,
                webhook_networks=webhook_networks,
            )
            self.performer = Performer(self.store, authorizer, tools)
            self.doorkeeper = Doorkeeper(self.store, tools.throttle)
            self._sso = _single_sign_on(self.store, tools, configured)
            attendant = Attendant(self.store, authorizer, tools)
            # Not the key's: servers of one database share that.
            holder = f"{socket.gethostname()}:{home.resolve()}"
            undo.callback(Worker(self.store, attendant, holder).stop)
            undo.callback(Follower(self.store, attendant, tell).stop)
            self._undo = undo.pop_all()

    @property
    def application(self) -> Starlette:
        """Return what a server runs."""
        return application(self.performer, self.doorkeeper, self._sso)

    def close(self) -> None:
        """Let go of folder and database."""
        self._undo.close()


def _single_sign_on(
    store: Store[AuditEvent], tools: Tools, configured: Sequence[Configured]
) -> SingleSignOn | None:
    if not configured:
        return None
    from atoll.mesh.service.sso import SingleSignOn

    with store.reading() as reader:
        [domain] = reader.all(Domain)
    return SingleSignOn(store, tools.throttle, configured, domain.portal_url)


def _configured(providers: Path | None) -> Sequence[Configured]:
    if providers is None:
        return []
    # Late: who has no provider need not wait for what speaks to one.
    from atoll.mesh.identity.configured import read_providers

    return read_providers(providers)


def _authorizer(policies: Path | None) -> Authorizer:
    if policies is None:
        return Authorizer(actions())
    with reading(policies):
        text = policies.read_bytes()
    try:
        return Authorizer(actions(), text.decode())
    except ValueError as error:
        raise InvalidInput(f"the policies in {policies} are refused: {error}") from error


def _alone_in(home: Path) -> IO[Any]:
    with writing(home):
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (home / LOCK_FILE).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise Conflict(f"{home} is served by another process; stop it, or take another") from error
    return lock


def _key(place: Path) -> Key:
    """Read the key that seals the audit; make it the first time, before anything is sealed."""
    if not place.exists():
        made = new_key()
        with whole_file(place) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(made.secret.hex().encode() + b"\n")
    with reading(place):
        text = place.read_text().strip()
    try:
        return Key(bytes.fromhex(text))
    except (ValueError, InvalidInput) as error:
        raise Corrupt(f"{place} holds no audit key; restore it from a backup") from error


def _check_key(engine: sa.Engine, key: Key, place: Path) -> None:
    """Refuse a key with which nothing could be changed."""
    with reaching(), engine.connect() as connection, connection.begin():
        wanted = head(connection).key_id
    if wanted not in ("", key.id):
        raise Conflict(
            f"the audit is sealed with key {wanted}, and {place} holds {key.id}; copy that file "
            "from another server of this mesh, or from a backup"
        )


def _seal(connection: sa.Connection, events: list[AuditEvent], key: Key) -> None:
    append(connection, events, time.time_ns() // 1000, key)


def _begun(store: Store[AuditEvent], place: Path, portal_url: str) -> Path | None:
    """Make the domain with its administrator, where there is none yet."""
    with store.reading() as reader:
        domain = reader.any(Domain)
    if domain:
        if portal_url not in ("", domain.portal_url):
            store.write(lambda changes: _move(changes, portal_url))
        return place if place.exists() else None
    password = secret.new_secret()[:24]
    # Before it holds: whoever dies in between can still be let in.
    with whole_file(place) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(f"{FIRST_NAME}\n{password}\n".encode())
    text = passwords.hashed(password)
    try:
        store.write(lambda changes: _make(changes, text, portal_url))
    except Conflict:
        place.unlink()
        raise
    return place


def _move(changes: Transaction[AuditEvent], portal_url: str) -> None:
    [domain] = changes.all(Domain)
    changes.put(replace(domain, version=domain.version + 1, portal_url=portal_url))


def _make(changes: Transaction[AuditEvent], password: str, portal_url: str) -> None:
    if changes.any(Domain):
        raise Conflict("another process has made this mesh at the same moment; start again")
    id_, now = new_id(UserProfile.KIND), time.time_ns() // 1000
    stamp: Any = {"created_at": now, "created_by": id_, "updated_at": now, "updated_by": id_}
    root = DomainUnit(id=new_id(DomainUnit.KIND), name="root", owners=(id_,), **stamp)
    changes.add(UserProfile(id=id_, name=FIRST_NAME, **stamp))
    changes.add(Proof(id=id_, type=ProofType.PASSWORD, text=password, owner_id=id_, **stamp))
    changes.add(root)
    domain = changes.add(
        Domain(
            id=new_id(Domain.KIND),
            name="domain",
            root_domain_unit_id=root.id,
            portal_url=portal_url,
            **stamp,
        )
    )
    add_shipped(changes, stamp)
    changes.notes.append(
        new_event(
            "CreateDomain",
            "ALLOWED",
            principal=id_,
            via="first start",
            resource_kind=Domain.KIND,
            resource_id=domain.id,
        )
    )
