"""Kills this process at one of the points at which a local provider writes or acts."""

import os
import signal
from contextlib import contextmanager

from atoll.fleet.providers.local.inventory import Inventory
from atoll.fleet.providers.local.loopback import Loopback

ACTS = ("make_disk", "start", "stop", "drop_disk")


def kill_at(point):
    """Count what is written and done from now on; before the given one, kill this process."""
    counted = 0

    def count():
        nonlocal counted
        counted += 1
        if counted == point:
            os.kill(os.getpid(), signal.SIGKILL)

    change, put = Inventory.change, Inventory.put

    @contextmanager
    def counted_change(self):
        with change(self):
            yield
            count()
        count()

    def counted_put(self, record):
        put(self, record)
        count()

    Inventory.change, Inventory.put = counted_change, counted_put
    for name in ACTS:
        setattr(Loopback, name, _counted(getattr(Loopback, name), count))


def _counted(act, count):
    def counted(*args):
        count()
        result = act(*args)
        count()
        return result

    return counted
