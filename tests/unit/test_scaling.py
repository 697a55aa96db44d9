from atoll.fleet.planning.scaling import Endable, to_end


def instance(name, *, weight=1, tasks=0, launched_at=0.0):
    return Endable(name, weight, tasks, launched_at)


def test_those_with_the_fewest_tasks_end_first():
    there = [instance("busy", tasks=3), instance("idle"), instance("some", tasks=1)]
    assert to_end(there, 1) == ("idle", "some")


def test_an_instance_too_heavy_stays_and_a_lighter_one_ends_instead():
    there = [instance("heavy", weight=5), instance("light", weight=2, tasks=9)]
    assert to_end(there, 4) == ("light",)


def test_nothing_ends_where_all_are_too_heavy():
    assert to_end([instance("a", weight=4), instance("b", weight=4)], 5) == ()


def test_among_equals_the_newest_ends_whatever_it_weighs():
    there = [
        instance("old", weight=2, launched_at=1.0),
        instance("new", launched_at=3.0),
        instance("middle", weight=2, launched_at=2.0),
    ]
    assert to_end(there, 2) == ("new", "middle")


def test_a_target_of_zero_ends_all():
    assert set(to_end([instance("a"), instance("b", weight=3)], 0)) == {"a", "b"}


def test_a_target_above_what_there_is_ends_nothing():
    assert to_end([instance("a")], 3) == ()
