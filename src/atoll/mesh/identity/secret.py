"""Random secrets as text, and what of them is stored.

A secret has 256 random bits, so nobody finds it by trying: one SHA-256 of it is safe at rest, where
a password, which people choose, needs a slow hash. The text of a token has the form of GitHub's:
a prefix and a checksum let scanners find it in code and logs, and let a typing error be told from
a token that was revoked.

Source: GitHub (2021), "Behind GitHub's new authentication token formats".
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass
from datetime import timedelta

from atoll.core.errors import InvalidInput

SECRET_BITS = 256
SECRET_CHARS = 43  # 62 ** 43 > 2 ** 256
ID_CHARS = 12
# Clocks differ by no more. One that was set back further must not lengthen what expires.
MAX_SKEW = timedelta(seconds=120)
_CHECKSUM_CHARS = 6  # 62 ** 6 > 2 ** 32
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM = re.compile(
    rf"(?P<prefix>[a-z]+)_(?P<id>[0-9A-Za-z]{{{ID_CHARS}}})"
    rf"_[0-9A-Za-z]{{{SECRET_CHARS}}}(?P<checksum>[0-9A-Za-z]{{{_CHECKSUM_CHARS}}})",
    re.ASCII,
)


@dataclass(frozen=True)
class Presented:
    """What somebody showed: enough to find its record and compare, not to be used again.

    Attributes:
        id: of the record, not secret.
        sha256: of the whole text, hexadecimal.
    """

    id: str
    sha256: str


def new_secret() -> str:
    """Draw 256 random bits, written with 43 letters and digits."""
    return base62(secrets.randbits(SECRET_BITS), SECRET_CHARS)


def new_text(prefix: str) -> tuple[str, Presented]:
    """Draw a token `<prefix>_<id>_<secret><checksum>`: text to show once, and what to store."""
    body = f"{prefix}_{new_secret()[-ID_CHARS:]}_{new_secret()}"
    text = body + _checksum(body)
    return text, read(text, prefix)


def read(text: str, prefix: str) -> Presented:
    """Read a token that `new_text` wrote.

    Raises:
        InvalidInput: it has another form, prefix or checksum; the message does not repeat it.
    """
    found = _FORM.fullmatch(text)
    if found is None or found["prefix"] != prefix:
        raise InvalidInput(
            f"this is no text of the form {prefix}_<id>_<secret>; copy it whole, as it was shown"
        )
    if found["checksum"] != _checksum(text[:-_CHECKSUM_CHARS]):
        raise InvalidInput(
            f"the text {prefix}_{found['id']}_... has a wrong checksum, so a character was lost or "
            "changed; copy it whole, as it was shown"
        )
    return Presented(found["id"], digest(text))


def digest(text: str) -> str:
    """Hash a secret for storage: SHA-256, hexadecimal."""
    return hashlib.sha256(as_bytes(text)).hexdigest()


def is_same(one: str, other: str) -> bool:
    """Compare without telling by the time taken how much is alike."""
    return hmac.compare_digest(as_bytes(one), as_bytes(other))


def is_plain(text: str) -> bool:
    """Tell whether a code or token of OAuth's is what it must be: visible ASCII (RFC 6749, A)."""
    return text.isascii() and text.isprintable()


def as_bytes(text: str) -> bytes:
    """Encode any text, also what is no Unicode: it came from outside and only has to differ."""
    return text.encode(errors="surrogatepass")


def base62(number: int, chars: int) -> str:
    """Write a number from 0 to 62 ** chars - 1 with that many digits, the highest first.

    >>> base62(61, 2), base62(62, 2)
    ('0z', '10')
    """
    digits = []
    for _ in range(chars):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _checksum(body: str) -> str:
    return base62(zlib.crc32(body.encode()), _CHECKSUM_CHARS)
