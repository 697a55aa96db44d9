from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys

import pytest

from atoll.core.errors import Forbidden, InvalidInput, NotFound, Unavailable
from atoll.core.files import locked, reading, scratch_folder, whole_file, writing


def fail(number):
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOENT, NotFound, "the/place does not exist; check the path"),
        (errno.EISDIR, InvalidInput, "the/place is a folder; name the files in it"),
        (errno.EACCES, Forbidden, "the/place: permission denied"),
        (errno.EIO, Unavailable, "the/place: Input/output error"),
    ],
)
def test_reading_says_what_failed_and_where(number, kind, said):
    with pytest.raises(kind, match=said), reading("the/place"):
        fail(number)


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOENT, InvalidInput, "the/place cannot be written: make the folder first"),
        (errno.EEXIST, InvalidInput, "the/place: File exists; choose another place"),
        (errno.EACCES, Forbidden, "the/place: permission denied"),
        (errno.EROFS, Forbidden, "the/place lies on a read-only file system"),
        (errno.ENOSPC, Unavailable, "the/place cannot be written: disk full; sweep"),
        (errno.EDQUOT, Unavailable, "the/place cannot be written: quota used up; sweep"),
    ],
)
def test_writing_says_what_failed_and_how_to_mend_it(number, kind, said):
    with pytest.raises(kind, match=said), writing("the/place", mend="sweep"):
        fail(number)


def test_what_fails_under_a_lock_is_not_told_as_the_locks_failure(tmp_path):
    with pytest.raises(OSError, match="No space left"), locked(tmp_path / ".lock"):
        fail(errno.ENOSPC)
    with (
        pytest.raises(InvalidInput, match=r"\.lock cannot be written: make the folder first"),
        locked(tmp_path / "none" / ".lock"),
    ):
        pass


def test_scratch_folder_is_made_with_its_parents_and_removed(tmp_path):
    with scratch_folder(tmp_path / "a" / "b", "things") as folder:
        assert folder.parent == tmp_path / "a" / "b"
        assert folder.name.startswith("atoll-scratch-things-")
        (folder / "file").touch()
    assert not list((tmp_path / "a" / "b").iterdir())


def test_scratch_folder_goes_when_the_work_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), scratch_folder(tmp_path, "x"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_scratch_folder_of_nobody_is_below_the_systems_own(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder(None, "x") as folder:
        assert folder.parent == tmp_path


def test_whole_file_appears_when_it_is_complete_with_the_usual_mode(tmp_path):
    (tmp_path / "usual").touch()
    with whole_file(tmp_path / "x") as file:
        file.write(b"new")
        assert not (tmp_path / "x").exists()
    assert (tmp_path / "x").read_bytes() == b"new"
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("x", "usual")}
    assert len(modes) == 1


def test_whole_file_leaves_what_was_there_when_the_work_fails(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def work():
        with whole_file(path, unfinished_in=tmp_path) as file:
            file.write(b"new")
            assert len(list(tmp_path.iterdir())) == 2
            fail(errno.ENOSPC)

    with pytest.raises(Unavailable, match="x cannot be written: disk full"):
        work()
    assert [path.read_bytes()] == [each.read_bytes() for each in tmp_path.iterdir()]


def test_whole_file_in_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="make the folder first"), whole_file(tmp_path / "a/b"):
        pass


def test_scratch_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from atoll.core.files import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1]), 'old') as folder:\n"
        "    (folder / 'spill').write_bytes(b'x'); os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    (dead,) = tmp_path.glob("atoll-scratch-old-*")
    (tmp_path / "atoll-not-ours").mkdir()
    with scratch_folder(tmp_path, "one") as living, scratch_folder(tmp_path, "two"):
        assert living.is_dir()
        assert not dead.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["atoll-not-ours"]


@pytest.mark.parametrize("died", ["before its lock", "while it removed the rest"])
def test_scratch_of_a_process_killed_at_its_begin_or_end_goes_too(tmp_path, monkeypatch, died):
    if died == "before its lock":
        (tmp_path / "atoll-scratch-old-x").mkdir()
    else:
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            leave_unremoved(tmp_path, patched)
        assert len(list(tmp_path.iterdir())) == 1
    with scratch_folder(tmp_path, "new") as living:
        assert list(tmp_path.iterdir()) == [living]


def leave_unremoved(parent, patched):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with scratch_folder(parent, "old") as folder:
        (folder / "spills" / "more").mkdir(parents=True)
        patched.setattr("shutil.rmtree", interrupted)
