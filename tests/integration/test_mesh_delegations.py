"""Who decides in the owners' place, what both sides say, and how those who wait are remembered."""

import pytest
from mesh_access import join
from mesh_databases import database_of
from mesh_sharing import Shop
from mesh_world import ROOT, STAMP, now, world

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.mesh.model.access import SubscriptionRequestStatus, SubscriptionStatus, Verdict
from atoll.mesh.model.catalog import Classification
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import Designation
from atoll.mesh.model.people import UserType
from atoll.mesh.operations.jobs import HANDLERS
from atoll.mesh.operations.registry import OPERATIONS
from atoll.mesh.service import comments

MAY_ASK = (Designation.OWNER, Designation.CONTRIBUTOR, Designation.CONSUMER)
STEWARDS_ASK = """
@id("stewards-ask")
@description("In this house stewards ask for data.")
permit (principal, action in Action::"Consume", resource)
when { resource has project && principal in resource.project.stewards };

@id("consumers-do-not")
@description("In this house consumers do not.")
forbid (principal, action in Action::"Consume", resource)
when { resource has project && principal in resource.project.consumers };
"""
HOUR_US = 3_600_000_000


@pytest.fixture
def shop(mesh):
    return Shop(mesh, Classification.CONFIDENTIAL)


def delegated(shop, principal, until=0):
    given = {"principal_id": principal, "until": until}
    return shop.mesh.ask("bob", "CreateDelegation", project_id=shop.producer.id, **given)


def may_review(shop, who, request):
    with shop.mesh.store.reading() as reader:
        call = shop.mesh.call(reader, who)
        return call.decide(OPERATIONS["AcceptSubscriptionRequest"].action, request).is_allowed


def swept(shop):
    """Do the standing job, as a server does each minute."""
    task = Job(id="job-x", kind="remind-reviewers", subject_id="", due_at=0, **STAMP)
    return HANDLERS["remind-reviewers"].run(shop.mesh.attendant, task)


def test_41_a_delegate_decides_until_their_time_is_over_or_they_are_removed(shop):
    request = shop.asked()
    assert not may_review(shop, "dee", request)
    one = delegated(shop, "user-dee", now() + HOUR_US)
    assert may_review(shop, "dee", request)
    shop.put(one, until=now() - 1)
    assert not may_review(shop, "dee", request)
    again = delegated(shop, "user-dee")
    assert (again.id, again.until) == (one.id, 0)
    assert may_review(shop, "dee", request)
    shop.mesh.ask("bob", "DeleteDelegation", delegation_id=one.id)
    assert not may_review(shop, "dee", request)


def test_41_a_delegate_does_not_decide_on_what_they_ask_for(shop):
    delegated(shop, "user-cy")
    request = shop.asked()
    given = {"subscription_request_id": request.id}
    told = shop.mesh.refusal("cy", "AcceptSubscriptionRequest", **given)
    assert isinstance(told, Forbidden)
    assert "have one of the owners decide" in told.message
    given = {"project_id": shop.consumer.id, "member_id": "user-dee"}
    shop.mesh.ask("cy", "CreateProjectMembership", designation=Designation.OWNER, **given)
    leaves = {"project_id": shop.consumer.id, "member_id": "user-cy"}
    shop.mesh.ask("dee", "DeleteProjectMembership", **leaves)
    given = {"subscription_request_id": request.id}
    assert isinstance(shop.mesh.refusal("cy", "AcceptSubscriptionRequest", **given), Forbidden)


def asked_by_project_of_delegate(shop, designation):
    """A request for a project that Dee, a delegate, is in; what `accept` takes."""
    delegated(shop, "user-dee")
    join(shop.mesh, shop.consumer.id, "dee", designation, by="cy")
    return {"subscription_request_id": shop.asked().id}


@pytest.mark.parametrize("designation", MAY_ASK)
def test_41_a_delegate_does_not_decide_on_what_their_project_asks_for(shop, designation):
    given = asked_by_project_of_delegate(shop, designation)
    told = shop.mesh.refusal("dee", "AcceptSubscriptionRequest", **given)
    assert isinstance(told, Forbidden)


@pytest.mark.parametrize("designation", [one for one in Designation if one not in MAY_ASK])
def test_41_a_delegate_who_cannot_ask_for_their_project_decides(shop, designation):
    given = asked_by_project_of_delegate(shop, designation)
    decided = shop.mesh.ask("dee", "AcceptSubscriptionRequest", **given)
    assert decided.reviewer_id == "user-dee"


def test_41_policies_of_the_house_say_who_asks_and_so_does_not_decide(tmp_path):
    with world(database_of(tmp_path), policies=STEWARDS_ASK) as mesh:
        shop = Shop(mesh)
        given = asked_by_project_of_delegate(shop, Designation.STEWARD)
        told = mesh.refusal("dee", "AcceptSubscriptionRequest", **given)
        assert isinstance(told, Forbidden)
        join(mesh, shop.consumer.id, "dee", Designation.CONSUMER, by="cy")
        assert mesh.ask("dee", "AcceptSubscriptionRequest", **given).reviewer_id == "user-dee"


