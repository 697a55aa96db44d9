"""What one run of a search costs: its steps, how long they take, what is counted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from atoll.core.functions import MEMORY_MB, TIMEOUT_SECONDS, VCPU_MB, FunctionMemory
from atoll.vectors.forecast import POST_VCPU_SPEED
from atoll.vectors.pricing.bill import Bill, transitions_of
from atoll.vectors.pricing.shape import CollectionShape, SearchSettings
from atoll.vectors.pricing.steps import Step, step_in_one_process, steps_on_lambda

MIB = 1 << 20


@dataclass(frozen=True)
class Runtime:
    """What is supposed of the place where steps run; nothing of it was measured on AWS.

    Attributes:
        latency_s: from a request to its first byte; S3 answers most within 10 to 30 ms (recalled).
        bytes_s_per_gib, max_bytes_s: what a function reads, by its memory, and at most: some 600
            Mbit/s (recalled).
        start_s: of a function that is not warm: the image with its libraries; it is charged.
        call_s: between two states of the state machine.
        vcpu_speed: of a core as measured.
        memory: what functions have, or are given at least.
        is_deployed: whether they have no more; else they are given what a search needs.
        headroom: memory given over memory needed.
    """

    latency_s: float = 0.03
    bytes_s_per_gib: float = 40e6
    max_bytes_s: float = 75e6
    start_s: float = 3.0
    call_s: float = 0.05
    vcpu_speed: float = POST_VCPU_SPEED
    memory: FunctionMemory = FunctionMemory()
    is_deployed: bool = False
    headroom: float = 1.25

    def memory_mib(self, step: Step) -> int:
        """Choose the memory of a step's function: what it has, else whole 64 MiB."""
        least = self.memory.of_step(step.name)
        if self.is_deployed:
            return least
        return max(least, math.ceil(step.memory_bytes * self.headroom / MIB / 64) * 64)

    def seconds(self, step: Step, memory_mib: int) -> float:
        """Tell how long one takes from its call to its end, not warm."""
        speed = min(self.max_bytes_s, self.bytes_s_per_gib * memory_mib / 1024)
        moved = (step.bytes_in + step.bytes_out) / speed
        # One thread reads and merges; more vCPUs than one are left idle.
        cpu = step.cpu_s / (self.vcpu_speed * min(1.0, memory_mib / VCPU_MB))
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
    counts = {each.step.name: each.step.count for each in steps}
    latency = sum(
        _waves(each.step.count, settings.concurrency) * each.seconds + runtime.call_s
        for each in steps
    )
    return SearchCost(
        shape,
        settings,
        steps,
        transitions_of(
            shape.buckets,
            counts.get("fold", 0),
            is_filtered=settings.is_filtered,
            is_measured="measure" in counts,
        ),
        latency,
        tuple(_obstacles(steps, runtime)),
    )


def cold_search(shape: CollectionShape, settings: SearchSettings) -> Bill:
    """Count what a search by one process reads that has nothing cached."""
    step = step_in_one_process(shape, settings)
    return Bill(gets=step.gets, bytes_in=step.bytes_in, cpu_s=step.cpu_s)


def _costed(step: Step, runtime: Runtime) -> StepCost:
    memory = runtime.memory_mib(step)
    return StepCost(step, memory, runtime.seconds(step, memory))


def _waves(count: int, concurrency: int | None) -> int:
    return math.ceil(count / min(count, concurrency or count))


def _obstacles(steps: tuple[StepCost, ...], runtime: Runtime) -> list[str]:
    found = []
    for each in steps:
        needed = math.ceil(each.step.memory_bytes / MIB)
        if runtime.is_deployed and needed > each.memory_mib:
            found.append(
                f"{each.step.name} needs {needed:,} MiB of memory, the function that is deployed "
                f"has {each.memory_mib:,}; deploy it with more"
            )
        if each.memory_mib > MEMORY_MB[1]:
            found.append(
                f"{each.step.name} needs {each.memory_mib:,} MiB of memory, a function has at most "
                f"{MEMORY_MB[1]:,}"
            )
        if each.seconds > TIMEOUT_SECONDS[1]:
            found.append(
                f"{each.step.name} takes {each.seconds:,.0f} s, a function at most "
                f"{TIMEOUT_SECONDS[1]:,}"
            )
    return found
