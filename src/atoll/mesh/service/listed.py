"""What others see of listings: a published revision, without where its files are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from atoll.core.errors import InvalidInput
from atoll.mesh.harvest.model import Format, Kind
from atoll.mesh.model.catalog import (
    Asset,
    Basis,
    Classification,
    ColumnMetadata,
    DataProduct,
    EntityType,
    Listing,
    ListingStatus,
    TimeSeriesDataPoint,
    strictest,
)
from atoll.mesh.model.describing import Form
from atoll.mesh.model.organisation import Domain, Project
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Named, Right, operation
from atoll.mesh.operations.scores import newest_points, worst
from atoll.mesh.service.access import is_within_reach

# The others (of a CSV file its encoding, ...) are nobody's business who reads through the mesh.
_SHOWN_DETAILS = ("dim", "dtype", "distance_type", "embedder")

Points = Mapping[str, TimeSeriesDataPoint]  # the newest of quality by the ids of assets


class Listings(Named, frozen=True, kw_only=True):
    """Which listings."""

    entity_id: str = ""
    owning_project_id: str = ""
    status: ListingStatus | None = None


class ListedColumn(msgspec.Struct, frozen=True):
    """A column, as consumers see it.

    Attributes:
        type: Arrow's text for it.
        is_partition: whether its values stand in folder names.
        is_personal: whether it is masked unless somebody allows otherwise; `pii` says of what kind.
    """

    name: str
    type: str
    nullable: bool
    is_partition: bool
    business_name: str
    description: str
    glossary_terms: tuple[str, ...]
    is_personal: bool
    pii: str


class ListedAsset(msgspec.Struct, frozen=True):
    """A published revision of an asset, as consumers see it; where its files are stays untold.

    Attributes:
        listing_id: its own; empty where it is shown in a data product only.
        upstream: ids of the assets it is made of, as far as the reader may know of them.
        kind, format: as harvested; None where nothing was.
        rows: None where nobody counted.
        quality_score: the newest, 0 to 100; None: nobody has measured it.
        scored_at: when, microseconds since the epoch; 0: never.
        is_available: whether its storage belongs to the domain; else nobody can read it now.
        revised_at: when this revision was made, microseconds since the epoch.
    """

    listing_id: str
    asset_id: str
    revision: int
    name: str
    description: str
    asset_type: str
    classification: Classification
    owning_project_id: str
    project_name: str
    basis: Basis
    upstream: tuple[str, ...]
    kind: Kind | None
    format: Format | None
    rows: int | None
    rows_estimate: int | None
    size_bytes: int
    files: int
    details: dict[str, str | int]
    columns: tuple[ListedColumn, ...]
    forms: tuple[Form, ...]
    glossary_terms: tuple[str, ...]
    quality_score: float | None
    scored_at: int
    is_available: bool
    revised_at: int


class ListedDataProduct(msgspec.Struct, frozen=True):
    """A published revision of a data product, as consumers see it.

    Attributes:
        quality_score, scored_at: as of assets, of its worst item.
    """

    listing_id: str
    data_product_id: str
    revision: int
    name: str
    description: str
    classification: Classification
    owning_project_id: str
    project_name: str
    basis: Basis
    items: tuple[ListedAsset, ...]
    forms: tuple[Form, ...]
    glossary_terms: tuple[str, ...]
    quality_score: float | None
    scored_at: int
    revised_at: int


@operation("GET", "/listings", Right.BROWSE)
def list_listings(call: Call, domain: Domain, ask: Listings) -> Iterator[Listing]:
    """List what is published, as far as you may know of it."""
    return call.shown(
        Listing,
        name=ask.name,
        entity_id=ask.entity_id,
        owning_project_id=ask.owning_project_id,
        status=ask.status,
    )


@operation("GET", "/listings/{listing_id}", Right.DISCOVER)
def get_listing(call: Call, listing: Listing) -> Listing:
    """Show a listing."""
    return listing


@operation("GET", "/listings/{listing_id}/asset", Right.DISCOVER)
def get_listed_asset(call: Call, listing: Listing) -> ListedAsset:
    """Show the published revision of an asset."""
    if listing.entity_type is not EntityType.ASSET:
        raise InvalidInput(f"'{listing.name}' is a data product; see GetListedDataProduct")
    asset = call.past(Asset, listing.entity_id, listing.entity_revision)
    points = newest_points(call.reader, [asset.id])
    return _listed(call, asset, listing, listing.classification, points)


@operation("GET", "/listings/{listing_id}/data-product", Right.DISCOVER)
def get_listed_data_product(call: Call, listing: Listing) -> ListedDataProduct:
    """Show the published revision of a data product, with its assets."""
    if listing.entity_type is not EntityType.DATA_PRODUCT:
        raise InvalidInput(f"'{listing.name}' is an asset; see GetListedAsset")
    product = call.past(DataProduct, listing.entity_id, listing.entity_revision)
    points = newest_points(call.reader, product.asset_ids)
    point = worst(points, product.asset_ids)
    return ListedDataProduct(
        listing_id=listing.id,
        data_product_id=product.id,
        revision=product.version,
        name=product.name,
        description=product.description,
        classification=listing.classification,
        owning_project_id=product.owning_project_id,
        project_name=_project_name(call, product.owning_project_id),
        basis=product.basis,
        items=tuple(_listed_items(call, product, points)),
        forms=product.forms,
        glossary_terms=product.glossary_terms,
        quality_score=point.score if point else None,
        scored_at=point.timestamp if point else 0,
        revised_at=product.updated_at,
    )


def may_know(call: Call, asset_id: str) -> bool:
    """Tell whether the caller may view an asset, or discover its listing."""
    asset = call.find(Asset, id=asset_id)
    if asset is None:
        return False
    return call.may_see(asset) or shown_listing(call, asset_id) is not None


def shown_listing(call: Call, entity_id: str) -> Listing | None:
    """Return the listing of an asset or data product, where the caller may discover it."""
    found = call.find(Listing, entity_id=entity_id)
    return found if found and call.may_see(found) else None


def _listed_items(call: Call, product: DataProduct, points: Points) -> Iterator[ListedAsset]:
    for one in product.items:
        asset = call.past(Asset, one.asset_id, one.revision)
        now = call.find(Asset, id=one.asset_id) or asset
        classification = strictest([asset.classification, now.classification])
        yield _listed(call, asset, shown_listing(call, asset.id), classification, points)


def _listed(
    call: Call,
    asset: Asset,
    listing: Listing | None,
    classification: Classification,
    points: Points,
) -> ListedAsset:
    technical, point = asset.technical, points.get(asset.id)
    details = technical.details if technical else {}
    return ListedAsset(
        listing_id=listing.id if listing else "",
        asset_id=asset.id,
        revision=asset.version,
        name=asset.name,
        description=asset.description,
        asset_type=asset.asset_type,
        classification=classification,
        owning_project_id=asset.owning_project_id,
        project_name=_project_name(call, asset.owning_project_id),
        basis=asset.basis,
        upstream=tuple(id_ for id_ in asset.upstream if may_know(call, id_)),
        kind=technical.kind if technical else None,
        format=technical.format if technical else None,
        rows=technical.rows if technical else None,
        rows_estimate=technical.rows_estimate if technical else None,
        size_bytes=technical.size_bytes if technical else 0,
        files=technical.files if technical else 0,
        details={key: details[key] for key in _SHOWN_DETAILS if key in details},
        columns=tuple(_listed_columns(call, asset)),
        forms=asset.forms,
        glossary_terms=asset.glossary_terms,
        quality_score=point.score if point else None,
        scored_at=point.timestamp if point else 0,
        is_available=is_within_reach(call.reader, asset),
        revised_at=asset.updated_at,
    )


def _listed_columns(call: Call, asset: Asset) -> Iterator[ListedColumn]:
    now = call.find(Asset, id=asset.id) or asset
    told = {one.name: one for one in asset.columns}
    flags = {
        one.name: one.pii.kind
        for one in (*asset.columns, *now.columns)
        if one.pii and one.pii.is_personal
    }
    partitions = asset.technical.partitions if asset.technical else ()
    for column in asset.schema:
        said = told.get(column.name, ColumnMetadata(column.name))
        yield ListedColumn(
            name=column.name,
            type=column.type,
            nullable=column.nullable,
            is_partition=column in partitions,
            business_name=said.business_name,
            description=said.description,
            glossary_terms=said.glossary_terms,
            is_personal=column.name in flags,
            pii=flags.get(column.name, ""),
        )


def _project_name(call: Call, project_id: str) -> str:
    found = call.find(Project, id=project_id)
    return found.name if found else ""
