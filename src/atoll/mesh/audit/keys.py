"""Keys that seal the chain, kept outside the database so that its administrator has none."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from atoll.core.errors import InvalidInput

KEY_BYTES = 32
_BLOCK_BYTES = 64
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True)
class Key:
    """A key for HMAC-SHA256.

    Attributes:
        secret: at least `KEY_BYTES` random bytes; never shown.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what is too short to be a key."""
        if len(self.secret) < KEY_BYTES:
            raise InvalidInput(
                f"an audit key needs {KEY_BYTES} bytes, this one has {len(self.secret)}; let "
                "`new_key` make it"
            )

    @cached_property
    def id(self) -> str:
        """What names the key: 16 hexadecimal digits made from it, which tell nothing about it."""
        return self.sign(message("atoll.audit.key/1"))[:16]

    def sign(self, data: bytes) -> str:
        """Return the HMAC-SHA256 (RFC 2104) of bytes, 64 hexadecimal digits."""
        # Half the time of `hmac.digest`, which prepares the key anew for each.
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.hexdigest()

    def has_signed(self, data: bytes, signature: str) -> bool:
        """Tell whether a signature is this key's for these bytes."""
        return signature.isascii() and hmac.compare_digest(self.sign(data), signature)

    @cached_property
    def _inner(self) -> hashlib._Hash:
        return self._begun(0x36)

    @cached_property
    def _outer(self) -> hashlib._Hash:
        return self._begun(0x5C)

    def _begun(self, pad: int) -> hashlib._Hash:
        is_long = len(self.secret) > _BLOCK_BYTES
        secret = hashlib.sha256(self.secret).digest() if is_long else self.secret
        return hashlib.sha256(bytes(byte ^ pad for byte in secret.ljust(_BLOCK_BYTES, b"\0")))


def new_key() -> Key:
    """Make a random key."""
    return Key(secrets.token_bytes(KEY_BYTES))


def by_id(keys: Iterable[Key]) -> dict[str, Key]:
    """Return keys by their ids."""
    return {key.id: key for key in keys}


def message(tag: str, *values: str | int | None) -> bytes:
    """Write what is to be signed: a JSON array without spaces, in UTF-8, `tag` first.

    Texts, whole numbers and null have one form each (RFC 8785), so different values never share
    bytes; and each kind of message has a tag of its own.

    Raises:
        UnicodeEncodeError: a text holds half a character.
    """
    return _encoder.encode((tag, *values))
