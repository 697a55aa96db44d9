"""Signing in from a terminal: a password for a token."""

from __future__ import annotations

import sys

import click

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.mesh.cli.client import MeshClient
from atoll.mesh.cli.saved import Login, save_login, saved_login
from atoll.mesh.cli.values import Secret, Span

HALF_A_DAY_SECONDS = 43_200


@click.command()
@click.argument("name")
@click.option(
    "--password",
    type=Secret(),
    help="@FILE that holds it, or - for standard input. Left out: asked for.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=("admin",),
    show_default=True,
    help="What the token is good for: read, write, admin or names of operations.",
)
@click.option(
    "--ttl", type=Span(), default=HALF_A_DAY_SECONDS, show_default=True, help="How long it lasts."
)
@click.option("--save", is_flag=True, help="Keep it for the commands that follow; print nothing.")
@click.pass_obj
def login(
    settings: Settings,
    name: str,
    password: str | None,
    scopes: tuple[str, ...],
    ttl: int,
    save: bool,
) -> None:
    """Print a token for a local user, to be kept in ATOLL_MESH_TOKEN, or keep it by --save."""
    url = settings.mesh_url or saved_login(settings.mesh_login).url
    if not url:
        raise InvalidInput("set ATOLL_MESH_URL to the address that `atoll serve` printed")
    if password is None:
        if not sys.stdin.isatty():
            raise InvalidInput("nobody is there to be asked: give --password @FILE, or - for input")
        password = click.prompt("Password", hide_input=True, err=True)
    client = MeshClient(url, "")
    click.get_current_context().call_on_close(client.close)
    token = client.sign_in(name, password, scopes=scopes, ttl_s=ttl)
    if not save:
        click.echo(token)
        return
    assert settings.mesh_login is not None
    save_login(settings.mesh_login, Login(url, token))
    click.echo(f"signed in to {url}; the token is in {settings.mesh_login}", err=True)
