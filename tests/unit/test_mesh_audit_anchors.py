"""Anchors of the audit chain outside the database (48; threats 10)."""

import uuid
from dataclasses import replace

import msgspec
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
)
from msgspec.structs import replace as rewritten

from atoll.core.errors import Corrupt, InvalidInput
from atoll.mesh.audit.anchors import check, latest_anchor, put_anchor, read_anchors, thin
from atoll.mesh.audit.chain import extend, head_after
from atoll.mesh.audit.model import GENESIS
from atoll.mesh.audit.verify import Fault, verify
from atoll.storage import open_storage

KEYS = [KEY, NEXT_KEY]
SECOND_US = 1_000_000


@pytest.fixture
def storage():
    return open_storage(f"memory://{uuid.uuid4().hex}")


def anchored(storage, events, key=KEY):
    return [put_anchor(storage, head_after(one), key) for one in events]


def held_by(events):
    """Tell what a chain of these events holds."""
    return {head_after(one) for one in events}.__contains__


def path_of(seq):
    return f"anchors/{seq:020d}.json"


def test_the_latest_anchor_is_the_one_with_the_highest_number(storage):
    assert latest_anchor(storage) is None
    assert read_anchors(storage) == []
    events = chain_of(12)
    # The tenth comes late, as of a slower process.
    anchors = anchored(storage, [events[1], events[11], events[9]])
    assert latest_anchor(storage) == anchors[1]
    assert read_anchors(storage) == [anchors[0], anchors[2], anchors[1]]


def test_an_anchor_is_signed_in_the_documented_form(storage):
    one = chain_of(1)[0]
    assert anchored(storage, [one]) == [anchor_of(one)]


def test_an_anchor_is_created_once_and_never_changed(storage):
    one = chain_of(1)[0]
    assert anchored(storage, [one, one]) == [anchor_of(one)] * 2
    with pytest.raises(Corrupt, match="anchors another event 1 than the chain has"):
        put_anchor(storage, replace(head_after(one), hash="0" * 64), KEY)
    assert read_anchors(storage) == [anchor_of(one)]


def test_only_the_key_in_force_signs(storage):
    events = rotated_chain()
    with pytest.raises(InvalidInput, match=f"key {NEXT_KEY.id} is in force after event 3"):
        put_anchor(storage, head_after(events[2]), KEY)
    with pytest.raises(InvalidInput, match="of the first event"):
        put_anchor(storage, GENESIS, KEY)
    anchors = [*anchored(storage, events[:2]), *anchored(storage, events[2:], NEXT_KEY)]
    verdict = verify(events, KEYS, anchors)
    assert (verdict.problem, verdict.anchors) == (None, 5)


def test_one_event_is_enough_to_see_that_the_end_is_gone():
    events = chain_of(3)
    anchor = anchor_of(events[2])
    check(anchor, events[2], KEYS)
    with pytest.raises(Corrupt, match="audit event 3 is missing: the end of the chain was cut"):
        check(anchor, None, KEYS)
    with pytest.raises(Corrupt, match="audit event 3 is another than was anchored"):
        check(anchor, rewritten(events[2], at=0), KEYS)
    with pytest.raises(Corrupt, match="not signed by a key of this chain"):
        check(replace(anchor, head=head_after(events[1])), events[1], KEYS)


def test_other_objects_beside_the_anchors_are_passed_over(storage):
    anchors = anchored(storage, chain_of(1))
    for path in ("anchors/README", "anchors/1.json", f"{path_of(2)}.part", "other/x.json"):
        storage.put(path, b"?")
    assert read_anchors(storage) == anchors


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"{}", b'{"head":{},"signature":""}', b" " * 5000, b"[" * 4000],
)
def test_what_is_no_anchor_under_the_name_of_one_is_said(storage, data):
    storage.put(path_of(7), data)
    for read in (read_anchors, latest_anchor):
        with pytest.raises(Corrupt, match=r"0007\.json is not an anchor of the audit chain"):
            read(storage)


def test_an_anchor_copied_to_a_higher_number_is_said(storage):
    anchored(storage, chain_of(1))
    storage.put(path_of(9), storage.get(path_of(1)))
    with pytest.raises(Corrupt, match="it is that of event 1"):
        latest_anchor(storage)


def test_old_anchors_are_thinned_to_one_a_period_and_still_tell(storage):
    events = chain_of(20)
    anchored(storage, events)
    # START_US is a whole multiple of ten seconds.
    limits = {"before_us": START_US + 15 * SECOND_US, "every_us": 10 * SECOND_US}
    assert len(thin(storage, KEYS, held_by(events), **limits)) == 13
    left = [anchor.head.seq for anchor in read_anchors(storage)]
    assert left == [10, 15, 16, 17, 18, 19, 20]
    assert thin(storage, KEYS, held_by(events), **limits) == []
    assert verify(events, [KEY], read_anchors(storage)).problem is None
    problem = verify(events[:9], [KEY], read_anchors(storage)[:1]).problem
    assert (problem.seq, problem.fault) == (10, Fault.TRUNCATED)


def test_the_latest_anchor_is_never_thinned(storage):
    events = chain_of(5)
    *_, last = anchored(storage, events)
    thin(storage, KEYS, held_by(events), before_us=2**62, every_us=2**62)
    assert read_anchors(storage) == [last]


def test_an_anchor_that_contradicts_the_chain_is_never_thinned(storage):
    lost = chain_of(6)
    anchors = anchored(storage, lost)
    more, _ = extend(
        head_after(lost[2]), [event(details={"again": n}) for n in range(9)], START_US, KEY
    )
    events = lost[:3] + more
    anchors += anchored(storage, more[3:])
    removed = thin(storage, KEYS, held_by(events), before_us=2**62, every_us=2**62)
    assert [one.head.seq for one in removed] == [1, 2, 3, *range(7, 12)]
    problem = verify(events, KEYS, read_anchors(storage)).problem
    assert (problem.seq, problem.fault) == (4, Fault.REWRITTEN)


def test_nothing_is_thinned_for_an_anchor_that_is_not_ours(storage):
    anchors = anchored(storage, chain_of(3))
    forged = anchor_of(rewritten(chain_of(4)[3], key_id=STRANGE_KEY.id), STRANGE_KEY)
    storage.put(path_of(4), msgspec.json.encode(forged))
    with pytest.raises(Corrupt, match="the anchor of audit event 4 is not signed"):
        thin(storage, KEYS, lambda _: True, before_us=2**62, every_us=2**62)
    assert read_anchors(storage) == [*anchors, forged]


def test_an_anchor_that_goes_while_they_are_read_is_passed_over(storage, monkeypatch):
    anchors = anchored(storage, chain_of(3))
    listed = list(storage.list())
    storage.delete(path_of(1))
    monkeypatch.setattr(type(storage), "list", lambda *_: iter(listed))
    assert read_anchors(storage) == anchors[1:]
