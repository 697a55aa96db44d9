"""`atoll mesh audit`: who had access, whether the audit is whole, and a copy of it."""

from __future__ import annotations

from pathlib import Path

import click

from atoll.core.errors import Corrupt, InvalidInput
from atoll.core.files import reading
from atoll.mesh.audit.anchors import read_anchors
from atoll.mesh.audit.export import verify_export
from atoll.mesh.audit.keys import Key
from atoll.mesh.cli.commands import client_of, command
from atoll.mesh.service import OPERATIONS
from atoll.storage import open_storage


@click.group()
def audit() -> None:
    """Read what was done, who had access when, and whether all of it is still there."""


audit.add_command(command(OPERATIONS["ListAccess"]), "who")
audit.add_command(command(OPERATIONS["ExportAudit"]), "export")
audit.add_command(command(OPERATIONS["ListAuditEvents"]), "events")


@audit.command()
@click.option("--after", type=click.IntRange(0), default=0, help="Leave out events up to this one.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Verify an exported file, without a mesh.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of a key that sealed it: audit.key of the mesh's folder.",
)
@click.option(
    "--anchors",
    metavar="URL",
    help="With --file: where the end of the audit was written down; it must agree.",
)
@click.pass_context
def verify(
    context: click.Context,
    after: int,
    file: Path | None,
    keys: tuple[Path, ...],
    anchors: str | None,
) -> None:
    """Tell whether the audit, or an exported file, is whole and unchanged."""
    if file is None:
        told = client_of(context.obj).ask("GET", "/audit/verification", query={"after": after})
        if not told["is_whole"]:
            raise Corrupt(f"the audit is not whole: {told['message']}", seq=told["seq"])
        agree = f"{told['anchors']} anchors agree"
        click.echo(f"{told['events']:,} events are whole; {agree}; the last is {told['head']}")
        return
    if not keys:
        raise InvalidInput("give the key that sealed it: --key FILE")
    known = read_anchors(open_storage(anchors, context.obj.storage)) if anchors else []
    if anchors and not known:
        raise InvalidInput("there are no anchors at the URL of --anchors; check its spelling")
    with reading(file), file.open("rb") as stream:
        found = verify_export(stream, [_key(one) for one in keys], known)
    if found.problem:
        raise Corrupt(f"{file} is not whole: {found.problem.message}", seq=found.problem.seq)
    head = f"{found.head.seq} {found.head.hash}"
    agree = f" {found.anchors} anchors agree;" if anchors else ""
    click.echo(f"{found.events:,} events are whole;{agree} the last is {head}")


def _key(place: Path) -> Key:
    with reading(place):
        text = place.read_text().strip()
    try:
        return Key(bytes.fromhex(text))
    except ValueError as error:
        raise InvalidInput(f"{place} holds no audit key") from error
