"""What one run of a search costs: its steps, how long they take, what is counted."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from atoll.vectors.forecast import POST_VCPU_SPEED
from atoll.vectors.pricing.bill import Bill
from atoll.vectors.pricing.shape import CollectionShape, SearchSettings
from atoll.vectors.pricing.steps import Step, step_in_one_process, steps_on_lambda

MIB = 1 << 20
# Rows that nearly all touch, and rows that lie more evenly than chance.
ROW_GAPS_RANGE = (0.1, 2.0)
FIT_ROUNDS, SPREAD_STEPS = 12, 40
# What fits nearly as well as the best: requests and bytes together, relative.
NEAR_ERROR = 0.05


@dataclass(frozen=True)
class Runtime:
    """What is supposed of the place where steps run; nothing of it was measured on AWS.

    Attributes:
        latency_s: from a request to its first byte; S3 answers most within 10 to 30 ms (recalled).
        bytes_s_per_gib, max_bytes_s: what a function reads, by its memory, and at most: some 600
            Mbit/s (recalled).
        start_s: of a function that is not warm: the image with its libraries; it is charged.
        call_s: between two states of the state machine.
        vcpu_mib: memory that comes with one vCPU.
        vcpu_speed: of a core as measured.
        min_mib, max_mib: memory a function is given at least, so that it has a vCPU of its own; and
            can have.
        headroom: memory given over memory needed.
        max_s: that a function may take.
        parent_transitions, item_transitions: of a run, and of each item of a Map: entering plan,
            choice, map, choice, refine, and the start; of an item its task and its start.
    """

    latency_s: float = 0.03
    bytes_s_per_gib: float = 40e6
    max_bytes_s: float = 75e6
    start_s: float = 3.0
    call_s: float = 0.05
    vcpu_mib: int = 1769
    vcpu_speed: float = POST_VCPU_SPEED
    min_mib: int = 1769
    max_mib: int = 10_240
    headroom: float = 1.25
    max_s: float = 900.0
    parent_transitions: int = 6
    item_transitions: int = 2

    def memory_mib(self, needed_bytes: float) -> int:
        """Choose the memory of a function: whole 64 MiB, or the least it is given."""
        wanted = math.ceil(needed_bytes * self.headroom / MIB / 64) * 64
        return max(self.min_mib, wanted)

    def seconds(self, step: Step, memory_mib: int) -> float:
        """Tell how long one takes from its call to its end, not warm."""
        speed = min(self.max_bytes_s, self.bytes_s_per_gib * memory_mib / 1024)
        moved = (step.bytes_in + step.bytes_out) / speed
        # One thread reads and merges; more vCPUs than one are left idle.
        cpu = step.cpu_s / (self.vcpu_speed * min(1.0, memory_mib / self.vcpu_mib))
        return self.start_s + step.rounds * self.latency_s + moved + cpu


@dataclass(frozen=True)
class StepCost:
    """One step, costed.

    Attributes:
        step: what it does.
        memory_mib: its function has.
        seconds: one takes.
    """

    step: Step
    memory_mib: int
    seconds: float

    @property
    def bill(self) -> Bill:
        """What all of them come to, transitions left out."""
        step, count = self.step, self.step.count
        return Bill(
            gets=step.gets * count,
            puts=step.puts * count,
            bytes_in=step.bytes_in * count,
            bytes_out=step.bytes_out * count,
            cpu_s=step.cpu_s * count,
            invocations=count,
            gb_s=self.memory_mib / 1024 * self.seconds * count,
        )


@dataclass(frozen=True)
class SearchCost:
    """One run of a search.

    Attributes:
        shape, settings: what is searched, and how.
        steps: in order.
        transitions: of the state machine.
        latency_s: from the start of the run to its last byte.
        obstacles: why it cannot run as it is; empty where it can.
    """

    shape: CollectionShape
    settings: SearchSettings
    steps: tuple[StepCost, ...]
    transitions: int
    latency_s: float
    obstacles: tuple[str, ...]

    @property
    def bill(self) -> Bill:
        """What is counted of a run."""
        whole = Bill(transitions=self.transitions)
        for each in self.steps:
            whole += each.bill
        return whole

    def step(self, name: str) -> StepCost:
        """Return a step by name."""
        return next(each for each in self.steps if each.step.name == name)

    @property
    def waves(self) -> int:
        """How often as many map steps start as may run at once."""
        return _waves(self.shape.buckets, self.settings.concurrency)


def search_cost(
    shape: CollectionShape, settings: SearchSettings, runtime: Runtime = Runtime()
) -> SearchCost:
    """Cost a run on Lambda and Step Functions, nothing warm and nothing cached."""
    steps = tuple(_costed(step, runtime) for step in steps_on_lambda(shape, settings))
    items = sum(each.step.count for each in steps if each.step.name in ("search", "fold"))
    latency = sum(
        _waves(each.step.count, settings.concurrency) * each.seconds + runtime.call_s
        for each in steps
    )
    return SearchCost(
        shape,
        settings,
        steps,
        runtime.parent_transitions + runtime.item_transitions * items,
        latency,
        tuple(_obstacles(steps, runtime)),
    )


def cold_search(shape: CollectionShape, settings: SearchSettings) -> Bill:
    """Count what a search by one process reads that has nothing cached."""
    step = step_in_one_process(shape, settings)
    return Bill(gets=step.gets, bytes_in=step.bytes_in, cpu_s=step.cpu_s)


def learned(
    shape: CollectionShape, settings: SearchSettings, gets: float, bytes_in: float
) -> CollectionShape:
    """Learn from counted searches how the rows that are refined lie in a collection.

    Args:
        shape: of the collection.
        settings: that the searches had; "rabitq" only, others do not choose by codes.
        gets, bytes_in: of one by a process that had nothing cached, mean over several.

    Returns:
        The shape with `row_gaps` and `row_spread` at which `cold_search` comes near: of several
        that do, the one with rows spread widest. It holds for these settings. For another k or
        refine factor learn anew where vectors form tight clusters: one spread does not tell how
        clusters lie to each other.
    """
    widest = shape.rows / settings.candidates(shape)
    spreads = [widest ** (step / SPREAD_STEPS) for step in range(SPREAD_STEPS + 1)]
    fits = [_with_row_gaps(replace(shape, row_spread=each), settings, gets) for each in spreads]

    def error(fit: CollectionShape) -> float:
        expected = cold_search(fit, settings)
        return abs(expected.gets / gets - 1) + abs(expected.bytes_in / bytes_in - 1)

    errors = [error(fit) for fit in fits]
    near = [fit for fit, off in zip(fits, errors, strict=True) if off <= min(errors) + NEAR_ERROR]
    return near[-1]


def _with_row_gaps(
    shape: CollectionShape, settings: SearchSettings, gets: float
) -> CollectionShape:
    """Find the shape of gaps that gives so many requests: more, the more even gaps are."""
    low, high = ROW_GAPS_RANGE
    for _ in range(FIT_ROUNDS):
        middle = (low + high) / 2
        expected = cold_search(replace(shape, row_gaps=middle), settings).gets
        low, high = (middle, high) if expected < gets else (low, middle)
    return replace(shape, row_gaps=(low + high) / 2)


def _costed(step: Step, runtime: Runtime) -> StepCost:
    memory = runtime.memory_mib(step.memory_bytes)
    return StepCost(step, memory, runtime.seconds(step, memory))


def _waves(count: int, concurrency: int | None) -> int:
    return math.ceil(count / min(count, concurrency or count))


def _obstacles(steps: tuple[StepCost, ...], runtime: Runtime) -> list[str]:
    found = []
    for each in steps:
        if each.memory_mib > runtime.max_mib:
            found.append(
                f"{each.step.name} needs {each.memory_mib:,} MiB of memory, a function has at most "
                f"{runtime.max_mib:,}"
            )
        if each.seconds > runtime.max_s:
            found.append(
                f"{each.step.name} takes {each.seconds:,.0f} s, a function at most "
                f"{runtime.max_s:,.0f}"
            )
    return found
