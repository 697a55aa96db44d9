"""The far end of `SparkExecutor`: what Spark's Python processes do with a task.

Spark forks its Python processes and says of one that died only that it did. So each of them starts
a worker process of ours, which carries tasks out, and tells how that ended.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from atoll.compute.worker import Worker

# Spark gives a task one processor.
_THREADS = 1


@dataclass(frozen=True)
class Answer:
    """What became of one attempt.

    Attributes:
        message: for `packing.unpack`; None where the worker process died.
        how: it died.
        earlier: attempts that Spark itself made, of machines that were lost.
    """

    message: bytes | None
    how: str
    earlier: int


def attempt(items: Iterator[bytes]) -> Iterator[Answer]:
    """Carry out the packed tasks of a partition, in this process's worker."""
    # Importing it takes what only Spark's Python processes have.
    from pyspark.taskcontext import TaskContext

    context = TaskContext.get()
    earlier = context.attemptNumber() if context else 0
    for packed in items:
        message, how = _worker().carry_out(packed)
        yield Answer(message, how, earlier)


class _Kept:
    """A worker that lives as long as Spark's process, and is replaced when it dies."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def carry_out(self, packed: bytes) -> tuple[bytes | None, str]:
        if self._worker and self._worker.hear() is None:  # that it is ready again
            self._lost(self._worker)
        worker = self._worker
        if worker is None:
            worker = self._worker = Worker(_THREADS)
            if worker.hear() is None:
                return self._lost(worker)
        worker.send(packed)
        if (message := worker.hear()) is None:
            return self._lost(worker)
        return message, ""

    def _lost(self, worker: Worker) -> tuple[None, str]:
        how = worker.how_it_ended()
        worker.kill()
        self._worker = None
        return None, how


_kept: _Kept | None = None


def _worker() -> _Kept:
    global _kept
    if _kept is None:
        # Scratch files belong on the instance's disk, in the folder that Spark clears.
        if folders := os.environ.get("SPARK_LOCAL_DIRS"):
            tempfile.tempdir = os.environ["TMPDIR"] = folders.split(",")[0]
        _kept = _Kept()
    return _kept
