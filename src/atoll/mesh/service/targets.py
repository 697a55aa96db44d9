"""Subscription targets: where a project's subscriptions are made to hold.

Each project has one at the mesh's own doors from its first subscription on. Its owners add others
for where people of theirs make data available outside of the mesh, and report that they did.
"""

from __future__ import annotations

from collections.abc import Iterator

from atoll.core.errors import Conflict
from atoll.mesh.model.access import (
    LIVE,
    Subscription,
    SubscriptionTarget,
    TargetProvider,
)
from atoll.mesh.model.catalog import Asset
from atoll.mesh.model.organisation import Environment, EnvironmentStatus, Project
from atoll.mesh.model.record import Id, Name
from atoll.mesh.operations.calls import Call, missing
from atoll.mesh.operations.registry import Ask, Done, Page, Right, operation
from atoll.mesh.service.asset_types import TypeNames, named_type
from atoll.mesh.service.grants import emptied, granted
from atoll.mesh.service.history import revised

DOORS = "doors"
MAX_TARGETS = 20  # of a project, besides the doors: each subscription gets a grant at each


class NewSubscriptionTarget(Ask, frozen=True, kw_only=True):
    """A place outside of the mesh.

    Attributes:
        environment_id: of the project.
        asset_types: names of the types of assets that it is for; none: all.
    """

    name: Name
    environment_id: Id
    asset_types: TypeNames = ()


class ChangedSubscriptionTarget(Ask, frozen=True, kw_only=True):
    """What changes for what is subscribed to from now on; what is left out stays."""

    name: Name | None = None
    asset_types: TypeNames | None = None


@operation("POST", "/projects/{project_id}/subscription-targets", Right.OWN)
def create_subscription_target(
    call: Call, project: Project, ask: NewSubscriptionTarget
) -> SubscriptionTarget:
    """Have the project's subscriptions, with those that it has, made to hold elsewhere, too."""
    environment = call.get(Environment, ask.environment_id)
    if environment.project_id != project.id:
        raise missing(Environment, ask.environment_id)
    if environment.status is not EnvironmentStatus.ACTIVE:
        raise Conflict(
            f"'{environment.name}' is {environment.status}; take an environment that is ACTIVE"
        )
    _check(call, ask.name, ask.asset_types)
    if len(targets_of(call, project.id)) > MAX_TARGETS:
        raise Conflict(f"'{project.name}' has {MAX_TARGETS} targets; remove one first")
    made = call.add(
        SubscriptionTarget,
        name=ask.name,
        project_id=project.id,
        environment_id=environment.id,
        provider=TargetProvider.MANUAL,
        asset_types=ask.asset_types,
    )
    for one in list(call.each(Subscription, project_id=project.id, status=LIVE)):
        granted(call, one, made, list(call.each(Asset, id=list(one.columns))))
    return made


@operation("GET", "/projects/{project_id}/subscription-targets", Right.VIEW)
def list_subscription_targets(
    call: Call, project: Project, ask: Page
) -> Iterator[SubscriptionTarget]:
    """List where a project's subscriptions are made to hold."""
    return call.shown(SubscriptionTarget, project_id=project.id)


@operation("GET", "/subscription-targets/{subscription_target_id}", Right.VIEW)
def get_subscription_target(call: Call, target: SubscriptionTarget) -> SubscriptionTarget:
    """Show a subscription target."""
    return target


@operation("PATCH", "/subscription-targets/{subscription_target_id}", Right.OWN)
def update_subscription_target(
    call: Call, target: SubscriptionTarget, ask: ChangedSubscriptionTarget
) -> SubscriptionTarget:
    """Rename a target, or have it for other types of assets from now on."""
    _refuse_doors(target)
    _check(call, ask.name, ask.asset_types or ())
    return revised(call, target, **ask.given())


@operation("DELETE", "/subscription-targets/{subscription_target_id}", Right.OWN)
def delete_subscription_target(call: Call, target: SubscriptionTarget) -> Done:
    """Remove a target; what is granted there is to be taken away, and that to be reported."""
    _refuse_doors(target)
    emptied(call, target, why="its target was removed")
    call.remove(target)
    return Done()


def targets_of(call: Call, project_id: str) -> list[SubscriptionTarget]:
    """List where a project's subscriptions are made to hold: the doors first, made if need be."""
    found = list(call.each(SubscriptionTarget, project_id=project_id))
    doors = [one for one in found if one.provider is TargetProvider.ATOLL]
    if not doors:
        doors = [call.add(SubscriptionTarget, name=DOORS, project_id=project_id)]
    return [*doors, *(one for one in found if one.provider is not TargetProvider.ATOLL)]


def _check(call: Call, name: str | None, asset_types: tuple[str, ...]) -> None:
    if name == DOORS:  # the project's first subscription makes it
        raise Conflict(f"the name '{name}' is that of the mesh's own; choose another")
    for one in asset_types:
        named_type(call, one)


def _refuse_doors(target: SubscriptionTarget) -> None:
    if target.provider is TargetProvider.ATOLL:
        raise Conflict("the target at the mesh's own doors stays as it is; change another")
