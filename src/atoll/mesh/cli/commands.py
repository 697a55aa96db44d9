"""The commands, made from the operations: what stands in the path first, the rest as options."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import inspect

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.files import whole_file
from atoll.core.tables import clock, table
from atoll.core.text import counted
from atoll.mesh.cli.client import MeshClient
from atoll.mesh.model.people import microseconds
from atoll.mesh.operations.registry import Download, Operation, viewing
from atoll.mesh.service import OPERATIONS
from atoll.mesh.service.rows import Rows

_MOMENTS = ("at", "since", "until", "due_at", "expires_at", "timestamp")
_OF_PAGES = ("cursor", "limit")
_CELL_LETTERS = 40
_STAMPS = {"created_at", "updated_at", "expires_at", "at", "since", "until", "due_at", "timestamp"}
_NOT_IN_TABLES = {"version", "created_at", "created_by", "updated_at", "updated_by", "description"}


def client_of(settings: Settings) -> MeshClient:
    """Return the mesh that settings name, until the command ends.

    Raises:
        InvalidInput: they name none.
    """
    if not settings.mesh_url:
        raise InvalidInput(
            "no mesh is named: start one with `atoll serve`, then set ATOLL_MESH_URL and "
            "ATOLL_MESH_TOKEN to what it prints, or run `atoll mesh login`"
        )
    client = MeshClient(settings.mesh_url, settings.mesh_token or "")
    click.get_current_context().call_on_close(client.close)
    return client


def command(operation: Operation) -> click.Command:
    """Make the command of an operation."""
    fields = {
        one.name: one
        for one in inspect.type_info(operation.ask).fields  # type: ignore[attr-defined]
    }
    names = operation.names

    def run(
        as_json: bool = False,
        if_match: str | None = None,
        output: Path | None = None,
        **given: Any,
    ) -> None:
        settings: Settings = click.get_current_context().obj
        client = client_of(settings)
        values = {key: value for key, value in given.items() if value not in (None, ())}
        for key, value in values.items():
            values[key] = _resolved(client, key, value)
        headers = {"If-Match": if_match} if if_match else {}
        if output:
            _save(client.download(operation, values, headers), output)
            return
        answer = client.perform(operation, values, headers)
        if operation.answer is Rows and not as_json:
            _print_rows(answer)
            return
        _print(list(answer) if operation.is_list else answer, as_json=as_json)

    parameters: list[click.Parameter] = [click.Argument([name]) for name in names]
    hidden = _OF_PAGES if operation.is_list else ()
    parameters += [_option(one) for name, one in fields.items() if name not in (*names, *hidden)]
    if not operation.is_read:
        parameters.append(
            click.Option(["--if-match"], metavar="ETAG", help="Only if it is of this version.")
        )
    if operation.answer is Download:
        place = click.Path(dir_okay=False, path_type=Path)
        parameters.append(click.Argument(["output"], type=place))
    else:
        parameters.append(click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."))
    return click.Command(
        name=dashed(operation.name), callback=run, params=parameters, help=operation.told
    )


def dashed(name: str) -> str:
    """Spell an operation as a command.

    >>> dashed("CreateDomainUnit")
    'create-domain-unit'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def _option(one: inspect.Field) -> click.Option:
    kind, is_many = _click_type(one.type)
    if one.name in _MOMENTS:
        kind = _Moment()
    has_default = one.default is not msgspec.NODEFAULT or (
        one.default_factory is not msgspec.NODEFAULT
    )
    flag = f"--{one.name.replace('_', '-')}"
    flags = [f"{flag}/--no-{flag[2:]}" if kind is click.BOOL else flag, one.name]
    return click.Option(flags, type=kind, multiple=is_many, required=not has_default, default=None)


def _save(parts: Iterator[bytes], place: Path) -> None:
    with whole_file(place) as file:
        for part in parts:
            file.write(part)
    click.echo(f"written to {place}")


