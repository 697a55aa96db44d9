"""`atoll fleet`: clusters from the command line."""

from __future__ import annotations

import click

from atoll.fleet.cli.advising import advise
from atoll.fleet.cli.capacity import add_fleet, instances, resize
from atoll.fleet.cli.clusters import create, describe, events, list_, protect, repair, terminate
from atoll.fleet.cli.faults import fault
from atoll.fleet.cli.hosting import gc, keys, serve
from atoll.fleet.cli.logs import logs
from atoll.fleet.cli.metrics import metrics
from atoll.fleet.cli.work import cancel, steps, submit


@click.group()
def fleet() -> None:
    """Keep highly available Spark clusters on this machine's hosts or EC2.

    A cluster is named by its id (j-...) or its name. The first command starts this machine's fleet
    host in the background (`atoll fleet serve`); ATOLL_FLEET_URL names another.
    """


for _command in (
    create,
    advise,
    list_,
    describe,
    instances,
    resize,
    add_fleet,
    submit,
    steps,
    logs,
    cancel,
    events,
    metrics,
    protect,
    repair,
    terminate,
    fault,
    serve,
    keys,
    gc,
):
    fleet.add_command(_command)

__all__ = ["fleet"]
