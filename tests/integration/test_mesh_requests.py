"""Subscription requests: who asks for what, and what a policy or a person decides."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from mesh_access import Plant, join
from mesh_databases import database_of
from mesh_world import ROOT, STAMP, world

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.mesh.model.access import Comment, Subscription, SubscriptionRequest
from atoll.mesh.model.catalog import (
    Asset,
    AssetFilter,
    Classification,
    FilterStatus,
    Listing,
    ListingStatus,
    PiiFlag,
    PiiStatus,
)
from atoll.mesh.model.describing import RuleAction, RuleType
from atoll.mesh.model.organisation import Designation, PolicyType
from atoll.mesh.model.people import UserType
from atoll.mesh.service.forms import FormInput, NewField
from atoll.mesh.service.requests import REQUEST_EDGES, considered

DAY_US = 86_400_000_000
NO_PUBLIC = """@id("no-press-data")
@description("What the press shop has goes nowhere without somebody looking.")
forbid (principal, action == Action::"ApproveByPolicy", resource)
when { resource.classification == "PUBLIC" };"""


@pytest.fixture
def plant(mesh, tmp_path):
    return Plant(mesh, tmp_path / "lake")


def events(mesh, operation):
    return [one for one in mesh.notes if one.operation == operation and one.outcome == "ALLOWED"]


def soon(days=1):
    return time.time_ns() // 1000 + days * DAY_US


def test_38_several_listings_are_asked_for_at_once_and_all_of_them_or_none(plant, mesh):
    made = plant.basket(plant.secret, plant.product)
    assert {one.basket for one in made.requests} == {made.basket}
    refused = mesh.refusal(
        "cy",
        "CreateSubscriptionRequests",
        project_id=plant.reader,
        request_reason="again",
        listings=plant.wanted(plant.public, plant.secret),
    )
    assert isinstance(refused, Conflict)
    assert made.requests[0].id in refused.message
    assert len(plant.every(SubscriptionRequest)) == 2


def test_38_who_asks_says_what_for_and_both_sides_see_it(plant, mesh):
    asked = plant.ask(plant.secret, by="dee", reason="to stop the line less often")
    for who in ("bob", "cy", "dee", "ann"):
        given = {"subscription_request_id": asked.id}
        assert mesh.ask(who, "GetSubscriptionRequest", **given) == asked
        page = mesh.ask(who, "ListSubscriptionRequests", project_id=plant.reader, status="PENDING")
        assert page["items"] == [asked]
    mesh.person("eve")
    assert isinstance(mesh.refusal("eve", "GetSubscriptionRequest", **given), NotFound)
    assert mesh.ask("eve", "ListSubscriptionRequests")["items"] == []


def test_38_what_one_may_not_discover_cannot_be_asked_for(plant, mesh):
    hidden = plant.find(Listing, plant.secret)
    plant.change(hidden, status=ListingStatus.INACTIVE)
    told = [plant.refusal(one) for one in (plant.secret, "listing-nowhere")]
    assert [type(one) for one in told] == [NotFound, NotFound]
    assert told[0].message.replace(plant.secret, "X") == told[1].message.replace(
        "listing-nowhere", "X"
    )
    join(mesh, plant.owner, "cy", Designation.VIEWER, by="bob")  # now Cy knows that it was listed
    assert isinstance(plant.refusal(plant.secret), Conflict)


def test_38_only_those_who_may_ask_for_a_project_do(plant, mesh):
    join(mesh, plant.reader, "ann", Designation.VIEWER, by="cy")
    assert isinstance(plant.refusal(plant.public, by="ann"), Forbidden)
    assert isinstance(plant.refusal(plant.public, by="bob"), NotFound)


def test_38_nobody_asks_for_their_own_or_twice_in_one_basket(plant, mesh):
    join(mesh, plant.owner, "cy", Designation.CONSUMER, by="bob")
    given = {"project_id": plant.owner, "request_reason": "mine"}
    wanted = plant.wanted(plant.public)
    told = mesh.refusal("cy", "CreateSubscriptionRequests", listings=wanted, **given)
    assert isinstance(told, InvalidInput)
    assert isinstance(plant.refusal(plant.secret, plant.secret), InvalidInput)


def test_38_what_a_project_has_is_not_asked_for_again_until_it_is_given_back(plant, mesh):
    had = plant.subscribe(plant.public)
    told = plant.refusal(plant.public)
    assert isinstance(told, Conflict)
    assert had.id in told.message
    mesh.ask("cy", "CancelSubscription", subscription_id=had.id)
    assert plant.ask(plant.public).status == "ACCEPTED"


def test_38_a_request_is_changed_and_deleted_by_those_who_ask_while_nobody_has_decided(plant, mesh):
    asked = plant.ask(plant.secret)
    plant.keep(Comment(id="comment-1", request_id=asked.id, text="why?", **STAMP))
    given = {"subscription_request_id": asked.id}
    changed = mesh.ask("dee", "UpdateSubscriptionRequest", min_score=90.0, **given)
    assert (changed.wanted.min_score, changed.request_reason) == (90.0, asked.request_reason)
    assert isinstance(mesh.refusal("bob", "DeleteSubscriptionRequest", **given), Forbidden)
    mesh.ask("dee", "DeleteSubscriptionRequest", **given)
    assert plant.every(SubscriptionRequest) == plant.every(Comment) == []
    mesh.work()


def test_38_what_was_decided_is_neither_changed_nor_deleted(plant, mesh):
    given = {"subscription_request_id": plant.ask(plant.public).id}
    for name in ("UpdateSubscriptionRequest", "DeleteSubscriptionRequest"):
        assert isinstance(mesh.refusal("cy", name, **given), Conflict)


def test_22_a_rule_of_the_producer_demands_a_form_with_each_request(plant, mesh):
    given = {"policy_type": PolicyType.CREATE_FORM_TYPE, "principal_id": "user-bob"}
    mesh.ask("ann", "AddPolicyGrant", domain_unit_id=ROOT, **given)
    fields = (NewField(name="why"),)
    mesh.ask("bob", "CreateFormType", project_id=plant.owner, name="Purpose", fields=fields)
    given = {"rule_type": RuleType.METADATA_FORM_ENFORCEMENT}
    given |= {"action": RuleAction.CREATE_SUBSCRIPTION_REQUEST}
    given |= {"name": "purpose", "form_types": ("Purpose",), "domain_unit_id": ROOT}
    mesh.ask("ann", "CreateRule", **given)
    told = plant.refusal(plant.public)
    assert isinstance(told, InvalidInput)
    assert "Purpose" in told.message
    filled = FormInput(form_type="Purpose", content={"why": "to learn"})
    assert plant.ask(plant.public, forms=(filled,)).forms[0].content == {"why": "to learn"}


def test_39_public_and_internal_data_are_given_by_policy_and_confidential_ones_wait(plant, mesh):
    made = plant.basket(plant.public, plant.internal, plant.secret).requests
    assert [one.status for one in made] == ["ACCEPTED", "ACCEPTED", "PENDING"]
    assert [one.reviewer_id for one in made] == ["policy", "policy", ""]
    by_policy = events(mesh, "AcceptSubscriptionRequest")
    assert [one.resource_id for one in by_policy] == [one.id for one in made[:2]]
    assert {(one.principal, one.policies) for one in by_policy} == {
        ("policy", ("open-data-need-no-reviewer",))
    }


def test_39_a_policy_of_the_house_has_a_person_look_at_public_data(tmp_path):
    with world(database_of(tmp_path), policies=NO_PUBLIC) as mesh:
        plant = Plant(mesh, tmp_path / "lake")
        made = plant.basket(plant.public, plant.internal).requests
        assert [one.status for one in made] == ["PENDING", "ACCEPTED"]
        assert plant.accept(made[0]).reviewer_id == "user-bob"


def test_39_what_a_policy_allows_later_is_given_later_to_whoever_still_may_ask(plant, mesh):
    first, second = plant.basket(plant.secret, plant.product, by="dee").requests
    public = {"classification": "PUBLIC"}
    for one in (first, second):
        plant.change(one, **public)
    assert plant.act(SubscriptionRequest, first.id, considered).status == "ACCEPTED"
    given = {"project_id": plant.reader, "member_id": "user-dee"}
    mesh.ask("cy", "DeleteProjectMembership", **given)
    assert plant.act(SubscriptionRequest, second.id, considered).status == "PENDING"
    assert (
        plant.act(SubscriptionRequest, first.id, considered).reviewer_id == "policy"
    )  # once is enough


def test_40_no_policy_unmasks_personal_data(plant):
    asked = plant.ask(plant.public, unmasked=("worker",))
    assert asked.status == "PENDING"
    assert plant.act(SubscriptionRequest, asked.id, considered).status == "PENDING"


def test_40_nor_does_a_policy_of_the_house(tmp_path):
    all_of_it = """@id("all") @description("The plant trusts itself.")
