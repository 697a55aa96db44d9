"""`atoll mesh`: every operation as a command, over HTTP like everybody else."""

from __future__ import annotations

import click

from atoll.mesh.cli.audit import audit
from atoll.mesh.cli.blueprint.applying import apply, export
from atoll.mesh.cli.commands import command
from atoll.mesh.cli.signing import login
from atoll.mesh.service import OPERATIONS


@click.group()
def mesh() -> None:
    """Find, ask for and share data: the marketplace that `atoll serve` serves.

    ATOLL_MESH_URL and ATOLL_MESH_TOKEN say which mesh, and as whom. What is named by an id may be
    given by its name, too.
    """


for _operation in OPERATIONS.values():
    mesh.add_command(command(_operation))
for _command in (apply, audit, export, login):
    mesh.add_command(_command)

__all__ = ["mesh"]
