"""What a collection will cost, held against the post and by hand.

Row numbers in names are those of the post's statements, as the project counts them.
"""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from commandline import atoll, must

from atoll.core.errors import InvalidInput
from atoll.core.functions import FunctionMemory
from atoll.deploy.render import SearchStack
from atoll.vectors.pricing import quotetext
from atoll.vectors.pricing.bill import Bill, bill_of, cost, price, total
from atoll.vectors.pricing.downloads import break_even, download, lambda_cost, queries_at_once
from atoll.vectors.pricing.planner import Limits, choose_size
from atoll.vectors.pricing.prices import load_prices
from atoll.vectors.pricing.quote import Wanted, make_quote
from atoll.vectors.pricing.quoteplot import curve, one_bucket
from atoll.vectors.pricing.searchcost import Runtime, search_cost
from atoll.vectors.pricing.shape import SearchSettings, for_recall, planned_shape
from atoll.vectors.pricing.steps import Step
from atoll.vectors.pricing.storedcost import TIB, building, stored
from atoll.vectors.rates import NOTHING, STAGES, Rates, Spread, Timing
from atoll.vectors.work import Work

PRICES = load_prices()
NO_LIMITS, ONE = Limits(), SearchSettings()
ROWS = 3_500_000_000
POST = ("--rows", "3.5e9", "--dim", 960, "--bucket-rows", "200e6")


def post(index="ivf_pq", **changes):
    return planned_shape(ROWS, 960, index=index, **changes)


def chosen(limits=NO_LIMITS, settings=ONE, index="rabitq", own=(), rows=ROWS):
    return choose_size(rows, 960, "float32", index, settings, limits, PRICES, own)


# -- the post -------------------------------------------------------------------------------------


def test_row_22_3_5_billion_rows_in_buckets_of_200_million_are_18_buckets():
    assert post().buckets == post("rabitq").buckets == 18
    assert post().index.num_partitions == int((ROWS / 18) ** 0.5)
    assert "in 18 buckets" in must("estimate", *POST)


def test_row_22_the_build_takes_the_posts_108_hours_at_its_rate():
    assert building(post(), None).post_hours == pytest.approx(108, abs=0.1)
    assert "/ 9,002 vectors a second (the post's, on one i4i.8xlarge) = 108 h" in must(
        "estimate", *POST
    )


def test_row_22_the_build_is_projected_from_rates_measured_here_where_there_are_any():
    second = Spread(1e-6, 2e-6, 3e-6)
    measured = Rates(
        machine="m",
        measured_at="2026-11-26",
        timings=tuple(Timing(stage, 960, 0, second, second) for stage in STAGES),
        start_s=NOTHING,
        worker_s=NOTHING,
        bucket_s=NOTHING,
        calibrate_s=NOTHING,
        train_passes=NOTHING,
        base_bytes=0,
        library_bytes=0,
        stores={},
    )
    found = building(post("rabitq"), measured).here
    # One process checks ids, draws the sample and measures recall; 32 half cores do the rest.
    ids = ROWS * 2e-6 / 0.5
    assert ids < found.total_s.mid < 2 * ids
    assert building(post(), measured).here is None
    wanted = Wanted(ROWS, 960, "float32", "rabitq", 200_000_000, ONE, NO_LIMITS)
    text = "\n".join(quotetext.text(make_quote(wanted, PRICES, measured)))
    assert "at the rates measured here" in text
    assert "atoll bench-here" not in text


