"""Warnings on the terminal: a terminal that cannot be written to ends nothing."""

import errno
import logging

import click

from atoll.app.main import _Shown


def test_a_warning_that_cannot_be_written_ends_nothing(monkeypatch):
    tried = []

    def full(text, **_):
        tried.append(text)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(click, "echo", full)
    _Shown().emit(logging.LogRecord("x", logging.WARNING, "", 1, "disk full", (), None))
    assert tried == ["atoll: warning: disk full"]
