"""What is told of requests, access, quality, runs, proposals: to whom, in which words (29, 41)."""

from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import pytest
from mesh_access import Plant, join, technical
from mesh_catalog import project_of, scored
from mesh_databases import database_of
from mesh_world import ROOT, STAMP, now, world

from atoll.mesh.model.access import (
    OnLowScore,
    Subscription,
    SubscriptionRequest,
    SubscriptionRequestStatus,
)
from atoll.mesh.model.catalog import (
    Asset,
    Classification,
    DataSource,
    DataSourceRun,
    DataSourceRunStatus,
    Listing,
    RunType,
)
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import Designation
from atoll.mesh.service import OPERATIONS, filters
from atoll.mesh.service.filters import revalidated
from atoll.mesh.service.reclassification import reclassified
from atoll.mesh.service.telling import tell
from atoll.mesh.service.topics import TOPICS

HOUR_US = 3_600_000_000


@pytest.fixture
def plant(tmp_path):
    """Bob gives, Cy asks, Dee consumes with him; Ann governs both."""
    with world(database_of(tmp_path)) as mesh:
        made = Plant(mesh, tmp_path / "lake")
        told(made, "ann")
        yield made


def told(plant, who, topic=""):
    """Return what somebody was told of a topic, and whether it still waits."""
    position = 0
    while (reached := tell(plant.mesh.attendant, position)) != position:
        position = reached
    given = {"user_profile_id": f"user-{who}", "topic": topic}
    return plant.mesh.ask(who, "ListNotifications", **given)["items"]


def titles(plant, who, topic):
    return [one.title for one in told(plant, who, topic)]


def waits(plant, who, topic):
    return [one.status for one in told(plant, who, topic)]


def acted(plant, operation, work):
    """Do something as a job would."""
    plant.mesh.attendant.act(operation, "test", work)


def changed(plant, record, **values):
    made = replace(record, version=record.version + 1, **values)
    return plant.mesh.store.write(lambda changes: changes.put(made))


def due(plant, kind):
    """Have the one job of a kind done, as if its time had come."""
    with plant.mesh.store.reading() as reader:
        [job] = reader.all(Job, kind=kind)
    changed(plant, job, due_at=1)
    plant.mesh.work(kind)


@pytest.mark.parametrize("name", sorted({of for one in TOPICS.values() for of in one.of}))
def test_41_each_topic_tells_of_something_that_the_audit_says(name):
    services = files("atoll.mesh.service")
    others = [one.read_text() for one in services.iterdir() if one.name.endswith(".py")]
    others = [text for text in others if "\nTOPICS = " not in text]
    assert name in OPERATIONS or any(f'"{name}"' in text for text in others)


def test_41_approvers_are_told_of_a_request_and_of_nothing_that_a_policy_allowed(plant):
    given = {"principal_id": "user-dee", "project_id": plant.owner}
    plant.mesh.ask("bob", "CreateDelegation", **given)
    plant.basket(plant.public, plant.secret)
    topic = "SUBSCRIPTION_REQUEST_CREATED"
    assert titles(plant, "bob", topic) == [
        "cy asks for 'asset-secret' on behalf of a project"  # which is not Bob's to know
    ]
    assert told(plant, "bob", topic)[0].message == "to forecast"
    assert titles(plant, "dee", topic) == ["cy asks for 'asset-secret' on behalf of 'forecasts'"]
    assert told(plant, "cy", topic) == told(plant, "ann", topic) == []


@pytest.mark.parametrize("verdict", ["Accept", "Reject"])
def test_41_who_asked_is_told_what_was_decided_and_nobody_has_to_any_more(plant, verdict):
    request = plant.ask(plant.secret)
    assert waits(plant, "bob", "SUBSCRIPTION_REQUEST_CREATED") == ["ACTIVE"]
    given = {"subscription_request_id": request.id, "comment": "as you like"}
    plant.mesh.ask("bob", f"{verdict}SubscriptionRequest", **given)
    topic = f"SUBSCRIPTION_REQUEST_{verdict.upper()}ED"
    [one] = told(plant, "cy", topic)
    assert (one.title, one.message) == (
        f"Your request for 'asset-secret' was {verdict.lower()}ed",
        "as you like",
    )
    assert waits(plant, "bob", "SUBSCRIPTION_REQUEST_CREATED") == ["INACTIVE"]
    assert told(plant, "dee", topic) == []


