"""The process that sends notifications; run by `sending_notifications`.

It is one of its own because the host's may enter another network namespace, from where neither a
webhook nor a mail server is reached. For the same reason the host could not start it again: it only
looks after a second process, which sends, and is started again whenever it ended. That one finds
its work in the host's file; both end with the host.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from atoll.fleet.codec import decode, encode
from atoll.fleet.host.home import LOG
from atoll.fleet.host.log import log_to
from atoll.fleet.monitoring.alarmstore import AlarmStore
from atoll.fleet.monitoring.notifying import Notifier
from atoll.fleet.monitoring.sending import Sender

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_AGAIN_SECONDS = 1.0
_SENDS = "--send"


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
    # A session of its own: Ctrl-C is the host's to take, which lets this one finish.
    with _ordered(encode(Orders(str(path), sender)) + b"\n", new_session=True) as process:
        yield lambda: process.poll() is None


@contextmanager
def _ordered(
    orders: bytes, *args: str, new_session: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `main` in a process with orders; it ends with the block, by the end of its input."""
    argv = [sys.executable, "-m", "atoll.fleet.host.notifierprocess", *args]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=new_session) as process:
        assert process.stdin is not None
        # Not in its arguments, which everybody can read: there are secrets among the orders.
        with suppress(BrokenPipeError):
            process.stdin.write(orders)
            process.stdin.flush()
        yield process


def main() -> None:
    """Go by the orders in the first line of the standard input until that ends."""
    line = sys.stdin.buffer.readline()
    orders = decode(line, Orders, what="the notifier's orders")
    log_to(Path(orders.path).with_name(LOG))
    if _SENDS in sys.argv[1:]:
        _send(orders)
    else:
        _keep_sending(line)


def _keep_sending(orders: bytes) -> None:
    ended = threading.Event()

    def end_with_host() -> None:
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=end_with_host, name="host", daemon=True).start()
    while not ended.is_set():
        with _ordered(orders, _SENDS) as sending:
            while sending.poll() is None and not ended.wait(_LOOK_SECONDS):
                pass
        if not ended.wait(_AGAIN_SECONDS):
            logger.warning("notifier started again, it ended with status=%s", sending.returncode)


def _send(orders: Orders) -> None:
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
