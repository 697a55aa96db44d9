"""What can be found of the records: entries of the search index."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from atoll.core.groups import in_groups
from atoll.mesh.discovery import Column, Entry
from atoll.mesh.discovery.model import MAX_KEY_CHARS, MAX_VALUES
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
from atoll.mesh.model.describing import COMMON, Form, GlossaryTerm, OneValue
from atoll.mesh.model.organisation import DomainUnit, Project
from atoll.mesh.model.people import GroupProfile, UserProfile
from atoll.mesh.model.record import moment
from atoll.mesh.operations.scores import MAX_SCORE, measured, newest_points, worst
from atoll.mesh.store.reading import Reader

TOGETHER = 500
# What goes beyond this, or MAX_VALUES, is not searched: the index would refuse the entry.
MAX_TERMS = 5000
Entity = Asset | DataProduct
Indexed = Entity | Listing
INDEXED: dict[str, type[Indexed]] = {kind.KIND: kind for kind in (Asset, DataProduct, Listing)}
# Of the form that all assets share; facets of their own.
_OWN_FACETS = ("business_unit", "refresh_frequency")
# What shows in entries of many other things, and what of it they hold: see `held_of`.
Shared = DomainUnit | Project | GlossaryTerm
SHARED: dict[str, type[Shared]] = {kind.KIND: kind for kind in (DomainUnit, Project, GlossaryTerm)}
Held = tuple[str, ...]
# What fields of forms hold the ids of, and people know by name.
Named = GlossaryTerm | UserProfile | GroupProfile
_NAMED: dict[str, type[Named]] = {
    kind.KIND: kind for kind in (GlossaryTerm, UserProfile, GroupProfile)
}


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


def held_of(record: Shared) -> Held:
    """Return all that entries hold of a unit, a project or a term, but for its id."""
    if isinstance(record, DomainUnit):
        return (record.parent_domain_unit_id,)
    if isinstance(record, Project):
        return (record.domain_unit_id,)
    return (record.name, *record.synonyms)


class Entries:
    """Makes entries as one moment shows the records; looks up once what many of them share."""

    def __init__(self, reader: Reader) -> None:
        """Look through a reader."""
        self._reader = reader
        self._units: dict[str, tuple[str, ...]] = {}
        self._known: dict[str, Named | None] = {}

    def all(self, kinds: Iterable[type[Indexed]]) -> Iterator[Entry]:
        """Yield all that there are of some kinds."""
        for kind in kinds:
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

    def _of(self, records: Sequence[Indexed]) -> Iterator[Entry]:
        shown = {one.id: one for one in records if not isinstance(one, Listing)}
        shown |= self._shown([one for one in records if isinstance(one, Listing)])
        asset_ids = (id_ for one in shown.values() for id_ in measured(one))
        points = newest_points(self._reader, asset_ids)
        for record in records:
            if entity := shown.get(record.id):
                yield self._entry(record, entity, worst(points, measured(entity)))

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

    def _entry(self, record: Indexed, entity: Entity, point: TimeSeriesDataPoint | None) -> Entry:
        if isinstance(record, Listing):
            visibility = listed_class(record.owning_project_id, record.classification)
            facets: dict[str, Any] = {
                "classification": str(record.classification),
                "has_pii": record.has_pii,
            }
        else:
            visibility = draft_class(record.owning_project_id)
            facets = self._draft_facets(record)
        values = dict(_values(entity.forms))
        ids = record.all_terms[:MAX_TERMS]
        self._look_up({*ids, *(one for some in values.values() for one in some)})
        terms = [one for id_ in ids if isinstance(one := self._known.get(id_), GlossaryTerm)]
        synonyms = (word for one in terms for word in one.synonyms)
        forms = {name: tuple(map(self._said, some)) for name, some in values.items()}
        for name in _OWN_FACETS:
            facets[name] = " ".join(forms.get(f"{COMMON}/{name}", ()))[:MAX_KEY_CHARS]
        return Entry(
            id=record.id,
            visibility=visibility,
            wider_visibility=wider_class(visibility),
            name=entity.name,
            updated_at=moment(entity.updated_at),
            kind="asset" if isinstance(entity, Asset) else "data product",
            description=entity.description,
            terms=tuple(dict.fromkeys(one.name for one in terms)),
            synonyms=tuple(islice(synonyms, MAX_VALUES)),
            forms=forms,
            columns=self._columns_of(entity),
            asset_type=entity.asset_type if isinstance(entity, Asset) else "",
            quality_score=None if point is None else (point.score or 0.0) / MAX_SCORE,
            project=entity.owning_project_id,
            unit=self._units_of(entity.owning_project_id),
            basis=str(entity.basis),
            **facets,
        )

    def _draft_facets(self, entity: Entity) -> dict[str, Any]:
        if isinstance(entity, Asset):
            personal = bool(entity.personal)
            return {"classification": str(entity.classification), "has_pii": personal}
        assets = list(self._reader.all(Asset, id=entity.asset_ids))
        classification = strictest(one.classification for one in assets) if assets else ""
        has_pii = any(one.personal for one in assets)
        return {"classification": str(classification), "has_pii": has_pii}

    def _columns_of(self, entity: Entity) -> tuple[Column, ...]:
        """List the columns, each once; of a data product those of its assets as it shows them."""
        assets: Iterable[Asset] = [entity] if isinstance(entity, Asset) else self._items(entity)
        columns = (column for asset in assets for column in _columns(asset))
        return tuple(islice(dict.fromkeys(columns), MAX_VALUES))

    def _items(self, product: DataProduct) -> list[Asset]:
        wanted = [(one.asset_id, one.revision) for one in product.items]
        found = self._reader.pasts(Asset, wanted)
        return [found[one] for one in wanted if one in found]

    def _look_up(self, values: Iterable[OneValue]) -> None:
        """Get to know terms and people whose ids are among some values."""
        wanted: dict[str, list[str]] = {name: [] for name in _NAMED}
        for value in values:
            if isinstance(value, str) and value not in self._known:
                wanted.get(value.partition("-")[0], []).append(value)
        for name, ids in wanted.items():
            for some in in_groups(ids, TOGETHER):
                found = {one.id: one for one in self._reader.all(_NAMED[name], id=some)}
                self._known |= dict.fromkeys(some) | found

    def _said(self, value: OneValue) -> str:
        """Write a value as people read it: an id by its name, whatever its field's type."""
        if not isinstance(value, str):
            return json.dumps(value)
        found = self._known.get(value)
        return found.name if found else value

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


def _values(forms: Iterable[Form]) -> Iterator[tuple[str, Sequence[OneValue]]]:
    """Yield what is filled in, by FORM/FIELD."""
    left = MAX_VALUES
    for form in forms:
        for name, values in form.values.items():
            some = values[:left]
            left -= len(some)
            yield f"{form.form_type}/{name}", some
