"""Anchors of the audit chain on real stores: two writers, and a store that is away (48)."""

import threading

import pytest
from mesh_chains import KEY, chain_of, event
from s3_proxy import proxied

from atoll.core.errors import Unavailable
from atoll.mesh.audit.anchors import latest_anchor, put_anchor, read_anchors, thin
from atoll.mesh.audit.chain import extend, head_after
from atoll.mesh.audit.verify import Fault, verify
from atoll.storage import open_storage


@pytest.fixture(params=["folder", "moto", pytest.param("ceph", marks=pytest.mark.ceph)])
def storage(request, tmp_path):
    if request.param == "folder":
        return open_storage(tmp_path)
    server = request.getfixturevalue("moto_s3" if request.param == "moto" else "ceph")
    return open_storage(f"{server.new_bucket()}/audit", server.options())


def test_two_writers_of_one_chain_never_disturb_each_other(storage):
    events = chain_of(10)
    failed = []

    def write():
        try:
            for one in events:
                put_anchor(storage, head_after(one), KEY)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [anchor.head for anchor in read_anchors(storage)] == list(map(head_after, events))


def test_a_chain_is_held_against_its_thinned_anchors(storage):
    events = chain_of(8)
    for one in events:
        put_anchor(storage, head_after(one), KEY)
    assert len(thin(storage, [KEY], lambda _: True, before_us=events[6].at, every_us=2**62)) == 5
    anchors = read_anchors(storage)
    assert verify(events, [KEY], anchors).anchors == len(anchors) == 3
    problem = verify(events[:5], [KEY], anchors).problem
    assert (problem.seq, problem.fault) == (6, Fault.TRUNCATED)


def test_a_store_that_was_away_is_made_good_by_the_next_anchor(moto_s3):
    events = chain_of(2)
    with proxied(moto_s3) as (server, behaviour):
        storage = open_storage(f"{server.new_bucket()}/audit", server.options(retries=0))
        put_anchor(storage, head_after(events[0]), KEY)
        behaviour.is_down = True
        with pytest.raises(Unavailable):
            put_anchor(storage, head_after(events[1]), KEY)
        # The chain goes on meanwhile.
        more, head = extend(head_after(events[1]), [event()] * 3, events[1].at, KEY)
        behaviour.is_down = False
        put_anchor(storage, head, KEY)
        assert latest_anchor(storage).head == head
        assert verify(events + more, [KEY], read_anchors(storage)).anchors == 2
