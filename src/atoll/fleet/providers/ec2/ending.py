"""Ends machines."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from atoll.core.errors import AtollError, NotFound, Unavailable
from atoll.core.text import some_of
from atoll.fleet.providers.ec2 import tags
from atoll.fleet.providers.ec2.addresses import Patience
from atoll.fleet.providers.ec2.api import Api, code_of
from atoll.fleet.providers.ec2.machines import described_ids, is_holding

logger = logging.getLogger(__name__)


def end(api: Api, ids: Sequence[str], reason: str, patience: Patience) -> None:
    """Cut machines off and end them; wait for those that hold kept addresses.

    Raises:
        Unavailable: one of those did not end in time.
    """
    there = described_ids(api, ids)
    going = [one["InstanceId"] for one in there if is_holding(one)]
    if going:
        _tell(api, going, reason)
        try:
            # Without the system's own shutdown: a machine that hangs would take minutes.
            api.call("terminate_instances", InstanceIds=going, SkipOsShutdown=True)
        except NotFound:
            # One was forgotten since we looked, and EC2 then ends none: look again.
            end(api, ids, reason, patience)
            return
    held = [one["InstanceId"] for one in there if _holds_address(one)]
    _await_end(api, held, patience)


def _tell(api: Api, ids: Sequence[str], reason: str) -> None:
    """Tag with the reason, first: an ended instance keeps its tags for an hour, but takes no more.

    What cannot be told must not keep a machine running that costs money or holds an address.
    """
    try:
        api.call("create_tags", Resources=ids, Tags=tags.as_list({tags.REASON: reason}))
    except AtollError as error:
        logger.warning("end not tagged code=%s error=%s", code_of(error), error)


def _holds_address(one: Mapping[str, Any]) -> bool:
    return tags.ADDRESS in tags.as_dict(one.get("Tags", ()))


def _await_end(api: Api, ids: Sequence[str], patience: Patience) -> None:
    deadline = time.monotonic() + patience.most_s
    while True:
        left = [
            one["InstanceId"]
            for one in described_ids(api, ids)
            if one["State"]["Name"] != "terminated"
        ]
        if not left:
            return
        if time.monotonic() > deadline:
            raise Unavailable(
                f"{some_of(left)} did not end within {patience.most_s:g} s; try again",
                machine_ids=left,
            )
        time.sleep(patience.poll_s)
