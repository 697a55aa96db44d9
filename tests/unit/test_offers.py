"""What a search would cost by each way, which is taken, and where a budget stops it."""

import math
from dataclasses import replace

import pytest

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.functions import FunctionMemory
from atoll.deploy.render import SearchStack, definition
from atoll.vectors.model import (
    Blob,
    Bucket,
    Calibration,
    CollectionSpec,
    IndexSpec,
    Manifest,
    Reads,
)
from atoll.vectors.options import CLOUDS, SearchOptions
from atoll.vectors.pricing.bill import transitions_of
from atoll.vectors.pricing.offers import make_offers
from atoll.vectors.pricing.prices import load_prices

PRICES = load_prices()
AWS = Settings()


def manifest(rows=200_000_000, buckets=18, adopted=False):
    spec = CollectionSpec(
        dim=960, dtype="float32", distance_type="cosine", vector_column="embedding",
        id_column="id", columns={}, arrow_schema="", embedder=None,
        index=IndexSpec("rabitq", 16_384),
    )  # fmt: skip
    bucket = Bucket(
        name="b", version=1, stored_rows=rows, skipped=0, digest={}, plan="p",
        model="m", layout=Blob("l", 60_000, "h"), index=IndexSpec("flat") if adopted else None,
        ids=Blob("i", 12 * rows, "h"), names=Blob("n", 10 * rows, "h"),
        sources=(),
    )  # fmt: skip
    return Manifest(1, "now", spec, {"m": Blob("m", 31_000_000, "h")}, "m", (bucket,) * buckets)


def offers(queries=1, is_leaving=False, clouds=CLOUDS, memory=FunctionMemory(), **given):
    options = SearchOptions(**{"nprobes": 20} | given)
    return make_offers(
        manifest(), options, queries, PRICES, clouds=clouds, is_leaving=is_leaving, memory=memory
    )


def test_offers_come_cheapest_first_with_their_arithmetic():
    found = offers()
    assert [offer.usd for offer in found.offers] == sorted(offer.usd for offer in found.offers)
    assert {offer.via for offer in found.offers} == {"local", *CLOUDS}
    machine = found.of("stepfunctions")
    assert machine.usd < 0.01
    assert "GET x $0.0000004" in machine.why
    assert "transition x $0.000025" in machine.why
    assert "transition" not in found.of("lambda").why
    assert f"copying the buckets is cheaper than Lambda from {found.downloads_from:,} queries" in (
        found.text()
    )


def test_what_leaves_the_region_makes_this_machine_dear():
    here, away = (offers(is_leaving=leaves).of("local") for leaves in (False, True))
    read = here.bill.bytes_in / (1 << 30)
    assert math.isclose(away.usd - here.usd, read * PRICES.out_of_region_gib)
    assert offers(is_leaving=True).offers[0].via == "lambda"


def test_many_queries_are_cheapest_where_buckets_are_copied():
    few, some, many = (offers(queries=n) for n in (2, 1000, 10**7))
    for fewer in (few, some):
        assert fewer.of("stepfunctions").usd < fewer.of("batch").usd
    # Copying is paid once, so that a query costs less the more there are; on functions hardly.
    assert some.of("batch").usd < 1.5 * few.of("batch").usd
    assert some.of("stepfunctions").usd > 20 * few.of("stepfunctions").usd
    assert many.of("batch").usd / 10**7 < some.of("stepfunctions").usd / 1000
    # So many no function has the time for.
    assert [offer.via for offer in many.offers if offer.via != "local"] == ["batch"]
    assert "no function can: search takes" in many.text()
    assert 1000 < many.downloads_from < 10**7


def test_only_what_is_deployed_is_offered():
    found = offers(clouds=("stepfunctions",))
    assert {offer.via for offer in found.offers} == {"local", "stepfunctions"}
    with pytest.raises(InvalidInput, match="cannot go via batch; it can go via"):
        found.of("batch")


def test_of_an_exact_search_every_vector_is_read():
    exact, approximate = offers(exact=True), offers()
    assert exact.of("local").bill.bytes_in > 18 * 200_000_000 * 960 * 4
    assert approximate.of("local").bill.bytes_in < 1e9


@pytest.mark.parametrize(
    ("given", "what"), [({"adopted": True}, "adopted tables"), ({"rows": 0}, "no rows")]
)
def test_what_nobody_knows_the_cost_of_is_not_guessed(given, what):
    found = make_offers(
        manifest(**given), SearchOptions(), 1, PRICES, clouds=CLOUDS, is_leaving=False
    )
    assert found.offers == ()
    assert found.text() == f"the collection has {what}, whose cost is not known"
    with pytest.raises(InvalidInput, match=rf"{what}.* Leave --budget out") as caught:
        found.of("lambda")
    assert "--rows" not in caught.value.message


def test_groups_are_looked_for_by_this_machine_only():
    found = offers(group_by="protein")
    assert [offer.via for offer in found.offers] == ["local"]
    with pytest.raises(InvalidInput, match=r"cannot go via lambda.*group_by looks further"):
        found.of("lambda")


