"""Atoll's own form of a cluster: short YAML, one way to write each thing.

    name: embeddings
    release: emr-7.13.0                # left out: the latest
    primary: 3 x m5.xlarge, m5.2xlarge # or a mapping, as of the others
    core:
      on_demand: 4                     # capacity units
      types: {m5.xlarge: 1, m5.2xlarge: 2}
    task:
    - spot: 8
      types: {m5.xlarge: 1, r5.xlarge: {weight: 2, bid_percent: 70}}
    subnets: [subnet-a, subnet-b]
    spread: true

`parse_short` reads it, `show` writes it: what `show` wrote is read as the same specification.
"""

from __future__ import annotations

import re
import shlex

from atoll.fleet.model import (
    ActionOnFailure,
    BootstrapAction,
    ClusterSpec,
    FleetSpec,
    HealthPolicy,
    InstanceTypeConfig,
    OnDemandStrategy,
    Resizing,
    Role,
    SpotProvisioning,
    SpotStrategy,
    StepSpec,
    TimeoutAction,
)
from atoll.fleet.spec.document import read_document
from atoll.fleet.spec.fleetrules import fleet_problems
from atoll.fleet.spec.fleets import fleet_name
from atoll.fleet.spec.notices import settled, spec_notices
from atoll.fleet.spec.reader import Reader, Section
from atoll.fleet.spec.releases import Release, parse_release
from atoll.fleet.spec.runjobflow import Wanted, read_release
from atoll.fleet.spec.validate import problems_of
from atoll.fleet.spec.where import Path, Where, finish
from atoll.fleet.spec.work import PROVIDED

PRIMARY = re.compile(r"([0-9]{1,9}) x ([^\s,]+(?:, ?[^\s,]+)*)")
"""How primaries are written: their number, and the types they may be."""

NAMES = {
    "release_label": "release",
    "subnet_ids": "subnets",
    "spread_primaries": "spread",
    "termination_protected": "protected",
    "bootstrap_actions": "bootstrap",
    "args": "run",
    "action_on_failure": "on_failure",
    "spark_properties": "spark",
    "target_on_demand": "on_demand",
    "target_spot": "spot",
    "weighted_capacity": "weight",
    "bid_price": "bid",
    "bid_price_percent": "bid_percent",
    "resizing": "resize",
}
"""What the short form calls the parts that have another name in a specification."""


def parse_short(text: str | bytes, origin: str = "the file") -> Wanted:
    """Read a cluster in the short form.

    Raises:
        InvalidInput: it is no YAML, or all that is wrong with it, each with its path.
    """
    reader = Reader()
    section = reader.section(read_document(text, origin), "")
    where = Where("", NAMES)
    spec = _read(section, where)
    finish(reader, where, problems_of(spec))
    notices = (*reader.notices, *map(where.noted, spec_notices(spec)))
    return Wanted(settled(spec), notices)


def _read(section: Section, where: Where) -> ClusterSpec:
    release = read_release(section, "release")
    return ClusterSpec(
        name=section.needed("name", longest=256),
        release_label=release.label,
        fleets=_read_fleets(section, release, where),
        subnet_ids=section.texts("subnets", longest=256),
        applications=_read_applications(section),
        spread_primaries=section.flag("spread", False),
        termination_protected=section.flag("protected", False),
        keeps_alive=section.flag("keeps_alive", True),
        idle_timeout_s=section.maybe_whole("idle_timeout_s"),
        step_concurrency=section.whole("step_concurrency", 1),
        bootstrap_actions=tuple(map(_read_bootstrap, section.sections("bootstrap"))),
        steps=tuple(map(_read_step, section.sections("steps"))),
        spark_properties=_read_texts(section.inner("spark")),
        health=_read_health(section.inner("health")),
        tags=_read_texts(section.inner("tags")),
        log_uri=section.optional("log_uri"),
        service_role=section.optional("service_role"),
        job_flow_role=section.optional("job_flow_role"),
        key_name=section.optional("key_name"),
        custom_ami=section.optional("custom_ami"),
        root_volume_gib=section.maybe_whole("root_volume_gib"),
        primary_security_group=section.optional("primary_security_group"),
        worker_security_group=section.optional("worker_security_group"),
        service_security_group=section.optional("service_security_group"),
        additional_primary_groups=section.texts("additional_primary_groups"),
        additional_worker_groups=section.texts("additional_worker_groups"),
    )


def _read_applications(section: Section) -> tuple[str, ...]:
    found = section.texts("applications", longest=256) or ("Spark",)
    for place, name in enumerate(found):
        if name.lower() not in PROVIDED:
            section.notice(
                f"applications[{place}]",
                f"Atoll does not provide {name}; it runs Spark with ZooKeeper",
            )
    return found


def parse_short_fleet(
    text: str | bytes, cluster: ClusterSpec, origin: str = "the file"
) -> FleetSpec:
    """Read a task fleet in the short form, for a cluster that lives.

    Raises:
        InvalidInput: it is no YAML, or all that is wrong with it, each with its path.
    """
    reader, where = Reader(), Where("", NAMES)
    section = reader.section(read_document(text, origin), "")
    release = parse_release(cluster.release_label)
    place = sum(one.role is Role.TASK for one in cluster.fleets)
    fleet = _read_fleet(section, Role.TASK, release, where, ("fleets", 0), place)
    finish(reader, where, fleet_problems(fleet, 0))
    return fleet


