"""How points are gathered into periods, and kept: thinned, pruned, bounded."""

import pytest

from atoll.fleet.monitoring import metricstore
from atoll.fleet.monitoring.metrics import STATISTICS, Period, Point, first_needed, periods
from atoll.fleet.monitoring.metricstore import MetricStore


@pytest.fixture
def store(tmp_path):
    store = MetricStore(tmp_path / "control.sqlite")
    yield store
    store.close()


def write(store, at, value=1.0, is_change=False):
    store.write("j-1", at, {"IsIdle": value}, is_change=is_change)


def times(store):
    return [point.at for point in store.points("j-1", "IsIdle", 0, 1e12)]


def test_period_has_the_points_in_it_and_none_of_its_neighbours():
    points = [Point(59.9, 9), Point(60, 1), Point(119.9, 2), Point(120, 9)]
    assert periods(points, 60, 120, 60) == [Period(60, (1, 2))]


def test_start_within_a_period_means_that_period():
    assert periods([Point(60, 1)], 119, 120, 60) == [Period(60, (1,))]
    assert first_needed(119, 60) == 30


def test_value_is_carried_into_the_next_periods_but_not_for_long():
    found = periods([Point(100, 7)], 100, 200, 10)
    assert found == [Period(100, (7,)), Period(110, (7,)), Period(120, (7,))]


def test_no_value_comes_from_before_there_was_one():
    assert periods([Point(125, 7)], 100, 130, 10) == [Period(120, (7,))]
    assert periods([], 0, 100, 10) == []


def test_statistics_are_those_of_the_values():
    values = (1.0, 2.0, 6.0)
    found = {name: statistic(values) for name, statistic in STATISTICS.items()}
    assert found == {"Average": 3, "Minimum": 1, "Maximum": 6, "Sum": 9, "SampleCount": 3}


def test_points_are_found_by_cluster_metric_and_time(store):
    for at in (10.0, 20.0, 30.0):
        write(store, at, at)
    store.write("j-2", 20.0, {"IsIdle": 5.0}, is_change=True)
    assert store.points("j-1", "IsIdle", 20, 30) == [Point(20.0, 20.0)]
    assert store.points("j-1", "CoreNodesRunning", 0, 100) == []
    assert store.metrics() == {"j-1": {"IsIdle"}, "j-2": {"IsIdle"}}
    assert store.metrics(since=25) == {"j-1": {"IsIdle"}}


def test_old_repetitions_are_thinned_to_one_a_minute_and_changes_stay(store):
    for at in (60.0, 70.0, 80.0, 120.0, 130.0):
        write(store, at)
    write(store, 85.0, 0.0, is_change=True)
    store.prune(130.0 + metricstore.FULL_SECONDS)
    assert times(store) == [60.0, 85.0, 120.0, 130.0]


def test_what_is_older_than_fifteen_days_is_forgotten(store):
    write(store, 60.0, is_change=True)
    write(store, 120.0, is_change=True)
    store.prune(100.0 + metricstore.KEPT_SECONDS)
    assert times(store) == [120.0]


def test_rows_of_a_cluster_are_bounded_and_the_newest_stay(store, monkeypatch):
    monkeypatch.setattr(metricstore, "MOST_ROWS", 3)
    for at in range(10):
        write(store, float(at), is_change=True)
    store.prune(10.0)
    assert times(store) == [7.0, 8.0, 9.0]