def test_a_predicate_takes_more_states_and_says_what_is_left_out():
    plain, filtered = offers(), offers(where="length > 3")
    bills = [each.of("stepfunctions").bill for each in (plain, filtered)]
    assert bills[1].transitions - bills[0].transitions == 2 + 2 * 18
    assert bills[1].invocations - bills[0].invocations == 1 + 18
    assert "`where` reads of its columns, in every bucket, is not included" in filtered.text()
    assert "where" not in plain.text()


def test_offers_go_by_the_memory_that_is_deployed():
    less, more = (offers(memory=FunctionMemory(search=mb)) for mb in (3008, 6016))
    assert offers().of("lambda").usd == less.of("lambda").usd < more.of("lambda").usd
    tight = offers(memory=FunctionMemory(search=128))
    assert {offer.via for offer in tight.offers} == {"local", "batch"}
    assert "the function that is deployed has 128; deploy it with more" in tight.text()
    stack = {"SearchMemory": "4096", "Results": "s3://x"}
    assert FunctionMemory.of_outputs(stack) == FunctionMemory(search=4096)


# -- transitions ----------------------------------------------------------------------------------


def entered(states, start, flags):
    """Walk a state machine without failures; count the states that are entered."""
    count, name = 0, start
    while name is not None:
        count, state = count + 1, states[name]
        if state["Type"] == "Map":
            mode = state["ItemProcessor"]["ProcessorConfig"]["Mode"]
            inner = entered(state["ItemProcessor"]["States"], state["ItemProcessor"]["StartAt"], {})
            items = flags["groups" if name == "Fold" else "buckets"]
            count += items * (inner + (mode == "DISTRIBUTED"))
        if state["Type"] == "Choice":
            taken = [rule["Next"] for rule in state["Choices"] if flags[rule["Variable"]]]
            name = (taken or [state["Default"]])[0]
        else:
            name = state.get("Next")
    return count


@pytest.mark.parametrize("is_measured", [False, True])
@pytest.mark.parametrize("is_filtered", [False, True])
@pytest.mark.parametrize("groups", [0, 3])
def test_transitions_are_those_of_the_state_machine_that_is_deployed(
    groups, is_filtered, is_measured
):
    machine = definition(SearchStack("s3://abc/d"))
    chosen = {
        "$.is_filtered": is_filtered, "$.groups[0]": groups > 0, "$.is_measured": is_measured,
    }  # fmt: skip
    flags = {"buckets": 18, "groups": groups} | chosen
    walked = 1 + entered(machine["States"], machine["StartAt"], flags)
    expected = transitions_of(18, groups, is_filtered=is_filtered, is_measured=is_measured)
    assert expected == walked


def test_a_search_for_many_is_quoted_with_the_partitions_that_hold_them():
    few_rows = manifest(rows=100_000)

    def read(**given):
        options = SearchOptions(k=50_000, **given)
        found = make_offers(few_rows, options, 1, PRICES, clouds=(), is_leaving=False)
        return found.of("local").bill.bytes_in

    # 6 rows of a bucket in a partition, 18 buckets, 1.5 times as many where queries are.
    assert read() == read(nprobes=320) > read(nprobes=160)


def test_a_quote_goes_by_what_was_counted_with_this_model():
    rows = 18 * 200_000_000
    alone = Reads(
        rows, 18, 64, 1, (20,), ((400.0, 9e9),), ((360.0, 9e9),), (20,), (50,),
        (((50.0, 192e3),),), ((18.0, 2e5),),
    )  # fmt: skip
    eight = replace(alone, together=8, codes=((3000.0, 70e9),), vectors=(((400.0, 1.5e6),),))
    known = Calibration(
        "now", "m", (), rows, rows, 64, "stored rows", 0, 0.0, 0.0, 0.0, (), reads=(alone, eight)
    )

    def read(queries, calibration=None, **given):
        options = SearchOptions(nprobes=20, **given)
        found = make_offers(
            manifest(), options, queries, PRICES, clouds=(), is_leaving=False,
            calibration=calibration,
        )  # fmt: skip
        return found.of("local").bill

    assert read(1, known).bytes_in == pytest.approx(9e9, rel=0.01)
    # A fifth of the ids counted; layouts; hint, manifest, two looks for a newer one, model.
    assert read(1, known).gets == pytest.approx(400 + 50 + 18 / 5 + 18 + 5)
    assert read(1, replace(known, model="other")) == read(1)
    # However far beyond: no more than there is.
    far = replace(alone, counts=(1, 2), vectors=(((1.0, 1e9), (2.0, 2e9)),), ids=((1, 1), (2, 2)))
    whole = read(1, replace(known, reads=(far,)), k=10**8)
    assert 9e9 < whole.bytes_in < 9e9 + 1.1 * rows * 960 * 4
    assert read(8, known).bytes_in == pytest.approx(70e9, rel=0.01)
    assert read(1, known).bytes_in < read(4, known).bytes_in < read(8, known).bytes_in
    # Beyond what was counted it grows as it does by supposition.
    grown, supposed = (read(16, c).bytes_in / read(8, c).bytes_in for c in (known, None))
    assert grown == pytest.approx(supposed, rel=0.02)
