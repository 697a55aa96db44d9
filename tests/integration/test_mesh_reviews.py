"""Access reviews, reclassified data, and what a project may read now."""

import pytest
from mesh_catalog import scored
from mesh_world import ROOT, STAMP, now

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.mesh.model.access import (
    AssetGrantStatus,
    CampaignStatus,
    GrantedAsset,
    SubscriptionGrant,
    SubscriptionGrantStatus,
    SubscriptionRequestStatus,
    SubscriptionStatus,
    SubscriptionTarget,
    Terms,
    Verdict,
)
from atoll.mesh.model.catalog import Classification
from atoll.mesh.model.jobs import Job
from atoll.mesh.service import reviews
from atoll.mesh.service.reclassification import reclassified

HOUR_US = 3_600_000_000


def begun(shop, unit=ROOT, **more):
    given = {"name": "yearly", "due_at": now() + HOUR_US, **more}
    return shop.mesh.ask("ann", "CreateReviewCampaign", domain_unit_id=unit, **given)


def over(shop, campaign):
    """Let a campaign's time be over, and its end be carried out."""
    shop.put(shop.seen(campaign), due_at=now() - 1)
    shop.put(end_of(shop, campaign), due_at=now() - 1)
    shop.mesh.work("close-campaign")


def end_of(shop, campaign):
    with shop.mesh.store.reading() as reader:
        return reader.one(Job, kind="close-campaign", subject_id=campaign.id)


def items(shop, who="bob", **given):
    return shop.mesh.ask(who, "ListReviewItems", **given)["items"]


def decide(shop, item, verdict, who="bob", **more):
    return shop.mesh.ask(
        who, "DecideReviewItem", review_item_id=item.id, verdict=Verdict(verdict), **more
    )


def progress(shop, campaign):
    found = shop.mesh.ask("ann", "GetReviewCampaign", review_campaign_id=campaign.id)
    return found.undecided, found.kept, found.revoked


def test_46_a_campaign_asks_of_each_access_in_the_unit_and_below(shop):
    held = shop.subscribed()
    shop.put(shop.subscribed("old"), status=SubscriptionStatus.CANCELLED)
    other = shop.mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="quality")
    assert begun(shop, other.id).status is CampaignStatus.OPEN
    campaign = begun(shop)
    [item] = items(shop)
    assert (item.subscription_id, item.campaign_name) == (held.id, "yearly")
    assert (item.listing_name, item.project_name) == ("torque", "analysis")
    assert progress(shop, campaign) == (1, 0, 0)


def test_46_owners_of_the_data_decide_and_nobody_else(shop):
    shop.subscribed()
    begun(shop)
    [item] = items(shop)
    given = {"review_item_id": item.id, "verdict": Verdict.KEEP}
    assert isinstance(shop.mesh.refusal("ann", "DecideReviewItem", **given), Forbidden)
    for who in ("cy", "dee"):
        assert isinstance(shop.mesh.refusal(who, "DecideReviewItem", **given), NotFound)
        assert items(shop, who) == []
    assert isinstance(
        shop.mesh.refusal("bob", "CreateReviewCampaign", domain_unit_id=ROOT, name="x", due_at=1),
        Forbidden,
    )


def test_46_what_is_revoked_is_so_at_once_and_for_good_and_the_rest_stays(shop):
    first, second = shop.subscribed("first"), shop.subscribed("second")
    campaign = begun(shop)
    by_id = {one.subscription_id: one for one in items(shop)}
    decide(shop, by_id[first.id], "REVOKE", comment="left")
    assert shop.seen(first).status is SubscriptionStatus.REVOKED
    refused = shop.mesh.refusal(
        "bob", "DecideReviewItem", review_item_id=by_id[first.id].id, verdict=Verdict.KEEP
    )
    assert isinstance(refused, Conflict)
    decide(shop, by_id[second.id], "KEEP")
    assert progress(shop, campaign) == (0, 1, 1)
    shop.mesh.work("close-campaign")
    assert shop.seen(campaign).status is CampaignStatus.CLOSED
    assert shop.seen(second).status is SubscriptionStatus.APPROVED
    given = {"review_item_id": by_id[second.id].id, "verdict": Verdict.REVOKE}
    assert isinstance(shop.mesh.refusal("bob", "DecideReviewItem", **given), Conflict)


