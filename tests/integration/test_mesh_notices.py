"""Notifications: who is told of what, once, and only of what they may look at (29, 41)."""

from dataclasses import replace

import pytest
from fleet_lab import awaited
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_catalog import project_of
from mesh_databases import database_of
from mesh_world import ROOT, world

from atoll.core.errors import InvalidInput, NotFound, Unavailable
from atoll.mesh.model.jobs import Cursor
from atoll.mesh.model.notices import Notification
from atoll.mesh.model.organisation import AssociationKind, Designation
from atoll.mesh.model.people import ProfileStatus, UserType
from atoll.mesh.operations.following import Follower
from atoll.mesh.operations.jobs import Attendant
from atoll.mesh.service import telling
from atoll.mesh.service.telling import CURSOR, tell
from atoll.mesh.service.topics import DAY_S, TOPICS
from atoll.mesh.store.database import opened
from atoll.mesh.store.writing import Store

DEEDS = ("offer", "accept", "withdraw", "read", "tell")


@pytest.fixture
def project(mesh):
    """Bob's, in Ann's unit."""
    return project_of(mesh, "bob", "press shop")


def join(mesh, project, who, designation=Designation.VIEWER, *, by="bob"):
    given = {"member_id": f"user-{who}", "designation": designation}
    return mesh.ask(by, "CreateProjectMembership", project_id=project.id, **given)


def offered(mesh, project, name="lake", by="bob"):
    given = {"kind": AssociationKind.STORAGE, "location": f"s3://plant/{name}", "name": name}
    return mesh.ask(by, "Associate", project_id=project.id, **given)


def tell_all(mesh):
    position = 0
    while (reached := tell(mesh.attendant, position)) != position:
        position = reached


def told(mesh, who, **which):
    """Return what somebody was told, the newest first."""
    tell_all(mesh)
    return mesh.ask(who, "ListNotifications", user_profile_id=f"user-{who}", **which)["items"]


def titles(mesh, who, **which):
    return [one.title for one in told(mesh, who, **which)]


def test_41_whom_it_concerns_is_told_and_who_did_it_is_not(mesh, project):
    offered(mesh, project)
    [task] = told(mesh, "ann", topic="ASSOCIATION_OFFERED")
    assert (task.type, task.status) == ("TASK", "ACTIVE")
    assert task.title == "'press shop' offers 'lake' to the domain"
    assert told(mesh, "bob", topic="ASSOCIATION_OFFERED") == told(mesh, "cy") == []


def test_41_a_task_is_over_for_everybody_when_one_has_done_it(mesh, project):
    owners = ("user-ann", "user-dee")
    mesh.ask("ann", "SetDomainUnitOwners", domain_unit_id=ROOT, owners=owners)
    one = offered(mesh, project)
    assert [len(told(mesh, who, status="ACTIVE")) for who in ("ann", "dee")] == [1, 1]
    mesh.ask("dee", "AcceptAssociation", association_id=one.id)
    assert [told(mesh, who, status="ACTIVE") for who in ("ann", "dee")] == [[], []]
    assert titles(mesh, "bob", topic="ASSOCIATION_ACCEPTED") == ["'lake' belongs to the domain now"]


def test_41_what_is_over_before_anybody_was_told_is_not_told(mesh, project):
    mesh.ask("bob", "WithdrawAssociation", association_id=offered(mesh, project).id)
    assert told(mesh, "ann") == []


def test_41_members_of_groups_are_told_once_however_many_ways_lead_to_them(mesh, project):
    group = mesh.ask("ann", "CreateGroupProfile", name="engineers")
    for who in ("cy", "dee"):
        mesh.ask("ann", "UpdateUserProfile", user_profile_id=f"user-{who}", groups=(group.id,))
    given = {"member_id": group.id, "designation": Designation.OWNER}
    mesh.ask("bob", "CreateProjectMembership", project_id=project.id, **given)
    join(mesh, project, "cy", Designation.OWNER)
    mesh.ask("ann", "AcceptAssociation", association_id=offered(mesh, project).id)
    found = [told(mesh, who, topic="ASSOCIATION_ACCEPTED") for who in ("bob", "cy", "dee")]
    assert [len(one) for one in found] == [1, 1, 1]


