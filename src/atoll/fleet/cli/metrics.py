"""The command that measures a cluster."""

from __future__ import annotations

from typing import Any

import click

from atoll.core.config import Settings
from atoll.core.tables import table
from atoll.fleet.cli.common import cluster_argument, found, host, json_option, shown, watch_option
from atoll.fleet.monitoring.measures import UNITS


@click.command()
@cluster_argument
@json_option
@watch_option
@click.pass_obj
def metrics(settings: Settings, /, cluster: str, as_json: bool, watch: bool) -> None:
    """Show what was measured last of a cluster, by EMR's metrics.

    What they were before tell `aws cloudwatch get-metric-data` and Prometheus (/metrics).
    """
    client = host(settings)

    def make() -> tuple[Any, list[str]]:
        values = client.call("measures", dict[str, float], cluster_id=found(client, cluster).id)
        rows = [
            {"metric": name, "value": value, "unit": UNITS[name]} for name, value in values.items()
        ]
        return values, table(rows, empty="nothing to measure")

    shown(make, as_json=as_json, watch=watch)
