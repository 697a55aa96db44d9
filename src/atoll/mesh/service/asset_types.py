"""Types of assets: what kinds of data there are, and which forms they have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from atoll.core.errors import Conflict, Forbidden, InvalidInput
from atoll.mesh.model.catalog import Asset, AssetType
from atoll.mesh.model.organisation import ALL_USERS, Domain, PolicyGrant, PolicyType, Project
from atoll.mesh.model.people import GroupProfile, UserProfile
from atoll.mesh.model.record import Name, Text
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Ask, Described, Done, Named, Right, operation
from atoll.mesh.service.forms import FormNames, required_form
from atoll.mesh.service.history import OneRevision, as_it_was, revised

TypeNames = Annotated[tuple[Name, ...], Meta(max_length=50)]


class NewAssetType(Described, frozen=True, kw_only=True):
    """A name, which stays, and forms.

    Attributes:
        form_types: names of the forms that its assets have.
        required_forms: those of them that must be complete before one is published.
    """

    form_types: FormNames = ()
    required_forms: FormNames = ()


class ChangedAssetType(Ask, frozen=True, kw_only=True):
    """What changes; what is left out stays."""

    description: Text | None = None
    form_types: FormNames | None = None
    required_forms: FormNames | None = None


class AssetTypes(Named, frozen=True, kw_only=True):
    """Which asset types."""

    owning_project_id: str = ""


@operation(
    "POST", "/projects/{project_id}/asset-types", Right.CREATE, grant=PolicyType.CREATE_ASSET_TYPE
)
def create_asset_type(call: Call, project: Project, ask: NewAssetType) -> AssetType:
    """Make a type of assets, for a project and for those that are let use it."""
    _check_forms(call, ask.form_types, ask.required_forms)
    return call.add(AssetType, owning_project_id=project.id, **ask.given())


@operation("GET", "/asset-types", Right.BROWSE)
def list_asset_types(call: Call, domain: Domain, ask: AssetTypes) -> Iterator[AssetType]:
    """List types of assets; those that come with Atoll are no project's."""
    return call.shown(AssetType, name=ask.name, owning_project_id=ask.owning_project_id)


@operation("GET", "/asset-types/{asset_type_id}", Right.BROWSE)
def get_asset_type(call: Call, asset_type: AssetType, ask: OneRevision) -> AssetType:
    """Show a type of assets, as it is or as it was."""
    return as_it_was(call, asset_type, ask.revision)


@operation("PATCH", "/asset-types/{asset_type_id}", Right.CONTRIBUTE)
def update_asset_type(call: Call, asset_type: AssetType, ask: ChangedAssetType) -> AssetType:
    """Make a new revision of a type; what is listed already stays so until it is published anew."""
    known = (*asset_type.form_types, *asset_type.required_forms)
    changed = ask.given()
    form_types = changed.get("form_types", asset_type.form_types)
    _check_forms(call, form_types, changed.get("required_forms", asset_type.required_forms), known)
    return revised(call, asset_type, **changed)


@operation("DELETE", "/asset-types/{asset_type_id}", Right.CONTRIBUTE)
def delete_asset_type(call: Call, asset_type: AssetType) -> Done:
    """Remove a type that no asset is of."""
    if call.find(Asset, asset_type=asset_type.name):
        # Of which project is not for everybody.
        raise Conflict(f"there are assets of type '{asset_type.name}'; it stays while they do")
    call.remove(asset_type)
    return Done()


def usable_type(call: Call, project: Project, name: str) -> AssetType:
    """Return the type of that name, for an asset of a project.

    A project uses types that come with Atoll, its own, and those of projects in whose domain
    unit, or above it for all below, USE_ASSET_TYPE is granted to it, to everybody, or to who asks.

    Raises:
        InvalidInput: there is none.
        Forbidden: it is another project's, and was not granted.
    """
    found = named_type(call, name)
    if found.owning_project_id not in ("", project.id) and not _is_granted(call, project, found):
        raise Forbidden(
            f"the asset type '{name}' is another project's; owners of that project's domain unit "
            f"grant {PolicyType.USE_ASSET_TYPE}"
        )
    return found


def named_type(call: Call, name: str) -> AssetType:
    """Return the type of that name, whoever may use it.

    Raises:
        InvalidInput: there is none.
    """
    found = call.find(AssetType, name=name)
    if found is None:
        raise InvalidInput(f"there is no asset type '{name}'; see ListAssetTypes", name=name)
    return found


def _is_granted(call: Call, project: Project, asset_type: AssetType) -> bool:
    owner = call.find(Project, id=asset_type.owning_project_id)
    units = call.know.above(owner.domain_unit_id) if owner else []
    profile = call.find(UserProfile, id=call.who.id)
    groups = call.each(GroupProfile, id=profile.groups if profile else ())
    principals = {
        ALL_USERS,
        project.id,
        call.who.id,
        *(one.id for one in groups if one.status.is_in),
    }
    grants = call.each(
        PolicyGrant,
        domain_unit_id=units,
        policy_type=PolicyType.USE_ASSET_TYPE,
        principal_id=principals,
    )
    return any(one.domain_unit_id == units[0] or one.includes_children for one in grants)


def _check_forms(
    call: Call, form_types: tuple[str, ...], required: tuple[str, ...], known: tuple[str, ...] = ()
) -> None:
    for name in sorted({*form_types} - {*known}):
        required_form(call, name)
    if others := sorted({*required} - {*form_types}):
        raise InvalidInput(f"'{others[0]}' is required, but none of the forms; add it to them")
