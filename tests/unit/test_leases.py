from __future__ import annotations

import time
import uuid

import msgspec
import pytest

from atoll.core.errors import Conflict, Unavailable
from atoll.storage import open_storage
from atoll.storage.counting import count_usage
from atoll.vectors import leases


@pytest.fixture
def storage():
    return open_storage(f"memory://{uuid.uuid4().hex}")


def left_behind(storage, kind, expires_at):
    """Write the lease of a process that was killed."""
    lease = leases.Lease(kind, "process 1 on elsewhere", expires_at)
    storage.put(f"{leases.FOLDER}/{uuid.uuid4().hex}.json", msgspec.json.encode(lease))


@pytest.mark.parametrize(("first", "second"), [("build", "gc"), ("gc", "build")])
def test_builds_and_garbage_collection_exclude_each_other(storage, first, second):
    with leases.hold(storage, first):
        refused = pytest.raises(Conflict, match=f"in use by {first}, process")
        with refused, leases.hold(storage, second):
            pytest.fail("both went on")
        assert len(leases.alive(storage)) == 1
    with leases.hold(storage, second):
        pass


def test_several_builds_run_at_once(storage):
    with leases.hold(storage, "build"), leases.hold(storage, "build"):
        assert [lease.kind for lease in leases.alive(storage)] == ["build", "build"]


def test_ten_thousand_builds_do_not_read_each_others_leases(storage):
    for _ in range(3):
        left_behind(storage, "gc", time.time() - 1000)
    with leases.hold(storage, "build"), leases.hold(storage, "build"):
        with count_usage() as usage, leases.hold(storage, "build"):
            pass
        assert usage.gets == 3


def test_a_lease_goes_however_the_work_ends(storage):
    with pytest.raises(ZeroDivisionError), leases.hold(storage, "build"):
        raise ZeroDivisionError
    assert list(storage.list()) == []


def test_a_killed_holder_blocks_until_its_lease_and_the_skew_of_clocks_are_over(storage):
    left_behind(storage, "build", time.time() - leases.SKEW_SECONDS + 30)
    with pytest.raises(Conflict, match="within 180 s"), leases.hold(storage, "gc"):
        pytest.fail("the build may still run")


def test_an_expired_or_unreadable_lease_blocks_nobody_and_is_listed(storage):
    left_behind(storage, "build", time.time() - leases.SKEW_SECONDS - 1)
    storage.put(f"{leases.FOLDER}/x.json", b"{")
    with leases.hold(storage, "gc"):
        assert len(leases.expired(storage)) == 2
        assert len(leases.alive(storage)) == 1


def test_a_lease_is_renewed_while_the_work_goes_on(storage, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    with leases.hold(storage, "build"):
        (first,) = leases.alive(storage)
        deadline = time.monotonic() + 10
        while leases.alive(storage)[0].expires_at == first.expires_at:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_lease_that_lapsed_forbids_to_commit(storage, monkeypatch):
    with leases.hold(storage, "build") as lease:
        lease.require()
        later = time.time() + leases.LEASE_SECONDS + 1
        monkeypatch.setattr(leases.time, "time", lambda: later)
        # Renewed again after the gap, in which a garbage collection may have run.
        lease.renew()
        with pytest.raises(Unavailable, match="run the same command again"):
            lease.require()
