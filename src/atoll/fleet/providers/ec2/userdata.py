"""The script that makes of a bare Debian 12 an instance of a cluster: `boot.sh`, with its settings.

cloud-init runs it at the first start, and unpacks it if it is packed.
"""

from __future__ import annotations

import base64
import gzip
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files

from atoll.core.errors import InvalidInput
from atoll.fleet.providers.port import require_short

MOST_BYTES = 16 << 10
"""EC2's, of user data."""


def user_data(wanted: str, settings: Mapping[str, str], region: str) -> bytes:
    """Return the packed script.

    Args:
        wanted: what the agent is told at its start.
        settings: the launch's; `package_url` says where Atoll's wheel is.
        region: EC2's.

    Raises:
        InvalidInput: `wanted` or the script is longer than EC2 takes.
    """
    require_short(wanted)
    packed = _packed(script(wanted, settings, region).encode())
    if len(packed) > MOST_BYTES:
        raise InvalidInput(
            f"user_data has {len(packed)} bytes, packed, with the script that starts an instance; "
            f"at most {MOST_BYTES} go: name fewer steps, tags or properties",
            size_bytes=len(packed),
        )
    return packed


def script(wanted: str, settings: Mapping[str, str], region: str) -> str:
    """Return the script: its settings, then `boot.sh`."""
    values = {
        "ATOLL_PACKAGE": package(settings),
        "ATOLL_PACKAGE_URL": settings.get("package_url", ""),
        "ATOLL_REGION": region,
        "ATOLL_USER_DATA": base64.b64encode(_packed(wanted.encode())).decode(),
    }
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    return f"#!/bin/sh\n{lines}{(files(__package__) / 'boot.sh').read_text('utf-8')}"


def package(settings: Mapping[str, str]) -> str:
    """Return what pip is to install: the wheel at `package_url`, or this version of Atoll.

    >>> package({"package_url": "https://host/atoll-1.0-py3-none-any.whl"})
    'atoll[fleet] @ https://host/atoll-1.0-py3-none-any.whl'
    """
    url = settings.get("package_url", "")
    if not url:
        return f"atoll[fleet]=={version('atoll')}"
    if url.startswith("s3://"):
        # pip does not read S3; `boot.sh` fetches it first.
        return f"atoll[fleet] @ file:///var/lib/atoll/{url.rpartition('/')[2]}"
    return f"atoll[fleet] @ {url}"


def _packed(data: bytes) -> bytes:
    # Without the time: the same content is the same launch template.
    return gzip.compress(data, mtime=0)
