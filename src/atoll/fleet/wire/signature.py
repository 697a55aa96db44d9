"""Checks AWS's Signature Version 4 of requests signed in their headers.

Source: AWS, "Signature Version 4 signing process": canonical request, string to sign, signing key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_to_bytes

from atoll.fleet.wire import instants
from atoll.fleet.wire.errors import ServiceError
from atoll.fleet.wire.message import Request

MAX_SKEW = timedelta(minutes=5)
_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    _ALGORITHM + r"[ ]+Credential=(?P<key>[\w+=,.@:-]+)/(?P<date>[0-9]{8})/(?P<region>[a-z0-9-]+)"
    r"/(?P<service>[a-zA-Z0-9_-]+)/aws4_request[ ]*,[ ]*SignedHeaders=(?P<headers>[^,\s]+)[ ]*,[ ]*"
    r"Signature=(?P<signature>[0-9a-f]{64})",
    re.ASCII,
)
_STAMP = "%Y%m%dT%H%M%SZ"
# What decides the meaning of a request; unsigned it could be exchanged on the way.
_MUST_SIGN = ("host", "content-type", "content-encoding", "smithy-protocol")


@dataclass(frozen=True)
class Signer:
    """Who signed a request, and for what.

    Attributes:
        access_key: never the secret.
        region: as the client has it configured.
        service: "elasticmapreduce"; it must be that of the operation.
    """

    access_key: str
    region: str
    service: str


def verify(request: Request, keys: Mapping[str, str], now: datetime) -> Signer:
    """Check that a request was signed with one of the keys, lately, and arrived unchanged.

    A request can be sent again within MAX_SKEW, as with AWS itself.

    Args:
        request: as it arrived.
        keys: secret by access key.
        now: aware.

    Raises:
        ServiceError: MissingAuthenticationToken, IncompleteSignature, InvalidClientTokenId,
            RequestTimeTooSkewed, XAmzContentSHA256Mismatch or SignatureDoesNotMatch.
    """
    found = _credentials(request)
    signed = found["headers"].split(";")
    _check_signed_headers(request, signed)
    stamp = _stamp(request, found["date"], now)
    if found["key"] not in keys:
        raise _refused(
            "InvalidClientTokenId",
            "the access key is not known to Atoll; its own are printed by: atoll fleet keys",
        )
    if request.header("x-amz-security-token") is not None:
        raise _refused(
            "InvalidClientTokenId",
            "a session token came with the access key, and Atoll's keys have none; unset "
            "AWS_SESSION_TOKEN",
        )
    scope = f"{found['date']}/{found['region']}/{found['service']}/aws4_request"
    canonical = canonical_request(request, signed, _payload_hash(request))
    to_sign = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical).hexdigest()))
    key = f"AWS4{keys[found['key']]}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    if not hmac.compare_digest(_hmac(key, to_sign).hex(), found["signature"]):
        raise _refused(
            "SignatureDoesNotMatch",
            "the signature is not that of this request and the access key's secret; check the "
            "secret, and that nothing between changes requests",
        )
    return Signer(found["key"], found["region"], found["service"])


def canonical_request(request: Request, signed: list[str], payload_hash: str) -> bytes:
    """Write a request in the form that is hashed and signed.

    Args:
        request: every header of `signed` is in it.
        signed: names of headers, in lower case and sorted.
        payload_hash: SHA-256 of the body, hexadecimal.
    """
    # The path is encoded once more than it was for sending, as for all services but S3.
    path = quote(_normal(request.path), safe="/~")
    headers = [f"{name}:{' '.join((request.header(name) or '').split())}" for name in signed]
    lines = [request.method, path, _canonical_query(request.query), *headers, ""]
    return "\n".join([*lines, ";".join(signed), payload_hash]).encode()


def _normal(path: str) -> str:
    """Resolve "." and ".." and repeated slashes, as RFC 3986 has it."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            kept = kept[:-1]
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


def _canonical_query(query: str) -> str:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return "&".join(f"{k}={v}" for k, v in sorted((_encoded(k), _encoded(v)) for k, _, v in pairs))


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="~")


def _credentials(request: Request) -> Mapping[str, str]:
    header = request.header("authorization")
    if header is None:
        raise _refused(
            "MissingAuthenticationToken",
            "the request is not signed; set an access key that Atoll knows (Authorization header, "
            "not a presigned URL)",
        )
    found = _AUTHORIZATION.fullmatch(header)
    if not found:
        raise _refused("IncompleteSignature", f"the Authorization header is no {_ALGORITHM}", 400)
    return found.groupdict()


def _check_signed_headers(request: Request, signed: list[str]) -> None:
    present = {name for name, _ in request.headers}
    wanted = {n for n in present if n in _MUST_SIGN or n.startswith("x-amz-")} | {"host"}
    missing = sorted(wanted - set(signed))
    if missing or signed != sorted(set(signed)) or not set(signed) <= present:
        raise _refused(
            "IncompleteSignature",
            "SignedHeaders must name, sorted and once each, headers that were sent, among them "
            f"{', '.join(sorted(wanted))}",
            400,
        )


def _stamp(request: Request, scope_date: str, now: datetime) -> str:
    """Check when the request was signed; give that instant as it is signed."""
    basic, written = request.header("x-amz-date"), request.header("date")
    try:
        if basic is not None:
            instant = datetime.strptime(basic, _STAMP).replace(tzinfo=UTC)
        else:
            instant = instants.from_text(written or "")
    except ValueError as error:
        raise _refused(
            "IncompleteSignature", "header x-amz-date must say when: 20261122T101500Z", 400
        ) from error
    if abs(now - instant) > MAX_SKEW:
        raise _refused(
            "RequestTimeTooSkewed",
            f"the request was signed at {instant:%Y-%m-%dT%H:%M:%SZ} by its client's clock, and "
            f"Atoll's says {now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}; they may differ by "
            f"{MAX_SKEW.seconds // 60} minutes: set both clocks",
        )
    if f"{instant:%Y%m%d}" != scope_date:
        raise _refused("SignatureDoesNotMatch", "the credential's date is not the request's")
    return f"{instant:{_STAMP}}"


def _payload_hash(request: Request) -> str:
    found = hashlib.sha256(request.body).hexdigest()
    told = request.header("x-amz-content-sha256")
    if told is not None and not hmac.compare_digest(told.encode(), found.encode()):
        # "UNSIGNED-PAYLOAD" and "STREAMING-..." are S3's, and legal with none of our services.
        raise _refused(
            "XAmzContentSHA256Mismatch",
            "header x-amz-content-sha256 is not the SHA-256 of the body that arrived; only signed "
            "bodies are taken",
            400,
        )
    return found


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _refused(name: str, message: str, status: int = 403) -> ServiceError:
    return ServiceError(message, name=name, http_status=status)
