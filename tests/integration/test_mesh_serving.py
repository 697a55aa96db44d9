"""`atoll serve`: what it is told beside a folder, and where it keeps which files."""

import time

from commandline import ended, start
from mesh_server import mesh_server

HOUSE = """
@id("groups-come-from-elsewhere")
@description("Groups are the provider's to make.")
forbid (principal, action == Action::"CreateGroupProfile", resource);
"""


def test_48_policies_of_the_house_hold_and_anchors_lie_where_they_should(tmp_path):
    (tmp_path / "house.cedar").write_text(HOUSE)
    given = ("--policies", tmp_path / "house.cedar", "--anchors", tmp_path / "anchors")
    with mesh_server(tmp_path / "home", *map(str, given)) as server:
        refused = server.run("create-group-profile", "--name", "engineers", fails=True)
        assert "may not do CreateGroupProfile" in refused
        asked = {"operation": "CreateGroupProfile"}
        [policy] = server.do("Explain", **asked)["policies"]
        assert "the provider's to make" in policy["text"]
        anchored = _awaited(lambda: list((tmp_path / "anchors").rglob("*.json")))
    assert anchored
    assert not (tmp_path / "home" / "anchors").exists()


def test_wrong_policies_keep_the_server_from_starting_and_are_named(tmp_path):
    place = tmp_path / "house.cedar"
    place.write_text(HOUSE.replace("CreateGroupProfile", "Fly"))
    given = ("--home", tmp_path / "home", "--port", 0, "--policies", place)
    told = ended(start("serve", *given)).err
    assert "house.cedar are refused" in told
    assert "'groups-come-from-elsewhere'" in told


def _awaited(look):
    """Look again and again until there is something."""
    end = time.monotonic() + 30
    while not (found := look()) and time.monotonic() < end:
        time.sleep(0.1)
    return found
