"""Scores that are posted of assets, who sees them, and what a bad one does to subscriptions."""

import json

import pytest
from mesh_catalog import scored
from mesh_sharing import Shop
from mesh_world import ROOT, now, world

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.mesh.model.access import OnLowScore, SubscriptionStatus
from atoll.mesh.model.organisation import Designation
from atoll.mesh.service.quality import MAX_CONTENT_BYTES, newest, require_score
from atoll.mesh.service.requests import WantedListing

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US


def posted(shop, score, at=0, *, asset_id="", **more):
    """Post a score; `at` microseconds before or after now."""
    return scored(shop.mesh, asset_id or shop.asset.id, score, at=at, **more)


def quality(shop):
    return shop.mesh.ask("cy", "GetListingQuality", listing_id=shop.listing.id)


def test_30_a_score_is_posted_and_its_listing_shows_the_newest_with_its_trend(shop):
    assert (quality(shop).score, quality(shop).trend) == (None, None)
    posted(shop, 80, -2 * DAY_US)
    assert (quality(shop).score, quality(shop).trend) == (80, None)
    last = posted(shop, 92, -DAY_US, content={"rules": 12})
    posted(shop, 10, -3 * DAY_US)
    assert (quality(shop).score, quality(shop).timestamp) == (92, last.timestamp)
    assert quality(shop).trend == 12


def test_28_history_is_in_the_order_of_time_and_cut_out_by_time(shop):
    made = [posted(shop, score, -age * DAY_US) for score, age in ((3, 1), (1, 3), (2, 2))]
    about = {"asset_id": shop.asset.id}

    def scores(**given):
        found = shop.mesh.ask("bob", "ListTimeSeriesDataPoints", **about, **given)
        return [one.score for one in found["items"]]

    assert scores() == [1, 2, 3]
    middle = made[2].timestamp
    assert (scores(started_at=middle), scores(ended_at=middle)) == ([2, 3], [1, 2])
    assert scores(started_at=middle, ended_at=middle) == [2]
    first = shop.mesh.ask("bob", "ListTimeSeriesDataPoints", limit=2, started_at=1, **about)
    assert scores(cursor=first["next"], started_at=1) == [3]


def test_28_consumers_see_scores_and_nothing_else_of_what_was_measured(shop):
    posted(shop, 92, content={"failed": "worker Ida"})
    posted(shop, None, form_name="profile", content={"least": "Ida"})
    found = shop.mesh.ask("cy", "ListListingScores", listing_id=shop.listing.id)["items"]
    assert [one.score for one in found] == [92]
    assert "Ida" not in str(found)
    given = {"asset_id": shop.asset.id}
    assert isinstance(shop.mesh.refusal("cy", "ListTimeSeriesDataPoints", **given), NotFound)
    for name in ("ListListingScores", "GetListingQuality"):
        refused = shop.mesh.refusal("dee", name, listing_id=shop.listing.id)
        assert isinstance(refused, NotFound)


def test_28_the_same_point_again_is_the_same_point_and_another_content_is_refused(shop):
    at = now()
    given = {"asset_id": shop.asset.id, "timestamp": at, "score": 50.0}
    first = shop.mesh.ask("bob", "PostTimeSeriesDataPoints", **given)
    assert shop.mesh.ask("bob", "PostTimeSeriesDataPoints", **given) == first
    for change in ({"score": 51.0}, {"content": {"rows": 1}}):
        refused = shop.mesh.refusal("bob", "PostTimeSeriesDataPoints", **(given | change))
        assert isinstance(refused, Conflict)
    other = shop.mesh.ask(
        "bob",
        "PostTimeSeriesDataPoints",
        **(given | {"form_name": "profile", "score": None}),
    )
    assert other.id != first.id


@pytest.mark.parametrize(
    "wrong",
    [
        {"timestamp": 61},
        {"timestamp": -3654 * 86_400},
        {"score": None},
        {"form_name": "profile"},
        {"content": {"x": "y" * MAX_CONTENT_BYTES}},
        {"content": {"x": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}},
    ],
    ids=["future", "old", "no score", "a score", "large", "deep"],
)
def test_28_a_point_that_cannot_be_is_refused(shop, wrong):
    at = now() + wrong.pop("timestamp", 0) * SECOND_US
    given = {"asset_id": shop.asset.id, "timestamp": at, "score": 1.0, **wrong}
    refused = shop.mesh.refusal("bob", "PostTimeSeriesDataPoints", **given)
    assert isinstance(refused, InvalidInput)


