"""Who has access at a moment agrees with one interval after the other written down (45)."""

from dataclasses import dataclass
from itertools import takewhile
from operator import itemgetter

from hypothesis import given
from hypothesis import strategies as st
from mesh_chains import KEY, event

from atoll.mesh.audit.access import AccessChange, change_details, who
from atoll.mesh.audit.chain import extend
from atoll.mesh.audit.model import GENESIS

FOREVER = 10**9
MOMENTS = st.integers(0, 12)
ENDS = {"REVOKED", "CANCELLED", "EXPIRED"}
KINDS = ["GRANTED"] * 5 + ["TERMS_CHANGED", "SUSPENDED", "RESUMED", *sorted(ENDS)]


@dataclass(frozen=True)
class Step:
    at: int
    outcome: str
    actor: str
    change: AccessChange


STEPS = st.builds(
    Step,
    MOMENTS,
    st.sampled_from(["ALLOWED", "ALLOWED", "ALLOWED", "DENIED", "FAILED"]),
    st.sampled_from(["owner", "policy"]),
    st.builds(
        AccessChange,
        st.sampled_from(KINDS),
        st.sampled_from(["a1", "a2"]),
        st.sampled_from(["s1", "s2"]),
        project=st.sampled_from(["p1", "p2"]),
        filters=st.sampled_from([(), ("f1",), ("f1", "f2")]),
        unmasked=st.sampled_from([(), ("name",)]),
        why=st.sampled_from(["", "reports"]),
        until=st.none() | st.integers(1, 12),
        granted_by=st.sampled_from(["", "approver"]),
    ),
)


@dataclass(frozen=True)
class Interval:
    """That somebody could read from one moment to before another."""

    start: int
    end: int
    facts: dict


def intervals(steps):
    """Write down each stretch of access, one subscription of one asset after the other."""
    for place in {place_of(step) for step in steps}:
        mine = [step for step in steps if place_of(step) == place and step.outcome == "ALLOWED"]
        ends = [step.at for step in mine[1:]] + [FOREVER] * bool(mine)
        for number, (step, end) in enumerate(zip(mine, ends, strict=True), start=1):
            if facts := standing(mine[:number]):
                yield Interval(step.at, min(end, facts["until"] or FOREVER), facts)


def place_of(step):
    return step.change.asset_id, step.change.subscription


def standing(steps):
    """Look back from the last step to the grant, and at what came since."""
    since = list(takewhile(lambda step: step.change.kind != "GRANTED", reversed(steps)))
    kinds = [step.change.kind for step in since]
    pauses = [kind for kind in kinds if kind in ("SUSPENDED", "RESUMED")]
    if len(since) == len(steps) or ENDS & {*kinds} or pauses[:1] == ["SUSPENDED"]:
        return None
    grant = steps[-len(since) - 1]
    change = grant.change
    terms = [step.change for step in since if step.change.kind == "TERMS_CHANGED"]
    newest = [*terms, change][0]
    return {
        "asset_id": change.asset_id,
        "subscription": change.subscription,
        "project": change.project,
        "principal": None,
        "filters": newest.filters,
        "unmasked": newest.unmasked,
        "since": grant.at,
        "granted_by": change.granted_by or grant.actor,
        "why": change.why,
        "until": newest.until,
    }


def sealed(steps):
    head = GENESIS
    for step in steps:
        given = {"principal": step.actor, "details": change_details(step.change)}
        made = event(outcome=step.outcome, **given)
        (one,), head = extend(head, [made], step.at, KEY)
        yield one


@given(st.lists(STEPS, max_size=14), MOMENTS)
def test_who_has_access_at_any_moment_is_what_the_intervals_say(steps, moment):
    steps.sort(key=lambda step: step.at)
    expected = [one.facts for one in intervals(steps) if one.start <= moment < one.end]
    expected.sort(key=itemgetter("since", "asset_id", "subscription"))
    assert [vars(access) for access in who(sealed(steps), moment)] == expected
