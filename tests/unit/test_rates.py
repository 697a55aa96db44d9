"""The cost of a build, projected from rates: each figure against arithmetic done by hand."""

import pytest

from atoll.vectors.costs import Place, Work, sizes, times
from atoll.vectors.rates import NOTHING, Rates, Spread, Timing

MICRO = 1e-6
ROW_STAGES = ("check ids", "sample", "read", "write", "encode", "rest", "shuffle", "calibrate")


def exactly(seconds):
    return Spread(seconds, seconds, seconds)


def timing(stage, dim, microseconds, partitions=0):
    seconds = exactly(microseconds * MICRO)
    return Timing(stage, dim, partitions, seconds, seconds)


def rates(*timings, start=0):
    every = [timing(stage, 100, 1) for stage in ROW_STAGES]
    return Rates(
        machine="m",
        measured_at="",
        timings=(*every, *timings),
        start_s=exactly(start),
        worker_s=exactly(start / 2),
        bucket_s=exactly(0.5),
        calibrate_s=exactly(0.25),
        train_passes=Spread(1, 10, 16),
        base_bytes=1000,
        library_bytes=300,
        stores={},
    )


def work(*bucket_rows, **changes):
    facts = {
        "dim": 100,
        "dtype": "float32",
        "index": "rabitq",
        "num_partitions": 10,
        "sample_rows": 0,
        "batch_rows": 10,
        "calibrated_rows": 0,
    }
    return Work(bucket_rows=bucket_rows, **{**facts, **changes})


def place(cores=1, workers=1, speed=1.0, memory_bytes=1 << 40):
    return Place("here", cores, speed, workers, memory_bytes)


ASSIGN = timing("assign", 100, 4, partitions=10)


def test_a_spread_sums_up_measurements():
    assert Spread.of([5, 1, 3]) == Spread(1, 3, 5)
    assert Spread(1, 2, 3).times(2) + Spread(1, 1, 1) == Spread(3, 5, 7)


@pytest.mark.parametrize(("dim", "expected"), [(100, 1), (200, 3), (150, 2), (300, 5), (60, 0.2)])
def test_what_lies_between_or_beyond_two_dimensions_is_on_their_line(dim, expected):
    known = rates(timing("narrow", 100, 1), timing("narrow", 200, 3))
    assert known.row_s("narrow", dim).mid == pytest.approx(expected * MICRO)


def test_a_line_never_leads_below_nothing():
    known = rates(timing("narrow", 100, 1), timing("narrow", 200, 3))
    assert known.row_s("narrow", 2) == NOTHING


def test_assignment_is_read_off_by_partitions_and_dimension():
    known = rates(
        timing("assign", 100, 10, 10), timing("assign", 100, 20, 20),
        timing("assign", 200, 20, 10), timing("assign", 200, 40, 20),
    )  # fmt: skip
    assert known.row_s("assign", 150, 15).mid == pytest.approx(22.5 * MICRO)


def test_one_worker_spends_the_sum_of_all_stages():
    found = times(work(1_000_000), place(), rates(ASSIGN))
    # Five stages of 1 us, 4 us of assignment, and half a second for the bucket.
    assert found.total_s.mid == pytest.approx(9.5)
    assert found.cpu_s.mid == pytest.approx(9.5)


def test_workers_share_buckets_but_the_check_of_ids_is_one_process():
    found = times(work(*[100_000] * 4), place(cores=4, workers=4), rates(ASSIGN))
    # 0.4 s of ids; then a quarter of 8 x 0.4 s in rows and of 4 x 0.5 s.
    assert found.total_s.mid == pytest.approx(0.4 + 0.8 + 0.5)


def test_of_a_small_bucket_only_assignment_spreads_over_cores():
    found = times(work(100_000), place(cores=4, workers=4), rates(ASSIGN))
    assert found.wall_s["assign"].mid == pytest.approx(0.1)
    assert found.wall_s["encode"].mid == pytest.approx(0.1)
    assert "shuffle" not in found.wall_s


def test_all_workers_share_the_rows_of_a_large_bucket_by_way_of_files():
    found = times(work(1_000_000), place(cores=4, workers=4), rates(ASSIGN))
    # 1 s of ids; then a quarter of 1 s each to read, encode, write, shuffle and the rest, of 4 s to
    # assign, and of what a bucket costs.
    assert found.total_s.mid == pytest.approx(1 + (5 + 4 + 0.5) / 4)
    assert sizes(work(1_000_000), place(workers=4), 0, 0).spill == 1_000_000 * (445 + 12)


def test_workers_of_a_shared_bucket_start_twice_beside_the_first_process():
    known, here = rates(ASSIGN, start=2), place(cores=4, workers=4)
    assert times(work(1_000_000), here, known).wall_s["start"].mid == pytest.approx(2 + 2 * 1)
    own = times(work(*[100_000] * 4), here, known)
    assert own.wall_s["start"].mid == pytest.approx(2 + 1)
    assert times(work(1000), place(), known).wall_s["start"].mid == pytest.approx(2)
    shared = times(work(1_000_000), here, known).cpu_s.mid
    unstarted = times(work(1_000_000), here, rates(ASSIGN)).cpu_s.mid
    assert shared - unstarted == pytest.approx(2 + 8 * 1)


