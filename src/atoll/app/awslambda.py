"""The function that AWS Lambda runs: one step of a distributed search for each event.

`atoll.app.awslambda.handler` under awslambdaric, AWS's own runtime client; see docs/aws.md.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from atoll.app.settings import read_settings
from atoll.core.config import Settings
from atoll.core.errors import AtollError
from atoll.vectors.distributed.dispatch import carry_out

logger = logging.getLogger(__name__)

# Of an error, for whoever called: many of them must fit into what a state may pass on.
MOST_SAID = 500
# Of what the function has; the rest is for libraries, and for what is not counted.
MEMORY_SHARE, CACHE_SHARE = 0.6, 0.15


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Carry out a step; see `atoll.vectors.distributed.dispatch.carry_out`.

    An error leaves under the name of its class: `Unavailable` may pass when it is tried again.
    """
    del context
    try:
        return carry_out(event, _settings())
    except AtollError as error:
        # What it says is in the log, and in the run's folder; who waits is told the beginning.
        logger.exception("step failed event=%s", dict(event) | {"searched": "..."})
        raise type(error)(error.message[:MOST_SAID]) from None


@cache
def _settings() -> Settings:
    found = read_settings(os.environ, Path(os.environ.get("HOME", "/tmp")))
    size_bytes = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")) << 20
    if not size_bytes:
        return found
    memory, kept = int(size_bytes * MEMORY_SHARE), int(size_bytes * CACHE_SHARE)
    return replace(found, memory_bytes=memory, cache_bytes=kept)
