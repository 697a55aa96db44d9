"""What the end of a daemon says about its instance."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from atoll.core.errors import Unavailable
from atoll.fleet.agent import supervisor
from atoll.fleet.agent.children import has_children
from atoll.fleet.agent.supervisor import Answer, Supervised
from atoll.fleet.engine.daemon import Daemon


def answers(pid):
    return Answer("ALIVE")


def is_silent(pid):
    raise Unavailable("it does not answer")


@pytest.mark.parametrize(
    ("status", "probe", "may_leave", "failures"),
    [(0, answers, True, 0), (1, answers, True, 3), (0, is_silent, True, 3), (0, answers, False, 3)],
    ids=["gave its leadership up", "failed", "never worked", "has nothing to give up"],
)
def test_a_daemon_that_worked_may_leave_by_itself(
    tmp_path, monkeypatch, status, probe, may_leave, failures
):
    monkeypatch.setattr(supervisor, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(supervisor, "PROBE_EVERY_SECONDS", 0.01)
    starts = tmp_path / "starts"
    # It works for a while, three times; then it stays as long as these tests.
    script = f"echo x >> {starts}; sleep 0.2; [ $(wc -l < {starts}) -lt 4 ] && exit {status}"
    script += "; while kill -0 $PPID; do sleep 0.2; done"
    program = Daemon("fake", ("sh", "-c", script), {"PATH": "/usr/bin:/bin"}, {}, (tmp_path,))
    daemon = Supervised(program, probe, {}, may_leave=may_leave)
    daemon.start()
    deadline = time.monotonic() + 60
    while not starts.exists() or starts.read_text().count("x") < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert daemon.health().failures == failures


def test_a_process_is_at_work_as_long_as_it_has_a_child():
    words = ["sh", "-c", "sleep 60 & echo begun; wait; read line"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert has_children(process.pid)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        os.kill(int(children), signal.SIGKILL)
        deadline = time.monotonic() + 30
        while has_children(process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.stdin.close()
    assert not has_children(process.pid)
