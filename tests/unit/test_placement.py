import pytest

from atoll.fleet.capacity import InsufficientCapacity
from atoll.fleet.planning.placement import spread


def test_each_machine_gets_a_rack_of_its_own_the_emptiest_first():
    assert spread(3, {"r1": 4, "r2": 0, "r3": 0, "r4": 9}, set()) == ("r2", "r3", "r1")


def test_a_replacement_avoids_the_racks_of_the_others():
    assert spread(1, {"r1": 0, "r2": 0, "r3": 9}, {"r1", "r2"}) == ("r3",)


def test_too_little_distinct_hardware_is_told_by_name():
    with pytest.raises(
        InsufficientCapacity, match=r"2 more racks.*free: r1; taken by the group: r2;"
    ):
        spread(2, {"r1": 3, "r2": 0}, {"r2"})


def test_no_rack_at_all_is_told_too():
    with pytest.raises(InsufficientCapacity, match="free: none; taken by the group: none;"):
        spread(1, {}, set())
