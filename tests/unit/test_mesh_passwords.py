"""Passwords of local users (feature 7)."""

import base64
import hashlib
import unicodedata

import pytest

from atoll.core.errors import Corrupt, InvalidInput, Unavailable
from atoll.mesh.identity import passwords
from atoll.mesh.identity.passwords import (
    MAX_CHARS,
    Work,
    hashed,
    is_outdated,
    is_right,
    refuse_weak,
)

GOOD = "tidal lorry, seven übergänge"
LITTLE = Work(4, 8, 1)
STORED = hashed(GOOD, LITTLE)


def test_right_password_is_right_and_others_are_not():
    assert is_right(GOOD, STORED)
    assert not is_right(GOOD[:-1], STORED)
    assert not is_right(GOOD + " ", STORED)
    assert not is_right("", STORED)


def test_password_is_the_same_however_it_is_typed():
    assert is_right(unicodedata.normalize("NFD", GOOD), STORED)
    assert is_right(GOOD.replace(" ", "\u00a0"), STORED)
    assert not is_right(GOOD.upper(), STORED)


def test_two_hashes_of_one_password_differ():
    assert hashed(GOOD, LITTLE) != STORED
    assert GOOD not in STORED


def test_nobody_has_a_password_that_is_right():
    for password in (GOOD, "", "\0" * 32):
        assert not is_right(password, None, LITTLE)


def test_what_cannot_be_typed_is_nobodys_password():
    for password in ("\0", "\ud800", "x" * 10_000):
        assert not is_right(password, hashed("", LITTLE))


def test_somebody_unknown_costs_as_much_work(monkeypatch):
    done, derive = [], hashlib.scrypt

    def counted(password, **options):
        done.append((options["n"], options["r"], options["p"]))
        return derive(password, **options)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    for password in (GOOD, "x" * 10_000, "\0", "\ud800"):
        is_right(password, None, LITTLE)
        is_right(password, STORED, LITTLE)
    assert done == [(16, 8, 1)] * 8


def test_hash_is_scrypts_as_others_write_it():
    # RFC 7914, section 12: the first 32 bytes; only these depend on nothing else.
    key = bytes.fromhex("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2")
    salt = base64.b64encode(b"SodiumChloride").decode().rstrip("=")
    stored = f"$scrypt$ln=14,r=8,p=1${salt}${base64.b64encode(key).decode().rstrip('=')}"
    assert is_right("pleaseletmein", stored)


def test_hash_made_with_other_work_is_right_and_outdated():
    assert is_right(GOOD, STORED, Work())
    assert is_outdated(STORED)
    assert not is_outdated(STORED, LITTLE)
    assert not is_outdated(hashed(GOOD))


@pytest.mark.parametrize(
    "stored",
    [
        *("", "x", STORED[:-1], STORED + "=", STORED.replace("scrypt", "bcrypt")),
        *(STORED.replace("ln=4", f"ln={ln}") for ln in (0, 25, 99)),
        *(STORED.replace("p=1", f"p={p}") for p in (0, 99)),
    ],
    # The salt is drawn anew in each process, and all of them must find the same tests.
    ids=range(10),
)
def test_damaged_hash_is_told_from_a_wrong_password(stored):
    with pytest.raises(Corrupt, match="set a new password"):
        is_right(GOOD, stored)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "gTz4$kq9!vXw2#Lm",
        "пароль из четырех слов",
        "五つの言葉で作る長い合言葉です",
        "👩‍🔬 lab coat 🧪 spills",
        "x7Kq" * 3 + "mN2p" * 12,
        GOOD,
    ],
)
def test_long_password_is_accepted_whatever_it_is_made_of(password):
    refuse_weak(password, ("anna", "anna@plant.example"))


@pytest.mark.parametrize(
    "password",
    [
        *("aaaaaaaaaaaaaaaaaaaa", "123456789012345678", "abcdefghijklmnopqrst", "xk3pxk3pxk3pxk3p"),
        *("passwordpassword", "Password Password 1", "qwertyuiopasdfgh", "adminadminadmin!"),
        *("anna.weber.anna.weber", "Anna.Weber@plant.example", "atoll atoll atoll"),
    ],
)
def test_password_that_others_try_first_is_refused(password):
    with pytest.raises(InvalidInput, match="others try first"):
        refuse_weak(password, ("anna", "weber", "Anna.Weber@Plant.Example"))


@pytest.mark.parametrize(
    ("password", "match"),
    [
        ("short words", "has 11 characters"),
        ("", "has 0 characters"),
        ("tidal lorry, \0 seven cranes", "cannot be typed"),
        ("tidal lorry, \ud800 seven cranes", "cannot be typed"),
        ("tidal lorry " * 22, f"more than {MAX_CHARS}"),
    ],
)
def test_refusal_says_how_to_mend_it_and_not_what_was_typed(password, match):
    with pytest.raises(InvalidInput, match=match) as caught:
        refuse_weak(password)
    assert "lorry" not in caught.value.message


def test_password_that_cannot_be_typed_is_not_hashed():
    with pytest.raises(InvalidInput):
        hashed("\0" * 20)


def test_crowd_at_the_door_is_asked_to_come_back(monkeypatch):
    monkeypatch.setattr(passwords, "_WAIT_SECONDS", 0.01)
    with passwords._hashing, passwords._hashing, pytest.raises(Unavailable, match="try again"):
        is_right(GOOD, STORED)
