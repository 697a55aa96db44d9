"""The difference between a blueprint and a mesh, and the commands that show and close it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from atoll.core.errors import AtollError, Conflict, InvalidInput
from atoll.core.files import whole_file
from atoll.core.text import printable
from atoll.mesh.cli.blueprint.document import Blueprint, read_blueprint, written
from atoll.mesh.cli.blueprint.remote import Remote
from atoll.mesh.cli.blueprint.section import Section
from atoll.mesh.cli.blueprint.sections import SECTIONS
from atoll.mesh.cli.blueprint.specs import Spec
from atoll.mesh.cli.commands import client_of

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Change:
    """One value that should be another; `path` is where it stands in a thing."""

    path: str
    before: Any
    after: Any

    def line(self) -> str:
        """Say it."""
        before = "" if self.before in (None, "", (), {}) else f"{_said(self.before)} -> "
        return f"    {printable(self.path)}: {before}{_said(self.after)}"


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

    def changes(self) -> Iterator[Change]:
        """Yield what is to be changed, value by value."""
        for field, value in self.changed.items():
            yield from _changes(field, getattr(self.before, field, None), value)


def current(section: Section[Any], mesh: Remote) -> tuple[dict[str, Spec], set[str]]:
    """Read one part of a mesh.

    Returns:
        What is there by its key, and the keys of which there are two, which are not among these.
    """
    found: dict[str, Spec] = {}
    twice = set()
    for key, spec in section.current(mesh):
        if key in found:
            twice.add(key)
        found[key] = spec
    return {key: spec for key, spec in found.items() if key not in twice}, twice


def differences(
    section: Section[Any], wanted: Mapping[str, Spec], mesh: Remote
) -> list[Difference]:
    """Compare one part of a blueprint with a mesh.

    Raises:
        Conflict: the file names something of which there are two.
        InvalidInput: something is missing of what is not there yet, or cannot be changed.
    """
    told = {key: section.told(spec) for key, spec in wanted.items()}
    if not any(told.values()) and not (section.makes and told):
        return []
    there, twice = current(section, mesh)
    found = []
    for key, values in told.items():
        if key in twice:
            raise Conflict(f"there are two of {section.noun} '{key}'; rename one of them")
        before = there.get(key)
        if before is None and section.is_absent(wanted[key]):
            continue
        changed = {
            field: value
            for field, value in values.items()
            if any(_changes(field, getattr(before, field, None), value))
        }
        if before is not None:
            section.check_fixed(key, changed)
        elif section.makes:
            section.check_new(key, wanted[key])
        if changed or (before is None and section.makes):
            found.append(Difference(section, key, before, wanted[key], changed))
    return found


def close(section: Section[Any], wanted: Mapping[str, Spec], mesh: Remote) -> None:
    """Make a mesh as the blueprint says, in one part: things may refer to each other there."""
    found = differences(section, wanted, mesh)
    new = [one for one in found if one.before is None and section.makes]
    for one in new:
        with _named(section, one.key):
            try:
                section.create(mesh, one.key, one.after)
            except Conflict:
                # Somebody else may have made it meanwhile.
                mesh.forget()
                if one.key not in current(section, mesh)[0]:
                    raise
    if new:
        mesh.forget()
        found = differences(section, wanted, mesh)
    for one in sorted(found, key=lambda one: section.rank(one.key)):
        with _named(section, one.key):
            if one.before is None:
                raise InvalidInput("it is there under another key; write that as an export does")
            if changed := section.now(one.changed):
                section.update(mesh, one.key, one.before, changed)
    mesh.forget()


def make(blueprint: Blueprint, mesh: Remote) -> None:
    """Make a mesh as a blueprint says."""
    mesh.forget()
    for section in SECTIONS:
        close(section, getattr(blueprint, section.name), mesh)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.pass_context
def apply(context: click.Context, file: Path, dry_run: bool) -> None:
    """Make the mesh as a blueprint says, showing what changes; the second time nothing does.

    What the file does not name stays as it is. Where it stops half-way, the same command goes on.
    """
    blueprint, mesh = read_blueprint(file), Remote(client_of(context.obj))
    found = [
        one
        for section in SECTIONS
        for one in differences(section, getattr(blueprint, section.name), mesh)
    ]
    if not found:
        click.echo("no change")
        return
    made, changed = _show(found)
    if not dry_run:
        make(blueprint, mesh)
    click.echo(f"{made} things {'would be' if dry_run else 'were'} made, {changed} changed")


@click.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it there instead of printing it.",
)
@click.pass_context
def export(context: click.Context, output: Path | None) -> None:
    """Write the mesh down as a blueprint, as far as you may look at it."""
    text = written(exported(Remote(client_of(context.obj))))
    if output is None:
        click.echo(text, nl=False)
        return
    with whole_file(output) as file:
        file.write(text.encode())
    click.echo(f"written to {output}")


def exported(mesh: Remote) -> Blueprint:
    """Read a whole mesh; of what has the same name twice a warning is all that is told."""
    parts: dict[str, dict[str, Any]] = {}
    for section in SECTIONS:
        there, twice = current(section, mesh)
        for key in sorted(twice):
            click.echo(f"there are two of {section.noun} '{printable(key)}': left out", err=True)
        part = parts.setdefault(section.name, {})
        for key, spec in there.items():
            if not section.is_absent(spec):
                part[key] = part.get(key, {}) | section.told(spec)
    return Blueprint(
        atoll=1,
        **{
            section.name: {
                key: section.spec(**values) for key, values in sorted(parts[section.name].items())
            }
            for section in SECTIONS
        },
    )


def _show(found: list[Difference]) -> tuple[int, int]:
    """Say it: + for what is to be made, ~ for what is to be changed; returns how many of each."""
    lines: dict[tuple[str, str], dict[str, None]] = {}
    new = {(one.section.noun, one.key) for one in found if one.before is None and one.section.makes}
    for one in found:
        told = lines.setdefault((one.section.noun, one.key), {})
        told |= dict.fromkeys(change.line() for change in one.changes())
    for (noun, key), told in lines.items():
        sign = "+" if (noun, key) in new else "~"
        click.echo("\n".join([f"{sign} {noun} {printable(key)}", *told]))
    return len(new), len(lines) - len(new)


def _changes(path: str, before: Any, wanted: Any) -> Iterator[Change]:
    """Yield what is not as wanted, value by value: what is not named is not compared."""
    if isinstance(wanted, Spec):
        for field in wanted.__struct_fields__:
            if (value := getattr(wanted, field)) is not None:
                yield from _changes(f"{path}/{field}", getattr(before, field, None), value)
    elif isinstance(wanted, dict) and any(isinstance(one, Spec | dict) for one in wanted.values()):
        for key, value in wanted.items():
            yield from _changes(f"{path}/{key}", (before or {}).get(key), value)
    elif not _same(before, wanted):
        yield Change(path, before, wanted)


def _same(before: Any, wanted: Any) -> bool:
    # Lists of names are sets: their order says nothing.
    if isinstance(wanted, tuple | list):
        return sorted(map(_json, before or ())) == sorted(map(_json, wanted))
    return bool(before == wanted)


def _said(value: Any) -> str:
    text = printable(_json(value))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _json(value: Any) -> str:
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False, sort_keys=True)


@contextmanager
def _named(section: Section[Any], key: str) -> Iterator[None]:
    """Say of an error what it is about."""
    try:
        yield
    except AtollError as error:
        told = f"{section.noun} '{key}': {error.message}"
        raise type(error)(told, **error.details) from error
