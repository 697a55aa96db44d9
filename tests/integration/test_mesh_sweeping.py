"""What has run out is removed, and what has not stays, on both databases."""

import time

import pytest
from mesh_world import STAMP, world

from atoll.mesh.model.people import PendingSignIn, Proof, ProofType
from atoll.mesh.model.record import Replay
from atoll.mesh.operations.jobs import HANDLERS
from atoll.mesh.service.sweeping import AT_ONCE, REPLAY_S

NOW = time.time_ns() // 1000
HOUR = 3_600_000_000


@pytest.fixture
def mesh(database):
    with world(database) as made:
        yield made


def proof(id_, expires_at):
    return Proof(
        id=id_,
        type=ProofType.SESSION,
        text=id_,
        owner_id="user-bob",
        expires_at=expires_at,
        **STAMP,
    )


def pending(id_, expires_at):
    empty = dict.fromkeys(("redirect_uri", "nonce", "verifier", "browser_sha256", "return_to"), "")
    at = {"provider": "plant", "issuer": "", "expires_at": expires_at}
    return PendingSignIn(id=id_, **at, **empty, **STAMP)


def replay(id_, created_at):
    return Replay(id=id_, asked="", answer="", **{**STAMP, "created_at": created_at})


def sweep(mesh):
    return HANDLERS["sweep"].run(mesh.attendant, None)


def left(mesh, kind):
    with mesh.store.reading() as reader:
        return [one.id for one in reader.all(kind)]


def test_7_sessions_sign_ins_and_old_answers_go_and_the_others_stay(mesh):
    kept = [
        *(proof("over", NOW - 1), proof("open", NOW + HOUR), proof("for ever", 0)),
        *(pending("late", NOW - 1), pending("begun", NOW + HOUR)),
        *(replay("old", NOW - REPLAY_S * 1_000_000), replay("new", NOW)),
    ]
    mesh.store.write(lambda changes: [changes.add(one) for one in kept])
    assert sweep(mesh) > NOW + HOUR // 10
    assert left(mesh, Proof) == ["for ever", "open"]
    assert left(mesh, PendingSignIn) == ["begun"]
    assert left(mesh, Replay) == ["new"]
    assert "Sweep" not in {one.operation for one in mesh.notes}


def test_7_where_there_is_much_it_goes_on_at_once_and_others_get_their_turn(mesh):
    many = [proof(f"{number:04}", NOW - 1) for number in range(AT_ONCE + 1)]
    mesh.store.write(lambda changes: [changes.add(one) for one in many])
    assert sweep(mesh) <= time.time_ns() // 1000
    assert len(left(mesh, Proof)) == 1
    assert sweep(mesh) > time.time_ns() // 1000
    assert left(mesh, Proof) == []