def test_41_nor_on_access_that_their_project_has_but_to_take_it_away(shop):
    delegated(shop, "user-dee")
    join(shop.mesh, shop.consumer.id, "dee", Designation.CONSUMER, by="cy")
    held = shop.put(shop.subscribed(), is_flagged=True)
    given = {"domain_unit_id": ROOT, "name": "yearly", "due_at": now() + HOUR_US}
    shop.mesh.ask("ann", "CreateReviewCampaign", **given)
    [item] = shop.mesh.ask("dee", "ListReviewItems")["items"]
    decide = {"review_item_id": item.id, "verdict": Verdict.KEEP}
    for name, about in (
        ("UpdateSubscriptionTerms", {"subscription_id": held.id, "expires_at": 0}),
        ("UnflagSubscription", {"subscription_id": held.id}),
        ("DecideReviewItem", decide),
    ):
        told = shop.mesh.refusal("dee", name, **about)
        assert (type(told), "one of the owners" in told.message) == (Forbidden, True)
        shop.mesh.ask("bob", name, **about)
    shop.mesh.ask("dee", "DecideReviewItem", **decide | {"verdict": Verdict.REVOKE})
    assert shop.seen(held).status is SubscriptionStatus.REVOKED


def test_41_owners_of_the_data_decide_on_what_they_ask_for_delegates_or_not(shop):
    delegated(shop, "user-cy")
    join(shop.mesh, shop.producer.id, "cy", Designation.OWNER, by="bob")
    given = {"subscription_request_id": shop.asked().id}
    assert shop.mesh.ask("cy", "AcceptSubscriptionRequest", **given).reviewer_id == "user-cy"


def test_41_a_group_decides_too_and_services_and_nobody_do_not(shop):
    group = shop.mesh.ask("ann", "CreateGroupProfile", name="stewards")
    delegated(shop, group.id)
    robot = shop.mesh.ask("ann", "CreateUserProfile", name="robot", type=UserType.SERVICE)
    for principal, until in ((robot.id, 0), ("user-none", 0), ("user-dee", now() - 1)):
        given = {"project_id": shop.producer.id, "principal_id": principal, "until": until}
        assert isinstance(shop.mesh.refusal("bob", "CreateDelegation", **given), InvalidInput)
    found = shop.mesh.ask("bob", "ListDelegations", project_id=shop.producer.id)["items"]
    assert [one.principal_id for one in found] == [group.id]


def test_41_only_owners_delegate(shop):
    one = delegated(shop, "user-dee")
    given = {"project_id": shop.producer.id, "principal_id": "user-cy"}
    for who in ("cy", "dee"):
        assert isinstance(shop.mesh.refusal(who, "CreateDelegation", **given), NotFound)
        assert isinstance(
            shop.mesh.refusal(who, "DeleteDelegation", delegation_id=one.id), NotFound
        )


def test_41_both_sides_speak_and_are_read_in_order_and_others_hear_nothing(shop):
    request = shop.asked()
    about = {"subscription_request_id": request.id}
    for who, text in (("cy", "please"), ("bob", "what for?"), ("cy", "to predict"), ("ann", "ok")):
        said = shop.mesh.ask(who, "CreateComment", text=text, **about)
    for who in ("bob", "cy", "ann"):
        found = shop.mesh.ask(who, "ListComments", **about)["items"]
        assert [one.text for one in found] == ["please", "what for?", "to predict", "ok"]
        assert shop.mesh.ask(who, "GetComment", comment_id=said.id) == said
    assert isinstance(shop.mesh.refusal("dee", "ListComments", **about), NotFound)
    assert isinstance(shop.mesh.refusal("dee", "CreateComment", text="hi", **about), NotFound)
    assert isinstance(shop.mesh.refusal("dee", "GetComment", comment_id=said.id), NotFound)


def test_41_there_are_only_so_many_comments(shop, monkeypatch):
    monkeypatch.setattr(comments, "MOST_OF_REQUEST", 1)
    about = {"subscription_request_id": shop.asked().id, "text": "again"}
    shop.mesh.ask("cy", "CreateComment", **about)
    assert isinstance(shop.mesh.refusal("cy", "CreateComment", **about), Conflict)


def test_41_reviewers_are_reminded_once_in_each_span_that_their_unit_sets(shop):
    given = {"domain_unit_id": ROOT, "remind_after_s": 3600}
    shop.mesh.ask("ann", "SetGuardrails", **given)
    late = shop.asked("late", reminded_at=now() - HOUR_US - 1)
    early = shop.asked("early", reminded_at=now() - HOUR_US // 2)
    assert swept(shop) > now()
    assert shop.seen(late).reminded_at > late.reminded_at
    assert shop.seen(early) == early
    swept(shop)
    assert [one.resource_id for one in shop.noted("RemindReviewers")] == [late.id]


def test_41_what_reviewers_were_only_reminded_of_is_accepted_as_it_is(shop):
    shop.mesh.ask("ann", "SetGuardrails", domain_unit_id=ROOT, remind_after_s=3600)
    late = shop.asked("late", reminded_at=now() - HOUR_US - 1)
    swept(shop)
    assert shop.seen(late).version > late.version
    given = {"subscription_request_id": late.id}
    assert shop.mesh.ask("bob", "AcceptSubscriptionRequest", **given).status == "ACCEPTED"


def test_41_nobody_is_reminded_of_what_is_decided_or_over(shop):
    shop.asked("decided", status=SubscriptionRequestStatus.REJECTED)
    shop.asked("over", expires_at=now() - 1)
    swept(shop)
    assert shop.noted("RemindReviewers") == []
