"""What makes class archives, where it is killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MAKER = """
import sys, time
from pathlib import Path
from atoll.core.files import scratch_folder
from atoll.fleet.engine import archives
from atoll.fleet.engine.daemon import Daemon

def train(made, place, **_):
    daemon = Daemon("zookeeper", (str(Path(sys.argv[1]) / "daemon"),), {"PATH": "/usr/bin:/bin"})
    with archives._recording(daemon, made):
        time.sleep(1000)

archives._train = train
folder = Path(sys.argv[1]) / "cache" / "classes-1"
archives.make_archives(folder, address="127.0.0.1", java=None, home=None)
"""
DAEMON = """#!/bin/sh
echo $$ > "$(dirname "$0")/pid.new" && mv "$(dirname "$0")/pid.new" "$(dirname "$0")/pid"
exec sleep 1000
"""


def started(folder):
    """Start one, wait for its daemon; return both numbers."""
    maker = subprocess.Popen([sys.executable, "-c", MAKER, str(folder)])
    pid = folder / "pid"
    while not pid.exists():
        assert maker.poll() is None
        time.sleep(0.01)
    daemon = int(pid.read_text())
    pid.unlink()
    return maker, daemon


def killed(maker):
    maker.send_signal(signal.SIGKILL)
    maker.wait()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv, of util-linux, is not there")
def test_a_maker_that_is_killed_leaves_no_daemon_and_its_scratch_goes_at_the_next_start(tmp_path):
    (tmp_path / "daemon").write_text(DAEMON)
    (tmp_path / "daemon").chmod(0o755)
    maker, daemon = started(tmp_path)
    killed(maker)
    while _lives(daemon):
        time.sleep(0.01)
    (left,) = (tmp_path / "cache").iterdir()
    maker, _ = started(tmp_path)
    assert not left.exists()
    killed(maker)


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Nobody may have waited for it yet.
    return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
