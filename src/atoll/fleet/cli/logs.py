"""The command that shows what a step printed."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from atoll.core.config import Settings
from atoll.core.errors import Conflict, InvalidInput, NotFound
from atoll.fleet.cli.common import cluster_argument, found, host
from atoll.fleet.host.client import FleetClient
from atoll.fleet.life.records import Step
from atoll.fleet.outputs import (
    CONTROLLER,
    STDERR,
    STDOUT,
    SUFFIX,
    cluster_url,
    on_disk,
    step_folder,
)
from atoll.fleet.providers.reach import LOCAL
from atoll.fleet.registry import ClusterRecord

if TYPE_CHECKING:
    from atoll.storage import Storage

_LATE_SECONDS = 20.0
"""How long after its end the last of a step's output is waited for."""
_POLL_SECONDS = 0.5
_GIVE = "give a cluster a log_uri when you create it, and what its steps print is kept there"


@click.command()
@cluster_argument
@click.argument("step_id", metavar="STEP")
@click.option("--attempt", type=click.IntRange(1), metavar="N",
              help="Which start of a step that moved.  [default: the last]")  # fmt: skip
@click.pass_obj
def logs(settings: Settings, /, cluster: str, step_id: str, attempt: int | None) -> None:
    """Print what a step printed: its standard output there, its standard error there.

    It is read from the cluster's log_uri, as this machine reaches that, which may be a minute
    behind while the step runs. A local cluster without one is asked itself.
    """
    from atoll.storage import open_storage

    client = host(settings)
    record = found(client, cluster)
    steps = client.call("steps", list[Step], cluster_id=record.id)
    step = next((one for one in steps if one.id == step_id), None)
    if step is None:
        raise NotFound(
            f"cluster {record.id} has no step {step_id}; see: atoll fleet steps {record.id}"
        )
    number = attempt or max(step.attempts, 1)
    if number > step.attempts:
        raise NotFound(f"step {step_id} was started {step.attempts} times so far")
    log_uri = record.desired.spec.log_uri
    if log_uri is None:
        pieces = _on_disk(client, record, step, number)
    else:
        storage = open_storage(cluster_url(log_uri, record.id), settings.storage)
        pieces = _kept(storage, step, number, is_quiet=settings.quiet)
    for name, data in pieces:
        click.echo(data, nl=False, err=name == STDERR)


def _kept(
    storage: Storage, step: Step, attempt: int, *, is_quiet: bool
) -> Iterator[tuple[str, bytes]]:
    """Yield what is kept of an attempt, by stream; a note where its end is not."""
    folder = step_folder(step.id, attempt)
    is_whole = _await_whole(storage, folder, step, attempt)
    is_any = is_whole
    for name in (STDOUT, STDERR):
        # What never came is not there.
        path = f"{folder}/{name}{SUFFIX}"
        if storage.exists(path):
            is_any = True
            yield from ((name, piece) for piece in _unpacked(storage, path))
    if not is_any:
        raise NotFound(
            f"nothing is at {storage}/{folder}, now: what a step prints comes each minute and when "
            "it ends, unless its primary is lost or cannot write there (OUTPUT_NOT_KEPT in: "
            "atoll fleet events)",
            url=f"{storage}/{folder}",
        )
    if not is_whole and not is_quiet:
        click.echo("note: this is not all, or not yet: its end has not come there", err=True)


def _await_whole(storage: Storage, folder: str, step: Step, attempt: int) -> bool:
    """Tell whether all of an attempt is there; where it has just ended, wait for that."""
    left_s = 0.0
    if attempt == step.attempts and step.ended_at is not None:
        # The cluster's clock may be ahead of ours.
        left_s = min(step.ended_at + _LATE_SECONDS - time.time(), _LATE_SECONDS)
    until = time.monotonic() + left_s
    while not (is_whole := storage.exists(f"{folder}/{CONTROLLER}{SUFFIX}")):
        if time.monotonic() > until:
            break
        time.sleep(_POLL_SECONDS)
    return is_whole


def _unpacked(storage: Storage, path: str) -> Iterator[bytes]:
    unzip = zlib.decompressobj(wbits=31)
    for piece in storage.stream(path):
        yield unzip.decompress(piece)


def _on_disk(
    client: FleetClient, record: ClusterRecord, step: Step, attempt: int
) -> Iterator[tuple[str, bytes]]:
    """Yield what lies on the disk of a local cloud's machine, by stream."""
    if record.desired.provider.name != LOCAL:
        raise InvalidInput(
            f"cluster {record.id} has no log_uri: what its steps print stays on its primaries; "
            f"{_GIVE}"
        )
    if attempt != step.attempts:
        raise NotFound(f"what step {step.id} printed then was lost with its primary; {_GIVE}")
    for name in (STDOUT, STDERR):
        path, start = f"{on_disk(step.id, attempt)}/{name}", 0
        while piece := _piece(client, step.machine_id, path, start):
            yield name, piece
            start += len(piece)


def _piece(client: FleetClient, machine_id: str, path: str, start: int) -> bytes:
    try:
        return client.call("disk.read", bytes, machine_id=machine_id, path=path, start=start)
    except (Conflict, NotFound) as error:
        raise NotFound(
            f"what it printed was on {machine_id}, which does not run any more or has no room for "
            f"it ({error.message}); {_GIVE}"
        ) from error
