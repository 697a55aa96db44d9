"""`atoll mesh`: every operation as a command, over HTTP like everybody else."""

from __future__ import annotations

import click

from atoll.mesh.cli.audit import audit
from atoll.mesh.cli.blueprint.applying import apply, export
from atoll.mesh.cli.commands import command
from atoll.mesh.cli.myself import who_am_i
from atoll.mesh.cli.signing import login
from atoll.mesh.cli.subjects import Subjects
from atoll.mesh.service import OPERATIONS


@click.group(cls=Subjects)
def mesh() -> None:
    """Find, ask for and share data: the marketplace that `atoll serve` serves.

    ATOLL_MESH_URL and ATOLL_MESH_TOKEN say which mesh, and as whom; or sign in by `atoll mesh
    login --save`. What is named by an id may be given by its name, too: "press shop/orders" is the
    asset of a project, "me" yourself.
    """


for _operation in OPERATIONS.values():
    mesh.add_command(command(_operation))
for _command in (who_am_i, login, apply, export, audit):
    mesh.add_command(_command)

__all__ = ["mesh"]
