"""What has run out is removed, and what has not stays, on both databases."""

import time
from dataclasses import replace

import pytest
from mesh_world import STAMP, world

from atoll.mesh.model.notices import Notification, NotificationStatus, NotificationType
from atoll.mesh.model.people import AccessToken, PendingSignIn, Proof, ProofType
from atoll.mesh.model.record import Replay
from atoll.mesh.operations.jobs import HANDLERS
from atoll.mesh.service.sweeping import AT_ONCE, REPLAY_S, SHOWN_S

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


def notification(id_, created_at, type_, status):
    values = {"type": type_, "status": status, "recipient_id": "user-bob", "topic": "x"}
    about = {"subject_kind": "project", "subject_id": "project-x", "event": 1, "title": id_}
    return Notification(id=id_, **values, **about, **{**STAMP, "created_at": created_at})


def test_41_old_notifications_go_but_for_tasks_that_wait(mesh):
    old = NOW - SHOWN_S * 1_000_000
    kept = [
        notification("new", NOW, NotificationType.EVENT, NotificationStatus.INACTIVE),
        notification("task", old, NotificationType.TASK, NotificationStatus.ACTIVE),
        notification("done", old, NotificationType.TASK, NotificationStatus.INACTIVE),
        notification("event", old, NotificationType.EVENT, NotificationStatus.ACTIVE),
    ]
    mesh.store.write(lambda changes: [changes.add(one) for one in kept])
    sweep(mesh)
    assert left(mesh, Notification) == ["new", "task"]


def test_7_a_token_that_ended_long_ago_goes_with_what_it_was_checked_by(mesh):
    issued = [
        mesh.ask("bob", "CreateAccessToken", user_profile_id="user-bob", name=name).token
        for name in ("old", "new")
    ]
    old = replace(issued[0], version=2, expires_at=NOW - SHOWN_S * 1_000_000)
    mesh.store.write(lambda changes: changes.put(old))
    sweep(mesh)
    assert left(mesh, AccessToken) == left(mesh, Proof) == [issued[1].id]


def test_7_where_there_is_much_it_goes_on_at_once_and_others_get_their_turn(mesh):
    many = [proof(f"{number:04}", NOW - 1) for number in range(AT_ONCE + 1)]
    mesh.store.write(lambda changes: [changes.add(one) for one in many])
    assert sweep(mesh) <= time.time_ns() // 1000
    assert len(left(mesh, Proof)) == 1
    assert sweep(mesh) > time.time_ns() // 1000
    assert left(mesh, Proof) == []
