"""Laws of periods and alarms, held against counting by hand."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from atoll.fleet.monitoring.alarms import EXTRA_PERIODS, Alarm, AlarmState, Missing, judge
from atoll.fleet.monitoring.metrics import CARRY_SECONDS, Point, periods

SECONDS = st.sampled_from([1, 5, 10, 30, 60])
POINTS = st.lists(st.integers(0, 4000), unique=True, max_size=40).map(
    lambda tenths: [Point(at / 10, float(at)) for at in sorted(tenths)]
)


@st.composite
def alarms(draw):
    periods_looked_at = draw(st.integers(1, 6))
    return Alarm(
        "a",
        "j-1",
        "IsIdle",
        "Average",
        10,
        periods_looked_at,
        draw(st.integers(1, periods_looked_at)),
        0.5,
        "GreaterThanThreshold",
        missing=draw(st.sampled_from(Missing)),
    )


SOME_MISSING = st.sampled_from([0.0, 1.0, None])


@st.composite
def judged(draw, value=SOME_MISSING):
    alarm = draw(alarms())
    size = alarm.evaluation_periods + EXTRA_PERIODS
    values = draw(st.lists(value, min_size=size, max_size=size))
    return alarm, values, draw(st.sampled_from(AlarmState))


@given(POINTS, st.integers(0, 300), st.integers(0, 300), SECONDS)
def test_each_period_has_what_counting_by_hand_gives(points, start, length, seconds):
    found = {one.start: one.values for one in periods(points, start, start + length, seconds)}
    for begin in range(start // seconds * seconds, start + length, seconds):
        within = tuple(p.value for p in points if begin <= p.at < begin + seconds)
        fresh = [p.value for p in points if begin + seconds - CARRY_SECONDS <= p.at < begin]
        assert found.pop(begin, ()) == (within or tuple(fresh[-1:]))
    assert found == {}


@given(judged(st.sampled_from([0.0, 1.0])))
def test_where_nothing_is_missing_it_rings_by_the_count_alone(case):
    alarm, values, old = case
    breaching = sum(values[-alarm.evaluation_periods :])
    rings = breaching >= alarm.datapoints_to_alarm
    assert judge(alarm, values, old).state is (AlarmState.ALARM if rings else AlarmState.OK)


@given(judged())
def test_missing_that_counts_as_a_value_rings_as_that_value_would(case):
    alarm, values, old = case
    there = [one for one in values if one is not None][-alarm.evaluation_periods :]
    for how, value in ((Missing.BREACHING, 1.0), (Missing.NOT_BREACHING, 0.0)):
        filled = there + [value] * (alarm.evaluation_periods + EXTRA_PERIODS - len(there))
        cut = (there + filled[len(there) :])[: alarm.evaluation_periods]
        padded = [0.0] * EXTRA_PERIODS + cut
        kind = replace(alarm, missing=how)
        assert judge(kind, values, old).state is judge(kind, padded, old).state


@given(judged())
def test_state_never_gets_better_by_a_worse_value(case):
    alarm, values, old = case
    order = [AlarmState.OK, AlarmState.INSUFFICIENT_DATA, AlarmState.ALARM]
    worse = [1.0 if one == 0.0 else one for one in values]
    before, after = (judge(alarm, one, old).state for one in (values, worse))
    assert order.index(after) >= order.index(before)


@given(judged())
def test_only_a_lack_of_all_data_makes_it_insufficient(case):
    alarm, values, _ = case
    is_insufficient = judge(alarm, values, AlarmState.OK).state is AlarmState.INSUFFICIENT_DATA
    has_none = all(one is None for one in values) and alarm.missing is Missing.MISSING
    assert is_insufficient == has_none
