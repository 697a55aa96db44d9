"""The chain of audit events, and what is found wrong with it (45, 48)."""

import hashlib
import hmac
import weakref
from dataclasses import replace

import pytest
from mesh_chains import (
    KEY,
    NEXT_KEY,
    START_US,
    STRANGE_KEY,
    anchor_of,
    chain_of,
    event,
    rotated_chain,
    signed,
)
from msgspec.structs import astuple
from msgspec.structs import replace as rewritten

from atoll.core.errors import Corrupt, InvalidInput
from atoll.mesh.audit.chain import canonical, extend, head_after, rotation, sealed
from atoll.mesh.audit.keys import Key, new_key
from atoll.mesh.audit.model import GENESIS, AuditEvent, Head
from atoll.mesh.audit.verify import Fault, verify

KEYS = [KEY, NEXT_KEY]


class Watched(AuditEvent, weakref=True):
    """An event of which one can see whether it is still held."""


def problem_of(events, keys=KEYS, anchors=(), **options):
    return verify(events, keys, anchors, **options).problem


def found(events, keys=KEYS, anchors=()):
    problem = problem_of(events, keys, anchors)
    return problem.seq, problem.fault


def resealed(one, key=KEY, **changes):
    """What somebody with the key can do."""
    changed = rewritten(one, **changes)
    return rewritten(changed, hash=key.sign(canonical(changed)))


def test_the_hash_is_that_of_the_documented_form():
    made = event("Größe\n", "DENIED", project="p", details={"a": '"\\\x01é'}, policies=["x", "y"])
    one = sealed(made, GENESIS, START_US, KEY)
    values = ["atoll.audit.event/1", 1, START_US, 0, "Größe\n", "DENIED", "user-1", "session-1"]
    values += ["p", "asset", "asset-1", None, one.details, KEY.id, "0" * 64, "x", "y"]
    assert one.hash == signed(KEY, values)


@pytest.mark.parametrize("length", [32, 63, 64, 65, 200])
def test_keys_of_any_length_sign_as_the_standard_says(length):
    key = Key(bytes(range(length)))
    assert key.sign(b"data") == hmac.new(key.secret, b"data", hashlib.sha256).hexdigest()


def test_a_key_shows_nothing_of_itself_and_may_not_be_short():
    key = new_key()
    assert key.secret.hex() not in key.id + repr(key)
    assert "secret" not in repr(key)
    with pytest.raises(InvalidInput, match="needs 32 bytes, this one has 31"):
        Key(b"x" * 31)


def test_a_group_of_events_is_chained_in_its_order():
    made, head = extend(GENESIS, [event("A"), event("B")], START_US, KEY)
    assert [(one.seq, one.operation, one.previous) for one in made] == [
        (1, "A", GENESIS.hash),
        (2, "B", made[0].hash),
    ]
    assert head == head_after(made[1]) == Head(2, START_US, KEY.id, made[1].hash)
    assert extend(head, [], START_US, KEY) == ([], head)


def test_a_clock_set_back_never_takes_the_chain_back_and_is_said():
    head = head_after(chain_of(1)[0])
    one = sealed(event(), head, START_US - 3_600_000_000, KEY)
    assert (one.at, one.clock_behind_us) == (START_US, 3_600_000_000)
    later = sealed(event(), head_after(one), START_US + 1, KEY)
    assert (later.at, later.clock_behind_us) == (START_US + 1, 0)


def test_an_event_is_not_sealed_with_a_key_that_is_not_in_force():
    one = chain_of(1)[0]
    with pytest.raises(InvalidInput, match=f"goes on with key {KEY.id} after event 1"):
        sealed(event(), head_after(one), START_US, STRANGE_KEY)
    with pytest.raises(InvalidInput, match="number 1 of a chain already"):
        sealed(one, head_after(one), START_US, KEY)


def test_a_whole_chain_is_whole_and_an_empty_one_too():
    events = chain_of(5)
    verdict = verify(events, [KEY], [anchor_of(events[1]), anchor_of(events[4])])
    assert verdict.problem is None
    assert (verdict.events, verdict.anchors, verdict.head) == (5, 2, head_after(events[4]))
    assert verify([], [KEY]).problem is None


def test_a_part_of_a_chain_is_verified_from_a_known_place():
    events = chain_of(5)
    anchors = [anchor_of(events[0]), anchor_of(events[1])]
    verdict = verify(events[2:], [KEY], anchors, after=head_after(events[1]))
    assert (verdict.events, verdict.anchors, verdict.problem) == (3, 1, None)
    elsewhere = replace(head_after(events[1]), hash="0" * 64)
    assert problem_of(events[2:], after=elsewhere).seq == 3


def test_what_somebody_without_the_key_does_is_named():
    one, two, three, four, five = chain_of(5)
    forged = rewritten(two, principal="somebody else")
    assert found([one, forged, three]) == (2, Fault.EDITED)
    assert found([one, four, five]) == (2, Fault.MISSING)
    assert found([one, three, two, four]) == (2, Fault.REORDERED)
    assert found([one, four, three, two, five]) == (2, Fault.REORDERED)
    assert found([one, forged, two, three]) == (2, Fault.INSERTED)
    assert found([one, two, two, three]) == (3, Fault.INSERTED)
    assert found([one, two, one]) == (3, Fault.INSERTED)


def test_messages_name_the_events():
    one, two, three, four, five = chain_of(5)
    assert problem_of([one, five]).message == "events 2 to 4 are missing"
    assert problem_of([one, three, two]).message == "event 3 stands before event 2"
    cut = problem_of([one, two], anchors=[anchor_of(four)]).message
    assert cut == "the chain ends before event 3, but was anchored at event 4"


