"""The commands, made from the operations: what stands in the path first, the rest as options."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from inspect import getdoc
from itertools import islice
from pathlib import Path
from typing import Any

import click
from msgspec import inspect

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.files import whole_file
from atoll.mesh.cli.client import MeshClient
from atoll.mesh.cli.names import Names, kinds_of, spelling
from atoll.mesh.cli.saved import saved_login
from atoll.mesh.cli.showing import show, show_rows
from atoll.mesh.cli.subjects import OperationCommand
from atoll.mesh.cli.values import Json, Moment, Secret, Span, example
from atoll.mesh.operations.registry import Ask, Download, Operation
from atoll.mesh.service.rows import Rows

_MOMENTS = ("at", "since", "until", "timestamp")
_SECRETS = ("password", "current")
_HIDDEN = ("cursor", "limit")
_SEVERAL = "May be given several times."


def client_of(settings: Settings) -> MeshClient:
    """Return the mesh that settings name, or that somebody signed in to, until the command ends.

    Raises:
        InvalidInput: there is none.
    """
    saved = saved_login(settings.mesh_login)
    url = settings.mesh_url or saved.url
    if not url:
        raise InvalidInput(
            "no mesh is named: start one with `atoll serve`, then set ATOLL_MESH_URL to what it "
            "prints and run `atoll mesh login`"
        )
    # A token is told to the mesh that it is for, and to no other.
    token = settings.mesh_token or (saved.token if url == saved.url else "")
    client = MeshClient(url, token)
    click.get_current_context().call_on_close(client.close)
    return client


def command(operation: Operation) -> OperationCommand:
    """Make the command of an operation."""
    fields = {
        one.name: one
        for one in inspect.type_info(operation.ask).fields  # type: ignore[attr-defined]
    }
    names = operation.names

    def run(
        as_json: bool = False,
        if_match: str | None = None,
        at_most: int | None = None,
        output: Path | None = None,
        **given: Any,
    ) -> None:
        client = client_of(click.get_current_context().obj)
        found = Names(client)
        values = {
            key: _named(found, fields[key].type, key, value)
            if key in fields
            else found.resolved(key, value)
            for key, value in given.items()
            if value not in (None, ())
        }
        headers = {"If-Match": if_match} if if_match else {}
        if output:
            _save(client.download(operation, values, headers), output)
            return
        answer = client.perform(operation, values, headers)
        if operation.answer is Rows and not as_json:
            show_rows(answer)
            return
        if operation.is_list:
            answer = list(islice(answer, at_most))
        show(answer, as_json=as_json)

    told = _told_of(operation.ask)
    parameters: list[click.Parameter] = [click.Argument([name]) for name in names]
    parameters += [
        _option(one, told.get(name, ""))
        for name, one in fields.items()
        if name not in (*names, *(_HIDDEN if operation.is_list else ()))
    ]
    if operation.is_list:
        most = click.IntRange(1)
        told_of_most = "How many at most; left out: all."
        parameters.append(click.Option(["--limit", "at_most"], type=most, help=told_of_most))
    if not operation.is_read:
        parameters.append(
            click.Option(["--if-match"], metavar="ETAG", help="Only if it is of this version.")
        )
    if operation.answer is Download:
        place = click.Path(dir_okay=False, path_type=Path)
        parameters.append(click.Argument(["output"], type=place))
    else:
        parameters.append(click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."))
    return OperationCommand(
        operation,
        name=dashed(operation.name),
        callback=run,
        params=parameters,
        help=_help(operation),
    )


def dashed(name: str) -> str:
    """Spell an operation as a command.

    >>> dashed("CreateDomainUnit")
    'create-domain-unit'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def _help(operation: Operation) -> str:
    """Tell what an operation does, and how what it is about may be named."""
    ways = [
        f"{name.upper()} may be {' or '.join(dict.fromkeys(map(spelling, kinds)))}."
        for name in operation.names
        if (kinds := kinds_of(name))
    ]
    return "\n\n".join([operation.told, *ways])


def _told_of(ask: type[Ask]) -> dict[str, str]:
    """Read what a docstring says of attributes, by their names."""
    _, _, listed = (getdoc(ask) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?= {4}\S)", f"\n{listed}")[1:]:
        names, _, told = " ".join(entry.split()).partition(": ")
        found |= dict.fromkeys(names.split(", "), f"{told[:1].upper()}{told[1:]}")
    return found