def test_28_only_who_contributes_posts(shop):
    given = {"member_id": "user-dee", "designation": Designation.VIEWER}
    shop.mesh.ask("bob", "CreateProjectMembership", project_id=shop.producer.id, **given)
    given = {"asset_id": shop.asset.id, "timestamp": now(), "score": 1.0}
    assert isinstance(shop.mesh.refusal("dee", "PostTimeSeriesDataPoints", **given), Forbidden)
    assert isinstance(shop.mesh.refusal("cy", "PostTimeSeriesDataPoints", **given), NotFound)


def drops(shop, *scores):
    """Post scores one after the other, and return why any of them was a drop."""
    for place, score in enumerate(scores):
        posted(shop, score, place - 10)
    told = shop.noted("QualityDropped")
    assert {(one.resource_id, one.asset_id) for one in told} <= {(shop.asset.id, shop.asset.id)}
    return [json.loads(one.details)["why"].rpartition("; ")[2] for one in told]


def test_29_a_score_that_is_lower_by_ten_than_the_one_before_has_dropped(shop):
    found = drops(shop, 20, 95, 85.1, 76, 66, 66, 90, 79.5)
    assert found == ["the one before was 76", "the one before was 90"]
    posted(shop, 1, -DAY_US)  # late
    posted(shop, None, form_name="profile")
    assert len(shop.noted("QualityDropped")) == 2


def test_29_a_score_that_falls_below_the_guardrails_has_dropped_once(shop):
    shop.mesh.ask("ann", "SetGuardrails", domain_unit_id=ROOT, min_score=60.0)
    below = "the guardrails demand 60"
    assert drops(shop, 59, 58, 60, 59.5, 55) == [below, below]


def test_31_a_score_below_what_was_asked_for_warns_once_until_it_was_good_again(shop):
    held = shop.subscribed(min_score=90.0)
    for place, score in enumerate((95, 80, 70, 90, 89)):
        posted(shop, score, place - 10)
    told = shop.noted("QualityBelowThreshold")
    assert [one.resource_id for one in told] == [held.id, held.id]
    assert shop.seen(held).status is SubscriptionStatus.APPROVED


def test_31_who_opted_in_is_suspended_and_goes_on_when_it_is_good_enough(shop):
    held = shop.subscribed(min_score=90.0, on_low_score=OnLowScore.SUSPEND)
    other = shop.subscribed("any")
    posted(shop, 89.9, -10)
    assert shop.seen(held).status is SubscriptionStatus.SUSPENDED
    assert shop.seen(other).status is SubscriptionStatus.APPROVED
    posted(shop, 80, -9)
    assert shop.seen(held).status is SubscriptionStatus.SUSPENDED
    posted(shop, 90, -8)
    assert shop.seen(held).status is SubscriptionStatus.APPROVED


def test_31_a_data_product_is_as_good_as_the_worst_of_its_assets(shop):
    other, _ = shop.listed("speed")
    product = shop.offered_together("torque", "speed")
    terms = {"min_score": 90.0, "on_low_score": OnLowScore.SUSPEND}
    columns = {one.id: ("line",) for one in (shop.asset, other)}
    held = shop.put(shop.subscribed(of="torque", **terms), columns=columns)
    posted(shop, 50, -3)
    posted(shop, 95, -2, asset_id=other.id)
    assert shop.seen(held).status is SubscriptionStatus.SUSPENDED
    found = shop.mesh.ask("cy", "GetListingQuality", listing_id=product.id)
    assert (found.score, found.trend) == (50, None)
    posted(shop, 91, -1)
    assert shop.seen(held).status is SubscriptionStatus.APPROVED
    assert shop.mesh.ask("cy", "GetListingQuality", listing_id=product.id).score == 91


def test_31_a_point_that_comes_late_changes_nothing(shop):
    held = shop.subscribed(min_score=90.0, on_low_score=OnLowScore.SUSPEND)
    posted(shop, 95)
    posted(shop, 10, -DAY_US)
    assert shop.seen(held) == held
    assert shop.noted("QualityBelowThreshold") == []


def test_31_what_has_ended_is_not_suspended(shop):
    held = shop.subscribed(min_score=90.0, on_low_score=OnLowScore.SUSPEND)
    ended = shop.put(held, status=SubscriptionStatus.CANCELLED)
    posted(shop, 10)
    assert shop.seen(held) == ended


