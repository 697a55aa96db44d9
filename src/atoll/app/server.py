"""`atoll serve`: the mesh over HTTP, with everything it needs in one folder."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from pathlib import Path

import click
import pyarrow as pa
import uvicorn

from atoll.app.credentials import read_credentials
from atoll.core.config import Settings, StorageOptions
from atoll.core.errors import Unavailable
from atoll.mesh.harvest import CollectionFacts
from atoll.mesh.hosting import Mesh
from atoll.messages.addresses import networks_in
from atoll.storage import open_storage

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
DRAIN_SECONDS = 10


@click.command()
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the mesh; made if need be.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8480, show_default=True)
@click.option("--database", metavar="URL", help="PostgreSQL instead of a file in the folder.")
@click.option("--url", metavar="URL", help="Where people reach it, if that is another address.")
@click.option(
    "--anchors", metavar="URL", help="Where the end of the audit is written down, now and then."
)
@click.option(
    "--policies",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of further policies, in Cedar.",
)
@click.pass_obj
def serve(
    settings: Settings,
    home: Path | None,
    host: str,
    port: int,
    database: str | None,
    url: str | None,
    anchors: str | None,
    policies: Path | None,
) -> None:
    """Serve the mesh: catalog, access and audit, until interrupted.

    The first time it makes a domain, and an administrator whose password is in the file it names.
    """
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    folder = home or settings.mesh_home
    assert folder is not None
    keys = settings.mesh_credentials
    credentials = read_credentials(keys) if keys else {}
    anchored = anchors or settings.mesh_anchors
    with _listening(host, port) as listener:
        at = url or f"http://{host}:{listener.getsockname()[1]}"
        mesh = Mesh(
            folder,
            database=database or settings.mesh_database or "",
            portal_url=at,
            anchors=open_storage(anchored, settings.storage) if anchored else None,
            policies=policies or settings.mesh_policies,
            providers=settings.mesh_providers,
            mail=settings.mail,
            webhook_networks=networks_in(settings.mesh_webhook_networks),
            collections=_Collections(settings),
            credentials=credentials,
        )
        try:
            click.echo(f"the mesh is served at {at}")
            if mesh.first:
                click.echo(f"the first administrator's name and password are in {mesh.first}")
            config = uvicorn.Config(
                mesh.application,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            mesh.close()


class _Collections:
    """Knows vector collections; what that takes is loaded when the first one is met."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def describe(self, location: str, options: StorageOptions) -> CollectionFacts:
        from atoll.app.assets import Collections

        return Collections(self._settings).describe(location, options)

    def first_rows(
        self, location: str, options: StorageOptions, columns: Sequence[str], most: int
    ) -> pa.Table:
        from atoll.app.assets import Collections

        return Collections(self._settings).first_rows(location, options, columns, most)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise Unavailable(
            f"{host}:{port} cannot be listened on: {error.strerror}; choose another --port"
        ) from error
    # Taken over by each connection. Otherwise the second half of an answer waits 40 ms for the
    # client to acknowledge the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
