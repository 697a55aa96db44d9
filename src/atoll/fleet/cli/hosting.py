"""Commands about this machine's fleet host."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import click

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.files import reading


@click.command()
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="The host's folder.  [default: ATOLL_FLEET_HOME]")  # fmt: skip
@click.option("--provider", type=click.Choice(["auto", "netns", "loopback", "ec2"]),
              default="auto", show_default=True,
              help="Who supplies machines; a folder keeps its first.")  # fmt: skip
@click.option("--aws-region", default="", metavar="REGION", help="Of EC2.")
@click.option("--aws-setting", multiple=True, metavar="NAME=VALUE",
              help="A setting of EC2 for all clusters, such as package_url.")  # fmt: skip
@click.option("--address", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True,
              help="0 takes a free one.")  # fmt: skip
@click.option("--keys", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Further keys of AWS's clients, ID:SECRET a line.")  # fmt: skip
@click.option("--open", "is_open", is_flag=True,
              help="Let all of this machine's users call AWS's APIs, with any keys.")  # fmt: skip
@click.option("--notify", "notified", multiple=True, metavar="TARGET",
              help="Whom alarms tell: https://..., mailto:...; may repeat.")  # fmt: skip
@click.option("--sender", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="How they are told, TOML (docs/fleet.md).")  # fmt: skip
@click.pass_obj
def serve(
    settings: Settings,
    /,
    home: Path | None,
    provider: str,
    aws_region: str,
    aws_setting: tuple[str, ...],
    address: str,
    port: int,
    keys: Path | None,
    is_open: bool,
    notified: tuple[str, ...],
    sender: Path | None,
) -> None:
    """Serve this machine's fleet host until it is stopped; clusters go on without it.

    EMR's, CloudFormation's and CloudWatch's APIs, Prometheus metrics (/metrics) and what
    `atoll fleet` asks are at one address; `--endpoint-url http://127.0.0.1:PORT` is for AWS's
    clients, which sign with the keys that `atoll fleet keys` prints.
    """
    from atoll.fleet.cli.sender import read_sender
    from atoll.fleet.host.home import LOG
    from atoll.fleet.host.log import log_to
    from atoll.fleet.host.server import HostOptions, serve_host, stop_on_signals
    from atoll.fleet.monitoring.sending import Sender

    if is_open and keys is not None:
        raise click.UsageError("give --keys or --open, not both")
    folder = home or settings.fleet_home
    assert folder is not None
    log_to(folder / LOG)
    logging.getLogger("kazoo").setLevel(logging.ERROR)
    stopped = threading.Event()
    stop_on_signals(stopped)
    options = HostOptions(
        home=folder.absolute(),
        address=address,
        port=port,
        provider=provider,
        region=aws_region,
        ec2=dict(map(_setting, aws_setting)),
        cache=settings.fleet_cache,
        keys={} if keys is None else _read_keys(keys),
        is_open=is_open,
        notified=notified,
        sender=Sender() if sender is None else read_sender(sender),
    )
    serve_host(options, stopped)


def _setting(text: str) -> tuple[str, str]:
    name, is_there, value = text.partition("=")
    if not is_there:
        raise InvalidInput(
            f"--aws-setting {text} is no setting; write NAME=VALUE, such as image=ami-..."
        )
    return name, value


def _read_keys(path: Path) -> dict[str, str]:
    with reading(path):
        lines = path.read_text().split()
    keys = {}
    for number, line in enumerate(lines, 1):
        access, is_pair, secret = line.partition(":")
        if not (is_pair and access and secret):
            raise InvalidInput(f"{path}: entry {number} is not ID:SECRET")
        keys[access] = secret
    if not keys:
        raise InvalidInput(f"{path} holds no keys; write ID:SECRET, one a line")
    return keys


@click.command()
@click.pass_obj
def keys(settings: Settings, /) -> None:
    """Print the keys of this machine's host as a shell takes them: `eval "$(atoll fleet keys)"`.

    AWS's clients that have them may do all that `atoll fleet` may. A session token that another
    account left in the shell is unset: it fits no key of a host.
    """
    from atoll.fleet.cli.common import host
    from atoll.fleet.host.home import keys_of

    if settings.fleet_url is not None:
        raise InvalidInput(
            f"the keys of {settings.fleet_url} are on its machine: run atoll fleet keys there"
        )
    host(settings)
    assert settings.fleet_home is not None
    access_key, secret_key = keys_of(settings.fleet_home)
    click.echo(f"export AWS_ACCESS_KEY_ID={access_key} AWS_SECRET_ACCESS_KEY={secret_key}")
    click.echo("unset AWS_SESSION_TOKEN")


@click.command()
@click.option("--everything", is_flag=True,
              help="End living clusters, too; remove all that this host ever made.")  # fmt: skip
@click.pass_obj
def gc(settings: Settings, /, everything: bool) -> None:
    """Remove what killed processes left: processes, namespaces, addresses, folders.

    What belongs to a living machine stays, unless --everything says otherwise.
    """
    from atoll.fleet.host.garbage import remove

    home = settings.fleet_home
    assert home is not None
    removed = remove(home, everything=everything)
    for one in removed:
        click.echo(f"removed {one.kind} {one.name}")
    if not removed:
        click.echo("nothing to remove")
