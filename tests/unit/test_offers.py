"""What a search would cost by each way, which is taken, and where a budget stops it."""

import math
import uuid
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest

from atoll.core.config import AwsOptions, Settings, StorageOptions
from atoll.core.errors import InvalidInput
from atoll.storage import count_usage, open_storage
from atoll.vectors.cli.common import spending
from atoll.vectors.model import Blob, Bucket, CollectionSpec, IndexSpec, Manifest
from atoll.vectors.options import CLOUDS, SearchOptions
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


def offers(queries=1, is_leaving=False, clouds=CLOUDS, **given):
    options = SearchOptions(**{"nprobes": 20} | given)
    return make_offers(manifest(), options, queries, PRICES, clouds=clouds, is_leaving=is_leaving)


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
    found = offers(queries=10**7)
    assert [offer.via for offer in found.offers if offer.via != "local"] == ["batch"]
    few = offers(queries=2)
    assert few.of("stepfunctions").usd < few.of("batch").usd


def test_only_what_is_deployed_is_offered():
    found = offers(clouds=("stepfunctions",))
    assert {offer.via for offer in found.offers} == {"local", "stepfunctions"}
    with pytest.raises(InvalidInput, match="cannot go via batch; it can go via"):
        found.of("batch")


def test_of_an_exact_search_every_vector_is_read():
    exact, approximate = offers(exact=True), offers()
    assert exact.of("local").bill.bytes_in > 18 * 200_000_000 * 960 * 4
    assert approximate.of("local").bill.bytes_in < 1e9


def test_what_adopted_tables_cost_is_not_guessed():
    with pytest.raises(InvalidInput, match="adopted tables"):
        make_offers(manifest(adopted=True), SearchOptions(), 1, PRICES, clouds=(), is_leaving=False)


# -- budgets --------------------------------------------------------------------------------------


def reached(budget, settings=AWS, is_here=False):
    """How many of ten requests are made before the budget is spent."""
    storage = open_storage(f"memory://{uuid.uuid4().hex}")
    storage.put("x", bytes(1 << 20))
    with (
        count_usage() as made,
        suppress(InvalidInput),
        spending(budget, SimpleNamespace(is_here=is_here), settings),
    ):
        for _ in range(10):
            storage.get("x")
    return made.gets


def test_a_budget_that_is_spent_says_so():
    storage = open_storage(f"memory://{uuid.uuid4().hex}")
    with (
        pytest.raises(InvalidInput, match=r"the budget of \$0.00 is spent: with the next request"),
        spending(0, SimpleNamespace(is_here=False), AWS),
    ):
        storage.exists("x")


def test_a_budget_is_spent_to_the_last_request_that_fits():
    here = Settings(storage=StorageOptions(endpoint="https://elsewhere"))
    assert reached(4 * PRICES.get, here) == 4
    assert reached(4.5 * PRICES.get, here) == 4
    assert reached(0, here) == 0
    assert reached(None, here) == 10
    assert reached(0, here, is_here=True) == 10


def test_bytes_that_leave_the_region_are_spent_too():
    each = PRICES.get + PRICES.out_of_region_gib / 1024
    assert reached(2.5 * each) < 4
    inside = replace(AWS, aws=AwsOptions(inside_region=True))
    assert reached(2.5 * each, inside) == 10
