"""Decisions on what is alike are made once; they are those that each thing would get alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.mesh.operations.registry import actions
from atoll.mesh.policies.decisions import Action, Authorizer, Facts, Roles, Standing
from atoll.mesh.service import OPERATIONS

LISTING = [one for one in OPERATIONS.values() if one.on.__name__ == "Listing"]
REQUEST = [one for one in OPERATIONS.values() if one.on.__name__ == "SubscriptionRequest"]
NAMES = ("owners", "contributors", "stewards", "consumers", "viewers")
ROLES = st.sampled_from(["everybody", "participant", *"abcd"])
SETS = st.frozensets(ROLES, max_size=3).map(Roles)
MEMBERS = st.fixed_dictionaries(dict.fromkeys(NAMES, SETS))
CLASSES = st.sampled_from(["PUBLIC", "INTERNAL", "CONFIDENTIAL"])
LISTINGS = st.fixed_dictionaries(
    {
        "governors": SETS,
        "project": MEMBERS,
        "readers": SETS,
        "classification": CLASSES,
        "status": st.sampled_from(["ACTIVE", "INACTIVE"]),
    }
)
REQUESTS = st.fixed_dictionaries(
    {
        "governors": SETS,
        "project": MEMBERS,
        "producer": MEMBERS,
        "approvers": SETS,
        "classification": CLASSES,
        "unmasks": st.booleans(),
    }
)
SCOPES = st.frozensets(st.sampled_from(["read", "write", "admin"]))
AUTHORIZER = Authorizer(actions())
HOUSE = """@id("house") @description("Of the house.")
forbid (principal, action in Action::"Discover", resource is Listing) when { %s };"""


def plainly(authorizer, who, action, things):
    """Decide on each thing with all that is known of it."""
    authorizer._asks_for_roles_only = False
    try:
        return [authorizer.decide(who, action, one) for one in things]
    finally:
        authorizer._asks_for_roles_only = True


@given(st.frozensets(ROLES), SCOPES, st.sampled_from(LISTING), st.lists(LISTINGS, max_size=8))
def test_listings_that_are_alike_get_the_decision_that_each_would(roles, scopes, of, attributes):
    who = Standing("User", "user-x", roles, scopes)
    things = [Facts("Listing", f"listing-{n}", one) for n, one in enumerate(attributes)]
    found = AUTHORIZER.decide_all(who, of.action, things)
    assert found == plainly(AUTHORIZER, who, of.action, things)


@given(st.frozensets(ROLES), SCOPES, st.sampled_from(REQUEST), st.lists(REQUESTS, max_size=8))
def test_requests_that_are_alike_get_the_decision_that_each_would(roles, scopes, of, attributes):
    who = Standing("Service", "user-x", roles, scopes)
    things = [Facts("SubscriptionRequest", f"r-{n}", one) for n, one in enumerate(attributes)]
    found = AUTHORIZER.decide_all(who, of.action, things)
    assert found == plainly(AUTHORIZER, who, of.action, things)


@pytest.mark.parametrize(
    "condition",
    [
        'resource.project.owners.contains(Role::"c")',
        "resource.governors.isEmpty()",
        'resource.project == resource.project && resource.governors == [Role::"c"]',
        '[resource.governors].contains([Role::"c"])',
    ],
)
def test_a_policy_of_the_house_may_ask_for_more_and_is_told(condition):
    house = Authorizer(actions(), HOUSE % condition)
    nobody = dict.fromkeys(NAMES, Roles())
    values = {"project": nobody, "readers": Roles(), "classification": "PUBLIC", "status": "ACTIVE"}
    others = Facts("Listing", "listing-2", {**values, "governors": Roles("d")})
    hidden = {**values, "governors": Roles("c"), "project": {**nobody, "owners": Roles("c")}}
    empty = Roles() if "isEmpty" in condition else Roles("c")
    hidden = Facts("Listing", "listing-1", {**hidden, "governors": empty})
    who = Standing("User", "user-x", frozenset({"everybody"}), frozenset({"read"}))
    found = house.decide_all(who, Action("GetListing", "read"), [others, hidden, others])
    assert [one.is_allowed for one in found] == [True, False, True]


@pytest.mark.parametrize(
    "condition",
    ['resource == Listing::"listing-1"', '[Listing::"listing-1"].contains(resource)'],
)
def test_a_policy_of_the_house_singles_out_nothing_that_searches_count(condition):
    with pytest.raises(ValueError, match='singles out Listing::"listing-1"'):
        Authorizer(actions(), HOUSE % condition)
