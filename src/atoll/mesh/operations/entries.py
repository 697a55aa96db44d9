"""What can be found of the records: entries of the search index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from atoll.core.groups import in_groups
from atoll.mesh.discovery import Column, Entry
from atoll.mesh.model.catalog import (
    Asset,
    Classification,
    DataProduct,
    EntityType,
    Listing,
    ListingStatus,
    TimeSeriesDataPoint,
    strictest,
)
from atoll.mesh.model.describing import Form, GlossaryTerm
from atoll.mesh.model.organisation import DomainUnit, Project
from atoll.mesh.model.record import moment
from atoll.mesh.store.reading import Reader

TOGETHER = 500
MAX_SCORE = 100.0
QUALITY = "quality"
Entity = Asset | DataProduct
INDEXED: dict[str, type[Entity | Listing]] = {
    kind.KIND: kind for kind in (Asset, DataProduct, Listing)
}
# Of the form that all assets share; facets of their own.
_OWN_FACETS = ("business_unit", "refresh_frequency")


def listed_class(project_id: str, classification: Classification) -> str:
    """Name the class of what a project has published with a classification."""
    return f"listed {project_id} {classification}"


def draft_class(project_id: str) -> str:
    """Name the class of a project's inventory."""
    return f"draft {project_id}"


def wider_class(name: str) -> str:
    """Name the class that the same of all projects is in.

    >>> wider_class("listed project-x PUBLIC"), wider_class("draft project-x")
    ('listed PUBLIC', 'draft')
    """
    kind, _, *classification = name.split(" ")
    return " ".join((kind, *classification))


class Entries:
    """Makes entries as one moment shows the records; looks up once what many of them share."""

    def __init__(self, reader: Reader) -> None:
        """Look through a reader."""
        self._reader = reader
        self._units: dict[str, tuple[str, ...]] = {}
        self._terms: dict[str, GlossaryTerm | None] = {}

    def all(self) -> Iterator[Entry]:
        """Yield all that there are."""
        for kind in INDEXED.values():
            for some in in_groups(self._reader.all(kind), TOGETHER):
                yield from self._of(some)

    def of(self, ids: Iterable[str]) -> dict[str, Entry]:
        """Return those of assets, data products and listings by their ids.

        Of one that is gone, or not published any more, there is none.
        """
        found: dict[str, Entry] = {}
        for some in in_groups(ids, TOGETHER):
            for name, kind in INDEXED.items():
                wanted = [one for one in some if one.partition("-")[0] == name]
                records = list(self._reader.all(kind, id=wanted)) if wanted else []
                found |= {one.id: one for one in self._of(records)}
        return found

    def _of(self, records: Sequence[Entity | Listing]) -> Iterator[Entry]:
        shown = {one.id: one for one in records if not isinstance(one, Listing)}
        shown |= self._shown([one for one in records if isinstance(one, Listing)])
        assets = [one.id for one in shown.values() if isinstance(one, Asset)]
        points = self._reader.newest_of(
            TimeSeriesDataPoint, "timestamp", "asset_id", assets, form_name=QUALITY
        )
        for record in records:
            if entity := shown.get(record.id):
                yield self._entry(record, entity, points.get(entity.id))

    def _shown(self, listings: list[Listing]) -> dict[str, Entity]:
        """Return what is published by the ids of the listings that show it."""
        found: dict[str, Entity] = {}
        for type_, kind in ((EntityType.ASSET, Asset), (EntityType.DATA_PRODUCT, DataProduct)):
            wanted = {
                one.id: (one.entity_id, one.entity_revision)
                for one in listings
                if one.status is ListingStatus.ACTIVE and one.entity_type is type_
            }
            pasts: Mapping[tuple[str, int], Entity] = self._reader.pasts(kind, wanted.values())
            found |= {id_: pasts[one] for id_, one in wanted.items() if one in pasts}
        return found

    def _entry(
        self, record: Entity | Listing, entity: Entity, point: TimeSeriesDataPoint | None
    ) -> Entry:
        if isinstance(record, Listing):
            visibility = listed_class(record.owning_project_id, record.classification)
            facets: dict[str, Any] = {
                "classification": str(record.classification),
                "has_pii": record.has_pii,
            }
        else:
            visibility = draft_class(record.owning_project_id)
            facets = self._draft_facets(record)
        if isinstance(entity, Asset):
            facets |= {
                "asset_type": entity.asset_type,
                "columns": tuple(_columns(entity)),
                "quality_score": _score(point),
            }
        terms = [one for id_ in entity.all_terms if (one := self._term(id_))]
        forms = _values(entity.forms)
        facets |= {name: " ".join(forms.pop(name, ())) for name in _OWN_FACETS}
        return Entry(
            id=record.id,
            visibility=visibility,
            wider_visibility=wider_class(visibility),
            name=entity.name,
            updated_at=moment(entity.updated_at),
            kind="asset" if isinstance(entity, Asset) else "data product",
            description=entity.description,
            terms=tuple(dict.fromkeys(one.name for one in terms)),
            synonyms=tuple(word for one in terms for word in one.synonyms),
            forms=forms,
            project=entity.owning_project_id,
            unit=self._units_of(entity.owning_project_id),
            basis=str(entity.basis),
            **facets,
        )

    def _draft_facets(self, entity: Entity) -> dict[str, Any]:
        if isinstance(entity, Asset):
            personal = bool(entity.personal)
            return {"classification": str(entity.classification), "has_pii": personal}
        assets = list(self._reader.all(Asset, id=[one.asset_id for one in entity.items]))
        classification = strictest(one.classification for one in assets) if assets else ""
        has_pii = any(one.personal for one in assets)
        return {"classification": str(classification), "has_pii": has_pii}

    def _term(self, id_: str) -> GlossaryTerm | None:
        if id_ not in self._terms:
            self._terms[id_] = self._reader.find(GlossaryTerm, id_)
        return self._terms[id_]

    def _units_of(self, project_id: str) -> tuple[str, ...]:
        """Return the units that a project lies in, from the root down."""
        if project_id not in self._units:
            project = self._reader.find(Project, project_id)
            found: list[str] = []
            unit_id = project.domain_unit_id if project else ""
            while unit_id:
                unit = self._reader.find(DomainUnit, unit_id)
                found.append(unit_id)
                unit_id = unit.parent_domain_unit_id if unit else ""
            self._units[project_id] = tuple(reversed(found))
        return self._units[project_id]


def _columns(asset: Asset) -> Iterator[Column]:
    said = {one.name: one for one in asset.columns}
    for one in asset.schema:
        told = said.get(one.name)
        words = f"{told.business_name} {told.description}".strip() if told else ""
        yield Column(one.name, words)


def _values(forms: Iterable[Form]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for form in forms:
        for name, value in form.content.items():
            several = value if isinstance(value, tuple) else (value,)
            found[name] = (*found.get(name, ()), *map(str, several))
    return found


def _score(point: TimeSeriesDataPoint | None) -> float | None:
    return None if point is None or point.score is None else point.score / MAX_SCORE
