"""Signing in from a terminal: a password for a token."""

from __future__ import annotations

from contextlib import closing

import click

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.mesh.cli.client import MeshClient

HALF_A_DAY_SECONDS = 43_200


@click.command()
@click.argument("name")
@click.option("--password", prompt=True, hide_input=True, help="Asked for, if not given.")
@click.option("--scope", "scopes", multiple=True, default=("admin",), show_default=True)
@click.option(
    "--ttl", type=click.IntRange(1), default=HALF_A_DAY_SECONDS, show_default=True, help="Seconds."
)
@click.pass_obj
def login(settings: Settings, name: str, password: str, scopes: tuple[str, ...], ttl: int) -> None:
    """Print a token for a local user, to be kept in ATOLL_MESH_TOKEN."""
    if not settings.mesh_url:
        raise InvalidInput("set ATOLL_MESH_URL to the address that `atoll serve` printed")
    with closing(MeshClient(settings.mesh_url, "")) as client:
        click.echo(client.sign_in(name, password, scopes=scopes, ttl_s=ttl))
