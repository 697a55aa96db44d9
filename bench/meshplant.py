"""A plant of any size for the benches of the mesh, put into its database at once.

A tree of units, projects in them, glossary terms, people, and as many tables as asked for, each
published: what `bench.meshcorpus` draws, as the records that a mesh keeps of it. Nothing of it is
in the audit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from atoll.core.records import decoded
from atoll.mesh.discovery import Entry
from atoll.mesh.harvest.model import Column, Fingerprint, Technical
from atoll.mesh.hosting import DATABASE_FILE, Mesh
from atoll.mesh.model.catalog import (
    Asset,
    Basis,
    Classification,
    ColumnMetadata,
    EntityType,
    Listing,
    PiiFlag,
    PiiStatus,
    TimeSeriesDataPoint,
)
from atoll.mesh.model.describing import Form, Glossary, GlossaryTerm
from atoll.mesh.model.organisation import (
    Association,
    AssociationKind,
    AssociationStatus,
    Designation,
    Domain,
    DomainUnit,
    Project,
    ProjectMembership,
)
from atoll.mesh.model.people import UserProfile, UserType
from atoll.mesh.model.record import Record, microseconds
from atoll.mesh.operations.scores import QUALITY
from atoll.mesh.store.database import opened, writing_to
from atoll.mesh.store.tables import CHANGES, FOLLOWED, KEEPING_HISTORY, KEYS, PAST, TABLES, VALUES
from bench.meshcorpus import TERMS, UNITS, Corpus

AT_ONCE = 5000
WITH_FILES = 1000
STAMP = {"created_at": 1, "created_by": "bench", "updated_at": 1, "updated_by": "bench"}


@dataclass(frozen=True)
class Plant:
    """How large it is.

    Attributes:
        listings: tables, `asset-N`, each published as `listing-N`; the first thousand have a file.
        projects: `project-N`, which own them.
        users: services, `user-N`: each owns its share of these projects, and `project-of-N`, which
            has nothing yet.
        guests: services, `user-guest-N`, that are in no project.
    """

    listings: int
    projects: int = 1000
    users: int = 50
    guests: int = 50

    def owner(self, project: int) -> str:
        """Name who owns a project that publishes."""
        return f"user-{project % self.users}"


def make(home: Path, lake: Path, plant: Plant) -> None:
    """Make a mesh in a folder, with a SQLite database, and a plant in it."""
    Mesh(home).close()
    fill(f"sqlite:///{home / DATABASE_FILE}", lake, plant)


def fill(url: str, lake: Path, plant: Plant) -> None:
    """Put a plant into the database of a mesh that has nothing yet but its domain.

    Args:
        url: of the database.
        lake: folder of the tables.
        plant: how large it is.
    """
    engine = opened(url)
    with engine.connect() as connection:
        [body] = connection.execute(sa.select(TABLES[Domain].c.body)).scalars()
    root = decoded(body, Domain).root_domain_unit_id
    keep(engine, _organisation(root, lake, plant))
    keep(engine, _people(root, plant))
    keep(engine, _tables(Corpus(1, plant.projects).entries(plant.listings), lake))
    engine.dispose()


def classifications(plant: Plant) -> list[Classification]:
    """List how far the listings that have a file may go, in their order."""
    entries = Corpus(1, plant.projects).entries(min(plant.listings, WITH_FILES))
    return [_classification(one) for one in entries]


def unit_id(name: str) -> str:
    return f"unit-{name.replace(' ', '-')}"


def asset_id(number: int) -> str:
    return f"asset-{number:07d}"


def listing_id(number: int) -> str:
    return f"listing-{number:07d}"


def _organisation(root: str, lake: Path, plant: Plant) -> Iterator[Record]:
    top = unit_id("plant")
    yield DomainUnit(id=top, name="plant", parent_domain_unit_id=root, **STAMP)
    for area in range(UNITS // 10):
        id_ = unit_id(f"area {area}")
        yield DomainUnit(id=id_, name=f"area {area}", parent_domain_unit_id=top, **STAMP)
    for unit in range(UNITS):
        above = unit_id(f"area {unit // 10}")
        yield DomainUnit(
            id=unit_id(f"unit {unit}"), name=f"unit {unit}", parent_domain_unit_id=above, **STAMP
        )
    for number in range(plant.projects):
        id_ = f"project-{number}"
        above = unit_id(f"unit {number % UNITS}")
        yield Project(id=id_, name=f"project {number}", domain_unit_id=above, **STAMP)
        yield _owns(id_, plant.owner(number))
    yield Association(
        id="association-lake",
        name="lake",
        kind=AssociationKind.STORAGE,
        project_id="project-0",
        status=AssociationStatus.ACCEPTED,
        location=lake.as_uri(),
        **STAMP,
    )
    yield Glossary(id="glossary-plant", name="plant", owning_project_id="project-0", **STAMP)
    for number in range(TERMS):
        id_ = f"term-{number}"
        yield GlossaryTerm(id=id_, name=f"term {number}", glossary_id="glossary-plant", **STAMP)


def _people(root: str, plant: Plant) -> Iterator[Record]:
    for prefix, how_many in (("user-", plant.users), ("user-guest-", plant.guests)):
        for number in range(how_many):
            id_ = f"{prefix}{number}"
            yield UserProfile(id=id_, name=id_, type=UserType.SERVICE, **STAMP)
    for number in range(plant.users):
        id_ = f"project-of-{number}"
        yield Project(id=id_, name=id_, domain_unit_id=root, **STAMP)
        yield _owns(id_, f"user-{number}")


def _owns(project_id: str, member_id: str) -> ProjectMembership:
    return ProjectMembership(
        id=f"{project_id}.{member_id}",
        project_id=project_id,
        member_id=member_id,
        designation=Designation.OWNER,
        **STAMP,
    )


def _tables(entries: Iterable[Entry], lake: Path) -> Iterator[Record]:
    for number, entry in enumerate(entries):
        place = lake / f"{number:07d}"
        if number < WITH_FILES:
            place.mkdir(parents=True)
            (place / "part.parquet").write_bytes(b"PAR1")
        yield _asset(number, entry, place.as_uri())
        yield _listing(number, entry)
        if entry.quality_score is not None:
            yield TimeSeriesDataPoint(
                id=f"datapoint-{number:07d}",
                asset_id=asset_id(number),
                owning_project_id=_project(entry),
                form_name=QUALITY,
                timestamp=1,
                score=100 * entry.quality_score,
                **STAMP,
            )


def _asset(number: int, entry: Entry, location: str) -> Asset:
    columns = [one.name for one in entry.columns]
    personal = PiiFlag("person", PiiStatus.CONFIRMED)
    common = {
        "business_unit": entry.business_unit,
        "refresh_frequency": entry.refresh_frequency.upper(),
        "data_owner_contact": entry.forms["owner"][0],
        "product_owner": entry.forms["owner"][0],
    }
    return Asset(
        id=asset_id(number),
        name=entry.name,
        description=entry.description,
        asset_type="Table",
        external_identifier=location,
        owning_project_id=_project(entry),
        association_id="association-lake",
        classification=_classification(entry),
        basis=Basis(entry.basis.upper().replace("-", "_")),
        technical=_technical(columns, location),
        columns=(ColumnMetadata(columns[0], pii=personal),) if entry.has_pii else (),
        forms=(Form("CommonAttributes", 1, common),),
        glossary_terms=_terms(entry),
        **_stamp(entry),
    )


def _technical(columns: list[str], location: str) -> Technical:
    return Technical(
        kind="table",
        format="parquet",
        location=location,
        columns=tuple(Column(one, "string", nullable=True) for one in columns),
        partitions=(),
        rows=1000,
        rows_estimate=None,
        size_bytes=4096,
        files=1,
        version="1",
        fingerprint=Fingerprint(None, None),
    )


def _listing(number: int, entry: Entry) -> Listing:
    return Listing(
        id=listing_id(number),
        name=entry.name,
        description=entry.description,
        entity_type=EntityType.ASSET,
        entity_id=asset_id(number),
        entity_revision=1,
        owning_project_id=_project(entry),
        classification=_classification(entry),
        has_pii=entry.has_pii,
        all_terms=_terms(entry),
        **_stamp(entry),
    )


def _project(entry: Entry) -> str:
    return entry.project.replace(" ", "-")


def _terms(entry: Entry) -> tuple[str, ...]:
    return tuple(one.replace(" ", "-") for one in entry.terms)


def _classification(entry: Entry) -> Classification:
    return Classification(entry.classification.upper())


def _stamp(entry: Entry) -> dict[str, Any]:
    return {**STAMP, "updated_at": microseconds(entry.updated_at)}


def keep(engine: sa.Engine, records: Iterable[Record]) -> None:
    """Keep records as `store.writing.Transaction.add` would, many at a time."""
    waiting = iter(records)
    with writing_to(engine) as connection:
        last = connection.execute(sa.select(sa.func.max(CHANGES.c.number))).scalar() or 0
        while some := list(islice(waiting, AT_ONCE)):
            rows: dict[sa.Table, list[dict[str, Any]]] = {}
            for one in some:
                last += type(one) in FOLLOWED
                for table, row in _rows(one, last):
                    rows.setdefault(table, []).append(row)
            for table, several in rows.items():
                connection.execute(table.insert(), several)


def _rows(record: Record, number: int) -> Iterator[tuple[sa.Table, dict[str, Any]]]:
    kind, id_ = type(record), record.id
    keys = {key: getattr(record, key) for key in KEYS[kind]}
    body = msgspec.json.encode(record).decode()
    values = {key: one if isinstance(one, int) else str(one) for key, one in keys.items()}
    yield TABLES[kind], {"id": id_, "version": record.version, **values, "body": body}
    for key, table in VALUES[kind].items():
        for value in sorted(set(getattr(record, key))):
            yield table, {"value": value, "id": id_}
    if kind in KEEPING_HISTORY:
        yield PAST, {"id": id_, "version": record.version, "body": body}
    if kind in FOLLOWED:
        yield CHANGES, {"kind": record.KIND, "id": id_, "number": number}
