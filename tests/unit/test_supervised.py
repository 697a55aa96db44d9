"""Calls in a child process that is ended when it hangs."""

from __future__ import annotations

import os
import signal
import time

import pytest

from atoll.compute.supervised import supervised
from atoll.core.errors import NotFound, Unavailable


def double(number):
    return 2 * number


def hang_once(path):
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return "done"
    time.sleep(600)
    return None


def die(path):
    with path.open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(_):
    raise NotFound("nothing there")


def test_value_and_error_come_from_the_child():
    assert supervised(double, 21, deadline_s=60, what="doubling") == 42
    with pytest.raises(NotFound, match="nothing there"):
        supervised(refuse, None, deadline_s=60, what="refusing")


def test_child_that_hangs_is_ended_and_tried_again(tmp_path):
    assert supervised(hang_once, tmp_path / "there", deadline_s=5, what="hanging") == "done"


def test_work_that_kills_its_child_each_time_is_named(tmp_path):
    with pytest.raises(Unavailable, match=r"dying did not end in 3 attempts: exit code -9"):
        supervised(die, tmp_path / "tries", deadline_s=60, what="dying")
    assert (tmp_path / "tries").read_text() == "xxx"
