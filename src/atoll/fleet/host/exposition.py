"""The page that Prometheus reads: what there is now, of all clusters and of the host itself.

Source: Prometheus, exposition formats, text format 0.0.4.
"""

from __future__ import annotations

import hmac
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from atoll.core.errors import AtollError
from atoll.fleet.control.service import FleetService
from atoll.fleet.life.capacity import MARKETS, provisioned
from atoll.fleet.life.records import Fleet
from atoll.fleet.model import Market
from atoll.fleet.monitoring.alarms import AlarmState
from atoll.fleet.monitoring.alarmstore import KeptAlarm
from atoll.fleet.monitoring.measures import UNITS
from atoll.fleet.monitoring.opening import Monitoring
from atoll.fleet.registry import ClusterRecord, Phase
from atoll.fleet.states import ClusterState
from atoll.fleet.wire.message import Request, Response

METRICS = "/metrics"
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = dict[str, str]


@dataclass(frozen=True)
class Family:
    """A metric with its samples.

    Attributes:
        name: without Atoll's prefix.
        kind: "gauge" or "counter".
        help: for people.
        samples: labels and value.
    """

    name: str
    kind: str
    help: str
    samples: Sequence[tuple[Labels, float]]


def write(families: Iterable[Family]) -> str:
    """Write metrics as text; one without samples is left out.

    >>> print(write([Family("clusters", "gauge", "Clusters.", [({"state": 'a"b'}, 2.0)])]), end="")
    # HELP atoll_fleet_clusters Clusters.
    # TYPE atoll_fleet_clusters gauge
    atoll_fleet_clusters{state="a\\"b"} 2
    """
    return "".join(line + "\n" for one in families if one.samples for line in _lines(one))


def _lines(family: Family) -> Iterator[str]:
    name = f"atoll_fleet_{family.name}"
    yield f"# HELP {name} {_escaped(family.help)}"
    yield f"# TYPE {name} {family.kind}"
    for labels, value in family.samples:
        pairs = ",".join(f'{key}="{_quoted(text)}"' for key, text in labels.items())
        yield f"{name}{{{pairs}}} {value:.17g}" if pairs else f"{name} {value:.17g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def of_clusters(
    records: Sequence[ClusterRecord], latest: Callable[[str], dict[str, float]]
) -> list[Family]:
    """Return what there is of clusters; those that ended are only counted.

    Args:
        records: all clusters.
        latest: what was measured last of a cluster.
    """
    states = Counter(one.known.status.state for one in records)
    living = [one for one in records if one.phase is not Phase.ENDED]
    return [
        Family(
            "clusters",
            "gauge",
            "Clusters by state.",
            [({"state": one.value}, float(states[one])) for one in ClusterState],
        ),
        Family(
            "cluster_state",
            "gauge",
            "1 for the state that a cluster is in.",
            [({**_named(one), "state": one.known.status.state.value}, 1.0) for one in living],
        ),
        Family("instances", "gauge", "Instances by state.", _instances(living)),
        Family("steps", "gauge", "Steps by state.", _steps(living)),
        Family("units_target", "gauge", "Capacity units wanted.", _units(living, _target)),
        Family("units_provisioned", "gauge", "Capacity units held.", _units(living, _provisioned)),
        *_measured(living, latest),
    ]


def _named(record: ClusterRecord) -> Labels:
    return {"cluster": record.id, "name": record.desired.spec.name}


def _instances(records: Sequence[ClusterRecord]) -> list[tuple[Labels, float]]:
    found = Counter(
        (record.id, one.machine.role.value, one.state.value)
        for record in records
        for one in record.known.instances.values()
    )
    names = ("cluster", "role", "state")
    return [(dict(zip(names, key, strict=True)), float(n)) for key, n in sorted(found.items())]


def _steps(records: Sequence[ClusterRecord]) -> list[tuple[Labels, float]]:
    found = Counter((record.id, one.state.value) for record in records for one in record.steps)
    return [
        ({"cluster": id_, "state": state}, float(n)) for (id_, state), n in sorted(found.items())
    ]


def _units(
    records: Sequence[ClusterRecord], count: Callable[[ClusterRecord, Fleet, Market], int]
) -> list[tuple[Labels, float]]:
    return [
        (
            {
                "cluster": record.id,
                "fleet": fleet.id,
                "role": fleet.spec.role.value,
                "market": market.value,
            },
            float(count(record, fleet, market)),
        )
        for record in records
        for fleet in record.desired.fleets
        for market in MARKETS
    ]


def _target(record: ClusterRecord, fleet: Fleet, market: Market) -> int:
    is_spot = market is Market.SPOT
    return fleet.spec.target_spot if is_spot else fleet.spec.target_on_demand


def _provisioned(record: ClusterRecord, fleet: Fleet, market: Market) -> int:
    return provisioned(fleet, list(record.known.instances.values()), market)


def _measured(
    records: Sequence[ClusterRecord], latest: Callable[[str], dict[str, float]]
) -> Iterator[Family]:
    values = {one.id: latest(one.id) for one in records}
    for metric in UNITS:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", metric).lower()
        samples = [
            ({"cluster": id_}, found[metric]) for id_, found in values.items() if metric in found
        ]
        yield Family(name, "gauge", f"EMR's metric {metric}.", samples)


def of_alarms(alarms: Sequence[KeptAlarm]) -> Family:
    """Return the state of each alarm."""
    samples = [
        (
            {"alarm": one.alarm.name, "cluster": one.alarm.cluster_id, "state": state.value},
            float(one.state is state),
        )
        for one in alarms
        for state in AlarmState
    ]
    return Family("alarm_state", "gauge", "1 for the state that an alarm is in.", samples)


class MetricsPage:
    """Answers Prometheus."""

    def __init__(self, fleet: FleetService, monitoring: Monitoring, token: str | None) -> None:
        """Take what is shown, and the token that readers must show; None: none."""
        self._fleet, self._monitoring = fleet, monitoring
        self._bearer = None if token is None else f"Bearer {token}"

    def answer(self, request: Request) -> Response:
        """Answer one request."""
        if request.method != "GET" or request.path != METRICS:
            return Response(404, b"GET /metrics\n", "text/plain")
        shown = request.header("authorization") or ""
        if self._bearer and not hmac.compare_digest(shown.encode(), self._bearer.encode()):
            return Response(401, b"show the host's token as a bearer token\n", "text/plain")
        try:
            return Response(200, self._page().encode(), _TYPE)
        except AtollError as error:
            return Response(error.status, f"{error.message}\n".encode(), "text/plain")

    def _page(self) -> str:
        monitor, alarms = self._monitoring.monitor, self._monitoring.alarms
        host = [
            Family("looks_total", "counter", "Looks at clusters.", [({}, monitor.rounds)]),
            Family(
                "failed_looks_total",
                "counter",
                "Looks that failed, at a cluster or at its provider.",
                [({}, monitor.failures)],
            ),
            Family(
                "notifier_up",
                "gauge",
                "1 while notifications of alarms are being sent.",
                [({}, float(self._monitoring.is_sending()))],
            ),
            Family(
                "notifications_waiting",
                "gauge",
                "Notifications of alarms that have not arrived.",
                [({}, alarms.waiting())],
            ),
        ]
        clusters = of_clusters(self._fleet.clusters(), monitor.latest)
        return write([*clusters, of_alarms(alarms.all()), *host])
