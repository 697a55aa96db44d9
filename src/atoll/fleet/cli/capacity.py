"""Commands about instances and fleets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from atoll.core.config import Settings
from atoll.core.errors import Conflict, NotFound
from atoll.core.files import reading
from atoll.core.tables import clock, table
from atoll.fleet.cli.common import cluster_argument, found, host, json_option, shown, watch_option
from atoll.fleet.life.records import Fleet, InstanceRecord
from atoll.fleet.model import Role
from atoll.fleet.registry import ClusterRecord


@click.command()
@cluster_argument
@click.option("--role", type=click.Choice([one.value for one in Role], case_sensitive=False),
              help="Only these.")  # fmt: skip
@click.option("--all", "with_ended", is_flag=True, help="Those that ended, too.")
@json_option
@watch_option
@click.pass_obj
def instances(
    settings: Settings,
    /,
    cluster: str,
    role: str | None,
    with_ended: bool,
    as_json: bool,
    watch: bool,
) -> None:
    """List a cluster's instances, primaries first."""
    client = host(settings)

    def make() -> tuple[Any, list[str]]:
        record = found(client, cluster)
        rows = _rows(record, role, with_ended)
        return rows, table(rows, empty="no instances")

    shown(make, as_json=as_json, watch=watch)


def _rows(record: ClusterRecord, role: str | None, with_ended: bool) -> list[dict[str, Any]]:
    order = list(Role)
    kept = [
        one
        for one in record.known.instances.values()
        if (one.is_alive or with_ended) and (role is None or one.machine.role.value == role)
    ]
    kept.sort(key=lambda one: (order.index(one.machine.role), _numbers(one), one.created_at))
    return [
        {
            "id": one.machine.id,
            "role": one.machine.role.value,
            "type": one.machine.instance_type,
            "market": one.machine.market.value,
            "state": one.state.value,
            "part": "active" if one.is_active else "",
            "ip": one.machine.private_ip,
            "name": one.machine.private_dns,
            "since": clock(one.ready_at or one.created_at),
            "why": one.message or one.complaint,
        }
        for one in kept
    ]


def _numbers(record: InstanceRecord) -> tuple[int, ...]:
    """Return an address as it sorts; one that is not known yet comes first."""
    return tuple(map(int, filter(None, record.machine.private_ip.split("."))))


@click.command()
@cluster_argument
@click.argument("fleet_name", metavar="FLEET")
@click.option("--on-demand", type=click.IntRange(0), metavar="UNITS", help="Units on demand.")
@click.option("--spot", type=click.IntRange(0), metavar="UNITS", help="Units as spot.")
@click.pass_obj
def resize(
    settings: Settings,
    /,
    cluster: str,
    fleet_name: str,
    on_demand: int | None,
    spot: int | None,
) -> None:
    """Change the targets of a core or task fleet, named by its id, its name, or CORE or TASK."""
    # The service is the host's: it loads ZooKeeper's client.
    from atoll.fleet.control.service import Resize

    if on_demand is None and spot is None:
        raise click.UsageError("give --on-demand, --spot or both")
    client = host(settings)
    record = found(client, cluster)
    fleet = _fleet(record, fleet_name)
    wanted = Resize(fleet.id, on_demand, spot)
    new = client.call("resize", Fleet, cluster_id=record.id, resize=wanted).spec
    click.echo(f"{fleet.id} {new.name}: {new.target_on_demand} on demand, {new.target_spot} spot")


def _fleet(record: ClusterRecord, name: str) -> Fleet:
    """Return a fleet by its id, else by its name, else by its role."""
    fleets = record.desired.fleets
    found = (
        [one for one in fleets if one.id == name]
        or [one for one in fleets if one.spec.name == name]
        or [one for one in fleets if one.spec.role.value == name.upper()]
    )
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(f"{one.id} ({one.spec.name})" for one in found)
        raise Conflict(f"several fleets of {record.id} are {name!r}: {ids}; name one by its id")
    known = ", ".join(f"{one.id} ({one.spec.name})" for one in record.desired.fleets)
    raise NotFound(f"cluster {record.id} has no fleet {name!r}; it has {known}", fleet=name)


@click.command("add-fleet")
@cluster_argument
@click.option("--file", "file", required=True, metavar="FILE",
              type=click.Path(dir_okay=False, path_type=Path),
              help="A task fleet in the short form, YAML.")  # fmt: skip
@click.pass_obj
def add_fleet(settings: Settings, /, cluster: str, file: Path) -> None:
    """Add a task fleet to a cluster that lives."""
    from atoll.fleet.spec.short import parse_short_fleet

    client = host(settings)
    record = found(client, cluster)
    with reading(file):
        spec = parse_short_fleet(file.read_bytes(), record.desired.current_spec, str(file))
    fleet = client.call("add_fleet", Fleet, cluster_id=record.id, spec=spec)
    click.echo(f"{fleet.id} {fleet.spec.name}")
