"""Notifications by mail and by webhook, through failures and crashes (29, 41)."""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_lab import awaited
from mesh_databases import database_of, elsewhere
from mesh_world import ROOT, world
from message_receivers import smtp_server, webhook

from atoll.core.config import MailServer
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.notices import Channel, Notification, NotificationSettings
from atoll.mesh.model.organisation import Designation
from atoll.mesh.model.people import ProfileStatus
from atoll.mesh.operations.jobs import HANDLERS, Worker
from atoll.mesh.service import deliveries
from atoll.mesh.service.telling import tell
from atoll.mesh.store.database import opened
from atoll.mesh.store.reading import Reader
from atoll.messages.addresses import networks_in
from atoll.messages.webhooks import signature

TELLER = Path(__file__).parents[1] / "mesh_teller.py"
LOOPBACK = networks_in("127.0.0.0/8")
DAY_US = deliveries.GIVEN_UP_AFTER_S * 1_000_000


@pytest.fixture
def smtp():
    with smtp_server(unknown={"nobody@example.org"}) as server:
        yield server


@pytest.fixture
def hook():
    with webhook() as hook:
        yield hook


@pytest.fixture
def mesh(tmp_path, smtp):
    server = MailServer("127.0.0.1", "atoll@example.org", smtp.port, starttls=False)
    tools = {"mail": server, "webhook_networks": LOOPBACK}
    with world(database_of(tmp_path), **tools) as made:
        yield made


@pytest.fixture
def project(mesh):
    return mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="press\u202eshop")


def choose(mesh, *channels, url=None, email=None):
    """Have Cy told by these ways; return the key of the webhook."""
    if email:
        mesh.ask("ann", "UpdateUserProfile", user_profile_id="user-cy", email=email)
    given = {"channels": {"": channels}, "webhook_url": url}
    found = mesh.ask("cy", "UpdateNotificationSettings", user_profile_id="user-cy", **given)
    return found.webhook_key


def join(mesh, project, designation=Designation.VIEWER):
    given = {"member_id": "user-cy", "designation": designation}
    mesh.ask("ann", "CreateProjectMembership", project_id=project.id, **given)
    while tell(mesh.attendant, 0) != tell(mesh.attendant, 0):
        pass


def failing(mesh, channel):
    found = mesh.ask("cy", "GetNotificationSettings", user_profile_id="user-cy")
    return found.failing.get(channel)


def jobs(mesh):
    with mesh.store.reading() as reader:
        return list(reader.all(Job))


def changed(mesh, record, **values):
    made = replace(record, version=record.version + 1, **values)
    return mesh.store.write(lambda changes: changes.put(made))


def tried(mesh):
    """Do each delivery that waits once, whether it is due or not."""
    for one in jobs(mesh):
        again = HANDLERS[one.kind].run(mesh.attendant, one)
        if again is None:
            mesh.store.write(lambda changes, one=one: changes.remove(one))


def rested(mesh):
    """Let the wait after a failure be over."""
    with mesh.store.reading() as reader:
        found = reader.find(NotificationSettings, "user-cy")
    over = {key: replace(one, again_at=0) for key, one in found.failing.items()}
    changed(mesh, found, failing=over)


def test_41_mail_says_what_happened_with_one_link_and_steers_nothing(mesh, project, smtp):
    choose(mesh, Channel.EMAIL, email="cy@example.org")
    join(mesh, project)
    mesh.work("send-email")
    [mail] = smtp.messages()
    assert mail["Subject"] == "You are PROJECT_CATALOG_VIEWER of 'pressshop'"
    assert mail["To"] == "cy@example.org"
    assert mail.get_content().count("/notifications/notification-") == 1
    assert jobs(mesh) == []


def test_41_webhook_gets_it_signed(mesh, project, hook):
    key = choose(mesh, Channel.WEBHOOK, url=hook.url)
    join(mesh, project)
    mesh.work("send-webhook")
    [(headers, body)] = hook.got
    assert headers["X-Atoll-Signature"] == signature(key, headers["X-Atoll-Timestamp"], body)
    told = json.loads(body)
    assert (told["topic"], told["type"]) == ("MEMBERSHIP_CHANGED", "EVENT")
    assert told["id"] == headers["X-Atoll-Delivery"]
    assert set(told["subject"]) == {"kind", "id"}


def test_29_what_is_only_brought_up_to_date_is_not_sent_again(mesh, project, hook):
    choose(mesh, Channel.PORTAL, Channel.WEBHOOK, url=hook.url)
    join(mesh, project)
    join(mesh, project, Designation.STEWARD)
    mesh.work("send-webhook")
    assert len(hook.got) == 1


def test_41_webhook_that_is_down_is_tried_again_later_each_time_with_the_same_key(
    mesh, project, hook
):
    hook.statuses = [500, 302]
    choose(mesh, Channel.WEBHOOK, url=hook.url)
    join(mesh, project)
    waits = []
    for _ in range(2):
        tried(mesh)
        found = failing(mesh, Channel.WEBHOOK)
        waits.append(found.attempts)
        rested(mesh)
    assert (waits, found.error) == ([1, 2], "the webhook answered with status 302")
    tried(mesh)
    assert failing(mesh, Channel.WEBHOOK) is None
    assert len({headers["X-Atoll-Delivery"] for headers, _ in hook.got}) == 1
    assert (len(hook.got), jobs(mesh)) == (3, [])


