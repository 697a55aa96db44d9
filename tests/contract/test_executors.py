import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atoll.compute.inline import InlineExecutor
from atoll.compute.processes import ProcessExecutor
from atoll.core.errors import InvalidInput, Unavailable
from atoll.testing.executor_contract import ExecutorContract

DEADLINE_SECONDS = 30


class TestInline(ExecutorContract):
    def make(self, workers):
        return InlineExecutor()


class TestProcesses(ExecutorContract):
    isolates = True

    def make(self, workers):
        return ProcessExecutor(workers)


def test_zero_workers_are_refused():
    with pytest.raises(InvalidInput, match="workers=0"):
        ProcessExecutor(0)


def test_workers_share_the_threads():
    [seen] = ProcessExecutor(2, threads=4).map(_thread_limits, [None])
    assert seen.value == {"OMP_NUM_THREADS": "2", "LANCE_CPU_THREADS": "2", "blas": [2]}


def test_what_unpacks_into_more_than_there_is_room_for_fails_alone():
    outcomes = ProcessExecutor(1, memory_bytes=1 << 30).map(bytearray, [2 << 30, 1])
    assert isinstance(outcomes[0].error, MemoryError)
    assert outcomes[1].value == b"\0"


def test_workers_are_gone_when_the_callback_fails(tmp_path):
    def refuse(index, outcome):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        ProcessExecutor(2).map(_note_pid_then, [(tmp_path, 0), (tmp_path, 600)], on_done=refuse)
    _await_end([int(path.name) for path in tmp_path.iterdir()])


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_parent_that_ends_leaves_no_orphan(tmp_path, sent):
    parent = subprocess.Popen(
        [sys.executable, __file__, str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    _await(lambda: len(list(tmp_path.iterdir())) == 2)
    os.kill(parent.pid, sent)
    said = parent.communicate(timeout=DEADLINE_SECONDS)[1]
    _await_end([int(path.name) for path in tmp_path.iterdir()])
    assert said.count("Traceback") == (1 if sent == signal.SIGINT else 0), said


def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from atoll.compute.processes import ProcessExecutor\n"
        "print(ProcessExecutor(1).map(len, ['abc']))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{Unavailable.__name__}: worker processes end before they can work" in done.stderr


def _note_pid_then(item):
    folder, seconds = item
    (folder / str(os.getpid())).touch()
    time.sleep(seconds)


def _thread_limits(_):
    import numpy as np
    from threadpoolctl import threadpool_info

    assert np.eye(2).sum() == 2
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {
        "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"],
        "LANCE_CPU_THREADS": os.environ["LANCE_CPU_THREADS"],
        "blas": blas,
    }


def _await(condition):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _await_end(pids):
    assert pids
    _await(lambda: not any(_is_running(pid) for pid in pids))


def _is_running(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    ProcessExecutor(2).map(_note_pid_then, [(folder, 600), (folder, 601)])
