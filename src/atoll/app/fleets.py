"""Finds the masters of a fleet's cluster, for `--executor fleet:NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.core.config import Settings
from atoll.core.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from atoll.app.executors import SparkAt


def fleet_at(settings: Settings, name: str) -> SparkAt:
    """Return where a cluster's work is given out.

    Raises:
        NotFound: there is no such cluster.
        Conflict: it has not begun, or has ended.
        InvalidInput: this process cannot reach its machines.
    """
    # Commands that know no fleet should not wait for all this.
    from atoll.app.executors import SparkAt
    from atoll.fleet.cli.common import found, host
    from atoll.fleet.control.registry import Phase
    from atoll.fleet.engine.spark import MASTER_PORT
    from atoll.fleet.providers.reach import LOCAL

    record = found(host(settings), name)
    if record.phase is not Phase.LIVING:
        raise Conflict(f"cluster {record.id} is {record.known.status.state.value}; it cannot work")
    if settings.fleet_url is None:
        _refuse_unreachable(settings, record.id)
    hosts = ",".join(f"{one.address.private_ip}:{MASTER_PORT}" for one in record.desired.slots)
    return SparkAt(f"spark://{hosts}", record.desired.provider.name == LOCAL)


def _refuse_unreachable(settings: Settings, cluster_id: str) -> None:
    from atoll.fleet.control.home import provider_of
    from atoll.fleet.providers.local.netns import Netns
    from atoll.fleet.providers.local.privileges import is_privileged

    assert settings.fleet_home is not None
    if provider_of(settings.fleet_home) == Netns.name and not is_privileged():
        raise InvalidInput(
            f"the machines of {cluster_id} live in namespaces that this process is not in; run the "
            f"command there, as a step: atoll fleet submit {cluster_id} -- atoll ... --executor "
            "fleet",
            cluster_id=cluster_id,
        )