def test_41_a_way_that_fails_rests_and_holds_up_nobody(mesh, project, hook):
    hook.statuses = [500]
    choose(mesh, Channel.WEBHOOK, url=hook.url)
    join(mesh, project)
    other = mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="paint shop")
    join(mesh, other)
    tried(mesh)
    assert (len(hook.got), len(jobs(mesh))) == (1, 2)
    rested(mesh)
    tried(mesh)
    assert (len(hook.got), jobs(mesh)) == (3, [])


def test_41_after_a_day_a_delivery_is_given_up_and_that_is_told(mesh, project, hook):
    hook.statuses = [500, 500]
    choose(mesh, Channel.WEBHOOK, url=hook.url)
    join(mesh, project)
    tried(mesh)
    with mesh.store.reading() as reader:
        [one] = reader.all(Notification, recipient_id="user-cy")
    changed(mesh, one, created_at=one.created_at - DAY_US)
    rested(mesh)
    tried(mesh)
    assert (failing(mesh, Channel.WEBHOOK).lost, jobs(mesh)) == (1, [])


def test_41_those_of_a_way_that_rests_are_given_up_as_well(mesh, project, hook):
    hook.statuses = [500]
    choose(mesh, Channel.WEBHOOK, url=hook.url)
    join(mesh, project)
    for number in range(3):
        join(mesh, mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name=f"shop {number}"))
    tried(mesh)
    with mesh.store.reading() as reader:
        told = list(reader.all(Notification, recipient_id="user-cy"))
    for one in told:
        changed(mesh, one, created_at=one.created_at - DAY_US)
    tried(mesh)
    assert (failing(mesh, Channel.WEBHOOK).lost, jobs(mesh), len(hook.got)) == (4, [], 1)


def test_41_an_address_that_the_server_does_not_know_is_given_up_at_once(mesh, project, smtp):
    choose(mesh, Channel.EMAIL, email="nobody@example.org")
    join(mesh, project)
    tried(mesh)
    found = failing(mesh, Channel.EMAIL)
    assert (found.lost, found.error) == (1, "the mail server does not know the address")
    assert (jobs(mesh), smtp.got) == ([], [])


@pytest.mark.parametrize(
    ("url", "networks"),
    [
        ("http://127.0.0.1:1/", ""),
        ("https://127.0.0.1:1/", ""),
        ("https://localhost:1/", "10.0.0.0/8"),
        ("http://9.9.9.9/", ""),
    ],
    ids=["loopback", "loopback, encrypted", "by name", "public, in clear"],
)
def test_41_webhooks_do_not_go_inside_nor_in_clear_and_tell_nothing_of_it(
    mesh, project, url, networks, monkeypatch
):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it was connected to"))
    mesh.attendant.tools = replace(mesh.tools, webhook_networks=networks_in(networks))
    choose(mesh, Channel.WEBHOOK, url=url)
    join(mesh, project)
    tried(mesh)
    assert failing(mesh, Channel.WEBHOOK).error == "the webhook did not answer"


def test_41_without_a_mail_server_it_is_in_the_list_and_settings_say_so(tmp_path):
    with world(database_of(tmp_path)) as mesh:
        choose(mesh, Channel.EMAIL, email="cy@example.org")
        join(mesh, mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="press"))
        me = {"user_profile_id": "user-cy"}
        found = mesh.ask("cy", "GetNotificationSettings", **me)
        assert (found.email, "sends no mail" in found.why_no_email) == ("", True)
        assert len(mesh.ask("cy", "ListNotifications", **me)["items"]) == 1
        assert jobs(mesh) == []


def test_41_who_has_left_gets_nothing_more(mesh, project, hook):
    choose(mesh, Channel.WEBHOOK, url=hook.url)
    join(mesh, project)
    given = {"user_profile_id": "user-cy", "status": ProfileStatus.NOT_ASSIGNED}
    mesh.ask("ann", "UpdateUserProfile", **given)
    tried(mesh)
    assert (hook.got, jobs(mesh)) == ([], [])


def test_41_a_webhook_that_is_waited_for_holds_up_no_mail(mesh, project, smtp, hook):
    hook.holding = threading.Event()
    choose(mesh, Channel.EMAIL, Channel.WEBHOOK, url=hook.url, email="cy@example.org")
    join(mesh, project)
    worker = Worker(mesh.store, mesh.attendant, "home")
    awaited(lambda: smtp.got and hook.got)
    assert "send-webhook" in {one.kind for one in jobs(mesh)}
    hook.holding.set()
    worker.stop()
    assert [one for one in jobs(mesh) if one.subject_id] == []


@contextmanager
def teller(home, smtp, hook):
    """Run a mesh in a process of its own; kill it at the end, as a power cut would."""
    argv = [sys.executable, str(TELLER), str(home), elsewhere(home), str(smtp.port), hook.url]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("when", ["at once", "while the webhook is asked"])
def test_41_a_server_that_was_killed_tells_once_and_delivers_at_least_once(
    tmp_path, smtp, hook, when
):
    if when != "at once":
        hook.holding = threading.Event()
    with teller(tmp_path, smtp, hook):
        if when != "at once":
            awaited(lambda: hook.got)
    if when != "at once":
        hook.holding.set()
    with teller(tmp_path, smtp, hook):
        awaited(lambda: smtp.got and len(hook.got) > (when != "at once"))
    assert len({headers["X-Atoll-Delivery"] for headers, _ in hook.got}) == 1
    assert len({one["Message-ID"] for one in smtp.messages()}) == 1
    engine = opened(database_of(tmp_path))
    with engine.connect() as connection:
        assert Reader(connection).count(Notification) == 1
    engine.dispose()
