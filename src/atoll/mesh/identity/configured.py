"""Sign-in providers, as an administrator writes them down.

    [plant]
    title = "Plant account"
    issuer = "https://login.plant.example"
    client_id = "atoll"
    client_secret_file = "plant.secret"
    assign = false

    [plant.groups]
    "plant-quality" = "quality"

The name of the table is the provider's in the addresses of sign-in and callback; at the provider,
`<portal>/v1/sso/plant/callback` is registered as the redirect URI. Groups are given to those whom
the provider puts into them, to the group of ours with that name.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from atoll.core.errors import InvalidInput
from atoll.core.files import private_text
from atoll.core.records import converted
from atoll.mesh.identity.provider import Provider

MAX_PROVIDERS = 20


@dataclass(frozen=True)
class Configured:
    """A provider, and what its word is worth here.

    Attributes:
        title: what people choose it by.
        assign: whether whoever it knows may come in; else only those with a mapped group, and
            those whom an administrator assigns.
    """

    provider: Provider
    title: str
    assign: bool


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    issuer: str
    client_id: str
    title: Annotated[str, Meta(max_length=100)] = ""
    client_secret: str | None = None
    client_secret_file: str | None = None
    scopes: tuple[str, ...] | None = None
    group_claim: str | None = None
    groups: dict[str, str] = {}
    algorithms: tuple[str, ...] | None = None
    email_domains: tuple[str, ...] | None = None
    ca_file: str | None = None
    assign: bool = False


def read_providers(path: Path) -> list[Configured]:
    """Read the file of providers.

    Args:
        path: TOML; files that it names are taken from its folder.

    Raises:
        Forbidden: it, or a file with a secret, may be read by others.
        InvalidInput: something in it is wrong; it says of which provider.
        NotFound, Unavailable: a file cannot be read.
    """
    try:
        tables = converted(tomllib.loads(private_text(path)), dict[str, _Table])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidInput(f"{path}: {error}", path=str(path)) from error
    if len(tables) > MAX_PROVIDERS:
        raise InvalidInput(f"{path} has {len(tables)} providers; {MAX_PROVIDERS} at most")
    return [_configured(name, table, path.parent) for name, table in tables.items()]


def _configured(name: str, table: _Table, folder: Path) -> Configured:
    if table.client_secret and table.client_secret_file:
        raise InvalidInput(f"provider {name!r} has a client_secret and a file of it; keep one")
    secret = table.client_secret
    if table.client_secret_file:
        secret = private_text(folder / table.client_secret_file).strip()
    keys = ("scopes", "group_claim", "algorithms", "email_domains")
    given = {key: value for key in keys if (value := getattr(table, key)) is not None}
    provider = Provider(
        name=name,
        issuer=table.issuer,
        client_id=table.client_id,
        client_secret=secret or None,
        groups=table.groups,
        ca_file=folder / table.ca_file if table.ca_file else None,
        **given,
    )
    return Configured(provider, table.title or name, table.assign)