def test_41_a_request_that_was_taken_back_waits_for_nobody(plant):
    request = plant.ask(plant.secret)
    told(plant, "bob")
    plant.mesh.ask("cy", "DeleteSubscriptionRequest", subscription_request_id=request.id)
    assert waits(plant, "bob", "SUBSCRIPTION_REQUEST_CREATED") == ["INACTIVE"]


def test_41_each_reminder_is_told_anew_and_a_request_that_expired_is_told(plant):
    request = plant.ask(plant.secret)
    for _ in range(2):
        acted(plant, "RemindReviewers", lambda call: call.find(SubscriptionRequest, id=request.id))
        told(plant, "bob")
    assert waits(plant, "bob", "SUBSCRIPTION_REQUEST_REMINDER") == ["ACTIVE", "INACTIVE"]
    changed(plant, request, expires_at=1)
    due(plant, "expire-request")
    found = told(plant, "cy", "SUBSCRIPTION_REQUEST_REJECTED")
    assert [one.message for one in found] == ["nobody decided in time; ask again"]
    assert set(waits(plant, "bob", "SUBSCRIPTION_REQUEST_REMINDER")) == {"INACTIVE"}


def test_41_both_sides_hear_of_comments_but_not_of_their_own(plant):
    request = plant.ask(plant.secret)
    for who, text in (("bob", "What for?"), ("cy", "To see.")):
        given = {"subscription_request_id": request.id, "text": text}
        plant.mesh.ask(who, "CreateComment", **given)
    topic = "SUBSCRIPTION_REQUEST_COMMENT"
    assert [one.message for one in told(plant, "cy", topic)] == ["What for?"]
    [one] = told(plant, "bob", topic)
    assert (one.title, one.message) == (
        "cy has said something on a request for 'asset-secret'",
        "To see.",
    )


def test_43_readers_and_owners_hear_that_a_grant_failed_and_why_is_not_in_the_title(plant):
    (plant.folder / "public" / "part.parquet").unlink()
    (plant.folder / "public").rmdir()
    plant.ask(plant.public)
    plant.mesh.work("grant")
    topic = "SUBSCRIPTION_GRANT_FAILED"
    expected = ["What was granted to 'forecasts' is GRANT_FAILED"]
    assert titles(plant, "cy", topic) == titles(plant, "dee", topic) == expected
    assert titles(plant, "bob", topic) == ["What was granted to a project is GRANT_FAILED"]


@pytest.mark.parametrize(
    ("who", "operation", "status"),
    [("bob", "RevokeSubscription", "REVOKED"), ("cy", "CancelSubscription", "CANCELLED")],
)
def test_45_whose_access_has_ended_is_told_once_however_many_tables_it_was(
    plant, who, operation, status
):
    held = plant.subscribe(plant.product)
    plant.mesh.ask(who, operation, subscription_id=held.id, comment="done")
    [one] = told(plant, "dee", "SUBSCRIPTION_ENDED")
    assert one.title == f"The access of 'forecasts' to 'product-kit' has ended: it is {status}"
    assert one.message == "done"
    other = {"bob": "cy", "cy": "bob"}[who]
    assert len(told(plant, other, "SUBSCRIPTION_ENDED")) == 1
    assert told(plant, who, "SUBSCRIPTION_ENDED") == []


def test_31_readers_hear_of_bad_quality_of_a_suspension_and_that_it_is_over(plant):
    plant.subscribe(plant.public, min_score=90, on_low_score=OnLowScore.SUSPEND)
    for score in (50, 95):
        scored(plant.mesh, "asset-public", score)
        told(plant, "dee")
    topics = ("QUALITY_BELOW_THRESHOLD", "SUBSCRIPTION_SUSPENDED", "SUBSCRIPTION_RESUMED")
    found = [titles(plant, "dee", one) for one in topics]
    assert found == [
        ["The quality of 'asset-public' is lower than 'forecasts' asks for"],
        ["The access of 'forecasts' to 'asset-public' is suspended"],
        ["The access of 'forecasts' to 'asset-public' is no longer suspended"],
    ]
    why = "the newest quality score is 50; 90 were asked for"
    assert told(plant, "dee", topics[0])[0].message == why


@pytest.fixture
def eve(plant):
    """Eve measures what Bob owns."""
    plant.mesh.person("eve")
    join(plant.mesh, plant.owner, "eve", Designation.CONTRIBUTOR, by="bob")


DROPPED = "QUALITY_DROPPED"


