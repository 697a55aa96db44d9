"""Sign-in providers on loopback: a real one, and one that lies as a test tells it to."""

import base64
import hashlib
import json
import re
import secrets
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jws
from joserfc.jwk import ECKey

CALLBACK = "http://127.0.0.1:1/callback"
NOW = datetime.now(UTC)
"""The hostile provider's clock, which stands."""


@contextmanager
def real_provider(*people):
    """Run oidc-provider-mock in a process of its own; yields its issuer."""
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", "0"]
    command += [f"--user-claims={json.dumps(person)}" for person in people]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield _address(process.stderr)
        finally:
            process.terminate()


def _address(log):
    lines = []
    for line in log:
        lines.append(line)
        if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
            # Read on: a full pipe would stop it.
            threading.Thread(target=log.read, daemon=True).start()
            return found[1]
    raise AssertionError("".join(lines))


def returned(url, **form):
    """Go where a browser is sent, and choose there; gives the parameters of the callback."""
    # Without verify=False, each call would read the machine's certificates first.
    with httpx2.Client(verify=False) as browser:
        answer = browser.post(url, data=form) if form else browser.get(url)
    assert answer.status_code in (302, 303), answer.text
    location = answer.headers["location"]
    assert location.startswith(CALLBACK)
    return parse_qsl(urlsplit(location).query, keep_blank_values=True)


@dataclass
class HostileProvider:
    """Answers as a provider does, except for what a test changes.

    Attributes:
        metadata: changes of what it says of itself; None leaves an entry out.
        shown: keys that it shows.
        key: with which it signs.
        header: changes of an ID token's header.
        claims: changes of an ID token's claims; None leaves one out.
        userinfo: claims of its userinfo.
        sign: makes the ID token of header and claims.
        callback: changes of the callback's parameters.
        answers: by path, what answers instead: gets the request's handler.
        asked: paths asked for.
        begun: by code, with what a sign-in began.
    """

    issuer: str = ""
    metadata: dict = field(default_factory=dict)
    key: object = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one"}))
    shown: list = field(default_factory=list)
    header: dict = field(default_factory=dict)
    claims: dict = field(default_factory=dict)
    userinfo: dict = field(default_factory=lambda: {"sub": "u1", "email": "u1@plant.example"})
    sign: object = None
    callback: dict = field(default_factory=dict)
    answers: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    begun: dict = field(default_factory=dict)

    def document(self):
        ends = {
            "issuer": self.issuer,
            "authorization_endpoint": self.issuer + "/authorize",
            "token_endpoint": self.issuer + "/token",
            "userinfo_endpoint": self.issuer + "/userinfo",
            "jwks_uri": self.issuer + "/jwks",
        }
        return _changed(ends, self.metadata)

    def authorize(self, query):
        asked = dict(parse_qsl(query))
        code = secrets.token_hex(8)
        self.begun[code] = asked
        brought = _changed({"code": code, "state": asked["state"]}, self.callback)
        return asked["redirect_uri"] + "?" + urlencode(brought)

    def tokens(self, form):
        asked = self.begun.pop(form.get("code"), None)
        if asked is None or _s256(form["code_verifier"]) != asked["code_challenge"]:
            return 400, {"error": "invalid_grant", "error_description": "<b>markup</b>"}
        access_token, now = secrets.token_hex(16), int(NOW.timestamp())
        claims = {
            "iss": self.issuer,
            "sub": "u1",
            "aud": asked["client_id"],
            "exp": now + 60,
            "iat": now,
            "nonce": asked["nonce"],
            "at_hash": half_hash(access_token),
        }
        header = _changed({"alg": "ES256", "kid": "one", "typ": "JWT"}, self.header)
        sign = self.sign or self.signed
        id_token = sign(header, _changed(claims, self.claims))
        return 200, {"id_token": id_token, "access_token": access_token, "token_type": "Bearer"}

    def signed(self, header, claims):
        payload = json.dumps(claims)
        return jws.serialize_compact(header, payload, self.key, algorithms=[header["alg"]])

    def jwks(self):
        keys = self.shown or [self.key]
        return {"keys": [key if isinstance(key, dict) else key.as_dict() for key in keys]}


@contextmanager
def hostile_provider(tls=None, **changes):
    """Serve one; `tls` names files of its certificate and key."""
    provider = HostileProvider(**changes)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(provider))
    scheme = "http"
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    provider.issuer = f"{scheme}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def self_signed(folder):
    """Write a certificate for loopback and its key; gives both paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([]), datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    signed = built.add_extension(names, critical=True).sign(key, hashes.SHA256())
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(signed.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def half_hash(text):
    """The at_hash of an access token, with SHA-256."""
    return _unpadded(hashlib.sha256(text.encode()).digest()[:16])


def unsigned(header, claims):
    """An ID token with an empty signature."""
    parts = [_unpadded(json.dumps(each).encode()) for each in (header, claims)]
    return ".".join([*parts, ""])


def _handler(provider):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path, _, query = self.path.partition("?")
            provider.asked.append(path)
            if path in provider.answers:
                self.close_connection = True
                provider.answers[path](self)
            elif path == "/authorize":
                self.say(302, {}, location=provider.authorize(query))
            else:
                self.say(200, self._document(path))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self.body = dict(parse_qsl(body))
            if self.path in provider.answers:
                self.do_GET()
                return
            provider.asked.append(self.path)
            self.say(*provider.tokens(self.body))

        def _document(self, path):
            if path == "/userinfo":
                return provider.userinfo
            return provider.jwks() if path == "/jwks" else provider.document()

        def say(self, status, value, **headers):
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name.replace("_", "-"), text)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def _changed(values, changes):
    return {k: v for k, v in {**values, **changes}.items() if v is not None}


def _s256(verifier):
    return _unpadded(hashlib.sha256(verifier.encode()).digest())


def _unpadded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
