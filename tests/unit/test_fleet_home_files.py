"""Files of a home that were damaged: named, and no reason to fall over."""

import sqlite3

import pytest

from atoll.core.errors import Corrupt
from atoll.fleet.providers.facts import read_facts
from atoll.fleet.providers.local import privileges
from atoll.fleet.providers.local.inventory import Inventory


def test_damaged_facts_are_named(tmp_path):
    path = tmp_path / "facts.json"
    path.write_text('{"id": 7')
    with pytest.raises(Corrupt, match=str(path)):
        read_facts(path)


def test_a_damaged_note_of_the_holder_is_named(tmp_path):
    (tmp_path / privileges._FILE).write_text("[]")
    with pytest.raises(Corrupt, match=privileges._FILE):
        privileges._known_holder(tmp_path)


@pytest.mark.parametrize(
    ("entry", "read"),
    [
        ("machines VALUES ('i-1', 'j-1', 0, '{}')", lambda there: there.living()),
        ("pools VALUES ('m5.large', 'SPOT', 's', '[')", lambda there: there.terms()),
        ("answers VALUES ('j-1', 't', '7')", lambda there: there.answer("j-1", "t")),
    ],
)
def test_a_damaged_entry_of_the_inventory_is_named(tmp_path, entry, read):
    path = tmp_path / "inventory.sqlite"
    there = Inventory(path)
    with sqlite3.connect(path) as other:
        other.execute(f"INSERT INTO {entry}")
    other.close()
    with pytest.raises(Corrupt, match=str(path)):
        read(there)
    there.close()
