"""What every executor promises. Subclass `ExecutorContract` in a test module and name the class.

    class TestMine(ExecutorContract):
        isolates = True

        def make(self, workers: int) -> Executor:
            return MyExecutor(workers)

The tasks below are module-level functions, so that they travel by pickle.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from atoll.compute.port import Executor, Outcome
from atoll.core.errors import AtollError, NotFound, Unavailable

_WAIT_SECONDS = 30.0


class ExecutorContract:
    """The suite; `isolates` says whether a task may kill its process without killing the caller."""

    isolates = False

    def make(self, workers: int) -> Executor:
        """Return the executor under test."""
        raise NotImplementedError

    def test_outcomes_come_in_the_order_of_the_items(self) -> None:
        outcomes = self.make(2).map(_square_slowly_at_first, [3, 1, 2])
        assert [outcome.value for outcome in outcomes] == [9, 1, 4]
        assert all(outcome.error is None and outcome.attempts == 1 for outcome in outcomes)

    def test_no_items_give_no_outcomes(self) -> None:
        assert self.make(2).map(_square_slowly_at_first, []) == []

    def test_an_exception_is_the_outcome_of_its_task_alone(self) -> None:
        outcomes = self.make(2).map(_fail_on_two, [1, 2, 3])
        assert [outcome.value for outcome in outcomes] == [1, None, 3]
        assert isinstance(outcomes[1].error, ValueError)
        assert str(outcomes[1].error) == "two is not liked"
        assert outcomes[1].attempts == 1

    def test_an_error_of_the_tree_keeps_its_class_and_facts(self) -> None:
        error = self.make(1).map(_miss, ["x.h5"])[0].error
        assert isinstance(error, NotFound)
        assert (error.message, error.details) == ("x.h5 is gone", {"path": "x.h5"})

    def test_each_end_is_told_once_as_it_comes(self) -> None:
        told: list[tuple[int, Any]] = []
        self.make(2).map(
            _fail_on_two,
            [1, 2, 3],
            on_done=lambda index, outcome: told.append((index, outcome.value)),
        )
        assert sorted(told, key=lambda pair: pair[0]) == [(0, 1), (1, None), (2, 3)]

    def test_an_exception_of_on_done_ends_the_map(self) -> None:
        def refuse(index: int, outcome: Outcome[Any]) -> None:
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            self.make(2).map(_fail_on_two, [1, 3], on_done=refuse)

    def test_results_may_be_large(self) -> None:
        outcomes = self.make(2).map(_zeros, [20_000_000, 1])
        assert [len(outcome.value or b"") for outcome in outcomes] == [20_000_000, 1]

    def test_what_cannot_travel_is_a_clear_error(self) -> None:
        self._only_if_isolating()
        result, failure, argument = self.make(2).map(_untravelled, ["result", "error", _local()])
        assert "cannot be sent back by a worker" in str(result.error)
        assert str(failure.error) == "Stubborn: cannot be rebuilt"
        assert "cannot be sent to a worker" in str(argument.error)
        assert all(isinstance(one.error, AtollError) for one in (result, failure, argument))

    def test_a_task_whose_worker_died_is_tried_again(self, tmp_path: Path) -> None:
        self._only_if_isolating()
        items = [(tmp_path, number, 1 if number == 2 else 0) for number in range(6)]
        outcomes = self.make(2).map(_die_at_first, items)
        assert [outcome.value for outcome in outcomes] == list(range(6))
        assert [outcome.attempts for outcome in outcomes] == [1, 1, 2, 1, 1, 1]

    def test_a_task_that_always_kills_its_worker_is_named_and_the_others_finish(
        self, tmp_path: Path
    ) -> None:
        self._only_if_isolating()
        items = [(tmp_path, number, 99 if number == 1 else 0) for number in range(4)]
        outcomes = self.make(2).map(_die_at_first, items, name=lambda item: f"bucket_{item[1]}")
        assert [outcome.value for outcome in outcomes] == [0, None, 2, 3]
        assert isinstance(outcomes[1].error, Unavailable)
        assert "bucket_1" in str(outcomes[1].error)
        assert "SIGKILL" in str(outcomes[1].error)
        assert outcomes[1].attempts == 3
        assert Counter(path.name[0] for path in tmp_path.iterdir())["1"] == 3

    def test_a_task_that_exits_counts_as_a_dead_worker(self) -> None:
        self._only_if_isolating()
        [outcome] = self.make(1).map(sys.exit, [7])
        assert isinstance(outcome.error, Unavailable)
        assert "exit code 7" in str(outcome.error)

    def _only_if_isolating(self) -> None:
        if not self.isolates:
            pytest.skip("tasks share the caller's process here")


class Stubborn(Exception):
    """An exception that pickle cannot rebuild: its constructor wants two arguments."""

    def __init__(self, first: str, second: str) -> None:
        """Keep only the first in args, as careless classes do."""
        super().__init__(first)


def _square_slowly_at_first(number: int) -> int:
    time.sleep(0.05 * number)
    return number * number


def _fail_on_two(number: int) -> int:
    if number == 2:
        raise ValueError("two is not liked")
    return number


def _miss(path: str) -> None:
    raise NotFound(f"{path} is gone", path=path)


def _zeros(length: int) -> bytes:
    return bytes(length)


def _untravelled(what: Any) -> Any:
    if what == "error":
        raise Stubborn("cannot be rebuilt", "second")
    return _local()


def _local() -> Any:
    return lambda: None


def _die_at_first(item: tuple[Path, int, int]) -> int:
    """Kill this process the first `deaths` times this item comes by; leave a mark each time."""
    folder, number, deaths = item
    earlier = len(list(folder.glob(f"{number}-*")))
    (folder / f"{number}-{earlier}").touch()
    if earlier < deaths:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(_WAIT_SECONDS)
    return number
