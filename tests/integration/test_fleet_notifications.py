"""Notifications of alarms: to a real webhook and a real mail server, through failures."""

import os
import signal
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_lab import awaited
from message_receivers import mail_server, webhook

from atoll.core.config import MailServer
from atoll.core.errors import InvalidInput
from atoll.fleet.host.notifierprocess import sending_notifications
from atoll.fleet.monitoring.alarms import Alarm, AlarmState, Verdict
from atoll.fleet.monitoring.alarmstore import AlarmStore
from atoll.fleet.monitoring.notifying import MOST_ATTEMPTS, Notifier
from atoll.fleet.monitoring.ringing import ring
from atoll.fleet.monitoring.sending import Sender
from atoll.messages.webhooks import signature

SNS = "arn:aws:sns:us-east-1:000000000000:topic"
RINGS = Verdict(AlarmState.ALARM, "2 of 3 primaries run")


@pytest.fixture
def hook():
    with webhook() as hook:
        yield hook


@pytest.fixture
def store(tmp_path):
    store = AlarmStore(tmp_path / "control.sqlite")
    yield store
    store.close()


def rung(store, *targets):
    alarm = Alarm("lost", "j-1", "IsIdle", "Minimum", 10, 1, 1, 1.0, "LessThanThreshold")
    store.put(replace(alarm, alarm_actions=targets))
    assert ring(store, store.get("lost"), RINGS, 1000.0)


def notified(store, send, until):
    notifier = Notifier(store, send, pause=lambda attempts: 0.0)
    thread = threading.Thread(target=notifier.run)
    thread.start()
    try:
        awaited(until)
    finally:
        notifier.stop()
        thread.join()


def summaries(store, kind="Action"):
    return [entry.summary for _, entry in store.history() if entry.kind == kind]


def test_webhook_gets_the_alarm_signed(store, hook):
    rung(store, hook.url)
    notified(store, Sender(secret="s3cret").send, lambda: store.waiting() == 0)
    ((headers, body),) = hook.got
    assert headers["X-Atoll-Signature"] == signature("s3cret", headers["X-Atoll-Timestamp"], body)
    (told,) = hook.bodies()
    assert (told["AlarmName"], told["NewStateValue"]) == ("lost", "ALARM")
    assert told["Trigger"]["Dimensions"] == [{"name": "JobFlowId", "value": "j-1"}]
    assert summaries(store) == [f"Successfully notified {hook.url}"]


def test_webhook_that_fails_is_tried_again_with_the_same_id(store, hook):
    hook.statuses = [500, 302]
    rung(store, hook.url)
    notified(store, Sender().send, lambda: store.waiting() == 0)
    assert len({headers["X-Atoll-Delivery"] for headers, _ in hook.got}) == 1
    assert len(hook.got) == 3


def test_notification_survives_a_restart(store, hook, tmp_path):
    rung(store, hook.url)
    store.close()
    again = AlarmStore(tmp_path / "control.sqlite")
    notified(again, Sender().send, lambda: again.waiting() == 0)
    assert len(hook.got) == 1
    again.close()


def test_process_of_its_own_sends_what_waits_and_ends_with_the_host(store, hook, tmp_path):
    rung(store, hook.url)
    with sending_notifications(tmp_path / "control.sqlite", Sender()) as is_sending:
        awaited(lambda: store.waiting() == 0)
        assert is_sending()
    assert not is_sending()
    assert len(hook.got) == 1


def test_process_that_was_killed_is_started_again(store, hook, tmp_path):
    rung(store, hook.url)
    with sending_notifications(tmp_path / "control.sqlite", Sender()) as is_sending:
        awaited(lambda: store.waiting() == 0)
        (first,) = senders_of(tmp_path)
        os.kill(first, signal.SIGKILL)
        rung_again = replace(store.get("lost"), state=AlarmState.OK)
        assert store.change(store.get("lost"), rung_again, [], [])
        rung(store, hook.url)
        awaited(lambda: store.waiting() == 0)
        assert is_sending()
    assert len(hook.got) == 2
    assert senders_of(tmp_path) == []


def senders_of(folder):
    """Return the processes that send what waits in a folder, by what they have open."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_sender = b"--send" in (one / "cmdline").read_bytes()
            files = [file.readlink() for file in (one / "fd").iterdir()] if is_sender else []
            if any(folder in file.parents for file in files):
                found.append(int(one.name))
    return found


def test_what_fails_in_an_unforeseen_way_is_a_failed_try_as_well(store, hook):
    def fail(notification):
        raise UnicodeEncodeError("ascii", "ä", 0, 1, "no")

    rung(store, hook.url)
    ((number, one),) = store.due(2000.0)
    store.postpone(number, replace(one, attempts=MOST_ATTEMPTS - 2), 0.0)
    notified(store, fail, lambda: store.waiting() == 0)
    assert any("UnicodeEncodeError" in one for one in summaries(store))


def test_target_that_is_down_holds_up_no_other_and_is_given_up_in_the_end(store, hook):
    down = "http://127.0.0.1:1/"
    rung(store, down, hook.url)
    (number, one), _ = store.due(2000.0)
    store.postpone(number, replace(one, attempts=MOST_ATTEMPTS - 2), 0.0)
    notified(store, Sender().send, lambda: store.waiting() == 0)
    assert len(hook.got) == 1
    assert any(f"given up after {MOST_ATTEMPTS} tries" in one for one in summaries(store))


def test_mail_says_what_happened(store):
    with mail_server() as (port, mails):
        server = MailServer("127.0.0.1", "atoll@example.org", port, starttls=False)
        rung(store, "mailto:ops@example.org")
        notified(store, Sender(mail=server).send, lambda: store.waiting() == 0)
    ((sender, receivers, text),) = mails
    assert "atoll@example.org" in sender
    assert receivers == ["<ops@example.org>"]
    assert "Subject: ALARM: lost" in text
    assert "NewStateReason: 2 of 3 primaries run" in text


def test_alarm_that_was_changed_meanwhile_is_not_put_back(store):
    rung(store)
    read = store.get("lost")
    store.put(replace(read.alarm, threshold=7.0))
    assert not ring(store, read, Verdict(AlarmState.OK, "well"), 2000.0)
    assert (store.get("lost").alarm.threshold, store.get("lost").state) == (7.0, "ALARM")


def test_what_aws_would_deliver_is_named_as_not_delivered(store):
    rung(store, SNS)
    assert store.waiting() == 0
    assert SNS in summaries(store)[0]


@pytest.mark.parametrize(
    "target",
    [
        "ftp://x/",
        "https://",
        "http://[::1",
        "http://x:99999/",
        "http://x/\x01",
        "mailto:nobody",
        "mailto:@",
        "mailto:a@b\r\nX: y",
        "mailto:a%0Ab@c",
        "http://x/ y",
        "ops",
    ],
)
def test_who_cannot_be_notified_is_refused(target):
    with pytest.raises(InvalidInput):
        Sender(mail=MailServer("h", "a@b")).check(target)


def test_mail_without_a_server_is_refused():
    with pytest.raises(InvalidInput, match="no mail server"):
        Sender().check("mailto:a@b.org")
