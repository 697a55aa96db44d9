"""The function that AWS Lambda runs: one step of a distributed search for each event.

`atoll.app.awslambda.handler` under awslambdaric, AWS's own runtime client; see docs/aws.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from atoll.app.settings import read_settings
from atoll.core.config import Settings
from atoll.vectors.distributed.dispatch import carry_out

# Of what the function has; the rest is for libraries, and for what is not counted.
MEMORY_SHARE, CACHE_SHARE = 0.6, 0.15


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Carry out a step; see `atoll.vectors.distributed.dispatch.carry_out`.

    An error leaves under the name of its class: `Unavailable` may pass when it is tried again.
    """
    del context
    return carry_out(event, _settings())


@cache
def _settings() -> Settings:
    found = read_settings(os.environ, Path(os.environ.get("HOME", "/tmp")))
    size_bytes = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")) << 20
    if not size_bytes:
        return found
    memory, kept = int(size_bytes * MEMORY_SHARE), int(size_bytes * CACHE_SHARE)
    return replace(found, memory_bytes=memory, cache_bytes=kept)