def test_29_owners_hear_of_a_drop_and_of_readers_those_who_named_no_score(plant, eve):
    plant.subscribe(plant.public)
    plant.subscribe(plant.internal, min_score=50)
    for table in ("public", "internal"):
        for score in (95, 80):
            scored(plant.mesh, f"asset-{table}", score, by="eve")
    drop = "The quality of data in '{}' has dropped"
    assert titles(plant, "dee", DROPPED) == [drop.format("asset-public")]
    assert sorted(titles(plant, "bob", DROPPED)) == [drop.format("internal"), drop.format("public")]
    why = "the newest quality score is 80; the one before was 95"
    assert {one.message for one in told(plant, "bob", DROPPED)} == {why}
    assert told(plant, "eve", DROPPED) == []


def test_29_a_drop_is_told_once_a_day_and_brought_up_to_date(plant, eve):
    plant.mesh.ask("ann", "SetGuardrails", domain_unit_id=ROOT, min_score=60.0)
    for score, why in ((59, "the guardrails demand 60"), (40, "the one before was 59")):
        scored(plant.mesh, "asset-public", score, by="eve")
        [one] = told(plant, "bob", DROPPED)
        assert one.message == f"the newest quality score is {score}; {why}"


def test_29_readers_of_a_data_product_hear_that_a_part_of_it_has_dropped(plant):
    plant.subscribe(plant.product)
    for score in (95, 80):
        scored(plant.mesh, "asset-internal", score)
    assert titles(plant, "dee", DROPPED) == ["The quality of data in 'product-kit' has dropped"]


def test_39_a_reclassified_listing_is_a_task_until_somebody_has_looked(plant):
    held = plant.subscribe(plant.public)
    listing = plant.find(Listing, plant.public)
    raised = changed(plant, listing, classification=Classification.CONFIDENTIAL)
    acted(plant, "Reclassify", lambda call: reclassified(call, raised))
    assert waits(plant, "bob", "SUBSCRIPTION_FLAGGED") == ["ACTIVE"]
    plant.mesh.ask("bob", "UnflagSubscription", subscription_id=held.id)
    assert waits(plant, "bob", "SUBSCRIPTION_FLAGGED") == ["INACTIVE"]


def test_42_owners_and_readers_hear_that_a_filter_does_not_fit_any_more(plant, monkeypatch):
    monkeypatch.setattr(filters, "READERS_NAMED", 1)
    condition = {"equalTo": {"columnName": "line", "value": "A"}}
    rows = {"rowConfiguration": {"rowFilter": {"expression": condition}}}
    id_ = plant.filter("line A", "public", rows)
    plant.subscribe(plant.public, filter_ids=(id_,))
    plant.mesh.person("eve")
    plant.reader = project_of(plant.mesh, "eve", "planning").id
    plant.ask(plant.public, filter_ids=(id_,), by="eve")
    narrower = {"torque": "double", "worker": "string"}
    asset = plant.find(Asset, "asset-public")
    lesser = changed(plant, asset, technical=technical(asset.external_identifier, narrower))
    acted(plant, "RefreshAsset", lambda call: revalidated(call, lesser) or lesser)
    assert titles(plant, "bob", "ASSET_FILTER_INVALID") == [
        "The filter 'line A' of 'public' does not fit any more: nothing is read through it"
    ]
    assert titles(plant, "dee", "SUBSCRIPTION_FILTER_INVALID") == [
        "'asset-public' has changed, and 'forecasts' reads nothing until a filter of it is mended"
    ]
    assert len(titles(plant, "eve", "SUBSCRIPTION_FILTER_INVALID")) == 1
    assert told(plant, "dee", "ASSET_FILTER_INVALID") == []


def test_14_a_run_that_failed_is_told_to_those_who_keep_the_source(plant):
    own = {"project_id": plant.owner, **STAMP}
    source = DataSource(
        id="source-a", name="welds", association_id="association-lake", location="s3://x", **own
    )
    run = DataSourceRun(
        id="run-a",
        data_source_id=source.id,
        type=RunType.SCHEDULED,
        status=DataSourceRunStatus.FAILED,
        error_message="the storage does not answer",
        **own,
    )
    plant.keep(source, run)
    acted(plant, "EndDataSourceRun", lambda call: run)
    [one] = told(plant, "bob", "DATA_SOURCE_RUN_FAILED")
    assert one.title == "A run of the data source 'welds' has ended FAILED"
    assert one.message == "the storage does not answer"
    assert told(plant, "cy", "DATA_SOURCE_RUN_FAILED") == []