def test_41_nobody_is_told_of_what_they_may_no_longer_look_at(mesh, project):
    join(mesh, project, "cy", Designation.OWNER)
    one = offered(mesh, project)
    mesh.ask("ann", "AcceptAssociation", association_id=one.id)
    given = {"project_id": project.id, "member_id": "user-cy"}
    mesh.ask("bob", "DeleteProjectMembership", **given)
    assert told(mesh, "cy") == []
    assert len(told(mesh, "bob", topic="ASSOCIATION_ACCEPTED")) == 1


def test_41_who_is_not_assigned_is_not_told(mesh, project):
    join(mesh, project, "cy")
    given = {"user_profile_id": "user-cy", "status": ProfileStatus.NOT_ASSIGNED}
    mesh.ask("ann", "UpdateUserProfile", **given)
    tell_all(mesh)
    mesh.ask("ann", "UpdateUserProfile", user_profile_id="user-cy", status=ProfileStatus.ASSIGNED)
    assert told(mesh, "cy") == []


def test_41_what_was_refused_is_not_told(mesh, project):
    one = offered(mesh, project)
    mesh.refusal("cy", "AcceptAssociation", association_id=one.id)
    assert told(mesh, "bob", topic="ASSOCIATION_ACCEPTED") == []


def test_29_the_same_about_the_same_is_brought_up_to_date_and_not_told_twice(mesh, project):
    join(mesh, project, "cy")
    [before] = told(mesh, "cy")
    join(mesh, project, "cy", Designation.STEWARD)
    [after] = told(mesh, "cy")
    assert (after.id, after.event > before.event) == (before.id, True)
    assert after.title == "You are PROJECT_CATALOG_STEWARD of 'press shop'"


def test_29_what_was_read_is_told_anew(mesh, project):
    join(mesh, project, "cy")
    tell_all(mesh)
    mesh.ask("cy", "MarkNotificationsRead", user_profile_id="user-cy")
    join(mesh, project, "cy", Designation.STEWARD)
    assert [one.status for one in told(mesh, "cy")] == ["ACTIVE", "INACTIVE"]


def test_29_after_a_day_it_is_told_anew_and_only_the_new_one_waits(mesh, project):
    join(mesh, project, "cy")
    [before] = told(mesh, "cy")
    older = replace(before, version=2, created_at=before.created_at - DAY_S * 1_000_000)
    mesh.store.write(lambda changes: changes.put(older))
    join(mesh, project, "cy", Designation.STEWARD)
    new, old = told(mesh, "cy")
    assert (old.id, old.status, new.status) == (before.id, "INACTIVE", "ACTIVE")


def test_41_the_newest_come_first_a_page_at_a_time(mesh):
    names = [f"p{number}" for number in range(5)]
    for name in names:
        project_of(mesh, "cy", name)
    tell_all(mesh)
    given, found = {"user_profile_id": "user-cy", "limit": 2}, []
    while True:
        page = mesh.ask("cy", "ListNotifications", **given)
        found += [one.title for one in page["items"]]
        if not page["next"]:
            break
        given["cursor"] = page["next"]
    assert found == [f"You are PROJECT_OWNER of '{one}'" for one in reversed(names)]


def test_41_events_are_read_and_tasks_wait_unless_they_are_named(mesh, project):
    join(mesh, project, "ann")
    offered(mesh, project)
    tell_all(mesh)
    me = {"user_profile_id": "user-ann"}
    assert count(mesh, "ann") == (1, 1)
    mesh.ask("ann", "MarkNotificationsRead", **me)
    assert count(mesh, "ann") == (1, 0)
    [task] = told(mesh, "ann", type="TASK")
    mesh.ask("ann", "MarkNotificationsRead", ids=(task.id,), **me)
    assert count(mesh, "ann") == (0, 0)


def test_41_of_very_many_events_some_are_read_at_a_time(mesh, monkeypatch):
    monkeypatch.setattr("atoll.mesh.service.notices.READ_AT_ONCE", 2)
    for number in range(3):
        project_of(mesh, "cy", f"shop {number}")
    tell_all(mesh)
    left = [mesh.ask("cy", "MarkNotificationsRead", user_profile_id="user-cy") for _ in "ab"]
    assert [one.events for one in left] == [1, 0]


def count(mesh, who):
    found = mesh.ask(who, "CountNotifications", user_profile_id=f"user-{who}")
    return found.tasks, found.events