def test_what_follows_the_first_wrong_event_is_not_counted():
    events = chain_of(5)
    events[2] = rewritten(events[2], via="x")
    verdict = verify(events, [KEY])
    assert (verdict.events, verdict.head) == (2, head_after(events[1]))


def test_a_cut_tail_is_found_by_an_anchor_and_only_by_one():
    events = chain_of(5)
    assert found(events[:2], anchors=[anchor_of(events[3])]) == (3, Fault.TRUNCATED)
    assert found([], anchors=[anchor_of(events[0])]) == (1, Fault.TRUNCATED)
    assert problem_of(events[:4], anchors=[anchor_of(events[3])]) is None


def test_a_chain_written_anew_with_the_key_contradicts_its_anchors():
    events = chain_of(4)
    other, _ = extend(head_after(events[0]), [event()] * 3, START_US, KEY)
    assert problem_of([events[0], *other]) is None
    anchors = [anchor_of(events[0]), anchor_of(events[2])]
    assert found([events[0], *other], anchors=anchors) == (3, Fault.REWRITTEN)


def test_one_event_written_anew_with_the_key_does_not_fit_the_next():
    one, two, three = chain_of(3)
    assert found([one, resealed(two, principal="x"), three]) == (3, Fault.REWRITTEN)
    assert found([one, resealed(two, seq=7)]) == (2, Fault.MISSING)


def test_a_time_before_the_last_one_is_found():
    one, two = chain_of(2)
    assert found([one, resealed(two, at=one.at - 1)]) == (2, Fault.TIME_BACK)


def test_keys_that_were_not_given_or_never_handed_over_to_are_found():
    one, two = chain_of(2)
    assert found([one, two], keys=[STRANGE_KEY]) == (1, Fault.WRONG_KEY)
    strange = resealed(two, STRANGE_KEY, key_id=STRANGE_KEY.id)
    assert found([one, strange]) == (2, Fault.WRONG_KEY)
    assert found([one, strange], keys=[KEY, STRANGE_KEY]) == (2, Fault.WRONG_KEY)


def test_an_anchor_that_no_key_signed_is_found():
    events = chain_of(2)
    forged = replace(anchor_of(events[1]), signature="é" * 64)
    assert found(events, anchors=[forged]) == (2, Fault.WRONG_ANCHOR)
    far = anchor_of(rewritten(events[1], seq=10**19), STRANGE_KEY)
    assert found(events, anchors=[far]) == (10**19, Fault.WRONG_ANCHOR)


def test_a_rotation_hands_over_to_the_next_key():
    events = rotated_chain()
    assert [one.key_id for one in events] == [KEY.id] * 3 + [NEXT_KEY.id] * 2
    verdict = verify(events, KEYS, [anchor_of(events[2], NEXT_KEY)])
    assert (verdict.problem, verdict.head.key_id) == (None, NEXT_KEY.id)
    with pytest.raises(InvalidInput, match=f"goes on with key {NEXT_KEY.id}"):
        extend(head_after(events[2]), [event()], START_US, KEY)
    with pytest.raises(InvalidInput, match="cannot hand over to itself"):
        rotation(GENESIS, KEY, KEY, START_US, principal="admin", via="x")


def test_both_keys_of_a_rotation_are_needed():
    events = rotated_chain()
    assert found(events, keys=[KEY]) == (3, Fault.WRONG_KEY)
    assert found(events, keys=[NEXT_KEY]) == (1, Fault.WRONG_KEY)


def test_the_old_key_alone_cannot_change_what_was_before_a_rotation():
    events = rotated_chain()
    events[0] = resealed(events[0], principal="somebody else")
    events[1] = resealed(events[1], previous=events[0].hash)
    events[2] = resealed(events[2], previous=events[1].hash)
    assert found(events) == (3, Fault.WRONG_KEY)


def test_the_old_key_is_not_taken_after_a_rotation():
    events = rotated_chain()
    late = resealed(events[3], KEY, key_id=KEY.id)
    assert found([*events[:3], late]) == (4, Fault.WRONG_KEY)


def test_a_rotation_without_its_details_is_found():
    events = rotated_chain()
    for details in ("{}", "[", '{"next_key_id":"x","handed":"é"}'):
        assert found([*events[:2], resealed(events[2], details=details)]) == (3, Fault.WRONG_KEY)
    with pytest.raises(Corrupt, match="audit event 3 is no rotation of keys"):
        head_after(rewritten(events[2], details="{}"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("principal", b"user-1"), ("seq", True), ("at", 1.0), ("hash", None), ("via", "\ud800")],
)
def test_values_of_types_that_no_event_has_are_found(field, value):
    one, two = chain_of(2)
    assert found([one, rewritten(two, **{field: value})]) == (2, Fault.EDITED)


def test_bytes_that_would_be_written_as_the_text_was_are_found():
    one = sealed(event(principal="eA=="), GENESIS, START_US, KEY)
    assert found([rewritten(one, principal=b"x")]) == (1, Fault.EDITED)


def test_no_events_are_kept_while_a_chain_is_verified():
    alive, most = weakref.WeakSet(), 0

    def stream():
        nonlocal most
        head = GENESIS
        for _ in range(500):
            (one,), head = extend(head, [event()], START_US, KEY)
            one = Watched(*astuple(one))
            alive.add(one)
            most = max(most, len(alive))
            yield one

    assert verify(stream(), [KEY]).events == 500
    assert most < 5


def test_a_forged_anchor_beyond_the_end_does_not_hide_that_it_was_cut_off():
    events = chain_of(4)
    far = replace(anchor_of(events[3]), head=replace(head_after(events[3]), seq=10**19))
    assert found(events[:2], anchors=[anchor_of(events[3]), far]) == (3, Fault.TRUNCATED)
