"""What the end of a daemon says about its instance."""

import time

import pytest

from atoll.core.errors import Unavailable
from atoll.fleet.agent import supervisor
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
