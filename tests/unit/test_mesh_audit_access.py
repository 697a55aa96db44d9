"""Who has access, to what, since when, granted by whom, for any date (45)."""

import pytest
from mesh_chains import KEY, START_US, event
from msgspec.structs import replace

from atoll.core.errors import Corrupt, InvalidInput
from atoll.mesh.audit.access import Access, AccessChange, change_details, who
from atoll.mesh.audit.chain import extend
from atoll.mesh.audit.model import GENESIS

SECOND_US = 1_000_000


def history(*changes, asset_id="asset-1", **given):
    """Events a second apart, from START_US on, each with one change of subscription s1."""
    made, head = [], GENESIS
    for number, (kind, options) in enumerate(changes):
        options = {"subscription": "s1", "project": "p1"} | options
        change = AccessChange(kind, asset_id, **options)
        one = event("AnyOperation", details=change_details(change), **given)
        sealed, head = extend(head, [one], START_US + number * SECOND_US, KEY)
        made += sealed
    return made


GRANT = ("GRANTED", {"project": "p1", "filters": ("f1",), "why": "line 3 stops too often"})


def after(events, seconds):
    return who(events, START_US + int(seconds * SECOND_US))


def test_a_grant_answers_all_four_questions():
    assert after(history(GRANT, principal="owner"), 0) == [
        Access("asset-1", "s1", "p1", None, ("f1",), (), START_US, "owner", GRANT[1]["why"], None)
    ]


def test_before_the_grant_nobody_has_access():
    assert after(history(GRANT), -0.000001) == []
    assert who([], START_US) == []


@pytest.mark.parametrize("end", ["REVOKED", "CANCELLED", "EXPIRED"])
def test_access_ends_with_the_event_that_ends_it(end):
    events = history(GRANT, (end, {}))
    assert [len(after(events, seconds)) for seconds in (0.999999, 1, 9)] == [1, 0, 0]


def test_suspended_access_is_none_until_it_is_resumed_and_is_as_old_as_before():
    events = history(GRANT, ("SUSPENDED", {}), ("TERMS_CHANGED", {"filters": ("f2",)}))
    events += history(*[GRANT] * 3, ("RESUMED", {}))[3:]
    assert after(events, 2) == []
    (access,) = after(events, 3)
    assert (access.since, access.filters) == (START_US, ("f2",))


def test_access_with_an_end_is_over_at_that_moment_without_any_event():
    events = history(
        ("GRANTED", {"project": None, "principal": "u1", "until": START_US + SECOND_US})
    )
    assert [len(after(events, seconds)) for seconds in (0.999999, 1)] == [1, 0]


def test_granting_again_begins_anew():
    again = ("GRANTED", {"project": None, "principal": "u1"})
    (access,) = after(history(GRANT, ("SUSPENDED", {}), ("REVOKED", {}), again), 3)
    assert (access.since, access.project, access.principal) == (
        START_US + 3 * SECOND_US,
        None,
        "u1",
    )


def test_what_happens_in_one_microsecond_counts_together():
    changes = [AccessChange(kind, "a", "s1", "p1") for kind in ("GRANTED", "REVOKED")]
    pending = [event(details=change_details(change)) for change in changes]
    events, _ = extend(GENESIS, pending, START_US, KEY)
    assert who(events, START_US) == []


@pytest.mark.parametrize("outcome", ["DENIED", "FAILED"])
def test_what_was_denied_or_failed_changes_nothing(outcome):
    assert after(history(GRANT, outcome=outcome), 5) == []
    ended = history(GRANT, ("REVOKED", {}), outcome=outcome)
    assert len(after(history(GRANT) + ended[1:], 5)) == 1


def test_changes_without_a_grant_give_no_access():
    kinds = ["RESUMED", "TERMS_CHANGED", "SUSPENDED", "REVOKED", "RESUMED"]
    assert after(history(*((kind, {}) for kind in kinds)), 9) == []


def test_subscriptions_and_assets_are_told_apart():
    other = ("GRANTED", {"project": "p1", "subscription": "s2"})
    events = history(other, GRANT, ("REVOKED", {"subscription": "s2"}))
    events += history(GRANT, asset_id="asset-2")
    events.sort(key=lambda one: one.at)
    found = [(access.asset_id, access.subscription) for access in after(events, 9)]
    assert found == [("asset-2", "s1"), ("asset-1", "s1")]


def test_events_that_change_no_access_are_passed_over():
    others, _ = extend(GENESIS, [event(asset_id="a"), event(details={"rows": 1})], 1, KEY)
    assert who(others, START_US) == []


def test_access_of_nobody_or_of_two_is_refused():
    for holders in ({}, {"project": "p", "principal": "u"}):
        with pytest.raises(InvalidInput, match="not of both or none"):
            change_details(AccessChange("GRANTED", "a", "s1", **holders))


@pytest.mark.parametrize("details", ["", '{"access":{"kind":"GIVEN"}}', '{"x":' + "[" * 10**5])
def test_details_that_no_longer_read_are_corrupt(details):
    (one,) = history(GRANT)
    with pytest.raises(Corrupt, match="the details of audit event 1 cannot be read"):
        who([replace(one, details=details)], START_US)