@pytest.mark.parametrize("revokes", [True, False])
def test_46_at_its_end_what_nobody_decided_on_is_revoked_or_named(shop, monkeypatch, revokes):
    monkeypatch.setattr(reviews, "_AT_ONCE", 2)
    held = [shop.subscribed(f"s{number}") for number in range(5)]
    campaign = begun(shop, revokes_undecided=revokes)
    kept = items(shop)[0]
    decide(shop, kept, "KEEP")
    over(shop, campaign)
    assert shop.seen(campaign).status is CampaignStatus.CLOSED
    live = [one for one in held if shop.seen(one).status is SubscriptionStatus.APPROVED]
    assert len(live) == (1 if revokes else 5)
    [told] = shop.noted("CloseReviewCampaign")
    assert ('"undecided":4' in told.details) is not revokes
    assert progress(shop, campaign) == ((0, 1, 4) if revokes else (4, 1, 0))


def test_46_a_campaign_whose_time_has_not_come_stays_open(shop):
    shop.subscribed()
    campaign = begun(shop)
    task = end_of(shop, campaign)
    assert reviews.close_review_campaign(shop.mesh.attendant, task) == campaign.due_at
    assert shop.seen(campaign).status is CampaignStatus.OPEN


def test_46_a_campaign_about_nothing_closes_by_itself_and_one_in_the_past_is_refused(shop):
    campaign = begun(shop)
    shop.mesh.work("close-campaign")
    assert shop.seen(campaign).status is CampaignStatus.CLOSED
    given = {"domain_unit_id": ROOT, "name": "late", "due_at": now() - 1}
    assert isinstance(shop.mesh.refusal("ann", "CreateReviewCampaign", **given), InvalidInput)


def test_46_a_unit_is_not_removed_while_it_is_reviewed_and_goes_with_its_reviews(shop):
    unit = shop.mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="quality")
    project = {"project_id": shop.producer.id}
    shop.mesh.ask("ann", "MoveProject", domain_unit_id=unit.id, **project)
    shop.subscribed()
    campaign, other = begun(shop, unit.id), begun(shop)
    one, kept = sorted(items(shop), key=lambda item: item.campaign_id != campaign.id)
    shop.mesh.ask("ann", "MoveProject", domain_unit_id=ROOT, **project)
    told = shop.mesh.refusal("ann", "DeleteDomainUnit", domain_unit_id=unit.id)
    assert isinstance(told, Conflict)
    assert "a review of 'quality' is open" in told.message
    decided = decide(shop, one, "KEEP")
    shop.mesh.work("close-campaign")
    shop.mesh.ask("ann", "DeleteDomainUnit", domain_unit_id=unit.id)
    assert (shop.seen(campaign), shop.seen(decided)) == (None, None)
    assert [each.id for each in items(shop)] == [kept.id]
    assert shop.seen(other).status is CampaignStatus.OPEN


def test_46_a_review_of_too_much_is_refused_whole(shop, monkeypatch):
    monkeypatch.setattr(reviews, "MOST_ITEMS", 1)
    shop.subscribed("one")
    shop.subscribed("two")
    given = {"domain_unit_id": ROOT, "name": "all", "due_at": now() + HOUR_US}
    assert isinstance(shop.mesh.refusal("ann", "CreateReviewCampaign", **given), Conflict)
    assert items(shop) == []


def reclassify(shop, to):
    """Let the listing's classification change, as publishing and classifying an asset do."""
    changed = shop.put(shop.seen(shop.listing), classification=to)
    shop.mesh.attendant.act("Classify", "test", lambda call: reclassified(call, changed))


