"""Nothing done to a chain of audit events stays unseen (48; threats 10)."""

import json
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_chains import KEY, STRANGE_KEY, anchor_of, chains, event, events
from msgspec.structs import astuple
from msgspec.structs import replace as rewritten

from atoll.mesh.audit.chain import canonical, extend, head_after, sealed
from atoll.mesh.audit.model import GENESIS, AuditEvent
from atoll.mesh.audit.verify import Fault, verify

FIELDS = st.sampled_from(AuditEvent.__struct_fields__)


def problem_of(chain, anchors=()):
    return verify(iter(chain), [KEY], anchors).problem


def changed(draw, value):
    """The same value but for a byte, or of another type, or one more or less of a few."""
    if isinstance(value, int):
        return value ^ (1 << draw(st.integers(0, 62)))
    if isinstance(value, tuple):
        place = draw(st.integers(0, len(value)))
        more = (*value[:place], draw(st.text(max_size=3)), *value[place:])
        return draw(st.sampled_from([more, value[:place] + value[place + 1 :] or ("",)]))
    if not value:
        return draw(st.sampled_from(["x", "\0", " "]) | st.just(None if value == "" else ""))
    data = bytearray(value.encode())
    data[draw(st.integers(0, len(data) - 1))] ^= draw(st.integers(1, 255))
    return bytes(data).decode(errors="surrogateescape")


def places(chain):
    return st.integers(0, len(chain) - 1)


@given(chains())
def test_whatever_is_sealed_is_whole(chain):
    verdict = verify(iter(chain), [KEY], map(anchor_of, chain))
    assert (verdict.problem, verdict.events, verdict.anchors) == (None, len(chain), len(chain))
    assert all(one.at <= two.at for one, two in pairwise(chain))


@settings(max_examples=50)
@given(events(), events())
def test_different_events_never_share_bytes(first, second):
    one, two = (sealed(made, GENESIS, 1, KEY) for made in (first, second))
    assert (one == two) == (canonical(one) == canonical(two))
    # All of an event can be read back from its bytes: no two events can have the same.
    tag, *values = json.loads(canonical(one))
    *before, details, key_id, previous = values[:14]
    read = AuditEvent(*before, details, tuple(values[14:]), key_id, previous, one.hash)
    assert (tag, read) == ("atoll.audit.event/1", one)


@given(st.lists(st.tuples(*[st.sampled_from(["", "a", '"', ",", "\\", '","'])] * 3), max_size=5))
def test_no_text_reaches_into_the_field_beside_it(rows):
    base = sealed(event(), GENESIS, 1, KEY)
    made = {
        canonical(rewritten(base, principal=one, via=two, policies=(three,)))
        for one, two, three in rows
    }
    assert len(made) == len(set(rows))


@given(chains(), FIELDS, st.data())
def test_any_change_of_any_field_of_any_event_is_found_there(chain, field, data):
    place = data.draw(places(chain))
    value = changed(data.draw, getattr(chain[place], field))
    altered = [*chain]
    altered[place] = rewritten(chain[place], **{field: value})
    if astuple(altered[place]) != astuple(chain[place]):
        assert problem_of(altered).seq == place + 1


@given(chains(least=2), st.data())
def test_any_event_taken_out_is_found(chain, data):
    first = data.draw(st.integers(0, len(chain) - 2))
    last = data.draw(st.integers(first, len(chain) - 2))
    problem = problem_of(chain[:first] + chain[last + 1 :])
    assert (problem.seq, problem.fault) == (first + 1, Fault.MISSING)
    assert problem.message == f"events {first + 1} to {last + 1} are missing"


@given(chains(least=2), st.data())
def test_any_two_events_that_change_places_are_found(chain, data):
    one = data.draw(st.integers(0, len(chain) - 2))
    two = data.draw(st.integers(one + 1, len(chain) - 1))
    swapped = [*chain]
    swapped[one], swapped[two] = chain[two], chain[one]
    problem = problem_of(swapped)
    assert (problem.seq, problem.fault) == (one + 1, Fault.REORDERED)


@given(chains(), st.data())
def test_any_event_that_stands_twice_is_found(chain, data):
    one, place = data.draw(places(chain)), data.draw(st.integers(0, len(chain)))
    doubled = [*chain[:place], chain[one], *chain[place:]]
    # The first of two neighbours is the right one, whichever was put in.
    expected = place + 1 if place != one else place + 2
    assert problem_of(doubled).seq == expected


@given(chains(), events(), st.sampled_from([KEY, STRANGE_KEY]), st.data())
def test_any_event_put_in_between_is_found(chain, other, key, data):
    place = data.draw(st.integers(0, len(chain) - 1))
    before = head_after(chain[place - 1]) if place else GENESIS
    (forged,), _ = extend(replace(before, key_id=key.id), [other], 1, key)
    if forged != chain[place]:
        assert problem_of([*chain[:place], forged, *chain[place:]]).seq in (place + 1, place + 2)


@given(chains(), st.data())
def test_any_tail_cut_off_before_an_anchor_is_found(chain, data):
    anchored = data.draw(places(chain))
    cut = data.draw(st.integers(0, len(chain)))
    problem = problem_of(chain[:cut], [anchor_of(chain[anchored])])
    expected = None if cut > anchored else (cut + 1, Fault.TRUNCATED)
    assert (problem and (problem.seq, problem.fault)) == expected


@given(chains(least=2), st.data())
def test_a_tail_written_anew_by_whoever_has_the_key_is_found_by_an_anchor(chain, data):
    place = data.draw(places(chain))
    before = head_after(chain[place - 1]) if place else GENESIS
    anew = [rewritten(one, seq=0, via="somebody else's") for one in chain[place:]]
    tail, _ = extend(before, anew, 0, KEY)
    anchored = data.draw(st.integers(place, len(chain) - 1))
    problem = problem_of(chain[:place] + tail, [anchor_of(chain[anchored])])
    assert (problem.seq, problem.fault) == (anchored + 1, Fault.REWRITTEN)
