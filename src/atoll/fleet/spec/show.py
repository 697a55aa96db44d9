"""A specification, written in Atoll's short form; what goes without saying is left out."""

from __future__ import annotations

import shlex
from dataclasses import fields
from enum import StrEnum
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.fleet.model import (
    ActionOnFailure,
    ClusterSpec,
    FleetSpec,
    HealthPolicy,
    InstanceTypeConfig,
    Resizing,
    Role,
    SpotProvisioning,
    StepSpec,
)
from atoll.fleet.spec.fleets import fleet_name
from atoll.fleet.spec.releases import parse_release
from atoll.fleet.spec.short import NAMES, PRIMARY

_WIDTH = 100
# NEL and the separators of lines and paragraphs, as repr writes them.
_ODD_LINES = ("\\x85", "\\u2028", "\\u2029")
# Written by name, in this order, where they are not as usual.
_PLAIN = (
    "applications",
    "keeps_alive",
    "idle_timeout_s",
    "step_concurrency",
    "log_uri",
    "service_role",
    "job_flow_role",
    "key_name",
    "custom_ami",
    "root_volume_gib",
    "primary_security_group",
    "worker_security_group",
    "service_security_group",
    "additional_primary_groups",
    "additional_worker_groups",
)


def show(spec: ClusterSpec) -> str:
    """Write a specification so that `parse_short` reads the same one.

    Args:
        spec: one that was checked.

    Raises:
        InvalidInput: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise InvalidInput("this writes YAML with PyYAML: install atoll[fleet]") from error
    written = _cluster(spec)
    # PyYAML writes these as they are and reads them as ends of lines; escaped, they come back.
    has_odd_lines = any(mark in repr(spec) for mark in _ODD_LINES)
    text: str = yaml.safe_dump(
        written,
        sort_keys=False,
        allow_unicode=not has_odd_lines,
        width=_WIDTH,
        default_flow_style=None,
    )
    return text


def _cluster(spec: ClusterSpec) -> dict[str, Any]:
    found: dict[str, Any] = {"name": spec.name, "release": spec.release_label}
    strategy = parse_release(spec.release_label).spot_strategy
    usual = SpotProvisioning(strategy=strategy)
    tasks = [one for one in spec.fleets if one.role is Role.TASK]
    for fleet in spec.fleets:
        if fleet.role is Role.MASTER:
            found["primary"] = _primary(fleet, usual)
        elif fleet.role is Role.CORE:
            found["core"] = _fleet(fleet, usual, 0)
    _put(found, "task", [_fleet(one, usual, place) for place, one in enumerate(tasks)])
    _put(found, "subnets", list(spec.subnet_ids))
    _put(found, "spread", spec.spread_primaries)
    # A highly available cluster always is.
    _put(found, "protected", spec.termination_protected and not spec.is_highly_available)
    for one in fields(ClusterSpec):
        value = getattr(spec, one.name)
        if one.name in _PLAIN and value != one.default:
            found[one.name] = _value(value)
    _put(
        found,
        "bootstrap",
        [_command(one.name, (one.path, *one.args)) for one in spec.bootstrap_actions],
    )
    _put(found, "steps", [_step(one) for one in spec.steps])
    _put(found, "spark", dict(spec.spark_properties))
    _put(found, "health", _changed(spec.health, HealthPolicy()))
    _put(found, "tags", dict(spec.tags))
    return found


def _primary(fleet: FleetSpec, usual: SpotProvisioning) -> Any:
    types = tuple(InstanceTypeConfig(one.instance_type) for one in fleet.types)
    plain = FleetSpec(
        role=Role.MASTER,
        name=fleet_name(Role.MASTER),
        target_on_demand=fleet.target_on_demand,
        target_spot=0,
        types=types,
        spot=usual,
    )
    text = f"{fleet.target_on_demand} x {', '.join(one.instance_type for one in types)}"
    has_short_form = (
        plain == fleet
        and PRIMARY.fullmatch(text)
        and "," not in "".join(one.instance_type for one in types)
    )
    return text if has_short_form else _fleet(fleet, usual, 0)


def _fleet(fleet: FleetSpec, usual: SpotProvisioning, place: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if fleet.name != fleet_name(fleet.role, place):
        found["name"] = fleet.name
    _put(found, "on_demand", fleet.target_on_demand)
    _put(found, "spot", fleet.target_spot)
    found["types"] = {one.instance_type: _type(one) for one in fleet.types}
    for name, value in _changed(fleet.spot, usual).items():
        found[f"spot_{name}"] = value
    if fleet.on_demand_strategy is not FleetSpec.on_demand_strategy:
        found["on_demand_strategy"] = _value(fleet.on_demand_strategy)
    _put(found, "resize", _changed(fleet.resizing, Resizing()))
    return found


def _type(one: InstanceTypeConfig) -> Any:
    changed = _changed(one, InstanceTypeConfig(one.instance_type, one.weighted_capacity))
    if not changed:
        return one.weighted_capacity
    return {"weight": one.weighted_capacity} | {
        NAMES.get(name, name): value for name, value in changed.items()
    }


def _step(step: StepSpec) -> dict[str, str]:
    found = _command(step.name, step.args)
    if step.action_on_failure is not ActionOnFailure.CONTINUE:
        found["on_failure"] = str(step.action_on_failure)
    return found


def _command(name: str, words: tuple[str, ...]) -> dict[str, str]:
    return {"name": name, "run": shlex.join(words)}


def _changed(value: Any, usual: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that are not as usual."""
    both = [(one.name, getattr(value, one.name), getattr(usual, one.name)) for one in fields(value)]
    return {name: _value(new) for name, new, old in both if new != old}


def _value(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _put(found: dict[str, Any], name: str, value: Any) -> None:
    """Put a value under a name, unless it is empty, 0 or false."""
    if value:
        found[name] = value
