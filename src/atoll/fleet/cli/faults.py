"""The command that makes things go wrong, on local clouds only: to see what a cluster does."""

from __future__ import annotations

from typing import Any

import click

from atoll.core.config import Settings
from atoll.core.errors import NotFound
from atoll.fleet.cli.common import host

# Fault, the argument its value is, what that is read as.
_VALUES: dict[str, tuple[str, type]] = {
    "reclaim": ("notice_s", float),
    "fill-disk": ("percent", float),
    "freeze": ("pattern", str),
    "thaw": ("pattern", str),
    "kill": ("pattern", str),
}
_KINDS = ("crash", "cut", "heal", "free-disk", *_VALUES)


@click.command()
@click.argument("kind", type=click.Choice(_KINDS))
@click.argument("machine", metavar="MACHINE")
@click.argument("value", required=False)
@click.pass_obj
def fault(settings: Settings, /, kind: str, machine: str, value: str | None) -> None:
    """Make something go wrong with a machine (i-...) of this host's local cloud.

    crash: it stops, its disk stays. cut, heal: its wire. reclaim SECONDS: spot is taken back after
    a notice. fill-disk PERCENT, free-disk. freeze, thaw, kill PATTERN: processes whose command line
    matches.
    """
    arguments: dict[str, Any] = {"machine_id": machine}
    if kind not in _VALUES and value is not None:
        raise click.UsageError(f"{kind} takes no value, such as {value!r}")
    if kind in _VALUES:
        name, read = _VALUES[kind]
        if value is None:
            raise click.UsageError(f"{kind} needs a value: {name}")
        arguments[name] = _read(kind, value, read)
    try:
        host(settings).call(f"faults.{kind.replace('-', '_')}", object, **arguments)
    except NotFound as error:
        if "there is no call" in error.message:
            raise click.UsageError("only a local cloud can be told to fail") from error
        raise
    click.echo(f"{kind} {machine}")


def _read(kind: str, value: str, read: type) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise click.UsageError(f"{kind} takes a number, not {value!r}") from error
