"""Commands about clusters as a whole."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec

from atoll.core.config import Settings
from atoll.core.errors import Incomplete
from atoll.core.tables import clock, table
from atoll.core.text import counted
from atoll.fleet.cli.advising import advice_before
from atoll.fleet.cli.common import (
    News,
    cluster_argument,
    found,
    host,
    json_option,
    shown,
    warn,
    watch_option,
)
from atoll.fleet.cli.specifications import read_specification, specification_options
from atoll.fleet.host.client import FleetClient
from atoll.fleet.life.capacity import provisioned, targets
from atoll.fleet.life.records import Event
from atoll.fleet.model import ClusterSpec, Market
from atoll.fleet.planning.allocate import Purchase
from atoll.fleet.planning.subnets import LaunchPreview
from atoll.fleet.registry import ClusterRecord, Phase
from atoll.fleet.spec.reader import Notice

_POLL_SECONDS = 0.5


@click.command()
@click.argument("name")
@specification_options
@click.option("--dry-run", is_flag=True, help="Only say what would be launched.")
@click.option("--wait", is_flag=True, help="Return when the cluster can work.")
@json_option
@click.pass_obj
def create(
    settings: Settings,
    /,
    name: str,
    template: Path | None,
    parameters: tuple[str, ...],
    file: Path | None,
    dry_run: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Create a cluster and print its id.

    What it is made of comes from --template or --file; the best practices it does not follow are
    told, and what Atoll does otherwise than EMR (`atoll fleet -q create` leaves that out).
    """
    if (template is None) == (file is None):
        raise click.UsageError("give --template or --file, one of the two")
    wanted = read_specification(template, file, parameters)
    spec = replace(wanted.spec, name=name)
    client = host(settings)
    planned = client.call("preview", LaunchPreview, spec=spec)
    _tell(settings, spec, planned, wanted.notices)
    if dry_run:
        shown(lambda: (planned, _plan_lines(planned)), as_json=as_json, watch=False)
        return
    record = client.call("create", ClusterRecord, spec=spec)
    if wait:
        record = _await(client, record)
    shown(lambda: ({"ClusterId": record.id}, [record.id]), as_json=as_json, watch=False)


def _tell(
    settings: Settings, spec: ClusterSpec, planned: LaunchPreview, notices: tuple[Notice, ...]
) -> None:
    """Say on stderr what is worth knowing before it is launched."""
    if settings.quiet:
        return
    for notice in notices:
        click.echo(f"note: {notice.path + ': ' if notice.path else ''}{notice.message}", err=True)
    warn(settings, planned.warnings)
    for one in advice_before(spec, planned):
        if one.is_followed is False:
            click.echo(f"advice: {one.message}; {one.how}", err=True)


def _plan_lines(planned: LaunchPreview) -> list[str]:
    rows = [
        {
            "fleet": one.fleet.name,
            "type": purchase.instance_type,
            "market": purchase.market.value,
            "instances": purchase.count,
            "units": purchase.units,
            "USD/h": _cost(purchase),
        }
        for one in planned.fleets
        for purchase in (*one.on_demand.purchases, *one.spot.purchases)
    ]
    where = f"{planned.subnet.id} ({planned.subnet.zone})"
    total = f"{counted(planned.nodes, 'machine')} in {where}, {planned.price_per_hour:.3f} USD/h"
    if planned.unpriced_nodes:
        total += f" and what {planned.unpriced_nodes} without a known price cost"
    return [*table(rows, empty="nothing to launch"), total]


def _cost(purchase: Purchase) -> float | str:
    return "?" if purchase.price is None else round(purchase.count * purchase.price, 4)


def _await(client: FleetClient, record: ClusterRecord) -> ClusterRecord:
    while True:
        record = client.call("cluster", ClusterRecord, cluster_id=record.id)
        status = record.known.status
        if status.state.is_ready:
            return record
        if status.state.is_over:
            raise Incomplete(
                f"cluster {record.id} is {status.state.value}: {status.message}; see: "
                f"atoll fleet events {record.id}",
                cluster_id=record.id,
            )
        time.sleep(_POLL_SECONDS)


@click.command("list")
@click.option("--all", "with_ended", is_flag=True, help="Those that ended, too.")
@json_option
@watch_option
@click.pass_obj
def list_(settings: Settings, /, with_ended: bool, as_json: bool, watch: bool) -> None:
    """List clusters, the newest first."""
    client = host(settings)

    def make() -> tuple[Any, list[str]]:
        records = client.call("clusters", list[ClusterRecord])
        kept = [one for one in records if with_ended or one.phase is not Phase.ENDED]
        rows = [
            {
                "id": one.id,
                "name": one.desired.spec.name,
                "state": one.known.status.state.value,
                "created": clock(one.desired.created_at),
                "release": one.desired.spec.release_label,
            }
            for one in kept
        ]
        return rows, table(rows, empty="no clusters; create one: atoll fleet create")

    shown(make, as_json=as_json, watch=watch)


