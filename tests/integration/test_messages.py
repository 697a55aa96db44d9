"""Mail through a real SMTP server, webhooks to a real receiver, and what may be reached."""

import json
import socket
import ssl
import threading
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

import pytest
from message_receivers import mail_server, smtp_server, webhook
from oidc_providers import self_signed

from atoll.core.config import MailServer
from atoll.core.errors import InvalidInput, Unavailable
from atoll.messages import mail, webhooks
from atoll.messages.addresses import networks_in, public_or

LOOPBACK = public_or(networks_in("127.0.0.0/8"))


@pytest.fixture
def hook():
    with webhook() as hook:
        yield hook


def posted(url, **more):
    return webhooks.post(url, b'{"a": 1}', id_="d-1", agent="atoll-test", **more)


def sent(port, to="ann@example.org", subject="well", text="all is well", **more):
    server = MailServer("127.0.0.1", "atoll@example.org", port, **{"starttls": False, **more})
    mail.send(server, to=to, subject=subject, text=text, id_="m-1")


@contextmanager
def answering(serve):
    """Run a server for one connection, and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run():
            connection, _ = listener.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(10)


def test_webhook_gets_what_was_signed_with_its_key(hook):
    posted(hook.url, key="k")
    ((headers, body),) = hook.got
    assert headers["X-Atoll-Signature"] == webhooks.signature(
        "k", headers["X-Atoll-Timestamp"], body
    )
    assert (headers["X-Atoll-Delivery"], json.loads(body)) == ("d-1", {"a": 1})
    assert webhooks.signature("k", "1", b"x") != webhooks.signature("k", "2", b"x")


def test_webhook_that_sends_elsewhere_is_not_followed(hook):
    hook.statuses = [302]
    with pytest.raises(Unavailable) as told:
        posted(hook.url)
    assert (told.value.details, len(hook.got)) == ({"status": 302}, 1)


def test_only_what_may_be_reached_is_connected_to(hook):
    with pytest.raises(Unavailable, match="no address that may be reached"):
        posted(hook.url, may_reach=public_or([]))
    assert hook.got == []
    posted(hook.url, may_reach=LOOPBACK)
    assert len(hook.got) == 1


def test_name_that_leads_elsewhere_at_the_second_look_is_looked_up_once(hook, monkeypatch):
    looked = []

    def look_up(host, port, **_):
        looked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    posted(hook.url.replace("127.0.0.1", "plant.example"), may_reach=LOOPBACK)
    assert looked == ["plant.example"]
    assert hook.got[0][0]["Host"].startswith("plant.example:")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_addresses_inside_are_not_public(address):
    assert not public_or([])(ip_address(address))


def test_public_addresses_may_be_reached():
    assert all(public_or([])(ip_address(one)) for one in ("9.9.9.9", "2620:fe::fe"))


def test_receiver_that_answers_drop_by_drop_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(webhooks, "ANSWER_SECONDS", 0.3)
    over = threading.Event()

    def drip(connection):
        try:
            while not over.wait(0.05):
                connection.sendall(b"H")
        except OSError:
            over.set()

    with answering(drip) as url, pytest.raises(Unavailable, match="did not answer"):
        posted(url)
    assert over.is_set()


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 well\r\n" + b"a: b\r\n" * 200, b"a" * 100_000, b"\0\r\n\r\n"]
)
def test_answer_that_is_none_is_an_error_of_ours(head):
    with answering(lambda line: line.sendall(head)) as url, pytest.raises(Unavailable):
        posted(url)


def test_receiver_whose_certificate_nobody_vouches_for_gets_nothing(tmp_path, monkeypatch):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with webhook(context) as hook:
        url = hook.url.replace("http:", "https:")
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            posted(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        posted(url)
    assert len(hook.got) == 1


@pytest.mark.parametrize("url", ["ftp://x/", "https://", "http://[::1", "http://x/\x01", "x", ""])
def test_what_is_no_url_of_a_webhook_is_refused(url):
    with pytest.raises(InvalidInput):
        posted(url)


def test_networks_are_read_and_what_is_none_is_named():
    found = networks_in(" 10.1.0.0/16, fd00::/8 ")
    assert found == (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    assert networks_in("") == ()
    with pytest.raises(InvalidInput, match="plant"):
        networks_in("plant")


def test_mail_arrives_as_it_was_written():
    with smtp_server() as server:
        sent(server.port, subject="ä well\r\nBcc: x@example.org\x1b[2J", text="ö\n.\nend\n")
    (message,) = server.messages()
    assert message["Subject"] == "ä well Bcc: x@example.org[2J"
    assert (message["Bcc"], message["To"]) == (None, "ann@example.org")
    assert message["Message-ID"] == "<m-1@atoll>"
    assert message.get_content().splitlines() == ["ö", ".", "end"]


def test_receiver_that_the_server_does_not_know_is_refused_for_good():
    with smtp_server(unknown={"cy@example.org"}) as server:
        with pytest.raises(InvalidInput, match=r"cy@example\.org"):
            sent(server.port, to="cy@example.org")
        sent(server.port)
    assert len(server.messages()) == 1


def test_mail_server_that_is_down_is_tried_again_later():
    with smtp_server() as server:
        port = server.port
    with pytest.raises(Unavailable):
        sent(port)


def test_mail_is_not_sent_in_clear_where_it_must_be_encrypted():
    with mail_server() as (port, mails), pytest.raises(Unavailable, match="STARTTLS"):
        sent(port, starttls=True)
    assert mails == []


@pytest.mark.parametrize(
    "text",
    ["", "ann", "a,b@c.org", "a@b.org, c@d.org", "Ann <a@b.org>", "a@b\r\nBcc: c@d", "@", "a@"],
)
def test_what_is_not_the_address_of_one_mailbox_is_refused(text):
    with pytest.raises(InvalidInput, match="one mailbox"):
        mail.mailbox(text)
