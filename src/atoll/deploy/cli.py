"""The command that deploys: a thin edge over `render`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from atoll.core.config import Settings
from atoll.core.errors import Conflict
from atoll.core.files import whole_file, writing
from atoll.core.functions import TIMEOUT_SECONDS, FunctionMemory
from atoll.deploy.render import MAP_MODES, SearchStack, render


@click.command()
@click.argument("target", type=click.Choice(["aws"]))
@click.option("--collection", required=True, metavar="s3://BUCKET/PREFIX",
              help="The collection that is to be searched.")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.yaml",
              help="Write the template there instead of printing it.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file.")
@click.option("--image", metavar="URI",
              help="Image of functions and jobs; else to be given when deploying.")  # fmt: skip
@click.option("--map-mode", type=click.Choice(MAP_MODES), default="distributed", show_default=True,
              help="An execution for each bucket, or all in one: fewer state transitions, at most "
              "40 buckets at once.")  # fmt: skip
@click.option("--max-concurrency", type=int, metavar="N",
              help="Buckets searched at once.  [default: 500; inline: 40]")  # fmt: skip
@click.option("--search-memory", type=int, default=FunctionMemory.search, show_default=True,
              metavar="MB", help="Memory of the function that searches a bucket.")  # fmt: skip
@click.option("--reduce-memory", type=int, default=FunctionMemory.reduce, show_default=True,
              metavar="MB", help="Memory of the function that merges and refines.")  # fmt: skip
@click.option("--step-timeout", type=int, default=TIMEOUT_SECONDS[1], show_default=True,
              metavar="SECONDS", help="How long one run of a function may take.")  # fmt: skip
@click.pass_obj
def deploy(
    settings: Settings,
    /,
    target: str,
    out: Path | None,
    force: bool,
    image: str | None,
    **given: Any,
) -> None:
    """Print what to deploy so that a collection on S3 is searched with nothing running.

    TARGET is `aws`: a CloudFormation template of a bucket for results, three Lambda functions, a
    Step Functions state machine, alarms, and AWS Batch where its parameter Batch says so. An S3
    endpoint other than AWS's own is taken from the settings, as every command does.
    """
    stack = SearchStack(
        **given,
        image=image or "",
        endpoint=settings.storage.endpoint or "",
        allow_http=settings.storage.allow_http,
    )
    text = render(stack)
    if out is None:
        click.echo(text, nl=False)
        return
    with writing(out):
        if out.exists() and not force:
            raise Conflict(f"{out} exists; choose another name or replace it with --force")
    with whole_file(out) as file:
        file.write(text.encode())
