"""How good data are: the newest points of their assets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from atoll.core.groups import in_groups
from atoll.mesh.model.catalog import Asset, DataProduct, Listing, TimeSeriesDataPoint
from atoll.mesh.store.reading import Reader

QUALITY = "quality"
MAX_SCORE = 100.0
_AT_ONCE = 500


def measured(record: Asset | DataProduct | Listing) -> tuple[str, ...]:
    """List ids of the assets whose quality counts for something: itself, or what is in it."""
    if isinstance(record, Listing):
        return record.asset_ids or (record.entity_id,)
    return (record.id,) if isinstance(record, Asset) else record.asset_ids


def newest_points(reader: Reader, asset_ids: Iterable[str]) -> dict[str, TimeSeriesDataPoint]:
    """Return the newest points of quality by the ids of their assets, of those that have one."""
    found: dict[str, TimeSeriesDataPoint] = {}
    for some in in_groups(dict.fromkeys(asset_ids), _AT_ONCE):
        found |= reader.newest_of(
            TimeSeriesDataPoint, "timestamp", "asset_id", some, form_name=QUALITY
        )
    return found


def worst(
    points: Mapping[str, TimeSeriesDataPoint], asset_ids: Iterable[str]
) -> TimeSeriesDataPoint | None:
    """Return the point by which assets are as good together as the worst of them."""
    known = [points[id_] for id_ in asset_ids if id_ in points]
    return min(known, key=lambda one: one.score or 0.0, default=None)
