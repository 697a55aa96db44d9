"""What a search would cost by each way, which is taken, and where a budget stops it."""

import math
import uuid
from contextlib import suppress
from dataclasses import replace

import pytest

from atoll.core.config import AwsOptions, Settings, StorageOptions
from atoll.core.errors import InvalidInput
from atoll.storage import count_usage, open_storage
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
