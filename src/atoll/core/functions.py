"""What AWS lets a function of Lambda have, what `atoll deploy aws` gives those and its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# AWS's own limits.
MEMORY_MB = (128, 10_240)
TIMEOUT_SECONDS = (1, 900)
# Memory with which one processor comes.
VCPU_MB = 1769
# Processors of a job of AWS Batch.
JOB_VCPUS = 8


@dataclass(frozen=True)
class FunctionMemory:
    """MB of memory of each function of a search.

    Attributes:
        plan: of the one that plans.
        search: of the one that filters or searches a bucket.
        reduce: of the one that merges and refines.
    """

    plan: int = VCPU_MB
    search: int = 3008
    reduce: int = 3008

    @classmethod
    def of_outputs(cls, outputs: Mapping[str, str]) -> FunctionMemory:
        """Read what was deployed from the outputs of its stack; an older stack has the defaults."""
        names = {"plan": "PlanMemory", "search": "SearchMemory", "reduce": "ReduceMemory"}
        return cls(**{key: int(outputs[name]) for key, name in names.items() if name in outputs})

    def of_step(self, step: str) -> int:
        """Tell what the function of a step has."""
        if step == "plan":
            return self.plan
        return self.reduce if step in ("fold", "refine") else self.search
