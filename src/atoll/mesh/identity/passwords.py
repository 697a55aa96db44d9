"""Passwords of local users: refused when weak, hashed with scrypt, compared.

A hash is text of its own: `$scrypt$ln=15,r=8,p=3$<salt>$<key>`, base64 without padding; so the work
can grow, and `is_outdated` says whose hash to make anew at the next sign-in. Slowing down whoever
tries many passwords is the caller's.

Source: NIST SP 800-63B-4 (2025), section 3.1.1.2: 15 characters where nothing else is asked for, at
least 64 allowed, no rules of composition, no change without cause, a list of expected passwords.
Unicode as in RFC 8265, OpaqueString. Work factors: OWASP Password Storage Cheat Sheet.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from atoll.core.errors import Corrupt, InvalidInput, Unavailable

MIN_CHARS = 15
MAX_CHARS = 256
# Of a password that remains without the words below, and does not merely go on as it began.
_MIN_SURPRISES = 8
_EXPECTED = (
    *("password", "passwort", "motdepasse", "administrator", "admin", "atoll", "welcome"),
    *("qwertyuiop", "qwerty", "qwertz", "azerty", "asdfgh", "letmein", "changeme"),
)
_SALT_BYTES = 16
_KEY_BYTES = 32
_FORM = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{16,64})\$([A-Za-z0-9+/]{43})",
    re.ASCII,
)
_MAX_MEMORY_BYTES = 1 << 28
_MAX_P = 16
# Each hash takes 32 MiB: many people who sign in at once wait for each other, not for memory.
_hashing = threading.BoundedSemaphore(2)
_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Work:
    """What scrypt does: it fills 128 * 2**log2_n * r bytes, p times over."""

    log2_n: int = 15
    r: int = 8
    p: int = 3

    @property
    def memory_bytes(self) -> int:
        """Memory that OpenSSL must be allowed."""
        return 128 * self.r * ((1 << self.log2_n) + self.p + 2)


WORK = Work()


@dataclass(frozen=True)
class _Hash:
    work: Work
    salt: bytes
    key: bytes


def refuse_weak(password: str, names: Iterable[str] = ()) -> None:
    """Refuse a new password that others would try.

    Args:
        password: as it was typed.
        names: the user's, in any form; a password must not be made of them.

    Raises:
        InvalidInput: too short, too long, of characters that cannot be typed, or easily guessed;
            the message does not repeat it.
    """
    text = _normal(password)
    if len(text) < MIN_CHARS:
        raise InvalidInput(
            f"the password has {len(text)} characters and needs at least {MIN_CHARS}; take "
            "several words that do not belong together"
        )
    if _surprises(text, names) < _MIN_SURPRISES:
        raise InvalidInput(
            "the password is a name, a common word, a row of keys or a repetition, which others "
            "try first; take several words that do not belong together"
        )


def hashed(password: str, work: Work = WORK) -> str:
    """Hash a password that `refuse_weak` let pass.

    Raises:
        InvalidInput: it is longer than MAX_CHARS, or has characters that cannot be typed.
        Unavailable: too many are hashed at this moment.
    """
    salt = secrets.token_bytes(_SALT_BYTES)
    key = _derived(_normal(password), salt, work)
    spent = f"ln={work.log2_n},r={work.r},p={work.p}"
    return f"$scrypt${spent}${_base64(salt)}${_base64(key)}"


def is_right(password: str, stored: str | None, work: Work = WORK) -> bool:
    """Compare a password with a hash.

    Args:
        password: as it was typed, of any length.
        stored: what `hashed` gave; None where there is no such user, or none with a password.
        work: what is done for such a one, so that nobody learns of it by the time taken.

    Raises:
        Corrupt: the hash is none of ours.
        Unavailable: too many are hashed at this moment.
    """
    nobody = _Hash(work, bytes(_SALT_BYTES), bytes(_KEY_BYTES))
    known = nobody if stored is None else _read(stored)
    try:
        text, is_possible = _normal(password), stored is not None
    except InvalidInput:
        text, is_possible = "", False
    key = _derived(text, known.salt, known.work)
    return hmac.compare_digest(key, known.key) and is_possible


def is_outdated(stored: str, work: Work = WORK) -> bool:
    """Tell whether other work went into a hash than goes into one now.

    Raises:
        Corrupt: the hash is none of ours.
    """
    return _read(stored).work != work


def _normal(password: str) -> str:
    """Bring a password to one form, however it was typed."""
    # Unassigned characters may be normalised in another way by a later Unicode.
    is_long = len(password) > MAX_CHARS
    if is_long or any(unicodedata.category(char) in ("Cc", "Cs", "Cn") for char in password):
        raise InvalidInput(
            f"the password has more than {MAX_CHARS} characters, or some that cannot be typed; "
            "choose another"
        )
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in password)
    return unicodedata.normalize("NFC", spaced)


def _surprises(text: str, names: Iterable[str]) -> int:
    """Count the characters that do not follow from what anybody would try."""
    left = text.casefold()
    for word in sorted((*map(str.casefold, names), *_EXPECTED), key=len, reverse=True):
        if len(word) > 2:
            left = left.replace(word, "")
    left = left[: (left + left).find(left, 1)] if left else left
    return sum(abs(ord(after) - ord(before)) > 1 for before, after in pairwise(left))


def _derived(text: str, salt: bytes, work: Work) -> bytes:
    if not _hashing.acquire(timeout=_WAIT_SECONDS):
        raise Unavailable("too many people sign in at this moment; try again in a minute")
    try:
        return hashlib.scrypt(
            text.encode(),
            salt=salt,
            n=1 << work.log2_n,
            r=work.r,
            p=work.p,
            maxmem=work.memory_bytes,
            dklen=_KEY_BYTES,
        )
    finally:
        _hashing.release()


def _read(stored: str) -> _Hash:
    found = _FORM.fullmatch(stored)
    if found:
        work = Work(*map(int, found.groups()[:3]))
        salt, key = (base64.b64decode(f"{part}==") for part in found.groups()[3:])
        if _is_possible(work):
            return _Hash(work, salt, key)
    raise Corrupt("a stored password hash is none that Atoll wrote; set a new password")


def _is_possible(work: Work) -> bool:
    is_small = work.p <= _MAX_P and work.memory_bytes <= _MAX_MEMORY_BYTES
    return is_small and min(work.log2_n, work.r, work.p) > 0


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")