def test_46_owners_have_a_review_to_do_until_all_is_decided_or_it_is_closed(plant):
    plant.subscribe(plant.public)
    plant.subscribe(plant.internal)
    given = {"domain_unit_id": ROOT, "name": "yearly", "due_at": now() + HOUR_US}
    plant.mesh.ask("ann", "CreateReviewCampaign", **given)
    [one] = told(plant, "bob", "ACCESS_REVIEW")
    assert one.title == "Access to the data of 'press shop' is to be reviewed"
    for item in plant.mesh.ask("bob", "ListReviewItems")["items"]:
        assert waits(plant, "bob", "ACCESS_REVIEW") == ["ACTIVE"]
        given = {"review_item_id": item.id, "verdict": "KEEP"}
        plant.mesh.ask("bob", "DecideReviewItem", **given)
    assert waits(plant, "bob", "ACCESS_REVIEW") == ["INACTIVE"]


def test_46_a_review_that_nobody_does_is_closed_and_waits_no_longer(plant):
    plant.subscribe(plant.public)
    given = {"domain_unit_id": ROOT, "name": "yearly", "due_at": now() + HOUR_US}
    campaign = plant.mesh.ask("ann", "CreateReviewCampaign", **given)
    assert waits(plant, "bob", "ACCESS_REVIEW") == ["ACTIVE"]
    changed(plant, campaign, due_at=1)
    due(plant, "close-campaign")
    assert waits(plant, "bob", "ACCESS_REVIEW") == ["INACTIVE"]


def test_13_readers_hear_that_what_they_read_was_published_anew(plant):
    plant.subscribe(plant.public)
    acted(plant, "CreateListingChangeSet", lambda call: call.find(Listing, id=plant.public))
    assert titles(plant, "dee", "LISTING_REVISED") == ["'asset-public' was published anew"]
    assert told(plant, "bob", "LISTING_REVISED") == []


def test_41_what_people_write_into_the_audit_names_nothing_to_tell_of(plant):
    plant.subscribe(plant.public)

    def published(call):
        call.tell(columns=[plant.public])
        return call.find(Listing, id=plant.secret)

    acted(plant, "CreateListingChangeSet", published)
    assert told(plant, "dee", "LISTING_REVISED") == []


def test_24_proposals_wait_for_their_people_and_who_made_one_hears_what_became_of_it(plant):
    given = {"project_id": plant.owner, "member_id": "user-dee"}
    given["designation"] = Designation.VIEWER
    plant.mesh.ask("bob", "CreateProjectMembership", **given)
    told_of = {"subject_id": "asset-public", "path": "description", "reason": "it lacks"}
    made = plant.mesh.ask("dee", "CreateProposal", after="well", **told_of)
    [one] = told(plant, "bob", "PROPOSAL_CREATED")
    assert (one.title, one.message) == (
        "dee proposes to change something of 'press shop'",
        "it lacks",
    )
    given = {"project_id": plant.owner, "proposal_ids": (made.id,), "comment": "no"}
    plant.mesh.ask("bob", "RejectProposals", **given)
    assert waits(plant, "bob", "PROPOSAL_CREATED") == ["INACTIVE"]
    assert titles(plant, "dee", "PROPOSAL_DECIDED") == ["What you proposed is REJECTED"]


def test_41_nobody_is_told_the_name_of_what_they_may_not_look_at(plant):
    held = plant.subscribe(plant.secret)
    listing = plant.find(Listing, plant.secret)
    changed(plant, listing, status="INACTIVE")
    plant.mesh.ask("bob", "RevokeSubscription", subscription_id=held.id)
    assert titles(plant, "dee", "SUBSCRIPTION_ENDED") == [
        "The access of 'forecasts' to a listing has ended: it is REVOKED"
    ]


def test_41_a_stranger_is_told_of_nothing(plant):
    plant.mesh.person("eve")
    plant.subscribe(plant.secret)
    assert told(plant, "eve") == []


def test_41_all_is_told_in_the_order_in_which_it_was_done(plant):
    request = plant.ask(plant.secret)
    plant.accept(request)
    plant.mesh.work()
    held = plant.subscription(request)
    plant.mesh.ask("bob", "RevokeSubscription", subscription_id=held.id)
    found = told(plant, "cy")
    assert all(one.event > other.event for one, other in pairwise(found))
    assert [one.topic for one in found][:2] == [
        "SUBSCRIPTION_ENDED",
        "SUBSCRIPTION_REQUEST_ACCEPTED",
    ]
    assert plant.find(SubscriptionRequest, request.id).status is SubscriptionRequestStatus.ACCEPTED
    assert plant.find(Subscription, held.id).status == "REVOKED"
