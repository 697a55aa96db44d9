"""The file that says how a fleet host notifies."""

import pytest

from atoll.core.config import MailServer
from atoll.core.errors import InvalidInput
from atoll.fleet.cli.sender import read_sender
from atoll.fleet.monitoring.sending import Sender


@pytest.fixture
def read(tmp_path):
    def written(text):
        path = tmp_path / "sender.cfg"
        path.write_text(text)
        return read_sender(path)

    return written


def test_secret_and_mail_server_are_read(read):
    text = 'secret = "s"\n[mail]\nhost = "smtp"\nsender = "a@b"\nport = 25\nstarttls = false\n'
    assert read(text) == Sender("s", MailServer("smtp", "a@b", port=25, starttls=False))


def test_nothing_is_needed(read):
    assert read("") == Sender()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[mail", "does not say"),
        ('sekret = "s"', "sekret"),
        ('[mail]\nhost = "smtp"\nsender = "a@b"\npasword = "p"', "pasword"),
        ('[mail]\nhost = "smtp"', "sender"),
        ('mail = "smtp"', "mail"),
        ('[mail]\nhost = "smtp"\nsender = "a@b"\npassword = "pässwort"', "ASCII"),
        ('[mail]\nhost = "smtp"\nsender = "a@b"\nport = "25"', "port"),
    ],
)
def test_what_is_wrong_is_named(read, text, named):
    with pytest.raises(InvalidInput, match=named):
        read(text)


def test_its_secrets_are_not_shown(read):
    told = 'secret = "hidden"\n[mail]\nhost = "smtp"\nsender = "a@b"\npassword = "hidden"'
    assert "hidden" not in repr(read(told))
