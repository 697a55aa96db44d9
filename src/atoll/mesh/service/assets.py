"""Assets: what people say of data; each change is a revision.

Registering an asset and reading its files is in `sources`; how sensitive it is in `sensitivity`;
showing it to others in `listings`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Annotated, Any

from msgspec import Meta

from atoll.core.errors import Conflict, InvalidInput
from atoll.core.text import some_of
from atoll.mesh.harvest.model import Technical
from atoll.mesh.model.access import LIVE, Subscription
from atoll.mesh.model.catalog import (
    Asset,
    AssetFilter,
    Basis,
    ColumnMetadata,
    Listing,
    TimeSeriesDataPoint,
)
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import Project
from atoll.mesh.model.record import ColumnName, Ids, Line, Record, Text
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import HOUSEKEEPING, Attendant, job, later
from atoll.mesh.operations.registry import Ask, Done, Named, Redescribed, Right, operation
from atoll.mesh.service.filters import revalidated
from atoll.mesh.service.forms import FormInputs, checked_forms
from atoll.mesh.service.glossaries import require_usable
from atoll.mesh.service.history import OneRevision, as_it_was, revised
from atoll.mesh.service.listed import may_know
from atoll.mesh.service.listings import (
    followed,
    products_with,
    readers_of,
    require_unseen,
)
from atoll.mesh.service.subscriptions import masked_again

FORGET = "forget-asset"
FORGOTTEN_AT_ONCE = 200
STEPS_IN_A_ROW = 20  # then it is the turn of other housekeeping, or of the end of the server


class Assets(Named, frozen=True, kw_only=True):
    """Which assets of a project."""

    asset_type: str = ""


class ChangedAsset(Redescribed, frozen=True, kw_only=True):
    """What changes; what is left out stays.

    Attributes:
        upstream: ids of the assets that it is made of; of those that you may know of.
        forms: all of them, each as it shall be.
    """

    basis: Basis | None = None
    upstream: Ids | None = None
    forms: FormInputs | None = None
    glossary_terms: Ids | None = None


class ChangedColumn(Ask, frozen=True, kw_only=True):
    """What is said of a column; what is left out stays."""

    name: ColumnName
    business_name: Line | None = None
    description: Text | None = None
    glossary_terms: Ids | None = None


class ChangedColumns(Ask, frozen=True, kw_only=True):
    """Some columns, each once."""

    columns: Annotated[tuple[ChangedColumn, ...], Meta(min_length=1, max_length=1000)]


@operation("GET", "/projects/{project_id}/assets", Right.VIEW)
def list_assets(call: Call, project: Project, ask: Assets) -> Iterator[Asset]:
    """List the inventory of a project, published or not."""
    return call.shown(Asset, owning_project_id=project.id, name=ask.name, asset_type=ask.asset_type)


@operation("GET", "/assets/{asset_id}", Right.VIEW)
def get_asset(call: Call, asset: Asset, ask: OneRevision) -> Asset:
    """Show an asset, as it is or as it was."""
    return as_it_was(call, asset, ask.revision)


@operation("PATCH", "/assets/{asset_id}", Right.DESCRIBE)
def update_asset(call: Call, asset: Asset, ask: ChangedAsset) -> Asset:
    """Describe an asset; others see that once it is published."""
    values = ask.given()
    if ask.forms is not None:
        values["forms"] = checked_forms(call, ask.forms, asset.forms)
    return changed_asset(call, asset, **values)


@operation("PATCH", "/assets/{asset_id}/columns", Right.DESCRIBE)
def update_asset_columns(call: Call, asset: Asset, ask: ChangedColumns) -> Asset:
    """Describe columns of an asset; the others stay as they are."""
    said = [replace(column_of(asset, one.name), **one.given()) for one in ask.columns]
    return changed_asset(call, asset, columns=with_columns(asset, said))


@operation("POST", "/assets/{asset_id}/archive", Right.CONTRIBUTE)
def archive_asset(call: Call, asset: Asset) -> Asset:
    """Put an asset aside that is not published: it stays as it is, and no run brings it back."""
    _require_unseen(call, asset)
    return changed_asset(call, asset, is_archived=True)


@operation("POST", "/assets/{asset_id}/restore", Right.CONTRIBUTE)
def restore_asset(call: Call, asset: Asset) -> Asset:
    """Take an archived asset into the inventory again."""
    return changed_asset(call, asset, is_archived=False)


# What is registered anew would be without the decisions on it: only owners let go of these.
@operation("DELETE", "/assets/{asset_id}", Right.OWN)
def delete_asset(call: Call, asset: Asset) -> Done:
    """Remove an asset that nobody else sees or reads; its files stay.

    Assets that are made of it go on saying so; a run may bring it in again, as another one.
    """
    if listing := _require_unseen(call, asset):
        call.remove(listing)
    call.tell(name=asset.name, location=asset.external_identifier[:1000])
    call.remove(asset)
    later(call, FORGET, asset.id)
    return Done()


@job(FORGET, lane=HOUSEKEEPING)
def forget_asset(attendant: Attendant, task: Job) -> int | None:
    """Remove what belonged to an asset that is gone, some of it at a time: others wait."""

    def some(call: Call) -> Record | None:
        kinds: tuple[type[Record], ...] = (AssetFilter, TimeSeriesDataPoint)
        left = chain.from_iterable(call.each(one, asset_id=task.subject_id) for one in kinds)
        found = list(islice(left, FORGOTTEN_AT_ONCE))
        for one in found:
            call.remove(one)
        return found[0] if found else None

    for _ in range(STEPS_IN_A_ROW):
        if not attendant.act("ForgetAsset", FORGET, some):
            return None
    return attendant.now()


def changed_asset(call: Call, asset: Asset, **values: Any) -> Asset:
    """Change an asset: the one way, by which whatever belongs to it keeps in step.

    Args:
        call: the change under way; told to the audit.
        asset: as it is now.
        values: fields of `Asset`. `forms` come from `checked_forms`. With a new `technical`,
            `columns` lose those that are gone, but for flags of personal data; one of another type
            loses that it was said to hold none.

    Returns:
        A new revision, or the asset as it is where nothing differs.

    Raises:
        InvalidInput: a term cannot be used, a column is not there or twice, or there is no such
            asset upstream that the caller may know of.
        Conflict: it is archived.
    """
    if asset.is_archived and values.get("is_archived", True):
        raise Conflict(f"'{asset.name}' is archived; restore it first")
    if {"technical", "columns"} & values.keys():
        values["columns"] = _fitting(asset, **values)
    for key in {"glossary_terms", "upstream"} & values.keys():
        values[key] = tuple(dict.fromkeys(values[key]))
    changed = revised(call, asset, **values)
    require_usable(call, changed.own_terms, asset.all_terms)
    for id_ in set(changed.upstream) - set(asset.upstream):
        _require_known(call, asset, id_)
    if (changed.classification, changed.personal) != (asset.classification, asset.personal):
        followed(call, asset, changed)
    if changed.technical != asset.technical:
        revalidated(call, changed)
        before, now = ({(one.name, one.type) for one in each.schema} for each in (asset, changed))
        if gone := {name for name, _ in before - now}:
            masked_again(call, changed.id, gone)
    return changed


def column_of(asset: Asset, name: str) -> ColumnMetadata:
    """Return what is said of a column; of one that nobody has described, nothing."""
    return next((one for one in asset.columns if one.name == name), ColumnMetadata(name))


def with_columns(asset: Asset, said: list[ColumnMetadata]) -> tuple[ColumnMetadata, ...]:
    """Return what is said of all columns, once something else is said of some.

    Raises:
        InvalidInput: something is said of one of them twice.
    """
    found = {one.name: one for one in said}
    if len(found) != len(said):
        raise InvalidInput("a column is named more than once; name each once")
    return tuple(({one.name: one for one in asset.columns} | found).values())


def _fitting(
    asset: Asset,
    *,
    technical: Technical | None = None,
    columns: tuple[ColumnMetadata, ...] | None = None,
    **_: Any,
) -> tuple[ColumnMetadata, ...]:
    """Return what is said of columns, as far as it fits the schema and says anything."""
    before = {one.name: one.type for one in asset.schema}
    after = {one.name: one.type for one in (technical or asset).schema}
    known = {one.name: one for one in asset.columns if one.name not in after}
    said = known | {one.name: one for one in (asset.columns if columns is None else columns)}
    unknown = [name for name in said if name not in after and name not in known]
    if unknown and technical is None:
        raise InvalidInput(f"'{asset.name}' has no column {some_of(list(map(repr, unknown)))}")
    fitting = (_fitted(one, before.get(one.name), after.get(one.name)) for one in said.values())
    return tuple(one for one in fitting if one != ColumnMetadata(one.name))


def _fitted(said: ColumnMetadata, before: str | None, after: str | None) -> ColumnMetadata:
    """Leave out what does not hold for a column whose type, None where it is not there, changed."""
    is_personal = said.pii is not None and said.pii.is_personal
    if after is None:
        # A column that comes back is as personal as it was.
        return ColumnMetadata(said.name, pii=said.pii if is_personal else None)
    if before not in (None, after) and not is_personal:
        return replace(said, pii=None)
    return said


def _require_known(call: Call, asset: Asset, id_: str) -> None:
    if id_ == asset.id:
        raise InvalidInput(f"'{asset.name}' is not made of itself; leave it out of upstream")
    reads = {"project_id": asset.owning_project_id, "entity_id": id_, "status": LIVE}
    if not may_know(call, id_) and not call.find(Subscription, **reads):
        raise InvalidInput(f"there is no asset '{id_}'", id=id_)


def _require_unseen(call: Call, asset: Asset) -> Listing | None:
    for product in products_with(call, asset):
        raise Conflict(
            f"'{asset.name}' is in the data product '{product.name}'; take it out there first, "
            "and publish that anew or not at all",
            data_product=product.id,
        )
    listing = require_unseen(call, asset)
    for held in readers_of(call, asset):
        raise Conflict(
            f"others read '{asset.name}' by a subscription to a data product that it was in; "
            "revoke that first",
            subscription=held.id,
        )
    return listing
