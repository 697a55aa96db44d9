"""The option `--executor`: which processes carry a command's tasks out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

import click

from atoll.compute.port import Executor
from atoll.core.config import Settings

PROCESSES = "processes"
EXECUTORS = "atoll.executors"
"""Where a context keeps its `Opener`."""

Opener: TypeAlias = Callable[[str, Settings], AbstractContextManager[Executor]]
"""Opens what the option names; that joins this part with others, and so is handed in."""


def executor_option(command: Any) -> Any:
    """Add it."""
    return click.option(
        "--executor",
        default=PROCESSES,
        show_default=True,
        metavar="WHERE",
        help="Who works: processes here, a Spark cluster by spark://HOST:PORT,... or fleet:NAME.",
    )(command)


def is_elsewhere(context: click.Context, executor: str) -> bool:
    """Tell whether others than processes of this command carry its tasks out.

    Raises:
        UsageError: other options say otherwise.
    """
    if executor == PROCESSES:
        return False
    given = click.core.ParameterSource.COMMANDLINE
    if context.get_parameter_source("workers") is given:
        raise click.UsageError("--workers is for processes; a cluster uses all its cores")
    if context.params.get("via") == "batch":
        raise click.UsageError("give --executor or --via batch, not both")
    return True


@contextmanager
def opened_executor(context: click.Context, executor: str) -> Iterator[Executor | None]:
    """Open the executor that was chosen, for the block; None for processes."""
    if not is_elsewhere(context, executor):
        yield None
        return
    opener: Opener = context.meta[EXECUTORS]
    with opener(executor, context.find_object(Settings) or Settings()) as found:
        yield found
