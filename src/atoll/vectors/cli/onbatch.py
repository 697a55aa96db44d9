"""Has a command carried out by AWS Batch: the same words, in containers of `atoll deploy aws`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.terminal import progress_bars
from atoll.core.text import counted
from atoll.storage import local_path
from atoll.vectors.options import INDEX_VARIABLES

JOB_DEFINITION = "WorkJob"
_WORDS = "atoll.words"
# Said to this machine alone: who carries the command out, and how AWS is reached from here.
_STAYS_HERE = {"via", "stack", "after", "buckets", "wait", "as_json", "profile"}
_WITH_PASSWORD = re.compile(r"://[^/]*@")

step_index_option = click.option(
    "--step-index",
    type=click.IntRange(0),
    envvar=INDEX_VARIABLES,
    metavar="I",
    help=f"Which of them is ours, from 0.  [default: {INDEX_VARIABLES[0]}]",
)


class Portable(click.Command):
    """A command that keeps the words it was given, for whoever carries it out elsewhere."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words."""
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)


def batch_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add who carries a command out."""
    for option in reversed(
        (
            click.option("--via", type=click.Choice(("local", "batch")), default="local",
                         show_default=True, help="Who works: this machine, or AWS Batch."),
            click.option("--stack", metavar="NAME",
                         help="CloudFormation stack of --via.  [default: atoll]"),
            click.option("--after", metavar="JOB", help="Begin when this job of Batch has ended."),
            click.option("--wait", is_flag=True, help="Wait until the jobs of Batch have ended."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@dataclass(frozen=True)
class OnBatch:
    """How AWS Batch is to carry a command out.

    Attributes:
        settings: with the stack that was named.
        after: id of the job to begin after.
        wait: whether to wait for the end.
    """

    settings: Settings
    after: str | None
    wait: bool


def taken(settings: Settings, given: dict[str, Any]) -> OnBatch | None:
    """Take the options of `batch_options` out of what was given; None for this machine.

    Raises:
        UsageError: they do not fit together.
    """
    via, stack = given.pop("via"), given.pop("stack")
    after, wait = given.pop("after"), given.pop("wait")
    if via == "local":
        if stack or after or wait:
            raise click.UsageError("--stack, --after and --wait go with --via batch")
        return None
    if stack:
        settings = replace(settings, aws=replace(settings.aws, stack=stack))
    return OnBatch(settings, after, wait)


def words_of(context: click.Context) -> list[str]:
    """Return the command as it was given, less what was said to this machine alone.

    Raises:
        InvalidInput: a URL holds a password.
    """
    assert context.info_name
    values, _, order = context.command.make_parser(context).parse_args(context.meta[_WORDS])
    options: list[str] = []
    arguments: list[str] = []
    for parameter in dict.fromkeys(order):
        if parameter.name in _STAYS_HERE:
            continue
        value = values[parameter.name or ""]
        several = value if isinstance(value, tuple | list) else [value]
        if isinstance(parameter, click.Argument):
            arguments += several
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            options.append((parameter.opts if value else parameter.secondary_opts)[-1])
        else:
            for each in several:
                options += [parameter.opts[-1], each]
    for word in (*options, *arguments):
        if _WITH_PASSWORD.search(word):
            raise InvalidInput(
                "a URL with a user or password would stand in the job's command for all to read; "
                "give the job's role what it may do, and the URL without them"
            )
    return ["atoll", context.info_name, *options, *arguments]


def require_reachable(*places: str | None) -> None:
    """Refuse what the machines of AWS Batch cannot reach.

    Raises:
        InvalidInput: a place is a path of this machine.
    """
    for place in places:
        if place is not None and not place.lower().startswith("s3://"):
            kind = "a path of this machine" if local_path(place) is not None else "no s3:// URL"
            raise InvalidInput(
                f"{place} is {kind}, which the jobs of --via batch cannot reach; copy it to the "
                "object store and give its s3:// URL",
                place=place,
            )


@dataclass(frozen=True)
class Stage:
    """A job to submit.

    Attributes:
        name: what it does.
        words: its command.
        size: of an array; None for a single job without an index.
    """

    name: str
    words: Sequence[str]
    size: int | None = None


def submit(stages: Sequence[Stage], on_batch: OnBatch, *, as_json: bool) -> None:
    """Submit jobs, each after the one before, and print their ids.

    Raises:
        NotFound, InvalidInput: the stack is not there, or has no queue.
        Forbidden, Unavailable: as AWS says. Jobs submitted before that are printed.
        Unavailable: a job that was waited for failed.
    """
    from atoll.storage.s3 import aws_client
    from atoll.vectors.distributed.deployment import find_deployment
    from atoll.vectors.distributed.jobs import JobQueue

    settings = on_batch.settings
    deployment = find_deployment(settings)
    queue = JobQueue(aws_client("batch", settings, is_repeatable=False), deployment)
    jobs: dict[str, str] = {}
    after = on_batch.after
    try:
        for stage in stages:
            name = f"atoll-{stage.words[1]}-{stage.name}"
            after = jobs[stage.name] = queue.submit(
                JOB_DEFINITION, name, size=stage.size, after=after, command=stage.words
            )
    finally:
        _print(stages, jobs, as_json)
    if on_batch.wait:
        with progress_bars(settings.quiet) as on_progress:
            queue.wait(list(jobs.values()), stages[0].words[1], on_progress)


def _print(stages: Sequence[Stage], jobs: dict[str, str], as_json: bool) -> None:
    sizes = {stage.name: stage.size for stage in stages}
    if as_json:
        facts = [{"name": name, "job": job, "size": sizes[name]} for name, job in jobs.items()]
        click.echo(json.dumps({"jobs": facts}, indent=2))
        return
    for name, job in jobs.items():
        size = sizes[name]
        note = f"  {counted(size, 'index', 'indexes')} from 0" if size is not None else ""
        click.echo(f"{name:<7} {job}{note}")
