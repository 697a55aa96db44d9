"""All of AWS's APIs that a host provides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from atoll.fleet.aws.account import Account
from atoll.fleet.aws.cloudformation import CloudFormation
from atoll.fleet.aws.cloudwatch import cloudwatch_service
from atoll.fleet.aws.emr import emr_service
from atoll.fleet.aws.stackstore import StackStore
from atoll.fleet.control.service import FleetService
from atoll.fleet.monitoring.opening import Monitoring
from atoll.fleet.wire.service import Service


@contextmanager
def aws_services(
    path: Path,
    fleet: FleetService,
    monitoring: Monitoring,
    check_target: Callable[[str], None],
    account: Account,
) -> Iterator[list[Service]]:
    """Open AWS's APIs over a fleet while the block runs.

    Args:
        path: of the host's file, where stacks are kept.
        fleet: the clusters.
        monitoring: their measures and alarms.
        check_target: raises `InvalidInput` for who cannot be notified.
        account: whose all is.
    """
    stacks = StackStore(path)
    try:
        yield [
            emr_service(fleet, account),
            CloudFormation(fleet, stacks, account).service(),
            cloudwatch_service(monitoring.metrics, monitoring.alarms, check_target, account),
        ]
    finally:
        stacks.close()
