"""Work of users on an instance: what it prints, how it ends, what it leaves, what it counts."""

import os
import sys
import threading

import pytest

from atoll.fleet.agent import room
from atoll.fleet.agent.children import spawn
from atoll.fleet.agent.room import make_room
from atoll.fleet.agent.vitals import ticks_by_process
from atoll.fleet.agent.work import Kept, Work, most_bytes

SLEEP = ("/bin/sleep", "600")
MANY = "import sys\nfor number in range(%d): print(number, file=sys.%s)"


def run(folder, code, most=1000, status=0):
    work = Work([sys.executable, "-c", code], env={}, output=folder, most=most)
    assert work.wait(60) == status
    work.settle()
    return (folder / "stdout").read_bytes(), (folder / "stderr").read_bytes()


def test_both_streams_are_kept_apart(tmp_path):
    code = "import sys; print(1); print(2, file=sys.stderr); sys.exit(7)"
    assert run(tmp_path, code, status=7) == (b"1\n", b"2\n")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_of_very_much_the_beginning_and_the_end_are_kept(tmp_path, stream):
    run(tmp_path, MANY % (100_000, stream))
    kept = (tmp_path / stream).read_bytes()
    assert len(kept) <= 1000 + 60
    assert kept.startswith(b"0\n1\n2\n")
    assert kept.endswith(b"\n99998\n99999\n")
    assert kept.count(b"bytes are left out here") == 1


@pytest.mark.parametrize("size", [1, 7, 999, 5000])
def test_what_is_left_out_is_counted(tmp_path, size):
    total = size * (20_000 // size)
    with (tmp_path / "file").open("wb+", buffering=0) as file:
        kept = Kept(file, 1000)
        for start in range(0, total, size):
            kept.write(bytes(byte % 251 for byte in range(start, start + size)))
    first, _, rest = (tmp_path / "file").read_bytes().partition(b"\n... ")
    count, _, last = rest.partition(b" bytes are left out here ...\n")
    assert first == bytes(byte % 251 for byte in range(500))
    assert last == bytes(byte % 251 for byte in range(total - len(last), total))
    assert len(first) + int(count) + len(last) == total


def test_who_prints_on_a_full_disk_goes_on(tmp_path):
    (tmp_path / "stdout").symlink_to("/dev/full")
    work = Work([sys.executable, "-c", MANY % (50_000, "stdout")], env={}, output=tmp_path, most=9)
    assert work.wait(60) == 0
    work.settle()


def test_what_work_started_ends_with_it(tmp_path):
    work = Work(["/bin/sh", "-c", "sleep 600 & sleep 600"], env=os.environ, output=tmp_path, most=9)
    work.end()
    work.settle()
    assert work.poll() == -9
    assert "output" not in [one.name for one in threading.enumerate()]  # its streams are closed


def test_work_does_not_count_as_what_keeps_the_instance_busy(tmp_path):
    work = Work(SLEEP, env={}, output=tmp_path, most=9)
    daemon = spawn(SLEEP, env={}, output=tmp_path / "console")
    counted = ticks_by_process(os.getsid(0))
    work.end()
    daemon.kill()
    daemon.wait()
    assert daemon.pid in counted
    assert work.pid not in counted


def test_a_stream_takes_at_most_a_small_part_of_the_disk():
    assert most_bytes(1 << 30) == 8 << 20
    assert most_bytes(1 << 40) == 64 << 20


def attempt(logs, name, size, at):
    folder = logs / name / "attempt-1"
    folder.mkdir(parents=True)
    (folder / "stdout").write_bytes(b"x" * size)
    os.utime(folder / "stdout", (at, at))
    return folder


def test_the_oldest_output_goes_where_there_is_too_much(tmp_path):
    new, old, _ = (attempt(tmp_path, name, 40, at) for name, at in [("c", 3), ("b", 2), ("a", 1)])
    running = attempt(tmp_path, "d", 1000, 0)
    make_room(tmp_path, 100, [running])
    assert sorted(tmp_path.glob("*")) == [old.parent, new.parent, running.parent]


def test_of_very_many_outputs_the_newest_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "FOLDERS_KEPT", 2)
    for number in range(4):
        attempt(tmp_path, f"s-{number}", 1, number)
    make_room(tmp_path, 1000, [])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["s-2", "s-3"]
