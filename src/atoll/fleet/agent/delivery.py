"""Brings what work printed to the cluster's LogUri: when it ends, and meanwhile each minute.

In a thread of its own and by short-lived processes: a store that is slow or not there delays
nothing, and an agent needs no client of any. What could not be brought is tried again as long as
the agent lives. The layout is told in `fleet.outputs`.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.core.errors import Unavailable
from atoll.fleet.codec import encode
from atoll.fleet.outputs import CONTROLLER, STDERR, STDOUT, SUFFIX, cluster_url

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 60.0
LIMIT_SECONDS = 300.0
_SHARE = 0.1
"""Most of its time that is spent on bringing again what has grown since."""
_TOLD_BYTES = 400
_PROGRAM = (sys.executable, "-m", "atoll.app.outputs")


@dataclass(frozen=True)
class Parcel:
    """What is brought: a file, or a text, and its path below the cluster's folder."""

    path: str
    file: str | None = None
    text: str = ""


@dataclass(frozen=True)
class _Output:
    """What work printed, or prints: `stdout` and `stderr` in a folder.

    Attributes:
        place: where it goes, below the cluster's folder.
        folder: where it is.
        end: how the work ended; empty: it goes on.
    """

    place: str
    folder: Path
    end: str = ""

    def sizes(self) -> tuple[int, ...]:
        return tuple(_size(self.folder / name) for name in (STDOUT, STDERR))

    def parcels(self) -> list[Parcel]:
        """List what there is of it; last how it ended, so that with that all is there."""
        found = [
            Parcel(f"{self.place}/{name}{SUFFIX}", str(self.folder / name))
            for name, size in zip((STDOUT, STDERR), self.sizes(), strict=True)
            if size
        ]
        if self.end:
            found.append(Parcel(f"{self.place}/{CONTROLLER}{SUFFIX}", text=f"{self.end}\n"))
        return found


class Delivery(threading.Thread):
    """One agent's."""

    def __init__(
        self,
        log_uri: str | None,
        cluster_id: str,
        on_failure: Callable[[str], bool],
        *,
        bring: Callable[[str, Sequence[Parcel]], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take where to.

        Args:
            log_uri: the cluster's; None: everything stays where it is.
            cluster_id: the cluster.
            on_failure: told why nothing can be brought, again until it returns True, and then not
                before something was brought.
            bring: puts parcels below a URL, or raises `Unavailable`; None: a process does.
            clock: one that never jumps.
        """
        super().__init__(name="delivery", daemon=True)
        self._url = None if log_uri is None else cluster_url(log_uri, cluster_id)
        self._on_failure, self._is_failure_told = on_failure, False
        self._put, self._clock = bring or _bring, clock
        self._outputs: dict[str, _Output] = {}
        self._brought: dict[str, tuple[int, ...]] = {}
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._due_at = clock()

    def keep(self, place: str, folder: Path, end: str = "") -> None:
        """Bring what is printed in a folder from now on; the last time once its `end` is told."""
        if self._url is None:
            return
        with self._lock:
            self._outputs[place] = _Output(place, folder, end)
        if end:
            self._woken.set()

    def await_ended(self, seconds: float) -> None:
        """Wait, so long at most, until all that ended is brought."""
        deadline = time.monotonic() + seconds
        while self._chosen(are_all=False) and time.monotonic() < deadline:
            time.sleep(0.1)

    def run(self) -> None:
        """Bring what is due, as long as the agent lives."""
        while True:
            self._woken.wait(max(0.0, self._due_at - self._clock()))
            self._woken.clear()
            try:
                is_brought = self.round()
            except Exception:
                # What is printed from now on would else stay here.
                logger.exception("output not brought")
                is_brought = False
            if not is_brought:
                time.sleep(PERIOD_SECONDS)

    def round(self) -> bool:
        """Bring what ended, and once in a while what has grown; False: it could not be."""
        started = self._clock()
        are_all = started >= self._due_at
        chosen = self._chosen(are_all=are_all)
        try:
            self._bring(chosen)
        except Unavailable as error:
            logger.warning("output not brought error=%s", error)
            self._is_failure_told = self._is_failure_told or self._on_failure(error.message)
            return False
        if are_all:
            now = self._clock()
            self._due_at = now + max(PERIOD_SECONDS, (now - started) / _SHARE)
        return True

    def _chosen(self, *, are_all: bool) -> list[_Output]:
        with self._lock:
            return [one for one in self._outputs.values() if one.end or are_all]

    def _bring(self, chosen: Sequence[_Output]) -> None:
        grown = {one: one.sizes() for one in chosen if one.end or self._has_grown(one)}
        parcels = [parcel for one in grown for parcel in one.parcels()]
        if not parcels:
            return
        assert self._url is not None
        self._put(self._url, parcels)
        self._is_failure_told = False
        self._brought |= {one.place: sizes for one, sizes in grown.items()}
        with self._lock:
            # What ended meanwhile is to be brought once more.
            for one in grown:
                if one.end and self._outputs.get(one.place) is one:
                    del self._outputs[one.place], self._brought[one.place]

    def _has_grown(self, output: _Output) -> bool:
        return output.sizes() != self._brought.get(output.place, (0, 0))


def _bring(url: str, parcels: Sequence[Parcel]) -> None:
    """Put parcels below a URL by a process of its own.

    Raises:
        Unavailable: it failed, or took too long; the message ends with what it said.
    """
    argv = [*_PROGRAM, url]
    try:
        done = subprocess.run(
            argv, input=encode(parcels), capture_output=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"the store did not take it within {LIMIT_SECONDS:g} s") from error
    except OSError as error:
        raise Unavailable(f"{argv[0]} cannot be started: {error}") from error
    if done.returncode:
        raise Unavailable(done.stderr[-_TOLD_BYTES:].decode(errors="replace").strip())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
