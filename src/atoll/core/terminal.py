"""What a command shows while it works: bars on stderr, only where somebody looks at them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from atoll.core.progress import OnProgress, Progress, silent


@contextmanager
def progress_bars(quiet: bool = False) -> Iterator[OnProgress]:
    """Draw one bar per stage on stderr while the block runs; silent if quiet or no terminal."""
    if quiet or not sys.stderr.isatty():
        yield silent
        return
    bars = _Bars()
    try:
        yield bars.show
    finally:
        bars.close()


class _Bars:
    def __init__(self) -> None:
        self._stage = ""
        self._bar: Any = None

    def show(self, progress: Progress) -> None:
        """Move the bar of a stage; a new stage gets a bar of its own."""
        is_done = progress.total is not None and progress.done >= progress.total
        if progress.stage != self._stage or (self._bar is None and not is_done):
            self.close()
            self._stage = progress.stage
            self._bar = tqdm(
                total=progress.total,
                desc=progress.stage,
                unit=f" {progress.unit}",
                unit_scale=True,
                file=sys.stderr,
                dynamic_ncols=True,
            )
        if self._bar is None:
            return
        self._bar.total = progress.total
        self._bar.update(progress.done - self._bar.n)
        if is_done:
            # At once, so that what is said next stands on a line of its own.
            self._bar.refresh()
            self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None