def _click_type(kind: inspect.Type) -> tuple[Any, bool]:
    match kind:
        case inspect.UnionType(types=types):
            some = [one for one in types if not isinstance(one, inspect.NoneType)]
            if len(some) == 1:
                return _click_type(some[0])
            return _Json(or_text=any(isinstance(one, inspect.StrType) for one in some)), False
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
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            inner, _ = _click_type(item)
            return inner, True
        case _:
            return _Json(), False


class _Moment(click.ParamType[int]):
    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int) or value.isdigit():
            return int(value)
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return self.fail(f"{value!r} is no time; write one like 2026-11-26T08:30Z", param, ctx)
        return microseconds(found if found.tzinfo else found.replace(tzinfo=UTC))


class _Json(click.ParamType[Any]):
    name = "JSON or @FILE"

    def __init__(self, *, or_text: bool = False) -> None:
        self._or_text = or_text
        self.name = "JSON, @FILE or text" if or_text else self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            text = Path(value[1:]).read_text() if value.startswith("@") else value
            return json.loads(text)
        except (OSError, ValueError) as error:
            if self._or_text and not value.startswith("@"):
                return value
            return self.fail(f"{value!r} is neither JSON nor @FILE of it: {error}", param, ctx)


def _resolved(client: MeshClient, key: str, value: Any) -> Any:
    lists = _lists().get(key)
    if not lists:
        return value
    if isinstance(value, tuple):
        return [client.id_of(lists, one) for one in value]
    return client.id_of(lists, value)


@cache
def _lists() -> dict[str, tuple[str, ...]]:
    """Tell in which lists things are found by name, by what their ids are called."""
    of_kind = {
        one.answer: one.path
        for one in OPERATIONS.values()
        if one.is_list and not one.names and "name" in one.ask.__struct_fields__
    }
    found: dict[str, tuple[str, ...]] = {
        one.about: (of_kind[one.on],)
        for one in OPERATIONS.values()
        if one.name == viewing(one.on).name and one.on in of_kind
    }
    for other, keys in _OTHER_NAMES.items():
        found[other] = tuple(path for key in keys for path in found[key])
    return found


_PEOPLE = ("user_profile_id", "group_profile_id")
_OTHER_NAMES = {
    "owners": _PEOPLE,
    "member_id": _PEOPLE,
    "groups": ("group_profile_id",),
    "parent_domain_unit_id": ("domain_unit_id",),
    "owning_project_id": ("project_id",),
    "storage_id": ("association_id",),
    "workgroup_id": ("association_id",),
}


def _print(answer: Any, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif isinstance(answer, list):
        rows = [_row(one) for one in answer]
        click.echo("\n".join(table(rows, empty="nothing that you may look at")))
    else:
        parts = {key: one for key, one in answer.items() if _is_table(one)}
        rows = [
            {"field": key, "value": _text(key, one)}
            for key, one in answer.items()
            if key not in parts
        ]
        click.echo("\n".join(table(rows, empty="done")))
        for key, part in parts.items():
            click.echo(f"\n{key}:")
            _print(part, as_json=False)


def _print_rows(answer: Any) -> None:
    names = [one["name"] for one in answer["columns"]]
    rows = [
        {name: _cell(one) for name, one in zip(names, row, strict=True)} for row in answer["rows"]
    ]
    click.echo("\n".join(table(rows, empty="no rows")))
    if answer["is_cut"]:
        click.echo(f"\n{counted(len(rows), 'row')}; there are more, or may be: --limit", err=True)


def _cell(value: Any) -> object:
    if value is None or isinstance(value, int | float):
        return "" if value is None else value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _CELL_LETTERS else f"{text[:_CELL_LETTERS]}..."


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, dict) for one in value)


def _row(item: Mapping[str, Any]) -> dict[str, object]:
    return {key: _text(key, value) for key, value in item.items() if key not in _NOT_IN_TABLES}


def _text(key: str, value: Any) -> str:
    if key in _STAMPS and isinstance(value, int):
        return clock(value / 1e6 if value else None)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)
