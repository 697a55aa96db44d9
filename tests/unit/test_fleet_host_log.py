"""A host's log stays small, whoever else writes into it."""

import logging
import os
import subprocess
import sys

import pytest

from atoll.fleet.host import log as hostlog

LINES = """
import logging
import sys
from pathlib import Path
from atoll.fleet.host import log as hostlog

hostlog.LOG_BYTES = 2000
hostlog.log_to(Path(sys.argv[1]))
for number in range(200):
    logging.info("line %d", number)
print("the end", file=sys.stderr)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "serve.log"


def written(path, log):
    with path.open("ab") as out:
        subprocess.run([sys.executable, "-c", LINES, str(log)], stderr=out, check=True)
    return path.read_text()


def test_a_log_is_cut_and_the_part_before_is_kept(path):
    text, before = written(path, path), path.with_name("serve.log.1").read_text()
    assert len(text) < 2200
    assert text.endswith("line 199\nthe end\n")
    numbers = [int(line.split()[-1]) for line in (before + text).splitlines()[:-1]]
    assert numbers == list(range(numbers[0], 200))


def test_what_is_not_the_hosts_own_file_is_not_cut(path, tmp_path):
    assert len(written(tmp_path / "mine", path).splitlines()) == 201
    assert not path.exists()
    assert not os.path.lexists(tmp_path / "mine.1")


def test_a_log_that_cannot_be_cut_is_written_on(path, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(hostlog, "LOG_BYTES", 0)
    handler = hostlog.HostLog(path)
    monkeypatch.setattr(handler, "_cut", lambda: path.read_bytes())
    handler.emit(logging.makeLogRecord({"msg": "said"}))
    assert capfd.readouterr().err.startswith("said\n")
