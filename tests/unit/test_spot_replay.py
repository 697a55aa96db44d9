from __future__ import annotations

import gzip
import json
import random

import pytest

from atoll.fleet.model import SpotStrategy
from bench.spotreplay import NOTICE_SECONDS, Policy, TracedPool, replay
from bench.spottraces import read_prices, read_traces

HOUR = 3600.0
SPOT_ONLY = Policy("")
BOOT = SPOT_ONLY.boot_s
REPLACES = Policy("", replaces=True)


def pool(*changes, name="a", weight=1, spot=0.3):
    times, counts = zip(*changes, strict=True)
    return TracedPool(name, weight, spot, 1.0, times, counts)


def run(*pools, policy=SPOT_ONLY, target=4, end=10 * HOUR):
    return replay(pools, target, SpotStrategy.DIVERSIFIED, policy, start=0.0, end=end)


def test_spot_that_stays_serves_all_the_time_but_the_boot():
    found = run(pool((0, 4)))
    assert found.held == pytest.approx(1 - BOOT / (10 * HOUR))
    assert (found.cost, found.reclaimed, found.bought) == (pytest.approx(0.3), 0, 4)


def test_spot_that_goes_serves_and_costs_until_then():
    found = run(pool((0, 4), (5 * HOUR, 0)))
    assert found.held == pytest.approx(0.5 - BOOT / (10 * HOUR))
    assert (found.cost, found.reclaimed) == (pytest.approx(0.15), 4)


def test_with_replacement_on_demand_serves_from_the_end_of_the_notice_on():
    found = run(pool((0, 4), (5 * HOUR, 0)), policy=REPLACES)
    assert found.held == pytest.approx(1 - BOOT / (10 * HOUR))
    assert found.cost == pytest.approx(0.15 + 0.5 + NOTICE_SECONDS / (10 * HOUR))


def test_on_demand_is_ended_when_spot_serves_again():
    found = run(pool((0, 0), (5 * HOUR, 4)), policy=REPLACES)
    assert found.cost == pytest.approx(0.5 + 0.15 + BOOT / (10 * HOUR))


def test_the_switch_at_launch_happens_after_its_timeout_and_stays():
    found = run(pool((0, 1), (5 * HOUR, 4)), policy=Policy("", switch_minutes=20))
    away = 3 / 4 * (20 * 60 + BOOT) + BOOT / 4
    assert found.held == pytest.approx(1 - away / (10 * HOUR))
    assert found.bought == 4


def test_spot_lost_after_the_launch_is_not_sought_on_demand():
    policy = Policy("", switch_minutes=20)
    assert run(pool((0, 4), (5 * HOUR, 0)), policy=policy).bought == 4


def test_a_suspended_fleet_does_not_take_the_spot_that_comes_back_late():
    trace = pool((0, 4), (2 * HOUR, 0), (4 * HOUR, 4))
    late = Policy("", switch_minutes=20, suspend_minutes=60)
    assert (run(trace, policy=late).bought, run(trace).bought) == (4, 8)


def test_nobody_gets_a_node_that_would_be_under_notice_at_once():
    assert run(pool((0, 0), (HOUR, 4), (HOUR + NOTICE_SECONDS, 0))).bought == 0


def test_another_pool_takes_over_without_a_gap():
    found = run(pool((0, 4), (5 * HOUR, 0)), pool((0, 0), (4 * HOUR, 4), name="b"))
    assert found.held == pytest.approx(1 - BOOT / (10 * HOUR))


def test_a_score_is_ten_times_the_share_of_the_last_day():
    trace = pool((0, 0), (12 * HOUR, 1), (18 * HOUR, 0))
    assert trace.score(24 * HOUR) == pytest.approx(2.5)
    assert trace.score(40 * HOUR) == pytest.approx(10 * 2 / 24)
    assert trace.score(0.0) == 0.0


def second_by_second(counts, target):
    """Replay one pool of nodes of one unit, a second at a time."""
    ready, leaving, held = [], [], 0
    for now in range(len(counts)):
        there = min(counts[now : now + int(NOTICE_SECONDS) + 1])
        leaving = [(since, end) for since, end in leaving if end > now]
        for since in ready[there:]:
            leaving.append((since, now + NOTICE_SECONDS))
        ready = ready[:there]
        ready += [now + BOOT] * (min(there, target) - len(ready))
        held += min(
            sum(since <= now for since, _ in [*((one, 0) for one in ready), *leaving]), target
        )
    return held / target / len(counts)


@pytest.mark.parametrize("seed", range(5))
def test_a_replay_holds_what_a_clock_of_seconds_counts(seed):
    draw = random.Random(seed)
    lasts, nodes = (
        [draw.randint(30, 900) for _ in range(12)],
        [draw.randint(0, 5) for _ in range(12)],
    )
    times = [sum(lasts[:n]) for n in range(12)]
    counts = [count for count, last in zip(nodes, lasts, strict=True) for _ in range(last)]
    found = run(pool(*zip(times, nodes, strict=True)), target=3, end=len(counts))
    assert found.held == pytest.approx(second_by_second(counts, 3))


def test_traces_and_prices_are_read_as_the_files_say(tmp_path):
    (tmp_path / "t").write_text(
        json.dumps(
            {
                "traces": {
                    "p/aws-1/us-east-2b_k80_8.json": {"gap_seconds": 60, "rle": [[1, 3], [0, 2]]}
                }
            }
        )
    )
    lines = "# header\nuse2-az1\tp2.8xlarge\t2.0\tx\nuse2-az2\tp2.8xlarge\t3.0\tx\n"
    (tmp_path / "p").write_bytes(gzip.compress(lines.encode()))
    (trace,) = read_traces(tmp_path / "t", read_prices(tmp_path / "p"))
    assert (trace.group, trace.zone) == ("p/aws-1/us-east-2 k80", "us-east-2b")
    assert (trace.target, trace.seconds, trace.pool.spot_price) == (8, 300, 2.5)
    assert (trace.pool.times, trace.pool.counts) == ([0, 180], [1, 0])
