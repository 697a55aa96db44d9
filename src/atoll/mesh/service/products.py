"""Data products: assets of one project that are offered together; each change is a revision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from msgspec import Meta

from atoll.core.errors import InvalidInput
from atoll.mesh.model.catalog import Asset, Basis, DataProduct, DataProductItem
from atoll.mesh.model.organisation import Project
from atoll.mesh.model.record import Id, Ids
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import (
    Ask,
    Described,
    Done,
    Named,
    Redescribed,
    Right,
    operation,
)
from atoll.mesh.service.forms import FormInputs, checked_forms
from atoll.mesh.service.glossaries import require_usable
from atoll.mesh.service.history import Number, OneRevision, as_it_was, revised
from atoll.mesh.service.listings import require_unseen


class ItemInput(Ask, frozen=True, kw_only=True):
    """An asset of the same project.

    Attributes:
        revision: which one; 0: the newest.
    """

    asset_id: Id
    revision: Number = 0


ItemInputs = Annotated[tuple[ItemInput, ...], Meta(max_length=100)]


class NewDataProduct(Described, frozen=True, kw_only=True):
    """A name, what it is for, and what is in it."""

    basis: Basis = Basis.CONSUMER_BASED
    items: ItemInputs = ()
    forms: FormInputs = ()
    glossary_terms: Ids = ()


class ChangedDataProduct(Redescribed, frozen=True, kw_only=True):
    """What changes; what is left out stays.

    Attributes:
        forms: all of them, each as it shall be.
    """

    basis: Basis | None = None
    forms: FormInputs | None = None
    glossary_terms: Ids | None = None


class Items(Ask, frozen=True, kw_only=True):
    """All that is in a data product."""

    items: ItemInputs


@operation("POST", "/projects/{project_id}/data-products", Right.CONTRIBUTE)
def create_data_product(call: Call, project: Project, ask: NewDataProduct) -> DataProduct:
    """Put assets of a project together, to be published as one."""
    require_usable(call, ask.glossary_terms)
    return call.add(
        DataProduct,
        name=ask.name,
        description=ask.description,
        owning_project_id=project.id,
        basis=ask.basis,
        items=_items(call, project.id, ask.items),
        forms=checked_forms(call, ask.forms),
        glossary_terms=tuple(dict.fromkeys(ask.glossary_terms)),
    )


@operation("GET", "/projects/{project_id}/data-products", Right.VIEW)
def list_data_products(call: Call, project: Project, ask: Named) -> Iterator[DataProduct]:
    """List the data products of a project, published or not."""
    return call.shown(DataProduct, owning_project_id=project.id, name=ask.name)


@operation("GET", "/data-products/{data_product_id}", Right.VIEW)
def get_data_product(call: Call, product: DataProduct, ask: OneRevision) -> DataProduct:
    """Show a data product, as it is or as it was."""
    return as_it_was(call, product, ask.revision)


@operation("PATCH", "/data-products/{data_product_id}", Right.DESCRIBE)
def update_data_product(call: Call, product: DataProduct, ask: ChangedDataProduct) -> DataProduct:
    """Describe a data product; others see that once it is published."""
    values = ask.given()
    if ask.forms is not None:
        values["forms"] = checked_forms(call, ask.forms, product.forms)
    return changed_product(call, product, **values)


@operation("PUT", "/data-products/{data_product_id}/items", Right.CONTRIBUTE)
def set_data_product_items(call: Call, product: DataProduct, ask: Items) -> DataProduct:
    """Say which assets are in a data product, each by a revision."""
    items = _items(call, product.owning_project_id, ask.items)
    return changed_product(call, product, items=items)


@operation("DELETE", "/data-products/{data_product_id}", Right.CONTRIBUTE)
def delete_data_product(call: Call, product: DataProduct) -> Done:
    """Remove a data product that nobody else sees or reads; its assets stay."""
    if listing := require_unseen(call, product):
        call.remove(listing)
    call.tell(name=product.name)
    call.remove(product)
    return Done()


def changed_product(call: Call, product: DataProduct, **values: Any) -> DataProduct:
    """Change a data product: the one way.

    Args:
        call: the change under way; told to the audit.
        product: as it is now.
        values: fields of `DataProduct`; `forms` come from `checked_forms`.

    Raises:
        InvalidInput: a term cannot be used.
    """
    if "glossary_terms" in values:
        values["glossary_terms"] = tuple(dict.fromkeys(values["glossary_terms"]))
    changed = revised(call, product, **values)
    require_usable(call, changed.glossary_terms, product.glossary_terms)
    return changed


def _items(call: Call, project_id: str, given: Sequence[ItemInput]) -> tuple[DataProductItem, ...]:
    found = []
    for one in given:
        asset = call.get(Asset, one.asset_id)
        if asset.owning_project_id != project_id:
            raise InvalidInput(f"'{asset.name}' is another project's; take your own", id=asset.id)
        if one.revision:
            call.past(Asset, asset.id, one.revision)
        found.append(DataProductItem(asset.id, one.revision or asset.version))
    if len({one.asset_id for one in found}) != len(found):
        raise InvalidInput("an asset is named more than once; take one revision of it")
    return tuple(found)