def test_41_what_others_were_told_is_as_if_it_were_not_there(mesh, project):
    join(mesh, project, "cy")
    [one] = told(mesh, "cy")
    for name in ("ListNotifications", "GetNotificationSettings", "CountNotifications"):
        assert mesh.refusal("dee", name, user_profile_id="user-cy").status == 403
    assert isinstance(mesh.refusal("dee", "GetNotification", notification_id=one.id), NotFound)
    given = {"user_profile_id": "user-dee", "ids": (one.id,)}
    assert isinstance(mesh.refusal("dee", "MarkNotificationsRead", **given), NotFound)
    assert told(mesh, "cy", status="ACTIVE") == [one]


def test_41_administrators_see_what_services_were_told_which_have_no_hands(mesh, project):
    robot = mesh.ask("ann", "CreateUserProfile", name="robot", type=UserType.SERVICE)
    given = {"member_id": robot.id, "designation": Designation.VIEWER}
    mesh.ask("bob", "CreateProjectMembership", project_id=project.id, **given)
    tell_all(mesh)
    me = {"user_profile_id": robot.id}
    assert len(mesh.ask("ann", "ListNotifications", **me)["items"]) == 1
    assert mesh.ask("ann", "MarkNotificationsRead", **me).events == 0
    assert mesh.refusal("bob", "ListNotifications", **me).status == 403


def test_41_people_choose_by_topic_how_they_are_told(mesh, project):
    channels = {"": ("EMAIL",), "MEMBERSHIP_CHANGED": (), "ASSOCIATION_ACCEPTED": ("PORTAL",)}
    given = {"user_profile_id": "user-cy", "channels": channels}
    found = mesh.ask("cy", "UpdateNotificationSettings", **given).ways.channels
    assert (found["MEMBERSHIP_CHANGED"], found["ASSOCIATION_REMOVED"]) == ((), ("EMAIL",))
    join(mesh, project, "cy", Designation.OWNER)
    assert told(mesh, "cy") == []
    mesh.ask(
        "cy", "UpdateNotificationSettings", **given | {"channels": {"MEMBERSHIP_CHANGED": None}}
    )
    join(mesh, project, "cy")
    assert len(told(mesh, "cy")) == 1  # where no mail goes out it is in the list all the same


def test_41_a_topic_that_there_is_not_is_refused_by_name(mesh):
    given = {"user_profile_id": "user-cy", "channels": {"WEATHER": ("PORTAL",)}}
    told = mesh.refusal("cy", "UpdateNotificationSettings", **given)
    assert isinstance(told, InvalidInput)
    assert "WEATHER" in told.message
    assert "MEMBERSHIP_CHANGED" in told.message


@pytest.mark.parametrize(
    "url", ["ftp://x/", "plant", "https://", "https://a:b@plant/", "http://x/\n"]
)
def test_41_what_is_no_address_of_a_webhook_is_refused(mesh, url):
    given = {"user_profile_id": "user-cy", "webhook_url": url}
    assert isinstance(mesh.refusal("cy", "UpdateNotificationSettings", **given), InvalidInput)


def test_41_the_key_of_a_webhook_is_told_once_and_can_be_another(mesh):
    me = {"user_profile_id": "user-cy"}
    first = mesh.ask("cy", "UpdateNotificationSettings", webhook_url="https://plant/", **me)
    second = mesh.ask("cy", "UpdateNotificationSettings", webhook_url="https://other/", **me)
    assert (len(first.webhook_key), second.webhook_key) == (43, "")
    assert first.webhook_key not in repr(mesh.ask("cy", "GetNotificationSettings", **me))
    assert mesh.ask("cy", "RotateWebhookKey", **me).webhook_key != first.webhook_key
    assert not [one for one in mesh.notes if first.webhook_key in one.details]


def test_41_another_server_that_was_faster_leaves_nothing_to_tell(mesh, project):
    join(mesh, project, "cy")
    with mesh.attendant.looking(CURSOR) as call:
        steps = [step for one in call.events(after=0) for step in telling._steps(call, one)]
    tell_all(mesh)
    kept = []
    mesh.attendant.act("", "x", lambda call: kept.append(telling._kept(call, steps, 0, 99)))
    assert kept == [position(mesh)]
    assert len(told(mesh, "cy")) == 1


