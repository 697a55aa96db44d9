"""The process that sends notifications; run by `sending_notifications`.

It is one of its own because the host's may enter another network namespace, from where neither a
webhook nor a mail server is reached. It finds its work in the host's file, and ends with the host.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from atoll.fleet.codec import decode, encode
from atoll.fleet.control.alarmstore import AlarmStore
from atoll.fleet.control.home import LOG
from atoll.fleet.control.hostlog import log_to
from atoll.fleet.control.notifying import Notifier
from atoll.fleet.control.sending import Sender


@dataclass(frozen=True)
class Orders:
    """What the process is told.

    Attributes:
        path: of the host's file.
        sender: how to send.
    """

    path: str
    sender: Sender = field(repr=False)


@contextmanager
def sending_notifications(path: Path, sender: Sender) -> Iterator[Callable[[], bool]]:
    """Send the notifications in the host's file while the block runs.

    To be entered before the host enters another network namespace; it starts no thread, so that the
    host still can.

    Args:
        path: of the host's file.
        sender: how.

    Yields:
        What tells whether they are being sent.
    """
    argv = [sys.executable, "-m", "atoll.fleet.control.notifierprocess"]
    # A session of its own: Ctrl-C is the host's to take, which lets this one finish.
    with subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        # Not in its arguments, which everybody can read: there are secrets among the orders.
        process.stdin.write(encode(Orders(str(path), sender)) + b"\n")
        process.stdin.flush()
        yield lambda: process.poll() is None


def main() -> None:
    """Send until the standard input, whose first line has the orders, ends."""
    orders = decode(sys.stdin.buffer.readline(), Orders, what="the notifier's orders")
    log_to(Path(orders.path).with_name(LOG))
    store = AlarmStore(Path(orders.path))
    notifier = Notifier(store, orders.sender.send)

    def end_with_host() -> None:
        sys.stdin.buffer.read()
        notifier.stop()

    threading.Thread(target=end_with_host, name="host", daemon=True).start()
    notifier.run()
    store.close()


if __name__ == "__main__":
    main()
