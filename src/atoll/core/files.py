"""Local files: whole ones, scratch folders, and the system's failures as errors of Atoll's tree."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from atoll.core.errors import AtollError, Forbidden, InvalidInput, NotFound, Unavailable

MAKE_ROOM = "free some room or choose another place"
OTHER_SCRATCH = "free some room, or give --scratch another folder"
_SCRATCH_PREFIX = "atoll-scratch-"
_LOCK = ".lock"

_FULL = {errno.ENOSPC: "disk full", errno.EDQUOT: "quota used up", errno.EFBIG: "file too large"}
_REFUSED = (errno.EACCES, errno.EPERM)
_MISPLACED = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL)


@contextmanager
def reading(place: str | Path) -> Iterator[None]:
    """Raise what the system says while a local file is read as an error of Atoll's tree.

    Raises:
        NotFound, Forbidden, InvalidInput, Unavailable: as `read_failure` chooses.
    """
    try:
        yield
    except OSError as error:
        raise read_failure(error, place) from error


def read_failure(error: OSError, place: str | Path) -> AtollError:
    """Translate what the system said while a local file was read."""
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{place} does not exist; check the path", path=str(place))
    if isinstance(error, IsADirectoryError):
        return InvalidInput(f"{place} is a folder; name the files in it", path=str(place))
    return system_failure(error.errno, error.strerror or str(error), place)


def private_text(path: Path) -> str:
    """Read a file of secrets, which is its owner's alone.

    Raises:
        Forbidden: others may read it, or we may not.
        NotFound, InvalidInput, Unavailable: it cannot be read, or is no text.
    """
    with reading(path), path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise Forbidden(
                f"{path} holds secrets and others may open it; run `chmod 600 {path}`",
                path=str(path),
            )
        data = file.read()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8; write it anew", path=str(path)) from error


@contextmanager
def writing(place: str | Path, *, mend: str = MAKE_ROOM) -> Iterator[None]:
    """Raise what the system says while `place` is written as an error of Atoll's tree.

    Args:
        place: file or folder, for the message.
        mend: what to do where the disk is full.

    Raises:
        InvalidInput: nothing can be made there. Forbidden: it may not be written.
        Unavailable: the disk is full or fails.
    """
    try:
        yield
    except FileNotFoundError as error:
        is_there = Path(place).parent.is_dir()
        why = "nothing can be made there; choose another" if is_there else "make the folder first"
        raise InvalidInput(f"{place} cannot be written: {why}", path=str(place)) from error
    except OSError as error:
        raise system_failure(error.errno, error.strerror or str(error), place, mend) from error


def system_failure(
    number: int | None, text: str, place: str | Path, mend: str = MAKE_ROOM
) -> AtollError:
    """Choose the error for a number of the system.

    Args:
        number: as in `errno`; None where it is not known.
        text: what the system said.
        place: the file or folder.
        mend: what to do where the disk is full.
    """
    there = {"path": str(place)}
    if number in _FULL:
        return Unavailable(f"{place} cannot be written: {_FULL[number]}; {mend}", **there)
    if number in _REFUSED:
        return Forbidden(
            f"{place}: permission denied; change its owner or mode, or use another user", **there
        )
    if number == errno.EROFS:
        return Forbidden(f"{place} lies on a read-only file system; choose another folder", **there)
    if number in _MISPLACED:
        return InvalidInput(f"{place}: {text}; choose another place", **there)
    return Unavailable(f"{place}: {text}", **there)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock for the block, which other processes of this machine wait for.

    Args:
        path: the lock's file; it stays.

    Raises:
        InvalidInput, Forbidden, Unavailable: the file cannot be made; see `writing`.
    """
    with ExitStack() as held:
        with writing(path):
            file = held.enter_context(path.open("ab"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def scratch_folder(scratch: Path | None, what: str) -> Iterator[Path]:
    """Make a folder for spill files, removed with all that is in it when the block ends.

    Those of processes that were killed are removed too: each holds a lock that dies with its owner.

    Args:
        scratch: where it is made, itself if need be; None is the system's temporary folder.
        what: becomes part of its name.

    Raises:
        InvalidInput, Forbidden, Unavailable: it cannot be made there. What is written below it
            fails as `writing(folder, mend=OTHER_SCRATCH)` says.
    """
    parent = scratch or Path(tempfile.gettempdir())
    with writing(parent, mend=OTHER_SCRATCH):
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        folder, lock = _owned_folder(parent, what)
    try:
        try:
            yield folder
        finally:
            _remove(folder)
    finally:
        os.close(lock)


def _owned_folder(parent: Path, what: str) -> tuple[Path, int]:
    """Make a folder with a lock in it that we hold."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH_PREFIX}{what}-", dir=parent))
        # Until it is locked, a sweep takes the folder for a dead process's and may be first.
        with suppress(FileNotFoundError):
            lock = os.open(folder / _LOCK, os.O_CREAT | os.O_WRONLY, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                return folder, lock
            os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove scratch folders of ours whose owner is dead."""
    for folder in parent.glob(f"{_SCRATCH_PREFIX}*"):
        # Somebody else's, or gone meanwhile: none of our business.
        with suppress(OSError):
            if folder.stat().st_uid != os.getuid():
                continue
            if not (folder / _LOCK).exists():
                # Its owner died before it locked it, or after it removed all else.
                folder.rmdir()
                continue
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a scratch folder, its lock last: whoever dies before the end leaves it to a sweep."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name == _LOCK:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole_file(
    path: Path, *, unfinished_in: Path | None = None, mend: str = MAKE_ROOM
) -> Iterator[BinaryIO]:
    """Open a file for writing and reading that appears under its name, durably, when all is in it.

    What was there stays until then; where the block fails, nothing is left.

    Args:
        path: the file.
        unfinished_in: where it lies meanwhile, in the same file system; None is beside `path`.
        mend: what to do where the disk is full.

    Raises:
        InvalidInput, Forbidden, Unavailable: see `writing`.
    """
    part = (unfinished_in or path.parent) / f".{path.name}.{uuid.uuid4().hex[:8]}.part"
    with writing(path, mend=mend):
        try:
            with part.open("x+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