def test_row_23_storage_is_the_posts_12_9_read_as_tib_and_the_formula_is_shown():
    by_hand = ROWS * (960 * 4 + 960 // 16 + 8 + 20 + 12)
    found = stored(post())
    assert found.bytes == pytest.approx(by_hand, rel=0.001)
    assert found.bytes / TIB == pytest.approx(12.9, rel=0.05)
    formula = (
        "3,500,000,000 x (3,840 vector + 68 code + 20 id + 12 id index) B = 13.8 TB = 12.5 TiB"
    )
    assert formula in must("estimate", *POST, "--index", "ivf_pq")


@pytest.mark.parametrize("index", ["rabitq", "ivf_pq"])
def test_row_24_a_query_over_18_buckets_costs_a_fraction_of_a_cent(index):
    run = search_cost(post(index), SearchSettings(widens=True))
    assert 0 < cost(run.bill, PRICES) < 0.01
    said = must("estimate", *POST, "--index", index)
    for line in price(run.bill, PRICES).values():
        if line.usd:
            assert str(line) in said
    assert "1 plan x " in said
    assert " + 18 search x " in said


@pytest.mark.parametrize("index", ["rabitq", "ivf_pq"])
def test_row_25_larger_buckets_are_cheaper_to_query_slower_to_answer_and_to_index(index):
    sizes = chosen(index=index).sizes
    assert [size.bucket_rows for size in sizes] == [50e6, 100e6, 200e6, 500e6, 1e9]
    for smaller, larger in pairwise(sizes):
        assert larger.query_usd < smaller.query_usd
        assert larger.cost.step("search").seconds > smaller.cost.step("search").seconds
        # Few large buckets are sooner merged than many small ones: up to a tenth of a second.
        assert larger.cost.latency_s > smaller.cost.latency_s - 0.1
        assert larger.index_hours > smaller.index_hours
    assert sizes[-1].cost.latency_s > sizes[0].cost.latency_s + 2


@pytest.mark.parametrize(("k", "queries"), [(50_000, 1), (4, 100)])
def test_row_26_both_shapes_of_the_post_pass_within_lambda(k, queries):
    run = search_cost(post("rabitq"), SearchSettings(k=k, queries=queries))
    assert run.obstacles == ()
    assert run.step("search").step.bytes_out < 2e6


def test_row_27_time_grows_more_slowly_than_the_neighbours_asked_for():
    few, many = curve(post("rabitq"), SearchSettings(), PRICES, [1, 50_000])
    assert few.latency_s < many.latency_s < 1000 * few.latency_s
    alone = curve(one_bucket(post("rabitq")), SearchSettings(), PRICES, [1000])[0]
    assert alone.usd < curve(post("rabitq"), SearchSettings(), PRICES, [1000])[0].usd


def test_very_many_candidates_are_measured_by_their_buckets():
    few, many = (search_cost(post("rabitq"), SearchSettings(k=k)) for k in (1000, 50_000))
    assert [each.step.name for each in few.steps] == ["plan", "search", "refine"]
    measure, refine = many.step("measure").step, many.step("refine").step
    assert measure.count == many.shape.buckets
    # Together they read the vectors that refining would have read alone.
    vectors = next(a for a in measure.accesses if a.what == "vectors")
    assert vectors.bytes_in * measure.count >= 250_000 * many.shape.vector_bytes
    assert "vectors" not in {access.what for access in refine.accesses}
    assert next(a for a in refine.accesses if a.what == "measured").gets == measure.count
    thousands = planned_shape(10_000 * 200_000_000, 960)
    in_one_place = search_cost(thousands, SearchSettings(k=50_000, concurrency=1000))
    assert "measure" not in {each.step.name for each in in_one_place.steps}


def test_row_29_ten_thousand_buckets_are_folded_in_a_tree():
    shape = planned_shape(10_000 * 200_000_000, 960)
    run = search_cost(shape, SearchSettings(concurrency=1000))
    assert shape.buckets == 10_000
    assert [each.step.name for each in run.steps] == ["plan", "search", "fold", "refine"]
    assert run.step("fold").step.count == 100
    assert run.waves == 10
    assert run.obstacles == ()
    # Refine reads what the groups left, not 10,000 parts.
    parts = next(a for a in run.step("refine").step.accesses if a.what == "parts")
    assert parts.gets == 100


def test_a_few_buckets_need_no_tree_but_large_parts_do():
    names = [each.step.name for each in search_cost(post("rabitq"), SearchSettings()).steps]
    assert names == ["plan", "search", "refine"]
    # Of 100 queries for 50,000 each, four are answered at once; their buckets measure candidates.
    many = search_cost(post("rabitq"), SearchSettings(k=50_000, queries=100))
    assert [each.step.name for each in many.steps] == ["plan", "search", "measure", "refine"]
    assert many.step("search").step.puts == 25
    large = search_cost(post("rabitq", bucket_rows=35_000_000), SearchSettings(k=50_000))
    assert large.shape.buckets * 250_000 > 20_000_000
    assert large.step("fold").step.count == 2


# -- by hand --------------------------------------------------------------------------------------


def test_a_bill_is_priced_line_by_line():
    bill = Bill(gets=1000, puts=10, retries=20, gb_s=60, invocations=2, transitions=4, bytes_in=5)
    lines = price(bill, PRICES)
    assert lines["gets"].usd == pytest.approx(1000 * 4e-7)
    assert lines["puts"].usd == pytest.approx(10 * 5e-6)
    assert lines["gb_s"].usd == pytest.approx(60 * 0.0000166667)
    assert lines["invocations"].usd == pytest.approx(2 * 2e-7)
    assert lines["transitions"].usd == pytest.approx(4 * 2.5e-5)
    assert lines["bytes"].usd == 0
    assert "lists" not in lines
    assert total(lines) == pytest.approx(cost(bill, PRICES))


def test_what_steps_measured_makes_a_bill():
    usage = {
        "gets": 7, "puts": 2, "lists": 1, "deletes": 3, "retries": 1,
        "bytes_read": 100, "bytes_written": 10,
    }  # fmt: skip
    on_lambda = Work("search", 4, 8.0, 3.0, 1.5, 2048, usage)
    here = Work("refine", 1, 5.0, 5.0, 2.0, 0, usage)
    assert bill_of([on_lambda, here], transitions=6) == Bill(
        gets=14, puts=4, lists=2, bytes_in=200, bytes_out=20, retries=2, cpu_s=3.5,
        invocations=4, gb_s=16.0, transitions=6,
    )  # fmt: skip


def test_bytes_that_leave_the_region_cost_and_those_inside_do_not():
    bill = Bill(bytes_in=3 << 30, bytes_leaving=1 << 30)
    assert cost(bill, PRICES) == pytest.approx(PRICES.out_of_region_gib)


def test_a_search_is_counted_step_by_step():
    shape, settings = post("rabitq"), SearchSettings()
    run = search_cost(shape, settings)
    # request, manifest, queries, model; layouts of all where partitions are added until k.
    assert run.step("plan").step.gets == 4
    widened = search_cost(shape, SearchSettings(widens=True))
    assert widened.step("plan").step.gets == 4 + 18
    # Of 20 partitions half touch.
    by_what = {access.what: access.gets for access in run.step("search").step.accesses}
    assert {name: by_what[name] for name in ("target", "plan", "probes", "layouts")} == {
        "target": 1, "plan": 1, "probes": 1, "layouts": 1,
    }  # fmt: skip
    assert 10 <= by_what["codes"] <= 20
    bill = run.bill
    assert bill.gets == pytest.approx(sum(s.step.count * s.step.gets for s in run.steps))
    assert bill.invocations == 1 + 18 + 1
    assert run.transitions == 6 + 2 * 18
    # The rows of 20 of 16,384 partitions, and half as many again, at 132 B.
    probed = 20 / 16_384 * (ROWS / 18) * 1.5 * 132
    codes = next(a for a in run.step("search").step.accesses if a.what == "codes")
    assert codes.bytes_in == pytest.approx(probed, rel=0.05)


def test_lambda_seconds_are_start_waits_bytes_and_cpu():
    runtime = Runtime(latency_s=1, start_s=10, max_bytes_s=1e6, bytes_s_per_gib=1e9)
    step = search_cost(post("rabitq"), SearchSettings()).step("plan").step
    seconds = 10 + 8 + (step.bytes_in + step.bytes_out) / 1e6 + step.cpu_s / 0.5
    assert step.rounds == 8
    assert runtime.seconds(step, 1769) == pytest.approx(seconds)


def test_functions_get_the_memory_they_need_and_a_vcpu_at_least():
    small, large = (Step("search", 1, (), 0, size) for size in (1, 4 << 30))
    assert Runtime().memory_mib(small) == SearchStack("s3://abc/d").search_memory == 3008
    assert Runtime().memory_mib(replace(small, name="plan")) == 1769
    assert Runtime().memory_mib(large) == 5120
    held = Runtime(memory=FunctionMemory(search=2048), is_deployed=True)
    assert held.memory_mib(large) == 2048


def test_a_search_without_index_does_not_fit_a_function():
    run = search_cost(planned_shape(100_000_000, 960, index="flat"), SearchSettings())
    assert "search takes" in run.obstacles[0]
    found = chosen(index="flat", rows=100_000_000)
    assert found.chosen is None
    assert "give an index" in found.why


# -- the planner ----------------------------------------------------------------------------------


def test_without_limits_the_largest_size_is_cheapest():
    found = chosen()
    assert found.chosen.bucket_rows == 1_000_000_000
    assert "no limit binds" in found.why


def test_a_latency_asks_for_smaller_buckets_and_the_reason_is_told():
    sizes = {size.bucket_rows: size for size in chosen().sizes}
    limit = (sizes[200_000_000].cost.latency_s + sizes[500_000_000].cost.latency_s) / 2
    found = chosen(Limits(latency_s=limit))
    assert found.chosen.bucket_rows == 200_000_000
    assert "500,000,000 rows would be cheaper, but" in found.why
    assert "over the latency" in found.why


def test_a_budget_asks_for_larger_buckets():
    limit = Limits(query_usd=0.01, month_usd=60, queries_per_month=10_000)
    misses = {size.bucket_rows: size.misses for size in chosen(limit).sizes}
    assert "a query over the budget" in misses[50_000_000][0]
    assert "a month over the budget" in misses[100_000_000][0]
    assert misses[200_000_000] == ()


def test_few_functions_at_once_answer_in_waves():
    sizes = chosen(settings=SearchSettings(concurrency=20)).sizes
    assert [size.cost.waves for size in sizes] == [4, 2, 1, 1, 1]
    one_wave = {size.bucket_rows: size.cost.latency_s for size in chosen().sizes}
    assert sizes[0].cost.latency_s > one_wave[50_000_000] + 5


def test_limits_that_nothing_keeps_are_answered_with_what_would_have_to_give():
    found = chosen(Limits(latency_s=0.5, query_usd=1e-9))
    assert found.chosen is None
    assert "the quickest takes" in found.why
    assert "the cheapest costs" in found.why
    said = must("estimate", *POST, "--latency", 0.5)
    assert "NONE: no size keeps every limit" in said


def test_a_size_of_the_users_own_is_a_row_and_so_is_the_posts():
    assert [size.bucket_rows for size in chosen(own=(300_000_000,)).sizes] == [
        50_000_000, 100_000_000, 200_000_000, 300_000_000, 500_000_000, 1_000_000_000,
    ]  # fmt: skip


def test_sizes_beyond_all_rows_are_left_out():
    assert [size.bucket_rows for size in chosen(rows=120_000_000).sizes] == [
        50_000_000, 100_000_000, 200_000_000,
    ]  # fmt: skip


def test_a_bucket_that_no_disk_holds_is_not_chosen():
    found = chosen(own=(3_000_000_000,), rows=3_000_000_000)
    assert "do not fit the disks of i4i.8xlarge" in found.sizes[-1].misses[0]
    assert found.chosen.bucket_rows == 1_000_000_000


# -- downloading ----------------------------------------------------------------------------------


def test_row_21_from_so_many_queries_downloading_is_cheaper_and_not_before():
    shape, settings = post("rabitq"), SearchSettings()
    count = break_even(shape, settings, PRICES)
    each, at_once = download(shape, settings), queries_at_once(shape, settings)
    assert count > 1
    assert cost(each.bill(count), PRICES) < lambda_cost(shape, settings, count, at_once, PRICES)
    fewer = count - 1
    assert cost(each.bill(fewer), PRICES) >= lambda_cost(shape, settings, fewer, at_once, PRICES)
    assert "cheaper than Lambda from" in must("estimate", *POST)


def test_what_lambda_cannot_search_is_downloaded():
    shape = planned_shape(100_000_000, 960, index="flat")
    assert break_even(shape, SearchSettings(), PRICES) == 1
    said = must("estimate", "--rows", 1e8, "--dim", 960, "--index", "flat")
    assert "it is the only way" in said


def test_a_free_instance_is_cheaper_at_once_and_a_dear_one_never():
    shape, settings = post("rabitq"), SearchSettings()
    free = replace(PRICES, instance_hour=0, get=0)
    assert break_even(shape, settings, free) == 1
    assert break_even(shape, settings, replace(PRICES, instance_hour=1e9)) is None


def test_as_many_queries_go_together_as_a_function_can_answer():
    shape, settings = post("rabitq"), SearchSettings()
    count = queries_at_once(shape, settings)
    assert not search_cost(shape, replace(settings, queries=count)).obstacles
    assert search_cost(shape, replace(settings, queries=2 * count)).obstacles


# -- what is supposed, what is refused ------------------------------------------------------------


def test_a_recall_is_supposed_from_what_was_measured():
    assert for_recall("rabitq", 0.95) == (5, 5)
    assert for_recall("ivf_pq", 0.95) == (10, 20)
    said = must("estimate", *POST, "--recall", 0.95)
    assert "nprobes 5, refine factor 5 (supposed for recall 0.95" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rows", 0), "--rows 0 is not between 1"),
        (("--rows", -1), "--rows -1 is not between 1"),
        (("--dim", 0), "--dim 0 is not between 1"),
        (("--bucket-rows", 0), "--bucket-rows 0 is not between 1"),
        (("--index", "ivf_pq", "--dim", 100), "do not divide into sub-vectors of 16"),
        (("--index", "ivf_pq", "--dtype", "int8"), "int8 goes with --index rabitq"),
        (("-k", 0), "k is 0"),
        (("--nprobes", 0), "nprobes is 0"),
        (("--concurrency", -2), "concurrency is -2"),
        (("--queries-per-run", 0), "queries is 0"),
        (("--queries-per-month", -1), "is no number of queries"),
        (("--latency", 0), "--latency 0.0 is no limit"),
        (("--latency", "nan"), "--latency nan is no limit"),
        (("--query-budget", -1), "--query-budget -1.0 is no limit"),
        (("--monthly-budget", "inf"), "--monthly-budget inf is no limit"),
        (("--recall", 2), "recall is 2.0"),
        (("--recall", "nan"), "recall is nan"),
        (("--recall", 1), "recall 1 was not reached"),
        (("--recall", 0.9, "--nprobes", 3), "--recall supposes nprobes"),
        (("--prices", "none.toml"), "none.toml does not exist"),
        (("--plot", "a.pdf"), "a.pdf does not end in .png"),
    ],
)
def test_what_cannot_be_quoted_is_refused(words, message):
    done = atoll("estimate", *POST, *words)
    assert done.code == 1
    assert message in done.err


