"""What `create` and `add` take and print where they are carried out in steps, here or by Batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from atoll.core.text import counted
from atoll.vectors.cli.onbatch import (
    OnBatch,
    Stage,
    batch_options,
    require_reachable,
    step_index_option,
    submit,
    words_of,
)
from atoll.vectors.options import BUILD_STEPS, BuildStep


def steps_options(command: Any) -> Any:
    """Add what carries a create or add out in steps, here or by AWS Batch."""
    for option in reversed(
        (
            click.option("--step", type=click.Choice(BUILD_STEPS),
                         help="Do one step only: plan once, build each bucket, commit once."),
            step_index_option,
            batch_options,
            click.option("--buckets", type=click.IntRange(1), metavar="N",
                         help="Buckets --via batch builds.  [default: as planned]"),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def check_steps(
    context: click.Context,
    step: BuildStep | None,
    index: int | None,
    buckets: int | None,
    on_batch: OnBatch | None,
) -> None:
    """Refuse options of steps that do not fit together.

    Raises:
        UsageError: some do not.
    """
    given = context.get_parameter_source("step_index") is click.core.ParameterSource.COMMANDLINE
    if step == "build" and index is None:
        raise click.UsageError("--step build needs --step-index")
    if given and step != "build":
        raise click.UsageError("--step-index goes with --step build")
    if step and on_batch:
        raise click.UsageError("--via batch does all steps; give it or --step")
    if buckets and not on_batch:
        raise click.UsageError("--buckets goes with --via batch")
    if on_batch and on_batch.after and not buckets:
        raise click.UsageError(
            "--after needs --buckets: what that job makes may not be there to be counted yet"
        )


def submit_steps(
    context: click.Context,
    on_batch: OnBatch,
    buckets: int | None,
    count: Callable[[], int],
    *,
    as_json: bool,
) -> None:
    """Submit plan, build and commit, each after the one before.

    Args:
        context: of the command, whose words the jobs carry out.
        on_batch: where.
        buckets: how many are built; None asks `count`.
        count: reads the sources' headers.
        as_json: how job ids are printed.

    Raises:
        InvalidInput: the jobs could not reach something, or there are too many of them.
    """
    given = context.params
    require_reachable(given["uri"], *given["sources"], given["ids"])
    words = words_of(context)
    stages = [
        Stage("plan", [*words, "--step", "plan"]),
        Stage("build", [*words, "--step", "build"], buckets or count()),
        Stage("commit", [*words, "--step", "commit"]),
    ]
    submit(stages, on_batch, as_json=as_json)


def print_step(told: dict[str, Any], as_json: bool) -> None:
    """Print what a plan or build step did."""
    if as_json:
        click.echo(json.dumps(told, indent=2))
    elif told["step"] == "plan":
        note = "; carried out before" if told["is_live"] else ""
        click.echo(
            f"planned {counted(told['buckets'], 'bucket')} of {counted(told['rows'], 'row')}, "
            f"{told['left_out']:,} left out as met before{note}"
        )
    elif told["table"]:
        click.echo(f"bucket {told['bucket']}: {counted(told['rows'], 'row')} in {told['table']}")
    else:
        click.echo(f"bucket {told['bucket']}: nothing to build, {told['why']}")
