"""The `atoll` command: joins the commands of all parts, settings and errors."""

from __future__ import annotations

import atexit
import errno
import gc
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from atoll.app.settings import read_settings, with_general
from atoll.compute.port import Executor
from atoll.core.config import Settings
from atoll.core.errors import AtollError, InvalidInput
from atoll.core.resources import limit_threads
from atoll.core.text import printable
from atoll.vectors.cli.executing import EXECUTORS

INTERRUPTED_EXIT_CODE = 130


class _Commands(click.Group):
    """Loads a part when one of its commands is called: a part takes a second to load."""

    def list_commands(self, context: click.Context) -> list[str]:
        """List the commands of all parts."""
        for load in {*_PARTS.values(), _collections}:
            self._add(load)
        return super().list_commands(context)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return a command."""
        self._add(_PARTS.get(name, _collections))
        return super().get_command(context, name)

    def _add(self, load: Callable[[], Sequence[click.Command]]) -> None:
        for command in load():
            if command.name not in self.commands:
                command.params.extend(_common_options())
                self.add_command(command)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(version("atoll"), prog_name="atoll")
@click.pass_context
def cli(context: click.Context) -> None:
    """Turn an object store into a platform for billions of vectors."""
    context.obj = read_settings(os.environ, Path.home())
    context.meta[EXECUTORS] = _executor


def _executor(text: str, settings: Settings) -> AbstractContextManager[Executor]:
    from atoll.app.executors import executor_of, find_fleet

    return executor_of(text, settings, environment=os.environ, resolve=find_fleet)


def _lay(context: click.Context, **changes: Any) -> None:
    settings: Settings = context.obj
    context.obj = replace(settings, **changes)


def _general(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value is not None:
        assert option.name
        context.obj = with_general(context.obj, {option.name: value})
    if option.name == "threads":
        limit_threads(context.obj.threads)


def _storage(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value is not None:
        assert option.name
        _lay(context, storage=replace(context.obj.storage, **{option.name: value}))


def _quiet(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        _lay(context, quiet=True)


def _common_options() -> list[click.Option]:
    """List what every command takes; each folds itself into the settings."""
    general: dict[str, Any] = {"callback": _general, "expose_value": False}
    storage: dict[str, Any] = {"callback": _storage, "expose_value": False}
    return [
        click.Option(["--threads"], type=click.IntRange(1), help="Processors to use.", **general),
        click.Option(["--memory"], metavar="SIZE", help="Memory to use, e.g. 8G.", **general),
        click.Option(
            ["--scratch"],
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder for spill files.",
            **general,
        ),
        click.Option(["--endpoint"], metavar="URL", help="S3 endpoint.", **storage),
        click.Option(["--region"], help="S3 region.", **storage),
        click.Option(["--profile"], help="AWS profile for S3.", **storage),
        click.Option(["--role-arn"], metavar="ARN", help="AWS role to take for S3.", **storage),
        click.Option(
            ["--allow-http/--no-allow-http"],
            default=None,
            help="Reach S3 without TLS.",
            **storage,
        ),
        click.Option(
            ["--timeout", "timeout_s"],
            type=click.FloatRange(0, min_open=True),
            metavar="SECONDS",
            help="How long one storage request may take.",
            **storage,
        ),
        click.Option(
            ["--retries"], type=click.IntRange(0), help="Retries of a storage request.", **storage
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            callback=_quiet,
            expose_value=False,
            help="Say no more than the result.",
        ),
    ]


def _collections() -> Sequence[click.Command]:
    from atoll.vectors.cli.commands import COMMANDS

    return COMMANDS


def _embed() -> Sequence[click.Command]:
    from atoll.vectors.embed.cli import embed

    return (embed,)


def _deploy() -> Sequence[click.Command]:
    from atoll.deploy.cli import deploy

    return (deploy,)


@cache
def _fleet() -> Sequence[click.Command]:
    from atoll.app.fleetdemo import fleet_demo
    from atoll.fleet.cli import fleet

    fleet.add_command(fleet_demo)
    return (fleet,)


@cache
def _mesh() -> Sequence[click.Command]:
    try:
        from atoll.app.meshdemo import mesh_demo
        from atoll.mesh.cli import mesh
    except ModuleNotFoundError as error:
        return (_not_installed("mesh", error),)
    mesh.add_command(mesh_demo)
    return (mesh,)


@cache
def _serve() -> Sequence[click.Command]:
    try:
        from atoll.app.server import serve
    except ModuleNotFoundError as error:
        return (_not_installed("serve", error),)
    return (serve,)


def _not_installed(name: str, error: ModuleNotFoundError) -> click.Command:
    def say(**_: Any) -> None:
        raise InvalidInput(
            f"this needs {error.name}, which is not installed: install atoll[mesh]"
        ) from error

    return click.Command(
        name,
        callback=say,
        params=[click.Argument(["rest"], nargs=-1)],
        help="Needs atoll[mesh].",
        context_settings={"ignore_unknown_options": True},
    )


def _demo() -> Sequence[click.Command]:
    from atoll.app.demo import demo

    return (demo,)


_PARTS: dict[str, Callable[[], Sequence[click.Command]]] = {
    "embed": _embed,
    "deploy": _deploy,
    "fleet": _fleet,
    "mesh": _mesh,
    "serve": _serve,
    "demo": _demo,
}


def program() -> click.Group:
    """Return the whole command line, all parts loaded."""
    cli.list_commands(click.Context(cli))
    return cli


class _Shown(logging.Handler):
    """Prints what the library finds worth a look, in the words of the command line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line; where that is not possible, as on a full disk, work goes on."""
        with suppress(OSError):
            click.echo(f"atoll: {record.levelname.lower()}: {record.getMessage()}", err=True)


@cache
def _show_warnings() -> None:
    logging.getLogger("atoll").addHandler(_Shown(logging.WARNING))


def main() -> None:
    """Run the command line; the exit code says how it went (docs/reference.md)."""
    # Lance warns about every empty partition; what matters comes back as an error.
    os.environ.setdefault("LANCE_LOG", "error")
    # The last collection of an interpreter that ends may crash in types of msgspec 0.22.
    atexit.register(gc.freeze)
    _show_warnings()
    try:
        # Not through click's own main: it would answer a closed pipe before we can.
        with cli.make_context("atoll", sys.argv[1:]) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        _stop_at_once()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except AtollError as error:
        _stop(error.message, error.exit_code)
    except BrokenPipeError:
        _forget_output()
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO):
            raise
        _forget_output()
        _stop(f"the output cannot be written: {error.strerror}", 1)


def _forget_output() -> None:
    # Nobody takes what is left; Python would complain once more at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stop_at_once() -> None:
    click.echo("atoll: interrupted; the same command continues where it stopped", err=True)
    sys.stdout.flush()
    # Threads of Lance may still be reading rows from us: an orderly exit would crash in them.
    os._exit(INTERRUPTED_EXIT_CODE)


def _stop(message: str, code: int) -> None:
    click.echo(f"atoll: {printable(_with_flags(message))}", err=True)
    sys.exit(code)


def _with_flags(message: str) -> str:
    """Spell what may be allowed as the command line does: --allow-missing."""
    return re.sub(r"\b(allow_\w+)=True\b", lambda found: f"--{found[1].replace('_', '-')}", message)
