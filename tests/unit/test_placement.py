import pytest

from atoll.fleet.planning.placement import spread
from atoll.fleet.providers.port import InsufficientCapacity


def test_each_machine_gets_a_rack_of_its_own_the_emptiest_first():
    assert spread(3, {"r1": 1, "r2": 5, "r3": 5, "r4": 0}, set()) == ("r2", "r3", "r1")


def test_a_replacement_avoids_the_racks_of_the_others():
    assert spread(1, {"r1": 9, "r2": 9, "r3": 1}, {"r1", "r2"}) == ("r3",)


def test_too_little_distinct_hardware_is_told_by_name():
    with pytest.raises(InsufficientCapacity) as caught:
        spread(2, {"r1": 3, "r2": 0, "r3": 2}, {"r3"})
    assert caught.value.message.startswith(
        "SPREAD needs 2 racks of their own; 1 free (r1); in use by the group: r3; full: r2;"
    )


def test_no_rack_at_all_is_told_too():
    with pytest.raises(InsufficientCapacity, match="none is free"):
        spread(1, {}, set())
