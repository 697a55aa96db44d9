"""The inventory: everything the local cloud must remember, in one SQLite file.

Whoever acts writes first what he is about to do (`Intent`), then acts, then writes that it is
done. A process killed anywhere leaves an intent that the next one finishes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from atoll.core.errors import Conflict, NotFound
from atoll.fleet.codec import decode
from atoll.fleet.database import Database
from atoll.fleet.model import Market
from atoll.fleet.providers.local.addressing import LocalSubnet
from atoll.fleet.providers.port import Address, Machine, MachineState

FILE = "inventory.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS subnets (id TEXT PRIMARY KEY, doc BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS pools (
    instance_type TEXT, market TEXT, subnet_id TEXT, doc BLOB NOT NULL,
    PRIMARY KEY (instance_type, market, subnet_id));
CREATE TABLE IF NOT EXISTS epochs (cluster_id TEXT PRIMARY KEY, epoch INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS addresses (
    id TEXT PRIMARY KEY, cluster_id TEXT NOT NULL, token TEXT NOT NULL, doc BLOB NOT NULL,
    UNIQUE (cluster_id, token));
CREATE TABLE IF NOT EXISTS machines (
    id TEXT PRIMARY KEY, cluster_id TEXT NOT NULL, is_over INTEGER NOT NULL, doc BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS machines_of ON machines (cluster_id);
CREATE TABLE IF NOT EXISTS answers (
    cluster_id TEXT, token TEXT, machine_ids BLOB NOT NULL, PRIMARY KEY (cluster_id, token));
"""

T = TypeVar("T")


class Intent(StrEnum):
    """What somebody is about to do with a machine."""

    NONE = ""
    START = "start"
    STOP = "stop"
    END = "end"


@dataclass(frozen=True)
class Process:
    """The process that a machine is; its start tells it from a later one with the same number.

    Attributes:
        pid: its number.
        started_ticks: clock ticks between the system's start and its own.
    """

    pid: int
    started_ticks: int


@dataclass(frozen=True)
class Record:
    """A machine in the inventory.

    Attributes:
        machine: as the port shows it.
        intent: what is being done with it.
        process: what runs it; None: nothing, or not known yet.
        spread_group: machines of one group stand on different racks.
        disk_bytes: size of its disk.
        user_data: see `Placement`.
        tags: see `Placement`.
    """

    machine: Machine
    intent: Intent = Intent.NONE
    process: Process | None = None
    spread_group: str | None = None
    disk_bytes: int = 0
    user_data: str = ""
    tags: dict[str, str] | None = None

    @property
    def is_over(self) -> bool:
        """Whether it is gone for good, its address free."""
        return self.machine.state is MachineState.TERMINATED


@dataclass(frozen=True)
class Terms:
    """What differs for a pool from what is usual: None where nothing does.

    Attributes:
        price: US dollars an hour.
        score: see `Pool`.
        capacity: instances that can be had from now on.
    """

    price: float | None = None
    score: float | None = None
    capacity: int | None = None


PoolKey = tuple[str, Market, str]
"""Instance type, market, subnet."""