def test_41_of_an_event_that_concerns_many_some_are_told_at_a_time_and_nobody_twice(
    mesh, project, monkeypatch
):
    monkeypatch.setattr(telling, "KEPT_AT_ONCE", 1)
    for who in ("cy", "dee"):
        join(mesh, project, who, Designation.OWNER)
    offer = offered(mesh, project)
    tell_all(mesh)
    mesh.ask("ann", "AcceptAssociation", association_id=offer.id)
    before, kept, done = position(mesh), telling._kept, []

    def dies(*args):
        if len(done) == 3:
            raise Unavailable("the server was killed")
        return done.append(kept(*args)) or done[-1]

    monkeypatch.setattr(telling, "_kept", dies)
    with pytest.raises(Unavailable):
        tell(mesh.attendant, 0)
    monkeypatch.setattr(telling, "_kept", kept)
    assert position(mesh) == before
    heard = [one for who in ("bob", "cy", "dee") for one in titles(mesh, who)]
    assert heard.count("'lake' belongs to the domain now") == 3


def test_41_two_servers_tell_each_thing_once(database):
    with world(database) as mesh:
        other = Store(opened(database), mesh.append)
        attendant = Attendant(other, mesh.authorizer, mesh.tools)
        followers = [Follower(mesh.store, mesh.attendant, tell), Follower(other, attendant, tell)]
        for number in range(8):
            project_of(mesh, "cy", f"p{number}")
        awaited(lambda: mesh.store.write(lambda changes: changes.count(Notification)) >= 8)
        for one in followers:
            one.stop()
        other.close()
        assert len({one.subject_id for one in told(mesh, "cy")}) == len(told(mesh, "cy")) == 8


def position(mesh):
    with mesh.store.reading() as reader:
        return reader.find(Cursor, CURSOR).position


def test_41_an_event_that_cannot_be_told_keeps_no_later_one_back(mesh, project, monkeypatch):
    broken = replace(TOPICS["ASSOCIATION_OFFERED"], title="{nothing}")
    monkeypatch.setitem(TOPICS, broken.name, broken)
    offered(mesh, project)
    join(mesh, project, "cy")
    assert (len(told(mesh, "cy")), told(mesh, "ann")) == (1, [])


def test_41_events_that_concern_nobody_are_passed_over(mesh, monkeypatch):
    monkeypatch.setattr(telling, "FAR", 20)
    for number in range(30):
        mesh.ask("ann", "UpdateDomain", description=str(number))
    tell_all(mesh)
    assert position(mesh) >= 20
    assert mesh.store.write(lambda changes: changes.count(Notification)) == 0


@settings(max_examples=20)
@given(
    deeds=st.lists(st.sampled_from(["offer", "accept", "withdraw", "read", "tell"]), max_size=12)
)
def test_41_a_task_waits_exactly_while_there_is_something_to_do(tmp_path_factory, deeds):
    with world(database_of(tmp_path_factory.mktemp("laws"))) as mesh:
        project, waiting, names = project_of(mesh, "bob", "press"), [], iter("abcdefghijkl")
        for deed in deeds:
            match deed:
                case "offer":
                    waiting.append(offered(mesh, project, next(names)).id)
                case "accept" if waiting:
                    mesh.ask("ann", "AcceptAssociation", association_id=waiting.pop())
                case "withdraw" if waiting:
                    mesh.ask("bob", "WithdrawAssociation", association_id=waiting.pop(0))
                case "read":
                    mesh.ask("ann", "MarkNotificationsRead", user_profile_id="user-ann")
                case "tell":
                    tell_all(mesh)
        found = [one.subject_id for one in told(mesh, "ann", type="TASK", status="ACTIVE")]
        assert sorted(found) == sorted(waiting)


@pytest.mark.parametrize("is_kept", [False, True])
def test_41_what_comes_after_the_audits_end_was_cut_off_is_told_all_the_same(
    mesh, project, is_kept
):
    far = 1_000_000
    if is_kept:
        mesh.attendant.act("", "test", lambda call: kept_cursor(call, far))
    reached = tell(mesh.attendant, far)
    with mesh.store.reading() as reader:
        assert reached == reader.event_head().seq
    join(mesh, project, "cy", Designation.OWNER)
    assert tell(mesh.attendant, reached) > reached
    given = {"user_profile_id": "user-cy", "topic": "MEMBERSHIP_CHANGED"}
    assert len(mesh.ask("cy", "ListNotifications", **given)["items"]) == 1


def kept_cursor(call, position):
    call.add(Cursor, id_=CURSOR, position=position)