@click.command()
@cluster_argument
@click.option("--spec", "as_spec", is_flag=True, help="Print its specification, short form.")
@json_option
@watch_option
@click.pass_obj
def describe(
    settings: Settings, /, cluster: str, as_spec: bool, as_json: bool, watch: bool
) -> None:
    """Show a cluster: its state, fleets, masters."""
    client = host(settings)
    if as_spec:
        from atoll.fleet.spec.show import show

        click.echo(show(found(client, cluster).desired.current_spec), nl=False)
        return

    def make() -> tuple[Any, list[str]]:
        record = found(client, cluster)
        # What is shown is passed on and kept: without the token that the local cloud obeys.
        at = replace(record.desired.provider, token="")
        desired = replace(record.desired, provider=at)
        return replace(record, desired=desired), _described(record)

    shown(make, as_json=as_json, watch=watch)


def _described(record: ClusterRecord) -> list[str]:
    desired, status = record.desired, record.known.status
    why = f" ({status.message})" if status.message else ""
    addresses = ",".join(f"{one.address.private_ip}:7077" for one in desired.slots)
    lines = [
        f"{record.id}  {desired.spec.name}  {status.state.value}{why}",
        f"release   {desired.spec.release_label}",
        f"subnet    {desired.subnet_id} ({desired.zone})",
        f"created   {clock(status.created_at)}, ready {clock(status.ready_at)}, "
        f"ended {clock(status.ended_at)}",
        f"protected {'yes' if desired.termination_protected else 'no'}",
        f"masters   spark://{addresses}",
    ]
    records = list(record.known.instances.values())
    rows = []
    for fleet in desired.fleets:
        standing = status.fleets.get(fleet.id)
        if standing is None:
            continue
        wanted = targets(fleet, standing)
        rows.append(
            {
                "fleet": fleet.id,
                "name": fleet.spec.name,
                "role": fleet.spec.role.value,
                "state": standing.state.value,
                "on-demand": f"{provisioned(fleet, records, Market.ON_DEMAND)} of {wanted[0]}",
                "spot": f"{provisioned(fleet, records, Market.SPOT)} of {wanted[1]}",
            }
        )
    blocked = [f"blocked   {why}" for why in status.blocked.values()]
    return [*lines, *blocked, *table(rows, empty="no fleets")]


@click.command()
@cluster_argument
@json_option
@click.option("--watch", is_flag=True, help="Go on as events come; JSON is a line each then.")
@click.pass_obj
def events(settings: Settings, /, cluster: str, as_json: bool, watch: bool) -> None:
    """Tell what happened to a cluster, and what could not be done, with reasons."""
    client = host(settings)
    news = News(client, found(client, cluster).id)
    if as_json and not watch:
        click.echo(json.dumps(msgspec.to_builtins(news.fresh()), indent=2))
        return
    while True:
        for one in news.fresh():
            click.echo(json.dumps(msgspec.to_builtins(one)) if as_json else _event_line(one))
        sys.stdout.flush()
        if not watch:
            return
        time.sleep(_POLL_SECONDS)


def _event_line(one: Event) -> str:
    return f"{clock(one.at)} {'!' if one.is_warning else ' '} {one.kind:<22} {one.message}"


@click.command()
@cluster_argument
@click.option("--off", is_flag=True, help="Allow to terminate it.")
@click.pass_obj
def protect(settings: Settings, /, cluster: str, off: bool) -> None:
    """Forbid to terminate a cluster."""
    client = host(settings)
    record = found(client, cluster)
    client.call("protect", type(None), cluster_id=record.id, is_protected=not off)
    click.echo(f"{record.id} is {'no longer ' if off else ''}protected")


@click.command()
@cluster_argument
@click.option("--unprotect", is_flag=True, help="Lift its protection first.")
@click.option("--wait", is_flag=True, help="Return when nothing of it is left.")
@click.pass_obj
def terminate(settings: Settings, /, cluster: str, unprotect: bool, wait: bool) -> None:
    """End a cluster: all its machines and their disks."""
    client = host(settings)
    record = found(client, cluster)
    is_over = record.phase in (Phase.ENDING, Phase.ENDED)
    if unprotect and record.desired.termination_protected and not is_over:
        client.call("protect", type(None), cluster_id=record.id, is_protected=False)
    client.call("terminate", type(None), cluster_id=record.id)
    record = client.call("cluster", ClusterRecord, cluster_id=record.id)
    while wait and record.phase is not Phase.ENDED:
        time.sleep(_POLL_SECONDS)
        record = client.call("cluster", ClusterRecord, cluster_id=record.id)
    click.echo(f"{record.id} is {record.known.status.state.value}")


@click.command()
@cluster_argument
@click.option("--from-backup", is_flag=True,
              help="Where no primary's disk is left: begin anew from what was seen.")  # fmt: skip
@json_option
@click.pass_obj
def repair(settings: Settings, /, cluster: str, from_backup: bool, as_json: bool) -> None:
    """Bring back a cluster that lost two of its primaries, and so its quorum.

    Primaries that stopped are started with their disks; where one is lost with its disk, an empty
    one is let in beside one that holds the state. Nothing that holds state is wiped.
    """
    from atoll.fleet.control.repair import Repair

    client = host(settings)
    id_ = found(client, cluster).id
    done = client.call("repair", Repair, cluster_id=id_, from_backup=from_backup)
    state = "its ZooKeeper answers" if done.has_quorum else "its ZooKeeper does not answer YET"
    shown(lambda: (done, [*done.did, state]), as_json=as_json, watch=False)
    if not done.has_quorum:
        raise Incomplete(f"cluster {id_} has no quorum yet; see: atoll fleet events {id_}")