def test_39_data_that_got_stricter_flag_their_subscriptions_until_somebody_has_looked(shop):
    held = shop.subscribed()
    ended = shop.put(shop.subscribed("ended"), status=SubscriptionStatus.CANCELLED)
    reclassify(shop, Classification.CONFIDENTIAL)
    assert (shop.seen(held).is_flagged, shop.seen(ended).is_flagged) == (True, False)
    assert [one.resource_id for one in shop.noted("FlagSubscription")] == [held.id]
    given = {"subscription_id": held.id}
    assert isinstance(shop.mesh.refusal("cy", "UnflagSubscription", **given), Forbidden)
    assert not shop.mesh.ask("bob", "UnflagSubscription", **given).is_flagged
    reclassify(shop, Classification.INTERNAL)
    assert not shop.seen(held).is_flagged


def test_39_an_open_request_for_data_that_got_stricter_waits_for_a_reviewer(shop):
    request = shop.asked()
    reclassify(shop, Classification.CONFIDENTIAL)
    found = shop.seen(request)
    assert found.status is SubscriptionRequestStatus.PENDING
    assert found.classification is Classification.CONFIDENTIAL


def test_39_an_open_request_for_data_that_got_less_secret_is_accepted_by_policy(shop):
    reclassify(shop, Classification.CONFIDENTIAL)
    request = shop.asked()
    masked = shop.asked("unmasks", wanted=Terms(unmasked=("worker",)))
    reclassify(shop, Classification.PUBLIC)
    found = shop.seen(request)
    assert (found.status, found.reviewer_id) == (SubscriptionRequestStatus.ACCEPTED, "policy")
    assert shop.seen(masked).status is SubscriptionRequestStatus.PENDING


def test_39_classifying_an_asset_flags_who_reads_it_at_once(shop):
    held = shop.subscribed()
    to = Classification.CONFIDENTIAL
    shop.mesh.ask("bob", "ClassifyAsset", asset_id=shop.asset.id, classification=to)
    assert shop.seen(held).is_flagged


def granted(shop, **terms):
    """A subscription that holds at the mesh's doors."""
    held = shop.subscribed(**terms)
    target = SubscriptionTarget(
        id="target-doors", name="doors", project_id=shop.consumer.id, **STAMP
    )
    grant = SubscriptionGrant(
        id="grant-given",
        subscription_id=held.id,
        target_id=target.id,
        project_id=shop.consumer.id,
        owning_project_id=shop.producer.id,
        status=SubscriptionGrantStatus.COMPLETED,
        assets=(GrantedAsset(shop.asset.id, AssetGrantStatus.GRANTED),),
        **STAMP,
    )
    shop.keep(target, grant)
    return held


def test_54_a_project_sees_what_it_may_read_now_on_which_terms_and_since_when(shop):
    held = granted(shop, expires_at=now() + HOUR_US, min_score=80.0)
    [found] = shop.mesh.ask("cy", "ListMyData", project_id=shop.consumer.id)["items"]
    assert (found.id, found.listing_name) == (held.id, "torque")
    assert (found.approved_by, found.since) == ("user-bob", held.created_at)
    assert (found.terms, found.last_used_at) == (held.terms, 0)
    assert [(one.name, one.score) for one in found.assets] == [("torque", None)]
    scored(shop.mesh, shop.asset.id, 92)
    [found] = shop.mesh.ask("cy", "ListMyData", project_id=shop.consumer.id)["items"]
    assert found.assets[0].score == 92
    for who in ("bob", "dee"):
        refused = shop.mesh.refusal(who, "ListMyData", project_id=shop.consumer.id)
        assert isinstance(refused, NotFound)


def test_54_what_was_taken_away_or_suspended_is_not_among_it(shop):
    held = granted(shop)
    for status in (SubscriptionStatus.SUSPENDED, SubscriptionStatus.REVOKED):
        held = shop.put(held, status=status)
        assert shop.mesh.ask("cy", "ListMyData", project_id=shop.consumer.id)["items"] == []
