"""From an empty folder to the first rows, as issue 6 has it done."""

import os
from unittest.mock import patch

import pytest
from commandline import must
from mesh_journey import TORQUES, by_command, by_http


def by_command_here(folder):
    return by_command(folder, atoll=here)


def here(server, token, *arguments):
    """Run `atoll mesh ...` in this process, which is quicker."""
    names = {"ATOLL_MESH_URL": server.url, "ATOLL_MESH_TOKEN": token}
    with patch.dict(os.environ, names):
        return must("mesh", *arguments)


@pytest.mark.parametrize("way", [by_command_here, by_http])
def test_60_a_table_goes_all_the_way_from_an_empty_folder_to_its_first_rows(tmp_path, way):
    found = way(tmp_path)
    assert [one["name"] for one in found["columns"]] == list(TORQUES)
    assert found["rows"] == [["P1", 41.5], ["P2", 38.25]]
    assert found["is_cut"]