def _read_fleets(section: Section, release: Release, where: Where) -> tuple[FleetSpec, ...]:
    where.put(("fleets",), "the cluster")
    if "primary" not in section:
        section.problem("primary", "is missing; write primary: 3 x m5.xlarge")
    fleets = [_read_primary(section, release, where)]
    if "core" in section:
        part: Path = ("fleets", 1)
        fleets.append(_read_fleet(section.inner("core"), Role.CORE, release, where, part))
    for place, one in enumerate(section.sections("task")):
        part = ("fleets", len(fleets))
        fleets.append(_read_fleet(one, Role.TASK, release, where, part, place))
    return tuple(fleets)


def _read_primary(section: Section, release: Release, where: Where) -> FleetSpec:
    value = section.raw("primary")
    if not isinstance(value, str):
        inner = section.inner("primary")
        return _read_fleet(inner, Role.MASTER, release, where, ("fleets", 0))
    where.put(("fleets", 0), "primary")
    found = PRIMARY.fullmatch(value.strip())
    if found is None:
        section.problem("primary", f"{value[:60]!r} is not such as 3 x m5.xlarge, m5.2xlarge")
    names = [one.strip() for one in found[2].split(",")] if found else []
    return FleetSpec(
        role=Role.MASTER,
        name=fleet_name(Role.MASTER),
        target_on_demand=int(found[1]) if found else 0,
        target_spot=0,
        types=tuple(InstanceTypeConfig(one) for one in names),
        spot=SpotProvisioning(strategy=release.spot_strategy),
    )


def _read_fleet(
    section: Section, role: Role, release: Release, where: Where, part: Path, place: int = 0
) -> FleetSpec:
    where.put(part, section.path)
    where.put((*part, "spot", "timeout_minutes"), section.path_of("spot_timeout_minutes"))
    return FleetSpec(
        role=role,
        name=section.text("name", longest=256) or fleet_name(role, place),
        target_on_demand=section.whole("on_demand", 0),
        target_spot=section.whole("spot", 0),
        types=_read_types(section.inner("types"), where, part),
        spot=SpotProvisioning(
            strategy=section.choice("spot_strategy", release.spot_strategy),
            timeout_minutes=section.whole("spot_timeout_minutes", SpotProvisioning.timeout_minutes),
            timeout_action=section.choice("spot_timeout_action", TimeoutAction.SWITCH_TO_ON_DEMAND),
        ),
        on_demand_strategy=section.choice("on_demand_strategy", OnDemandStrategy.LOWEST_PRICE),
        resizing=_read_resizing(section.inner("resize")),
    )


def _read_types(section: Section, where: Where, part: Path) -> tuple[InstanceTypeConfig, ...]:
    for place, name in enumerate(section.names()):
        where.put((*part, "types", place), section.path_of(name))
    return tuple(_read_type(name, section) for name in section.names())


def _read_type(name: str, section: Section) -> InstanceTypeConfig:
    if not isinstance(section.raw(name), dict):
        return InstanceTypeConfig(name, weighted_capacity=section.whole(name, 1))
    one = section.inner(name)
    return InstanceTypeConfig(
        instance_type=name,
        weighted_capacity=one.whole("weight", 1),
        bid_price=one.maybe_number("bid"),
        bid_price_percent=one.number("bid_percent", 100.0),
        priority=one.maybe_number("priority"),
        disk_gib=one.maybe_whole("disk_gib"),
    )


def _read_resizing(section: Section) -> Resizing:
    return Resizing(
        spot_strategy=section.maybe_choice("spot_strategy", SpotStrategy),
        on_demand_strategy=section.maybe_choice("on_demand_strategy", OnDemandStrategy),
        spot_timeout_minutes=section.maybe_whole("spot_timeout_minutes"),
        on_demand_timeout_minutes=section.maybe_whole("on_demand_timeout_minutes"),
    )


def _read_bootstrap(section: Section) -> BootstrapAction:
    words = _words(section)
    return BootstrapAction(section.needed("name", longest=256), words[0], words[1:])


def _read_step(section: Section) -> StepSpec:
    return StepSpec(
        name=section.needed("name", longest=256),
        args=_words(section),
        action_on_failure=section.choice("on_failure", ActionOnFailure.CONTINUE),
    )


def _words(section: Section) -> tuple[str, ...]:
    """Read a command as a shell would take it apart; at least one word."""
    try:
        return tuple(shlex.split(section.needed("run"))) or ("",)
    except ValueError as error:
        section.problem("run", f"is no command: {str(error).lower()}; mend the quotes")
        return ("",)


def _read_health(section: Section) -> HealthPolicy:
    usual = HealthPolicy()
    return HealthPolicy(
        heartbeat_timeout_s=section.number("heartbeat_timeout_s", usual.heartbeat_timeout_s),
        failing_probes=section.whole("failing_probes", usual.failing_probes),
        disk_percent=section.number("disk_percent", usual.disk_percent),
        cpu_percent=section.number("cpu_percent", usual.cpu_percent),
        cpu_for_s=section.number("cpu_for_s", usual.cpu_for_s),
        primary_grace_s=section.number("primary_grace_s", usual.primary_grace_s),
        worker_grace_s=section.number("worker_grace_s", usual.worker_grace_s),
        bootstrap_timeout_s=section.number("bootstrap_timeout_s", usual.bootstrap_timeout_s),
        replaces_unhealthy=section.flag("replaces_unhealthy", usual.replaces_unhealthy),
    )


def _read_texts(section: Section) -> dict[str, str]:
    return {name: section.text(name) for name in section.names()}
