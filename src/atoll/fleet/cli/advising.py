"""The command that holds a cluster against the best practices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from atoll.core.config import Settings
from atoll.core.tables import table
from atoll.fleet.cli.common import found, host, json_option, shown, warn
from atoll.fleet.cli.specifications import read_specification, specification_options
from atoll.fleet.model import ClusterSpec, Role
from atoll.fleet.planning import advice
from atoll.fleet.planning.advice import Advice, Observed
from atoll.fleet.planning.subnets import LaunchPreview

_MARKS = {True: "yes", False: "NO", None: "-"}


@click.command()
@click.argument("cluster", required=False)
@specification_options
@json_option
@click.pass_obj
def advise(
    settings: Settings,
    /,
    cluster: str | None,
    template: Path | None,
    parameters: tuple[str, ...],
    file: Path | None,
    as_json: bool,
) -> None:
    """Check every best practice on a cluster that lives, or before one is created."""
    if [cluster, template, file].count(None) != 2:
        raise click.UsageError("give a cluster, --template or --file, one of the three")
    client = host(settings)
    if cluster is not None:
        id_ = found(client, cluster).id
        told = client.call("advice", list[Advice], cluster_id=id_)
        warnings = tuple(client.call("warnings", list[str], cluster_id=id_))
    else:
        spec = read_specification(template, file, parameters).spec
        planned = client.call("preview", LaunchPreview, spec=spec)
        told, warnings = advice_before(spec, planned), planned.warnings
    warn(settings, warnings)
    shown(lambda: (told, _lines(told)), as_json=as_json, watch=False)


def advice_before(spec: ClusterSpec, planned: LaunchPreview) -> list[Advice]:
    """Check every best practice on what would be launched."""
    core = sum(one.nodes for one in planned.fleets if one.fleet.role is Role.CORE)
    seen = Observed(core_nodes=core, nodes=planned.nodes, subnets=(planned.subnet,))
    return advice.advise(spec, seen)


def _lines(told: list[Advice]) -> list[str]:
    rows: list[dict[str, Any]] = [
        {
            "followed": _MARKS[one.is_followed],
            "practice": one.topic,
            "how it stands": f"{one.message}; {one.how}" if one.how else one.message,
        }
        for one in told
    ]
    return table(rows, empty="nothing to say")
