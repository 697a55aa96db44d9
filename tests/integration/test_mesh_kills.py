"""A server that is killed while things of every kind change: nothing lost, nothing half-done."""

from collections import Counter
from contextlib import closing

from mesh_invariants import assert_whole
from mesh_server import mesh_server
from mesh_storm import MAKERS, NOT_MADE, Storm

from atoll.mesh.audit.keys import Key
from atoll.mesh.hosting import DATABASE_FILE, KEY_FILE
from atoll.mesh.model.catalog import Listing
from atoll.mesh.service import OPERATIONS

KILLS = 3


def test_every_operation_that_changes_something_is_in_the_storm():
    changing = {name for name, one in OPERATIONS.items() if not one.is_read}
    assert set(MAKERS) | NOT_MADE == changing


def test_46_48_a_server_killed_at_any_time_has_done_all_that_it_said_and_nothing_by_half(
    database, tmp_path, kill_seed
):
    """And a call whose answer was lost is done once, if it is made again with its key."""
    home, more = tmp_path / "home", ("--database", database)
    if database.startswith("sqlite"):
        database, more = f"sqlite:///{home / DATABASE_FILE}", ()
    with (
        mesh_server(home, *more) as server,
        closing(Storm(server, database, tmp_path / "lake", kill_seed)) as storm,
    ):
        key = Key(bytes.fromhex((home / KEY_FILE).read_text()))
        with storm.reading() as reader:
            before = _allowed(reader, storm)
        for _ in range(KILLS):
            storm.blow(storm.chance.uniform(0.5, 3))
            storm.settle()
            with storm.reading() as reader:
                assert_whole(reader, [key])
        with storm.reading() as reader:
            assert _allowed(reader, storm) - before == storm.done
            listed = {one.id for one in reader.all(Listing, status="ACTIVE")}
        found = server.do("SearchListings", limit=100)
        assert {one["id"] for one in found["items"]} == listed
        assert server.do("VerifyAudit")["is_whole"]


def _allowed(reader, storm):
    """How often the audit says that somebody has done what."""
    return Counter(
        one.operation
        for one in reader.events(principal=storm.admin)
        if one.outcome == "ALLOWED" and one.via == storm.via and one.operation in MAKERS
    )
