"""Whoever guesses waits longer each time, and nobody waits for ever (threat 5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.errors import TooManyRequests
from atoll.mesh.identity.throttle import DEVICE, PLACE, Pace, Throttle, of_name

PACE = Pace("test", free=3, forgets_s=100, longest_s=60)
ANN, BOB = (PACE, "ann"), (PACE, "bob")


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock):
    return Throttle(clock=clock, most=10)


def waits(throttle, *keys):
    try:
        throttle.attempt(*keys)
    except TooManyRequests as error:
        return error.details["retry_after_s"]
    return 0


def test_7_some_attempts_are_free_and_then_each_waits_longer(throttle, clock):
    assert [waits(throttle, ANN) for _ in range(4)] == [0, 0, 0, 0]
    found = []
    for _ in range(7):
        found.append(waits(throttle, ANN))
        clock.now += found[-1]
        assert waits(throttle, ANN) == 0
    assert found == sorted(found)
    assert (found[0], found[-1]) == (2, 60)


def test_7_an_attempt_that_comes_too_early_does_not_make_the_wait_longer(throttle, clock):
    for _ in range(4):
        waits(throttle, ANN)
    assert [waits(throttle, ANN) for _ in range(50)] == [2] * 50
    clock.now += 2
    assert waits(throttle, ANN) == 0


def test_7_one_name_does_not_wait_for_another(throttle):
    for _ in range(5):
        waits(throttle, ANN)
    assert waits(throttle, BOB) == 0
    assert waits(throttle, ANN, BOB) == 2


def test_7_what_was_refused_counts_nowhere(throttle, clock):
    for _ in range(4):
        waits(throttle, ANN)
    for _ in range(20):
        assert waits(throttle, ANN, BOB) == 2
    assert waits(throttle, BOB) == 0


def test_7_a_right_one_is_taken_back_and_a_clean_slate_is_free(throttle):
    for _ in range(50):
        assert waits(throttle, ANN) == 0
        throttle.was_right(ANN)
    for _ in range(4):
        waits(throttle, BOB)
    throttle.forget(BOB)
    assert waits(throttle, BOB) == 0


def test_7_attempts_are_forgotten_with_time_however_many_there_were(throttle, clock):
    for _ in range(200):
        clock.now += waits(throttle, ANN)
    clock.now += 100 * (PACE.free + 16)
    assert [waits(throttle, ANN) for _ in range(3)] == [0, 0, 0]


def test_7_no_more_is_counted_than_fits(throttle):
    for number in range(100):
        waits(throttle, (PACE, str(number)))
    assert len(throttle._counts) == 10


def test_7_who_tries_a_name_from_one_place_holds_nobody_up_elsewhere(clock):
    throttle, made = Throttle(clock=clock), 0
    for second in range(0, 86_400, 10):
        clock.now += 10
        made += waits(throttle, *tried("ann", "192.0.2.1")) == 0
        if second % 600 == 0:
            assert waits(throttle, *tried("ann", "198.51.100.1")) == 0
            throttle.was_right(*tried("ann", "198.51.100.1"))
    assert made < 50


def test_7_a_known_browser_does_not_wait_for_strangers(clock):
    throttle = Throttle(clock=clock)
    for number in range(200):
        waits(throttle, *tried("ann", f"192.0.2.{number}"))
    assert waits(throttle, *tried("ann", "198.51.100.1")) > 0
    assert waits(throttle, (DEVICE, "hers")) == 0


def test_7_who_tries_many_names_from_one_place_waits_for_the_place(clock):
    throttle = Throttle(clock=clock)
    made = sum(waits(throttle, *tried(str(number), "192.0.2.1")) == 0 for number in range(100))
    assert made == PLACE.free + 1


def tried(name, place):
    return [*of_name(name, place), (PLACE, place)]


@given(st.lists(st.floats(0, 500), max_size=80))
def test_7_no_wait_is_longer_than_the_longest_and_guesses_stay_few(pauses):
    clock = Clock()
    throttle, made = Throttle(clock=clock), 0
    for pause in pauses:
        clock.now += pause
        wait = waits(throttle, ANN)
        assert wait <= PACE.longest_s
        made += wait == 0
    # Those that are free, those forgotten meanwhile, and those that waited.
    whole = clock.now - 1000
    assert made <= PACE.free + 6 + whole / PACE.forgets_s + whole / PACE.longest_s * 2
