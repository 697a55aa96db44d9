"""Commands about steps: work that a cluster does."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import click

from atoll.core.config import Settings
from atoll.core.errors import Incomplete
from atoll.core.tables import clock, table
from atoll.fleet.cli.common import cluster_argument, found, host, json_option, shown, watch_option
from atoll.fleet.host.client import FleetClient
from atoll.fleet.life.records import Step
from atoll.fleet.model import ActionOnFailure, StepSpec
from atoll.fleet.registry import ClusterRecord
from atoll.fleet.states import StepState

_POLL_SECONDS = 0.5


class _Submit(click.Command):
    """Takes its own options before the step's command; what follows that is the step's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words."""
        options = [one for one in self.params if isinstance(one, click.Option)]
        valued = {name for one in options if not one.is_flag for name in one.opts}
        return super().parse_args(ctx, _fenced(args, valued))


def _fenced(words: list[str], valued: Collection[str]) -> list[str]:
    """Put "--" before the second word that is no option, unless one stands earlier.

    >>> _fenced(["c", "--name", "x", "job.py", "--wait"], {"--name"})
    ['c', '--name', 'x', '--', 'job.py', '--wait']
    """
    found, rest = 0, iter(enumerate(words))
    for at, word in rest:
        if word == "--":
            break
        if word in valued:
            next(rest, None)
        elif not word.startswith("-"):
            found += 1
            if found == 2:
                return [*words[:at], "--", *words[at:]]
    return words


@click.command(cls=_Submit)
@cluster_argument
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--name", help="For people.  [default: the command's first word]")
@click.option("--on-failure", type=click.Choice([one.value for one in ActionOnFailure]),
              default=ActionOnFailure.CONTINUE.value, show_default=True,
              help="What a failure means for the cluster.")  # fmt: skip
@click.option("--wait", is_flag=True, help="Return when it ended.")
@click.pass_obj
def submit(
    settings: Settings,
    /,
    cluster: str,
    command: tuple[str, ...],
    name: str | None,
    on_failure: str,
    wait: bool,
) -> None:
    """Run a step on a cluster: `atoll fleet submit NAME -- python3 job.py ...`.

    It runs on one of the primaries, and is started again on another where that one is lost: a step
    must be able to run twice. What follows its first word is its own, options too. `atoll ...` and
    `spark-submit ...` know the cluster's masters.
    """
    client = host(settings)
    record = found(client, cluster)
    spec = StepSpec(name or command[0], command, ActionOnFailure(on_failure))
    (step_id,) = client.call("add_steps", list[str], cluster_id=record.id, specs=[spec])
    click.echo(step_id)
    if wait:
        _await(client, record.id, step_id)


def _await(client: FleetClient, cluster_id: str, step_id: str) -> None:
    while True:
        steps = client.call("cluster", ClusterRecord, cluster_id=cluster_id).steps
        step = next((one for one in steps if one.id == step_id), None)
        if step is not None and step.state.is_over:
            break
        time.sleep(_POLL_SECONDS)
    if step.state is not StepState.COMPLETED:
        raise Incomplete(
            f"step {step_id} is {step.state.value}: {step.message}; all that it printed: "
            f"atoll fleet logs {cluster_id} {step_id}",
            step_id=step_id,
            state=step.state.value,
        )


@click.command()
@cluster_argument
@json_option
@watch_option
@click.pass_obj
def steps(settings: Settings, /, cluster: str, as_json: bool, watch: bool) -> None:
    """List a cluster's steps, the oldest first."""
    client = host(settings)

    def make() -> tuple[Any, list[str]]:
        id_ = found(client, cluster).id
        found_steps = client.call("steps", list[Step], cluster_id=id_)
        return found_steps, table([_row(one) for one in found_steps], empty="no steps")

    shown(make, as_json=as_json, watch=watch)


def _row(step: Step) -> dict[str, object]:
    return {
        "id": step.id,
        "name": step.spec.name,
        "state": step.state.value,
        "attempts": step.attempts,
        "on": step.machine_id or "-",
        "started": clock(step.started_at),
        "ended": clock(step.ended_at),
        "why": step.message,
    }


@click.command()
@cluster_argument
@click.argument("step_ids", nargs=-1, required=True, metavar="STEP...")
@click.pass_obj
def cancel(settings: Settings, /, cluster: str, step_ids: tuple[str, ...]) -> None:
    """Cancel steps, also those that run."""
    client = host(settings)
    id_ = found(client, cluster).id
    outcomes = client.call("cancel_steps", dict[str, str], cluster_id=id_, step_ids=step_ids)
    for step_id, why in outcomes.items():
        click.echo(f"{step_id} {why or 'is being cancelled'}")
    refused = [step_id for step_id, why in outcomes.items() if why]
    if refused:
        raise Incomplete(f"not cancelled: {', '.join(refused)}", step_ids=refused)