def test_31_nobody_gets_access_to_data_below_what_the_unit_demands(shop):
    shop.mesh.ask("ann", "SetGuardrails", domain_unit_id=ROOT, min_score=60.0)

    def demanded():
        with shop.mesh.store.reading() as reader:
            require_score(shop.mesh.call(reader, "cy"), shop.listing)

    demanded()  # nobody knows how good they are
    posted(shop, 59, -2)
    with pytest.raises(Conflict, match=r"59.*below 60"):
        demanded()
    posted(shop, 60, -1)
    demanded()


def asked(shop, **terms):
    wanted = {"listing_id": shop.listing.id, **terms}
    given = {"listings": (WantedListing(**wanted),), "request_reason": "to predict"}
    return {"project_id": shop.consumer.id, **given}


def test_31_data_that_are_too_bad_cannot_be_asked_for(shop):
    shop.mesh.ask("ann", "SetGuardrails", domain_unit_id=ROOT, min_score=60.0)
    posted(shop, 59, -1)
    refused = shop.mesh.refusal("cy", "CreateSubscriptionRequests", **asked(shop))
    assert isinstance(refused, Conflict)
    posted(shop, 61)
    shop.mesh.ask("cy", "CreateSubscriptionRequests", **asked(shop))


def test_31_access_to_data_that_are_worse_than_asked_for_begins_suspended(shop):
    posted(shop, 70, -1)
    terms = {"min_score": 90.0, "on_low_score": OnLowScore.SUSPEND}
    shop.mesh.ask("cy", "CreateSubscriptionRequests", **asked(shop, **terms))
    keys = {"project_id": shop.consumer.id}
    [held] = shop.mesh.ask("cy", "ListSubscriptions", **keys)["items"]
    assert held.status is SubscriptionStatus.SUSPENDED
    posted(shop, 90)
    [held] = shop.mesh.ask("cy", "ListSubscriptions", **keys)["items"]
    assert held.status is SubscriptionStatus.APPROVED


def test_33_the_scorecard_has_the_worst_first_and_names_failures_that_are_overdue(shop):
    good, old = (shop.listed(name)[0] for name in ("good", "old"))
    shop.listed("unmeasured")
    posted(shop, 100, asset_id=good.id)
    for score, age in ((100, 9), (40, 8), (50, 1)):
        posted(shop, score, -age * DAY_US, asset_id=old.id)
    posted(shop, 60, -DAY_US)
    found = shop.mesh.ask("bob", "GetOwnerScorecard", project_id=shop.producer.id)
    told = [(one.name, one.score, one.is_overdue) for one in found.assets]
    assert told[:2] == [("old", 50, True), ("torque", 60, False)]
    assert [name for name, *_ in told[2:]] == ["good", "unmeasured"]
    assert (found.total, found.measured, found.failing, found.overdue) == (4, 3, 2, 1)
    given = {"threshold": 45.0, "limit": 1}
    found = shop.mesh.ask("bob", "GetOwnerScorecard", project_id=shop.producer.id, **given)
    assert (found.failing, len(found.assets)) == (0, 1)
    given = {"only_overdue": True}
    found = shop.mesh.ask("bob", "GetOwnerScorecard", project_id=shop.producer.id, **given)
    assert [one.name for one in found.assets] == ["old"]
    assert (found.total, found.measured, found.failing, found.overdue) == (4, 3, 2, 1)


def test_33_what_fails_is_what_the_guardrails_say_or_whatever_is_not_perfect(shop):
    def failing(**given):
        found = shop.mesh.ask("bob", "GetOwnerScorecard", project_id=shop.producer.id, **given)
        return found.threshold, found.failing

    posted(shop, 80, -DAY_US)
    assert failing() == (100, 1)
    for least, is_failing in ((70.0, 0), (80.0, 0), (90.0, 1)):
        shop.mesh.ask("ann", "SetGuardrails", domain_unit_id=ROOT, min_score=least)
        assert failing() == (least, is_failing)
    assert failing(threshold=0.0) == (0, 0)


def test_30_the_newest_point_is_found_among_many(database):
    with world(database) as mesh:
        here = Shop(mesh)
        for place in range(25):
            posted(here, place, -place * 1000 * SECOND_US)  # far apart, on a slow machine, too
        with mesh.store.reading() as reader:
            call = mesh.call(reader, "bob")
            assert newest(call, here.asset.id).score == 0
            keys = {"asset_id": here.asset.id, "form_name": "quality"}
            points = call.newest(type(newest(call, here.asset.id)), "timestamp", **keys)
            assert [one.score for one in points] == list(range(25))
