"""The difference between a blueprint and a mesh, and the commands that show and close it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from atoll.core.files import whole_file
from atoll.mesh.cli.blueprint.document import Blueprint, Spec, read_blueprint, written
from atoll.mesh.cli.blueprint.remote import Remote
from atoll.mesh.cli.blueprint.sections import SECTIONS, Section
from atoll.mesh.cli.commands import client_of

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Difference:
    """What of one thing is not as the blueprint says.

    Attributes:
        before: as it is; None: it is not there.
        changed: fields of the spec that should be otherwise.
    """

    section: Section[Any]
    key: str
    before: Spec | None
    after: Spec
    changed: dict[str, Any]

    def lines(self) -> Iterator[str]:
        """Say it: + for what is to be made, ~ for what is to be changed."""
        yield f"{'~' if self.before else '+'} {self.section.noun} {self.key}"
        for field, value in self.changed.items():
            before = f"{_said(getattr(self.before, field))} -> " if self.before else ""
            yield f"    {field}: {before}{_said(value)}"


def differences(section: Section[Any], wanted: dict[str, Spec], mesh: Remote) -> list[Difference]:
    """Compare one part of a blueprint with a mesh."""
    if not wanted:
        return []
    there = section.current(mesh)
    found = []
    for key, spec in wanted.items():
        before = there.get(key)
        changed = {
            field: value
            for field in spec.__struct_fields__
            if (value := getattr(spec, field)) is not None
            and not (before and _same(getattr(before, field), value))
        }
        if changed or before is None:
            found.append(Difference(section, key, before, spec, changed))
    return found


def close(section: Section[Any], found: list[Difference], mesh: Remote) -> None:
    """Make a mesh as the blueprint says, in one part: things may refer to each other there."""
    new = [one for one in found if one.before is None]
    for one in new:
        section.create(mesh, one.key, one.after)
    there = section.current(mesh) if new else {}
    for one in found:
        before = one.before or there[one.key]
        changed = {
            field: value
            for field, value in one.changed.items()
            if not _same(getattr(before, field), value)
        }
        if changed:
            section.update(mesh, one.key, before, changed)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.pass_context
def apply(context: click.Context, file: Path, dry_run: bool) -> None:
    """Make the mesh as a blueprint says, showing what changes; the second time nothing does."""
    blueprint, mesh = read_blueprint(file), Remote(client_of(context.obj))
    made = changed = 0
    for section in SECTIONS:
        found = differences(section, getattr(blueprint, section.name), mesh)
        for one in found:
            click.echo("\n".join(one.lines()))
            made, changed = made + (one.before is None), changed + (one.before is not None)
        if not dry_run:
            close(section, found, mesh)
    said = "would be" if dry_run else "were"
    click.echo(f"{made} things {said} made, {changed} changed" if made or changed else "no change")


@click.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it there instead of printing it.",
)
@click.pass_context
def export(context: click.Context, output: Path | None) -> None:
    """Write the mesh down as a blueprint, as far as you may look at it."""
    mesh = Remote(client_of(context.obj))
    parts = {one.name: dict(sorted(one.current(mesh).items())) for one in SECTIONS}
    text = written(Blueprint(atoll=1, **parts))
    if output is None:
        click.echo(text, nl=False)
        return
    with whole_file(output) as file:
        file.write(text.encode())
    click.echo(f"written to {output}")


def _same(before: Any, wanted: Any) -> bool:
    # Lists of names are sets: their order says nothing.
    if isinstance(wanted, tuple):
        return sorted(map(_said, before or ())) == sorted(map(_said, wanted))
    return bool(before == wanted)


def _said(value: Any) -> str:
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