class Inventory:
    """The file; calls may come from any thread."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it.

        Raises:
            Unavailable: it cannot be read or written. Corrupt: it is not what was written.
        """
        self._path = path
        self._database = Database(path, _SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def change(self) -> AbstractContextManager[None]:
        """Make all that is written in the block durable together, or nothing of it."""
        return self._database.whole()

    def fact(self, name: str) -> str | None:
        """Return a fact about the home; None: nobody wrote it."""
        rows = self._execute("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def put_fact(self, name: str, value: str) -> None:
        """Write a fact about the home."""
        self._execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)

    def fence(self, cluster_id: str, epoch: int) -> None:
        """Refuse a controller that has a successor; remember one that has none.

        Raises:
            Conflict: a higher epoch was seen.
        """
        with self.change():
            rows = self._execute("SELECT epoch FROM epochs WHERE cluster_id = ?", cluster_id)
            highest = int(rows[0][0]) if rows else epoch
            if epoch < highest:
                raise Conflict(
                    f"epoch {epoch} of cluster {cluster_id} is over: a controller with epoch "
                    f"{highest} acts for it; stop this one",
                    cluster_id=cluster_id,
                    epoch=epoch,
                    highest=highest,
                )
            self._execute("INSERT OR REPLACE INTO epochs VALUES (?, ?)", cluster_id, epoch)

    def subnets(self) -> list[LocalSubnet]:
        """List the subnets in the order they were made."""
        found = self._docs(LocalSubnet, "SELECT doc FROM subnets")
        return sorted(found, key=lambda one: one.number)

    def put_subnet(self, subnet: LocalSubnet) -> None:
        """Write a subnet."""
        self._execute(
            "INSERT OR REPLACE INTO subnets VALUES (?, ?)", subnet.id, msgspec.json.encode(subnet)
        )

    def terms(self) -> dict[PoolKey, Terms]:
        """Return what differs from the usual, by pool."""
        rows = self._execute("SELECT instance_type, market, subnet_id, doc FROM pools")
        return {
            (kind, Market(market), subnet_id): self._decoded(doc, Terms)
            for kind, market, subnet_id, doc in rows
        }

    def put_terms(self, pool: PoolKey, terms: Terms) -> None:
        """Write what differs for a pool."""
        doc = msgspec.json.encode(terms)
        self._execute("INSERT OR REPLACE INTO pools VALUES (?, ?, ?, ?)", *pool, doc)

    def addresses(self, cluster_id: str | None = None) -> list[Address]:
        """List the kept addresses, of one cluster or of all."""
        if cluster_id is None:
            return self._docs(Address, "SELECT doc FROM addresses ORDER BY rowid")
        where = "SELECT doc FROM addresses WHERE cluster_id = ? ORDER BY rowid"
        return self._docs(Address, where, cluster_id)

    def address_for(self, cluster_id: str, token: str) -> Address | None:
        """Return the address that was kept for a token."""
        where = "SELECT doc FROM addresses WHERE cluster_id = ? AND token = ?"
        return next(iter(self._docs(Address, where, cluster_id, token)), None)

    def owner_of(self, address_id: str) -> str | None:
        """Return the cluster an address is kept for; None: it is not kept."""
        rows = self._execute("SELECT cluster_id FROM addresses WHERE id = ?", address_id)
        return str(rows[0][0]) if rows else None

    def put_address(self, address: Address, cluster_id: str, token: str) -> None:
        """Write a kept address."""
        doc = msgspec.json.encode(address)
        insert = "INSERT INTO addresses VALUES (?, ?, ?, ?)"
        self._execute(insert, address.id, cluster_id, token, doc)

    def drop_address(self, address_id: str) -> None:
        """Forget a kept address."""
        self._execute("DELETE FROM addresses WHERE id = ?", address_id)

    def records(self, cluster_id: str | None = None) -> list[Record]:
        """List machines, of one cluster or of all, those that are over included."""
        if cluster_id is None:
            return self._docs(Record, "SELECT doc FROM machines ORDER BY rowid")
        where = "SELECT doc FROM machines WHERE cluster_id = ? ORDER BY rowid"
        return self._docs(Record, where, cluster_id)

    def living(self) -> list[Record]:
        """List machines that are not over: pending, running and stopped ones."""
        return self._docs(Record, "SELECT doc FROM machines WHERE is_over = 0 ORDER BY rowid")

    def record(self, machine_id: str) -> Record:
        """Return a machine.

        Raises:
            NotFound: the inventory has none of that name.
        """
        found = self.find(machine_id)
        if found is None:
            raise NotFound(f"there is no machine {machine_id}", machine_id=machine_id)
        return found

    def find(self, machine_id: str) -> Record | None:
        """Return a machine; None: the inventory has none of that name."""
        found = self._docs(Record, "SELECT doc FROM machines WHERE id = ?", machine_id)
        return next(iter(found), None)

    def put(self, record: Record) -> None:
        """Write a machine."""
        machine = record.machine
        self._execute(
            "INSERT INTO machines VALUES (?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET is_over = excluded.is_over, doc = excluded.doc",
            machine.id,
            machine.cluster_id,
            int(record.is_over),
            msgspec.json.encode(record),
        )

    def forget(self, machine_id: str) -> None:
        """Drop a machine that was over long ago."""
        self._execute("DELETE FROM machines WHERE id = ?", machine_id)

    def answer(self, cluster_id: str, token: str) -> list[str] | None:
        """Return the machines that were launched for a token; None: it was not seen."""
        where = "SELECT machine_ids FROM answers WHERE cluster_id = ? AND token = ?"
        rows = self._execute(where, cluster_id, token)
        return self._decoded(rows[0][0], list[str]) if rows else None

    def put_answer(self, cluster_id: str, token: str, machine_ids: Sequence[str]) -> None:
        """Write which machines a token stands for."""
        doc = msgspec.json.encode(machine_ids)
        self._execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", cluster_id, token, doc)

    def drop_answer(self, cluster_id: str, token: str) -> None:
        """Forget a token for which nothing was launched."""
        where = "DELETE FROM answers WHERE cluster_id = ? AND token = ?"
        self._execute(where, cluster_id, token)

    def _docs(self, kind: type[T], statement: str, *values: Any) -> list[T]:
        rows = self._execute(statement, *values)
        return [self._decoded(doc, kind) for (doc,) in rows]

    def _decoded(self, doc: bytes, kind: type[T]) -> T:
        return decode(doc, kind, what=f"an entry of the inventory {self._path}")

    def _execute(self, statement: str, *values: Any) -> list[Any]:
        return self._database.ask(statement, values)
