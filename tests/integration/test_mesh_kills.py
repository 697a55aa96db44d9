"""What befalls a server while things of every kind change: nothing lost, nothing half-done."""

import resource
import time
from contextlib import closing, contextmanager

import pytest
from mesh_server import mesh_server
from mesh_storm import MAKERS, Storm
from postgres_server import postgres_server

from atoll.mesh.hosting import DATABASE_FILE
from atoll.mesh.service import OPERATIONS

KILLS = 2
UNLIMITED = resource.RLIM_INFINITY


@contextmanager
def storm_at(home, database, seed):
    """A server, and the changes."""
    with (
        mesh_server(home, "--database", database) as server,
        closing(Storm(server, database, seed)) as storm,
    ):
        yield storm


def test_every_operation_that_changes_something_is_in_the_storm():
    changing = {name for name, one in OPERATIONS.items() if not one.is_read}
    assert set(MAKERS) == changing


def test_46_48_a_server_killed_at_any_time_has_done_what_it_said_and_nothing_by_half(
    database, tmp_path, kill_seed
):
    """And a call whose answer was lost is done once, if it is made again with its key."""
    with storm_at(tmp_path / "home", database, kill_seed) as storm:

        def killed(stop):
            storm.server.kill()
            stop()
            storm.server.restart()

        for _ in range(KILLS):
            storm.blow(storm.chance.uniform(0.5, 2), killed)
            storm.assert_done_once()


def test_46_48_when_the_database_is_gone_and_back_everything_goes_on(tmp_path):
    with (
        postgres_server() as postgres,
        storm_at(tmp_path / "home", postgres.new_database(), 0) as storm,
    ):

        def gone(stop):
            postgres.kill()
            time.sleep(0.5)
            storm.engine.dispose()
            postgres.start()

        storm.blow(1, gone)
        assert all("the database does not answer" in one for one in storm.unavailable)
        assert storm.unavailable
        storm.assert_done_once()


@pytest.mark.sqlite
def test_46_48_a_full_disk_takes_nothing_away(tmp_path):
    """The database's journal may grow no further; later it may again."""
    home = tmp_path / "home"
    with storm_at(home, f"sqlite:///{home / DATABASE_FILE}", 0) as storm:

        def full(stop):
            size = (home / f"{DATABASE_FILE}-wal").stat().st_size
            resource.prlimit(storm.server.pid, resource.RLIMIT_FSIZE, (size, UNLIMITED))
            time.sleep(1)
            resource.prlimit(storm.server.pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))

        storm.blow(0.5, full)
        assert storm.unavailable
        storm.assert_done_once()
