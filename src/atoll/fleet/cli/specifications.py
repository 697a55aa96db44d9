"""What a cluster shall be, from the files that commands are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from atoll.core.files import reading
from atoll.fleet.spec.runjobflow import Wanted

_FILE = click.Path(dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option("--template", type=_FILE, metavar="FILE",
                 help="CloudFormation template with an AWS::EMR::Cluster, JSON or YAML."),
    click.option("--parameter", "parameters", multiple=True, metavar="KEY=VALUE",
                 help="A parameter of the template; may repeat."),
    click.option("--file", "file", type=_FILE, metavar="FILE",
                 help="The short form, YAML (docs/fleet.md)."),
)  # fmt: skip


def specification_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name a specification."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_specification(
    template: Path | None, file: Path | None, parameters: tuple[str, ...]
) -> Wanted:
    """Read one of the two.

    Raises:
        InvalidInput: it cannot be read, or all that is wrong with it.
    """
    # Both readers are only needed here.
    from atoll.fleet.spec.short import parse_short
    from atoll.fleet.spec.template import Stack, read_template

    if file is not None:
        with reading(file):
            return parse_short(file.read_bytes(), str(file))
    assert template is not None
    given = dict(_pair(one) for one in parameters)
    with reading(template):
        text = template.read_bytes()
    read = read_template(text, origin=str(template), parameters=given, stack=Stack())
    return Wanted(read.spec, read.notices)


def _pair(text: str) -> tuple[str, str]:
    key, is_pair, value = text.partition("=")
    if not is_pair:
        raise click.UsageError(f"--parameter {text}: write KEY=VALUE")
    return key, value
