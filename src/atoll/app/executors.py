"""Where work runs, by the text of `--executor`: joins the parts' commands with clusters."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from atoll.compute.port import Executor
from atoll.compute.processes import ProcessExecutor
from atoll.core.config import Settings
from atoll.core.errors import InvalidInput, NotFound
from atoll.vectors.cli.executing import PROCESSES

FLEET = "fleet"
# An agent sets them for the steps it runs.
MASTER_VARIABLE = "ATOLL_SPARK_MASTER"
FILES_VARIABLE = "ATOLL_SPARK_FILES"
ID_VARIABLE, NAME_VARIABLE = "ATOLL_CLUSTER_ID", "ATOLL_CLUSTER_NAME"
SHARED = "shared"
_SHARED_SUFFIX = f"?files={SHARED}"


@dataclass(frozen=True)
class SparkAt:
    """A Spark cluster.

    Attributes:
        master: "spark://host:7077,host:7077".
        shares_files: whether its machines see the files of this one.
    """

    master: str
    shares_files: bool = False


Resolve: TypeAlias = Callable[[Settings, str], SparkAt]
"""Finds a fleet's cluster by its name; raises `NotFound` where there is none."""


@contextmanager
def executor_of(
    text: str,
    settings: Settings,
    *,
    environment: Mapping[str, str],
    resolve: Resolve,
) -> Iterator[Executor]:
    """Open what `--executor` names, for the block.

    Args:
        text: "processes", "spark://host:port,...", with "?files=shared" where the cluster's
            machines see this one's files, "fleet:NAME", or in a step "fleet", its own cluster.
        settings: threads, scratch folder.
        environment: of a step says which cluster it runs on; Java is looked for there.
        resolve: finds fleets.

    Raises:
        InvalidInput: the text is none of these.
        NotFound: there is no such fleet.
        Unavailable: the cluster does not answer, or Java or Spark is missing here.
    """
    if text == PROCESSES:
        yield ProcessExecutor(settings.threads, threads=settings.threads)
        return
    from atoll.compute.spark import SparkExecutor

    at = spark_at(text, environment, lambda name: resolve(settings, name))
    with SparkExecutor(
        at.master,
        shares_files=at.shares_files,
        scratch=settings.scratch,
        environment=environment,
    ) as executor:
        yield executor


def spark_at(
    text: str, environment: Mapping[str, str], resolve: Callable[[str], SparkAt]
) -> SparkAt:
    """Say which cluster a text means.

    Raises:
        InvalidInput: it means none, or, in a step, another cluster than the step's.
        NotFound: there is no such fleet.
    """
    if text.startswith("spark://"):
        master = text.removesuffix(_SHARED_SUFFIX)
        return SparkAt(master, master != text or _is_this_machine(master))
    kind, _, name = text.partition(":")
    if kind != FLEET:
        raise InvalidInput(
            f"--executor {text} is unknown; give {PROCESSES}, spark://HOST:PORT,... or fleet:NAME"
        )
    if ours := environment.get(MASTER_VARIABLE):
        own = environment.get(ID_VARIABLE, ""), environment.get(NAME_VARIABLE, "")
        if name and name not in own:
            raise InvalidInput(
                f"--executor {text}: this is a step of cluster {own[1]} ({own[0]}), and works "
                "on that only; give --executor fleet, or submit it to the other"
            )
        is_shared = environment.get(FILES_VARIABLE) == SHARED
        return SparkAt(ours, is_shared or _is_this_machine(ours))
    if not name:
        raise InvalidInput(
            "--executor fleet means the cluster whose step this is, and this is none; give "
            "fleet:NAME"
        )
    return resolve(name)


def find_fleet(settings: Settings, name: str) -> SparkAt:
    """Find a fleet's cluster, by its name or id.

    Raises:
        NotFound: there is none, or it has ended.
        Unavailable: this machine's fleet host does not answer.
        InvalidInput: its machines live where this process cannot reach them.
    """
    from atoll.fleet.cli.common import found, host
    from atoll.fleet.engine.spark import master_url
    from atoll.fleet.engine.zookeeper import Peer
    from atoll.fleet.providers.reach import LOCAL

    record = found(host(settings), name)
    state = record.known.status.state
    if state.is_over:
        raise NotFound(
            f"fleet {name!r} is {state.value}; create another: atoll fleet create", fleet=name
        )
    if settings.fleet_url is None:
        _refuse_walled_off(settings, record.id)
    slots = record.desired.slots
    master = master_url([Peer(slot.server_id, slot.address.private_ip) for slot in slots])
    return SparkAt(master, shares_files=record.desired.provider.name == LOCAL)


def _refuse_walled_off(settings: Settings, cluster_id: str) -> None:
    """Refuse a cluster of a host without root: it has entered namespaces that we are not in."""
    from atoll.fleet.host.home import provider_of
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


def _is_this_machine(master: str) -> bool:
    """Tell whether all masters have loopback addresses, which no other machine has."""
    hosts = [each.rpartition(":")[0] for each in master.removeprefix("spark://").split(",")]
    try:
        return all(ipaddress.ip_address(host).is_loopback for host in hosts)
    except ValueError:
        return False