permit (principal, action == Action::"ApproveByPolicy", resource);"""
    with world(database_of(tmp_path), policies=all_of_it) as mesh:
        plant = Plant(mesh, tmp_path / "lake")
        assert plant.ask(plant.secret).status == "ACCEPTED"
        assert plant.ask(plant.product, unmasked=("worker",)).status == "PENDING"


def test_40_a_column_is_unmasked_only_where_a_reviewer_names_it(plant):
    asked = plant.ask(plant.secret, unmasked=("worker",))
    assert plant.accept(asked).decided.unmasked == ()
    asked = plant.ask(plant.public, unmasked=("worker",))
    decided = plant.accept(asked, unmasked=("worker",))
    assert (decided.decided.unmasked, decided.reviewer_id) == (("worker",), "user-bob")


def test_40_only_a_person_who_did_not_ask_unmasks(plant, mesh):
    join(mesh, plant.owner, "cy", Designation.OWNER, by="bob")
    robot = mesh.ask("ann", "CreateUserProfile", name="robot", type=UserType.SERVICE)
    given = {"member_id": robot.id, "designation": Designation.OWNER}
    mesh.ask("bob", "CreateProjectMembership", project_id=plant.owner, **given)
    asked = plant.ask(plant.secret, unmasked=("worker",))
    given = {"subscription_request_id": asked.id, "unmasked": ("worker",)}
    for who in ("cy", robot.id.removeprefix("user-")):
        assert isinstance(mesh.refusal(who, "AcceptSubscriptionRequest", **given), Forbidden)
    assert plant.accept(asked, by="cy").status == "ACCEPTED"  # masked, they may


def test_40_nobody_widens_what_another_asked_to_see_unmasked(plant, mesh):
    given = {"subscription_request_id": plant.ask(plant.secret).id, "unmasked": ("worker",)}
    assert isinstance(mesh.refusal("dee", "UpdateSubscriptionRequest", **given), Forbidden)
    assert mesh.ask("cy", "UpdateSubscriptionRequest", **given).wanted.unmasked == ("worker",)


def test_40_only_masked_columns_are_unmasked_and_only_those_that_were_asked_for(plant, mesh):
    for columns in (("torque",), ("nothing",), ("worker", "line")):
        assert isinstance(plant.refusal(plant.secret, unmasked=columns), InvalidInput)
    given = {"subscription_request_id": plant.ask(plant.secret).id, "unmasked": ("worker",)}
    assert isinstance(mesh.refusal("bob", "AcceptSubscriptionRequest", **given), InvalidInput)


def test_40_in_a_data_product_a_column_is_unmasked_where_it_is_personal_in_all_assets(plant):
    wanted = {"unmasked": ("worker",)}
    given = {"subscription_request_id": plant.ask(plant.product, **wanted).id}
    asset = plant.find(Asset, "asset-secret")
    refused = replace(asset.columns[0], pii=PiiFlag("person", PiiStatus.REFUSED))
    plant.change(asset, columns=(refused,))
    told = plant.mesh.refusal("bob", "AcceptSubscriptionRequest", **given, **wanted)
    assert isinstance(told, InvalidInput)


def test_41_an_approver_accepts_or_rejects_with_a_comment(plant, mesh):
    first, second = plant.basket(plant.secret, plant.product).requests
    assert plant.accept(first, comment="welcome").decision_comment == "welcome"
    given = {"subscription_request_id": second.id, "comment": "not this one"}
    told = mesh.ask("bob", "RejectSubscriptionRequest", **given)
    assert (told.status, told.reviewer_id) == ("REJECTED", "user-bob")
    assert events(mesh, "RejectSubscriptionRequest")[0].resource_id == second.id
    assert plant.ask(plant.product).status == "PENDING"  # one may ask again


def test_41_what_was_changed_is_accepted_only_by_who_read_it_as_it_is(plant, mesh):
    asked = plant.ask(plant.secret)
    given = {"subscription_request_id": asked.id}
    filtered = plant.filter("line", "secret", {})
    mesh.ask("cy", "UpdateSubscriptionRequest", filter_ids=(filtered,), **given)
    changed = mesh.ask("cy", "UpdateSubscriptionRequest", filter_ids=(), **given)
    for version in (0, asked.version):
        told = mesh.refusal("bob", "AcceptSubscriptionRequest", version=version, **given)
        assert isinstance(told, Conflict)
        assert f"version {changed.version}" in told.message
    plant.change(plant.find(SubscriptionRequest, asked.id), classification="PUBLIC")  # counts, too
    told = mesh.refusal("bob", "AcceptSubscriptionRequest", version=changed.version, **given)
    assert isinstance(told, Conflict)
    changed = mesh.ask("bob", "GetSubscriptionRequest", **given)
    assert plant.accept(asked, version=changed.version).status == "ACCEPTED"


def test_41_the_second_of_two_approvers_is_told_who_decided(plant, mesh):
    join(mesh, plant.owner, "ann", Designation.OWNER, by="bob")
    given = {"subscription_request_id": plant.ask(plant.secret).id}
    mesh.ask("bob", "RejectSubscriptionRequest", **given)
    told = mesh.refusal("ann", "AcceptSubscriptionRequest", **given)
    assert isinstance(told, Conflict)
    assert "REJECTED by 'user-bob'" in told.message


def test_41_of_two_approvers_at_once_one_decides(database, tmp_path):
    with world(database) as mesh, ThreadPoolExecutor(2) as threads:
        plant = Plant(mesh, tmp_path / "lake")
        mesh.person("eve")
        join(mesh, plant.owner, "eve", Designation.OWNER, by="bob")
        secrets = [plant.table(f"secret {n}", Classification.CONFIDENTIAL) for n in range(4)]
        at_once = Barrier(2)

        def decides(who, name, asked):
            at_once.wait()
            try:
                return mesh.ask(who, name, subscription_request_id=asked.id)
            except Conflict:
                return None

        names = ("AcceptSubscriptionRequest", "RejectSubscriptionRequest")
        for asked in plant.basket(*secrets).requests:
            answers = threads.map(decides, ("bob", "eve"), names, (asked, asked))
            [decided] = [one for one in answers if one]
            assert plant.find(SubscriptionRequest, asked.id) == decided
            told = [one for name in names for one in events(mesh, name)]
            [event] = [one for one in told if one.resource_id == asked.id]
            assert event.principal == decided.reviewer_id
            held = plant.every(Subscription, request_id=asked.id)
            assert len(held) == (decided.status == "ACCEPTED")


def test_41_who_asks_does_not_decide_nor_do_those_who_govern(plant, mesh):
    given = {"subscription_request_id": plant.ask(plant.secret).id}
    for who in ("cy", "dee", "ann"):
        for name in ("AcceptSubscriptionRequest", "RejectSubscriptionRequest"):
            assert isinstance(mesh.refusal(who, name, **given), Forbidden)


def test_41_a_request_that_nobody_decides_on_in_time_is_rejected(plant, mesh):
    asked = plant.ask(plant.secret)
    mesh.work()
    assert plant.find(SubscriptionRequest, asked.id).status == "PENDING"
    plant.change(asked, expires_at=1)
    plant.do_now("expire-request")
    found = plant.find(SubscriptionRequest, asked.id)
    assert (found.status, found.reviewer_id) == ("REJECTED", "system")


def test_42_a_request_names_filters_of_what_it_asks_for_that_fit(plant):
    one_line = plant.filter("line", "secret", {})
    other = plant.filter("line", "public", {})
    for ids in (("filter-none",), (other,)):
        told = plant.refusal(plant.secret, filter_ids=ids)
        assert isinstance(told, InvalidInput)
        assert told.message == f"there is no filter '{ids[0]}' of these data"
    plant.change(plant.find(AssetFilter, one_line), status=FilterStatus.INVALID)
    assert isinstance(plant.refusal(plant.secret, filter_ids=(one_line,)), InvalidInput)
    assert plant.ask(plant.product, filter_ids=()).wanted.filter_ids == ()


def test_42_the_reviewer_chooses_the_filters_and_the_end(plant):
    lines = [plant.filter(name, "secret", {}) for name in ("a", "b")]
    asked = plant.ask(plant.secret, filter_ids=(lines[0],))
    end = soon()
    decided = plant.accept(asked, filter_ids=(lines[1],), expires_at=end).decided
    assert (decided.filter_ids, decided.expires_at) == ((lines[1],), end)
    assert plant.accept(plant.ask(plant.product)).decided.filter_ids == ()


def test_47_access_lasts_no_longer_than_the_guardrails_of_the_producer_allow(plant, mesh):
    assert isinstance(plant.refusal(plant.secret, expires_at=1), InvalidInput)
    mesh.ask("ann", "SetGuardrails", domain_unit_id=ROOT, longest_access_s=2 * 86_400)
    assert isinstance(plant.refusal(plant.secret, expires_at=soon(3)), InvalidInput)
    asked = plant.ask(plant.secret, expires_at=soon(1))
    given = {"subscription_request_id": asked.id, "expires_at": soon(3)}
    assert isinstance(mesh.refusal("bob", "AcceptSubscriptionRequest", **given), InvalidInput)
    forever = plant.accept(asked, expires_at=0).decided.expires_at
    assert soon(1) < forever <= soon(2)


def test_what_is_not_published_any_more_is_not_given(plant, mesh):
    asked = plant.ask(plant.secret)
    plant.change(plant.find(Listing, plant.secret), status=ListingStatus.INACTIVE)
    given = {"subscription_request_id": asked.id}
    assert isinstance(mesh.refusal("bob", "AcceptSubscriptionRequest", **given), Conflict)
    mesh.ask("bob", "RejectSubscriptionRequest", **given)


def test_no_edge_leaves_what_was_decided():
    assert REQUEST_EDGES["ACCEPTED"] == REQUEST_EDGES["REJECTED"] == ()
