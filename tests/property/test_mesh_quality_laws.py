"""Laws of scores and thresholds, whatever is posted in whatever order."""

from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_databases import database_of
from mesh_sharing import Shop
from mesh_world import world

from atoll.mesh.model.access import OnLowScore, SubscriptionStatus

START_US = 1_700_000_000_000_000
POINTS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 100)), max_size=8, unique_by=lambda one: one[0]
)
_numbers = count()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with world(database_of(tmp_path_factory.mktemp("laws"))) as made:
        yield Shop(made)


def newest_scores(points):
    """What the newest score is after each point; computed anew each time."""
    return [max(points[: place + 1])[1] for place in range(len(points))]


@given(POINTS, st.integers(1, 100))
def test_31_it_is_suspended_as_long_as_the_newest_score_is_too_low_and_warned_as_often_as_it_falls(
    shop, points, least
):
    name = f"law{next(_numbers)}"
    asset, _ = shop.listed(name)
    terms = {"min_score": float(least), "on_low_score": OnLowScore.SUSPEND}
    held = shop.subscribed(name, name, **terms)
    for place, score in points:
        at = {"asset_id": asset.id, "timestamp": START_US + place}
        shop.mesh.ask("bob", "PostTimeSeriesDataPoints", score=float(score), **at)
    low = [False, *(score < least for score in newest_scores(points))]
    wanted = SubscriptionStatus.SUSPENDED if low[-1] else SubscriptionStatus.APPROVED
    assert shop.seen(held).status is wanted
    falls = sum(now and not before for before, now in pairwise(low))
    told = [one for one in shop.noted("QualityBelowThreshold") if one.resource_id == held.id]
    assert len(told) == falls


@given(POINTS, st.integers(0, 50), st.integers(0, 50))
def test_28_what_is_listed_is_what_was_posted_between_two_times_in_their_order(
    shop, points, start, end
):
    asset, listing = shop.listed(f"law{next(_numbers)}")
    for place, score in points:
        at = {"asset_id": asset.id, "timestamp": START_US + place}
        shop.mesh.ask("bob", "PostTimeSeriesDataPoints", score=float(score), **at)
    span = {"started_at": START_US + start, "ended_at": START_US + end}
    found = shop.mesh.ask("cy", "ListListingScores", listing_id=listing.id, **span)["items"]
    wanted = sorted(one for one in points if start <= one[0] <= end)
    assert [(one.timestamp - START_US, one.score) for one in found] == wanted