@pytest.mark.parametrize("rows", ["nan", "inf", "1.5", "many"])
def test_rows_are_a_whole_number(rows):
    done = atoll("estimate", "--rows", rows, "--dim", 960)
    assert done.code == 2
    assert "is not a whole number" in done.err


def test_json_has_the_figures_of_the_text():
    words = (*POST, "--queries-per-month", 1000)
    found = json.loads(must("estimate", *words, "--json"))
    assert found["buckets"] == 18
    assert found["month"]["usd"] == pytest.approx(
        found["storage"]["month_usd"] + 1000 * found["search"]["query_usd"]
    )
    lines = found["search"]["lines"].values()
    assert sum(line["usd"] for line in lines) == pytest.approx(found["search"]["run_usd"])
    assert [size["bucket_rows"] for size in found["sizes"]][2] == 200_000_000
    assert found["download"]["cheaper_from_queries"] > 1
    assert found["build"]["measured_hours"] is None


def test_a_picture_is_drawn(tmp_path):
    picture = tmp_path / "k.png"
    must("estimate", *POST, "--plot", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_spot_price_is_shown_beside_the_other():
    wanted = Wanted(ROWS, 960, "float32", "rabitq", 200_000_000, ONE, NO_LIMITS)
    text = "\n".join(quotetext.text(make_quote(wanted, replace(PRICES, spot_hour=1.0))))
    assert "108 h of spot x $1.00 = $108.00" in text


def test_a_dimension_that_does_not_suit_ivf_pq_is_refused_before_anything_else():
    with pytest.raises(InvalidInput, match="sub-vectors of 16"):
        planned_shape(ROWS, 100, index="ivf_pq")