def _option(one: inspect.Field, told: str) -> click.Option:
    kind, is_many = _click_type(one.type)
    if _is_moment(one.name):
        kind = Moment()
    elif one.name in _SECRETS:
        kind, told = Secret(), "@FILE that holds it, or - for standard input: others see commands."
    elif one.name.endswith("_s") and kind is click.INT:
        kind = Span()
    ways = " or ".join(dict.fromkeys(map(spelling, kinds_of(one.name))))
    more = [told, f"{ways}, or an id." if ways else "", _SEVERAL if is_many else ""]
    if isinstance(kind, Json):
        more.append(_told_of_json(one.type))
    flag = f"--{one.name.replace('_', '-')}"
    return click.Option(
        [f"{flag}/--no-{flag[2:]}" if kind is click.BOOL else flag, one.name],
        type=kind,
        multiple=is_many,
        required=one.required,
        default=None,
        help=" ".join(filter(None, more)),
    )


def _told_of_json(kind: inspect.Type) -> str:
    """Show what JSON an option takes, and in which other ways that can be said."""
    inner = _single(kind)
    if isinstance(inner, inspect.VarTupleType | inspect.ListType):
        inner = _single(inner.item_type)
    if not isinstance(inner, inspect.StructType | inspect.DictType):
        return ""
    found = [f"E.g. {json.dumps(example(kind))}."]
    fields = inner.fields if isinstance(inner, inspect.StructType) else ()
    others = [one.encode_name for one in fields if not one.required]
    if 0 < len(others) < len(fields):
        found.append(f"May have {', '.join(others)}.")
    if only := _only_field(fields):
        found.append(f"Text alone is the {only}.")
    return " ".join(found)


def _named(names: Names, kind: inspect.Type, key: str, value: Any) -> Any:
    """Put ids in the place of names, wherever in a value a type has ids."""
    match _single(kind):
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            if isinstance(value, tuple | list):
                # One empty text stands for none at all, one list for what is in it.
                each = [one for one in value if one != ""] if len(value) == 1 else value
                some = [more for one in each for more in (one if isinstance(one, list) else [one])]
                return [_named(names, item, key, one) for one in some]
        case inspect.StructType(fields=fields):
            types = {one.encode_name: one.type for one in fields}
            if not isinstance(value, dict):
                value = {_only_field(fields): value}
            return {
                name: _named(names, types[name], name, one) if name in types else one
                for name, one in value.items()
            }
        case inspect.StrType() if isinstance(value, str):
            return names.resolved(key, value)
        case inspect.IntType() if isinstance(value, str) and _is_moment(key):
            return Moment().convert(value, None, None)
    return value


def _is_moment(name: str) -> bool:
    return name in _MOMENTS or name.endswith("_at")


def _single(kind: inspect.Type) -> inspect.Type:
    """Return what something is if it is there at all."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    some = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
    return some[0] if len(some) == 1 else kind


def _only_field(fields: Sequence[inspect.Field]) -> str:
    """Return the field that says enough of a structure, if there is one; else nothing."""
    required = [one for one in fields if one.required]
    is_enough = len(required) == 1 and isinstance(required[0].type, inspect.StrType)
    return required[0].encode_name if is_enough else ""


def _save(parts: Iterator[bytes], place: Path) -> None:
    with whole_file(place) as file:
        for part in parts:
            file.write(part)
    click.echo(f"written to {place}")


def _click_type(kind: inspect.Type) -> tuple[Any, bool]:
    match _single(kind):
        case inspect.UnionType(types=types):
            return Json(or_text=any(isinstance(one, inspect.StrType) for one in types)), False
        case inspect.StructType(fields=fields):
            return Json(or_text=bool(_only_field(fields))), False
        case inspect.StrType():
            return click.STRING, False
        case inspect.IntType():
            return click.INT, False
        case inspect.FloatType():
            return click.FLOAT, False
        case inspect.BoolType():
            return click.BOOL, False
        case inspect.EnumType(cls=cls):
            return click.Choice([one.value for one in cls]), False
        case inspect.LiteralType(values=values):
            return click.Choice(list(map(str, values))), False
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            inner, _ = _click_type(item)
            return inner, True
        case _:
            return Json(), False
