"""Reads settings once: configuration file, then environment, then arguments; the last word wins."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from atoll.core.config import AwsOptions, MailServer, Settings, StorageOptions
from atoll.core.errors import InvalidInput
from atoll.core.resources import parse_bytes

# Setting, its environment variables (the first one set counts), how its text is read.
_FLAG = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
GENERAL: dict[str, tuple[str, ...]] = {
    "threads": ("ATOLL_THREADS",),
    "memory": ("ATOLL_MEMORY",),
    "scratch": ("ATOLL_SCRATCH",),
    "rates": ("ATOLL_RATES",),
    "cache": ("ATOLL_CACHE",),
    "disk_cache": ("ATOLL_DISK_CACHE",),
    "disk_cache_bytes": ("ATOLL_DISK_CACHE_BYTES",),
    "read_consistency_s": ("ATOLL_READ_CONSISTENCY",),
    "fleet_home": ("ATOLL_FLEET_HOME",),
    "fleet_cache": ("ATOLL_FLEET_CACHE",),
    "fleet_url": ("ATOLL_FLEET_URL",),
    "fleet_token": ("ATOLL_FLEET_TOKEN",),
    "mesh_home": ("ATOLL_MESH_HOME",),
    "mesh_database": ("ATOLL_MESH_DATABASE",),
    "mesh_credentials": ("ATOLL_MESH_CREDENTIALS",),
    "mesh_anchors": ("ATOLL_MESH_ANCHORS",),
    "mesh_policies": ("ATOLL_MESH_POLICIES",),
    "mesh_url": ("ATOLL_MESH_URL",),
    "mesh_token": ("ATOLL_MESH_TOKEN",),
    "mesh_login": ("ATOLL_MESH_LOGIN",),
    "mesh_providers": ("ATOLL_MESH_PROVIDERS",),
    "mesh_webhook_networks": ("ATOLL_MESH_WEBHOOK_NETWORKS",),
}
STORAGE: dict[str, tuple[str, ...]] = {
    "endpoint": ("ATOLL_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "region": ("ATOLL_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
    "access_key_id": ("ATOLL_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
    "secret_access_key": ("ATOLL_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
    "session_token": ("ATOLL_SESSION_TOKEN", "AWS_SESSION_TOKEN"),
    "profile": ("ATOLL_PROFILE", "AWS_PROFILE"),
    "role_arn": ("ATOLL_ROLE_ARN",),
    "allow_http": ("ATOLL_ALLOW_HTTP",),
    "virtual_hosted": ("ATOLL_VIRTUAL_HOSTED",),
    "timeout_s": ("ATOLL_TIMEOUT",),
    "connect_timeout_s": ("ATOLL_CONNECT_TIMEOUT",),
    "retries": ("ATOLL_RETRIES",),
}
AWS: dict[str, tuple[str, ...]] = {
    "stack": ("ATOLL_STACK",),
    "endpoint": ("ATOLL_AWS_ENDPOINT",),
    "prices": ("ATOLL_PRICES",),
    "inside_region": ("ATOLL_INSIDE_REGION",),
}
MAIL: dict[str, tuple[str, ...]] = {
    "host": ("ATOLL_MAIL_HOST",),
    "port": ("ATOLL_MAIL_PORT",),
    "sender": ("ATOLL_MAIL_SENDER",),
    "starttls": ("ATOLL_MAIL_STARTTLS",),
    "user": ("ATOLL_MAIL_USER",),
    "password": ("ATOLL_MAIL_PASSWORD",),
}
CONFIG_VARIABLE = "ATOLL_CONFIG"
OFF = "off"
_PATHS = (
    "scratch", "rates", "prices", "fleet_home", "fleet_cache", "mesh_home", "mesh_credentials",
    "mesh_login", "mesh_policies", "mesh_providers",
)  # fmt: skip


def read_settings(environment: Mapping[str, str], home: Path) -> Settings:
    """Build settings from the configuration file and the environment.

    Args:
        environment: as `os.environ`.
        home: the user's folder; `.config/atoll/config.toml` below it is read unless ATOLL_CONFIG
            names another file, `.aws` tells whether AWS profiles exist, and measured rates and what
            was read from object stores are kept in `.cache/atoll`.

    Raises:
        InvalidInput: the file or a value in it cannot be read.
    """
    found, where = _read_file(environment, home)
    storage, aws, mail = (found.pop(name, {}) for name in ("storage", "aws", "mail"))
    for table, names in ((found, GENERAL), (storage, STORAGE), (aws, AWS), (mail, MAIL)):
        _check_names(table, names, str(where))
        for setting, variables in names.items():
            for variable in variables:
                if environment.get(variable):
                    table[setting] = environment[variable]
                    break
    if environment.get("ATOLL_ACCESS_KEY_ID") and not environment.get("ATOLL_SESSION_TOKEN"):
        # AWS's would be of other keys: in a function those of its role.
        storage.pop("session_token", None)
    options = storage_options(storage)
    if _wants_default_profile(options, home):
        options = replace(options, profile="default")
    kept = home / ".cache" / "atoll"
    on_aws = replace(AwsOptions(), **{k: _parse(k, v) for k, v in aws.items()})
    settings = Settings(
        storage=options,
        aws=on_aws,
        mail=_mail_server(mail, where),
        rates=kept / "rates.json",
        disk_cache=kept / "ranges",
        fleet_home=home / ".local" / "share" / "atoll" / "fleet",
        mesh_home=home / ".local" / "share" / "atoll" / "mesh",
        mesh_login=home / ".config" / "atoll" / "mesh-login.json",
        fleet_cache=kept / "fleet",
    )
    return with_general(settings, found)


def storage_options(found: Mapping[str, Any], where: str = "") -> StorageOptions:
    """Read how to reach a store.

    Args:
        found: by the names of `STORAGE`, as TOML or the environment gave it.
        where: it was found, for the message.

    Raises:
        InvalidInput: there is no setting of a name, or no such value for it.
    """
    _check_names(found, STORAGE, where)
    return replace(StorageOptions(), **{key: _parse(key, value) for key, value in found.items()})


def with_general(settings: Settings, found: Mapping[str, Any]) -> Settings:
    """Lay threads, memory, folders, caches and how fresh reads are over settings."""
    changes = {name: _parse(name, value) for name, value in found.items()}
    for name in ("memory", "cache"):
        if name in changes:
            changes[f"{name}_bytes"] = changes.pop(name)
    return replace(settings, **changes)


def _check_names(found: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
    for name in found:
        if name not in known:
            raise InvalidInput(
                f"{where}: there is no setting {name!r}; there are {', '.join(known)}"
            )


def _read_file(environment: Mapping[str, str], home: Path) -> tuple[dict[str, Any], Path]:
    named = environment.get(CONFIG_VARIABLE)
    path = Path(named) if named else home / ".config" / "atoll" / "config.toml"
    try:
        return tomllib.loads(path.read_text()), path
    except FileNotFoundError as error:
        if named:
            raise InvalidInput(f"{path}, named by {CONFIG_VARIABLE}, is not there") from error
        return {}, path
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error


def _mail_server(given: Mapping[str, Any], where: Path) -> MailServer | None:
    if not given:
        return None
    if missing := {"host", "sender"} - given.keys():
        raise InvalidInput(f"{where}: mail needs a {sorted(missing)[0]}, too")
    found = MailServer(**{name: _parse(name, value) for name, value in given.items()})
    if not (found.user + found.password).isascii():
        raise InvalidInput(f"{where}: SMTP takes users and passwords of ASCII only")
    return found


def _wants_default_profile(options: StorageOptions, home: Path) -> bool:
    if options.access_key_id or options.profile or options.role_arn:
        return False
    return (home / ".aws" / "credentials").exists()


def _parse(setting: str, value: Any) -> Any:
    """Read one value, as text or as TOML gave it."""
    try:
        if setting in ("memory", "cache", "disk_cache_bytes"):
            return value if isinstance(value, int) else parse_bytes(value)
        if setting in ("threads", "retries", "port"):
            number = int(value)
            if number < (0 if setting == "retries" else 1):
                raise ValueError
            return number
        if setting in ("timeout_s", "connect_timeout_s"):
            return float(value)
        if setting == "read_consistency_s":
            seconds = float(value)
            if not seconds >= 0:
                raise ValueError
            return seconds
        if setting in ("allow_http", "virtual_hosted", "inside_region", "starttls"):
            return value if isinstance(value, bool) else _FLAG[value.lower()]
        if setting == "disk_cache":
            return None if value == OFF else Path(value)
        return Path(value) if setting in _PATHS else str(value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{value!r} is not a value for {setting}") from error
