"""Runs one call in a child process that is ended when it hangs.

For work of foreign libraries that can block for good. The child is started anew, not forked, and
not through `multiprocessing`, whose worker processes may have no children of their own.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from atoll.core.errors import Unavailable
from atoll.core.files import scratch_folder

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

MAX_ATTEMPTS = 3
_MAIN = "from atoll.compute.supervised import serve; serve()"


def supervised(
    task: Callable[[T], R],
    item: T,
    *,
    deadline_s: float,
    what: str,
    env: Mapping[str, str] | None = None,
) -> R:
    """Call `task(item)` in a child process, again where it hangs or dies, 3 times in all.

    Args:
        task: a function at the top of a module; idempotent.
        item: picklable, as is what is returned or raised.
        deadline_s: a child that takes longer is killed.
        what: names the work in messages.
        env: variables for the child's environment that are not in ours.

    Raises:
        Unavailable: no child came to an end. What the task raises comes as it is.
    """
    ends = []
    for _ in range(MAX_ATTEMPTS):
        with scratch_folder(None, "child") as folder:
            answer = folder / "answer"
            ends.append(_run((task, item, str(answer)), deadline_s, env or {}))
            if answer.exists():
                value, error = pickle.loads(answer.read_bytes())
                if error is not None:
                    raise error
                found: R = value
                return found
        logger.warning("child ended without an answer work=%s how=%s", what, ends[-1])
    raise Unavailable(
        f"{what} did not end in {MAX_ATTEMPTS} attempts: {', '.join(ends)}; try again"
    )


def _run(call: Any, deadline_s: float, env: Mapping[str, str]) -> str:
    """Run a child to its end; say how it ended."""
    try:
        # Keys may be among the arguments: through a pipe they are nobody else's.
        done = subprocess.run(
            [sys.executable, "-c", _MAIN],
            input=pickle.dumps(call),
            env={**env, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            timeout=deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"hung for {deadline_s:g} s and was killed"
    return f"exit code {done.returncode}"


def serve() -> None:
    """Be the child."""
    threading.Thread(target=_follow_parent, args=(os.getppid(),), daemon=True).start()
    task, item, path = pickle.loads(sys.stdin.buffer.read())
    value, error = None, None
    try:
        value = task(item)
    # Whatever it raises is the answer.
    except Exception as raised:
        error = raised
    answer = Path(path)
    part = answer.with_suffix(".part")
    part.write_bytes(pickle.dumps((value, error)))
    part.rename(answer)


def _follow_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
