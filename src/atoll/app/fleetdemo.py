"""`atoll fleet demo`: a cluster loses its active primary while it builds a collection."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import click

from atoll.core.config import Settings
from atoll.core.errors import Conflict, Incomplete
from atoll.core.files import writing
from atoll.core.text import counted
from atoll.fleet.cli.common import News
from atoll.fleet.host.client import FleetClient
from atoll.fleet.host.home import start, token_of
from atoll.fleet.life.records import Step
from atoll.fleet.model import ActionOnFailure, ClusterSpec, Role, StepSpec
from atoll.fleet.monitoring.measures import PRIMARIES_RUNNING
from atoll.fleet.providers.port import Machine
from atoll.fleet.registry import ClusterRecord
from atoll.fleet.spec.short import parse_short
from atoll.fleet.states import ClusterState, InstanceState, StepState

NAME = "demo"
ROWS, DIM, BUCKET_ROWS = 120_000, 96, 5_000
SEED = 5
POLL_SECONDS = 0.3
LIMIT_SECONDS = 600.0


@click.command("demo")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path),
              default=Path("fleet-demo"), show_default=True,
              help="A new folder: for the collection and, meanwhile, the cluster.")  # fmt: skip
@click.option("--provider", type=click.Choice(["auto", "netns", "loopback"]), default="auto",
              show_default=True, help="What its machines are.")  # fmt: skip
@click.pass_obj
def fleet_demo(settings: Settings, /, out: Path, provider: str) -> None:
    """Build a collection on a cluster of this machine, and kill its active primary meanwhile.

    Three primaries, a core and a task fleet start here, without root; what happens is
    told as it happens. In the end the collection is verified, and nothing of the cluster is left.
    """
    # Every command of fleets loads this module; only the demo needs all of a host.
    from atoll.fleet.host.garbage import remove

    if out.exists():
        raise Conflict(f"{out} exists; give another folder: --out")
    with writing(out):
        out.mkdir(parents=True)
    out = out.absolute()
    home = out / "host"
    try:
        _Demo(settings, out, home, provider).run()
    finally:
        remove(home, everything=True)


@dataclass
class _Demo:
    settings: Settings
    out: Path
    home: Path
    provider: str
    began: float = field(default_factory=time.monotonic)
    news: News | None = None
    running: float | None = None

    def run(self) -> None:
        """Start, build, kill, watch, verify, clean up."""
        self._say("1. start a fleet host, and on it a cluster of 3 primaries, core and task nodes")
        serving = start(self.home, "--provider", self.provider)
        client = FleetClient(serving.url, token_of(self.home))
        record = client.call("create", ClusterRecord, spec=_spec())
        record = self._until(client, record.id, lambda one: one.known.status.state.is_ready)
        self._say(f"2. build a collection of {counted(ROWS, 'vector')} on it, as a step")
        source, collection = self._vectors(), self.out / "collection"
        step_id = self._submit(client, record, source, collection)
        self._until(client, record.id, lambda one: _is_begun(one, step_id, collection))
        self._kill_active(client, record)
        record = self._until(client, record.id, lambda one: _step(one, step_id).state.is_over)
        self._check_step(_step(record, step_id))
        self._until(client, record.id, lambda one: _running(one) == len(one.desired.slots))
        self._verify(collection)
        self._say("5. end the cluster")
        client.call("protect", type(None), cluster_id=record.id, is_protected=False)
        client.call("terminate", type(None), cluster_id=record.id)
        self._until(client, record.id, lambda one: one.known.status.state.is_over)
        self._say(f"done; the collection is in {collection}")

    def _say(self, text: str) -> None:
        click.echo(f"{time.monotonic() - self.began:6.1f} s  {text}")
        sys.stdout.flush()

    def _until(
        self, client: FleetClient, cluster_id: str, is_reached: Callable[[ClusterRecord], bool]
    ) -> ClusterRecord:
        """Tell what happens until something is reached."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            record = client.call("cluster", ClusterRecord, cluster_id=cluster_id)
            self._tell(client, record)
            if is_reached(record):
                return record
            if record.known.status.state is ClusterState.TERMINATED_WITH_ERRORS:
                break
            time.sleep(POLL_SECONDS)
        log = self.home / "serve.log"
        raise Incomplete(f"the demo did not go on: {record.known.status}; see {log}")

    def _tell(self, client: FleetClient, record: ClusterRecord) -> None:
        self.news = self.news or News(client, record.id)
        for one in self.news.fresh():
            self._say(f"   {'!' if one.is_warning else ' '} {one.message}")
        measured = client.call("measures", dict[str, float], cluster_id=record.id)
        running = measured.get(PRIMARIES_RUNNING)
        if running not in (None, self.running):
            self.running = running
            self._say(f"     {PRIMARIES_RUNNING} = {running:g}")

    def _vectors(self) -> Path:
        # Not for every command: NumPy starts threads, and whoever enters namespaces has none.
        import numpy as np

        path = self.out / "vectors.npy"
        generator = np.random.default_rng(SEED)
        with writing(path):
            np.save(path, generator.standard_normal((ROWS, DIM), dtype=np.float32))
        return path

    def _submit(
        self, client: FleetClient, record: ClusterRecord, source: Path, collection: Path
    ) -> str:
        how = ("--executor", "fleet", "--bucket-rows", str(BUCKET_ROWS), "--no-calibrate")
        args = ("atoll", "create", str(collection), str(source), *how)
        spec = StepSpec("build", args, ActionOnFailure.CONTINUE)
        (step_id,) = client.call("add_steps", list[str], cluster_id=record.id, specs=[spec])
        return step_id

    def _kill_active(self, client: FleetClient, record: ClusterRecord) -> None:
        record = self._until(client, record.id, lambda one: _active(one) is not None)
        old = _active(record)
        assert old is not None
        self._say(f"3. kill the active primary, {old.id} ({old.private_ip})")
        client.call("faults.crash", object, machine_id=old.id)

    def _check_step(self, step: Step) -> None:
        if step.state is not StepState.COMPLETED:
            raise Incomplete(f"the step {step.id} is {step.state.value}: {step.message}")

    def _verify(self, collection: Path) -> None:
        from atoll.vectors.service import open_collection

        opened = open_collection(str(collection), self.settings)
        report = opened.verify()
        faults = "; ".join(str(one) for one in report.issues) or "no fault"
        self._say(f"4. verify the collection: {counted(report.rows, 'row')} read, {faults}")
        if report.rows != ROWS or not report.is_clean:
            raise Incomplete(f"the collection has {report.rows} rows of {ROWS}; {faults}")


def _spec() -> ClusterSpec:
    text = (resources.files("atoll.app") / "data" / "fleet.yaml").read_text()
    return parse_short(text, "the demo's cluster").spec


def _step(record: ClusterRecord, step_id: str) -> Step:
    return next(one for one in record.steps if one.id == step_id)


def _is_begun(record: ClusterRecord, step_id: str, collection: Path) -> bool:
    """Tell whether some buckets are there, and most are not."""
    return _step(record, step_id).state.is_over or any(collection.glob("*.lance"))


def _running(record: ClusterRecord) -> int:
    return sum(
        one.machine.role is Role.MASTER and one.state is InstanceState.RUNNING
        for one in record.known.instances.values()
    )


def _active(record: ClusterRecord) -> Machine | None:
    """Return the machine whose Spark master is the active one."""
    found = [one.machine for one in record.known.instances.values() if one.is_active]
    return found[0] if len(found) == 1 else None