def test_rows_that_do_not_fit_go_through_files_with_one_worker_too():
    small = place(memory_bytes=100_000 * 457)
    assert times(work(100_000), small, rates(ASSIGN)).wall_s["shuffle"].mid == pytest.approx(0.1)


def test_recall_is_measured_by_one_process_at_the_end():
    plain = times(work(*[100_000] * 4), place(cores=4, workers=4), rates(ASSIGN))
    known = work(*[100_000] * 4, calibrated_rows=200_000)
    more = times(known, place(cores=4, workers=4), rates(ASSIGN))
    assert more.total_s.mid - plain.total_s.mid == pytest.approx(0.25 + 0.2)


def test_the_busiest_of_uneven_rounds_decides():
    found = times(work(*[100_000] * 3), place(cores=2, workers=2), rates(ASSIGN))
    assert found.wall_s["write"].mid == pytest.approx(0.2)


def test_workers_beyond_the_cores_take_turns_and_slow_cores_take_longer():
    buckets = work(*[100_000] * 4)
    usual = times(buckets, place(cores=2, workers=2), rates(ASSIGN)).wall_s["read"].mid
    crowded = times(buckets, place(cores=2, workers=4), rates(ASSIGN)).wall_s["read"].mid
    slow = times(buckets, place(cores=2, workers=2, speed=0.5), rates(ASSIGN)).wall_s["read"].mid
    assert (usual, crowded, slow) == pytest.approx((0.2, 0.2, 0.4))


def test_training_costs_passes_over_its_sample_on_all_cores():
    found = times(work(1_000_000, sample_rows=50_000), place(cores=2), rates(ASSIGN))
    assert found.wall_s["sample"].mid == pytest.approx(50_000 * MICRO)
    assert found.wall_s["train"].low == pytest.approx(50_000 * 4 * MICRO * 1 / 2)
    assert found.wall_s["train"].high == pytest.approx(50_000 * 4 * MICRO * 16 / 2)


def test_no_index_means_neither_training_nor_assignment_nor_codes():
    found = times(work(1000, index="flat", num_partitions=0), place(), rates())
    assert set(found.wall_s) == {"start", "check ids", "read", "write", "rest"}


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_narrowing_is_paid_for(dtype):
    known = rates(ASSIGN, timing("narrow", 100, 2))
    both = [times(work(1_000_000, dtype=d), place(), known) for d in ("float32", dtype)]
    assert both[1].total_s.mid - both[0].total_s.mid == pytest.approx(2)


def test_written_bytes_are_rows_model_and_offsets():
    # 400 of vector, 20 of id, 13 + 12 of code, 12 of id index; centroids; first rows.
    found = sizes(work(600, 400), place(), 0, 0)
    assert found.written == 1000 * 457 + 10 * 100 * 4 + 2 * 10 * 8
    assert found.read == 1000 * 400


def test_rows_spill_only_beyond_a_worker_s_share_of_memory():
    held = 445 + 12
    # 0.6 of the memory is for two workers.
    enough = int(1000 * held * 2 / 0.6) + 10
    assert sizes(work(1000, 1000), place(workers=2, memory_bytes=enough), 0, 0).spill == 0
    spilt = sizes(work(1000, 1000), place(workers=2, memory_bytes=enough // 2), 0, 0)
    assert spilt.spill == 2 * 1000 * held


def test_the_check_of_ids_spills_beyond_a_quarter_of_memory():
    rows = 1_000_000
    memory = rows * 40 * 4 - 4
    found = sizes(work(rows, index="flat", num_partitions=0), place(memory_bytes=memory), 0, 0)
    assert found.spill == 16 * rows


def test_memory_is_each_worker_s_one_more_process_for_several_and_libraries_once():
    one = sizes(work(100, 100), place(), 5000, 300)
    two = sizes(work(100, 100), place(workers=2), 5000, 300)
    assert two.worker_memory == one.worker_memory == one.memory - 300
    assert two.memory == 2 * two.worker_memory + 5000 + 300


def test_training_may_need_the_most_memory():
    found = sizes(work(1000, sample_rows=1_000_000), place(), 5000, 300)
    assert found.memory == 300 + 5000 + 6 * 1_000_000 * 100 * 4


def test_a_worker_of_a_shared_bucket_holds_its_task_only():
    alone = sizes(work(12_000_000), place(), 0, 0)
    shared = sizes(work(12_000_000), place(workers=4), 0, 0)
    assert (alone.is_shared, shared.is_shared) == (False, True)
    # Three tasks a worker.
    assert shared.worker_memory < alone.worker_memory / 9
