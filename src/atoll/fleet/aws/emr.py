"""EMR's API over a fleet: the service that `wire` serves."""

from __future__ import annotations

from atoll.fleet.aws.account import Account
from atoll.fleet.aws.emr_changes import EmrChanges
from atoll.fleet.aws.emr_reads import EmrReads
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress
from atoll.fleet.control.service import FleetService
from atoll.fleet.wire.errors import EMR, ErrorTable, Name
from atoll.fleet.wire.service import Service

_INVALID = Name("InvalidRequestException", 400)
# To ask again at once would not help; as 503 these would be asked again by every client.
ERRORS: ErrorTable = {**EMR, InsufficientCapacity: _INVALID, NoFreeAddress: _INVALID}


def emr_service(fleet: FleetService, account: Account) -> Service:
    """Return EMR's API over a fleet."""
    reads, changes = EmrReads(fleet, account), EmrChanges(fleet, account)
    return Service("emr", {**reads.handlers(), **changes.handlers()}, ERRORS)
