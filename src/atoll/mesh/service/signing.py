"""Coming in: what a token, a cookie, a password or a one-time login proves, and what it opens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from atoll.core.errors import Forbidden, InvalidInput, Unauthenticated
from atoll.mesh.audit.model import AuditEvent, Outcome, new_event
from atoll.mesh.identity import logins, passwords, sessions, tokens
from atoll.mesh.model.people import (
    AccessToken,
    Proof,
    UserProfile,
    UserType,
    microseconds,
    moment,
)
from atoll.mesh.operations.calls import Caller
from atoll.mesh.service.people import token_of
from atoll.mesh.store.reading import Reader
from atoll.mesh.store.writing import Store, Transaction

NOBODY = "nobody"


@dataclass(frozen=True)
class Opened:
    """A browser session that has just begun.

    Attributes:
        cookie: its text, told once.
        csrf: goes with every change.
        expires_at: microseconds since the epoch.
    """

    profile: UserProfile
    cookie: str
    csrf: str
    expires_at: int


class Doorkeeper:
    """Tells who somebody is, and opens and ends sessions."""

    def __init__(self, store: Store[AuditEvent]) -> None:
        """Look in a store for what was issued."""
        self._store = store

    def by_token(self, text: str) -> Caller:
        """Tell who shows a token.

        Raises:
            Unauthenticated: nobody that may come in.
        """
        try:
            shown = tokens.parse(text)
            with self._store.reading() as reader:
                token = _token(reader, shown.id)
            found = tokens.check(token, shown, now=_now())
        except (Forbidden, InvalidInput) as error:
            raise Unauthenticated(error.message) from error
        return Caller(found.principal, found.id, found.scopes)

    def by_cookie(self, cookie: str, *, csrf: str | None) -> Caller:
        """Tell whose session a cookie stands for.

        Args:
            cookie: its text.
            csrf: what came with a change; None: nothing is to be changed.

        Raises:
            Unauthenticated: nobody's, or not any longer.
            Forbidden: the change was made elsewhere.
        """
        key = sessions.key_of(cookie)
        with self._store.reading() as reader:
            proof = reader.find(Proof, key)
            profile = reader.find(UserProfile, proof.owner_id) if proof else None
            token = reader.find(AccessToken, proof.token_id) if proof and proof.token_id else None
        try:
            if token and token.revoked_at:
                raise Forbidden("the token that opened this session was revoked; sign in again")
            before = _session(proof) if proof else None
            generation = profile.generation if profile else None
            found = sessions.check(before, generation=generation, now=_now())
        except Forbidden as error:
            raise Unauthenticated(error.message) from error
        if csrf is not None:
            sessions.check_csrf(cookie, csrf)
        if found != before:
            self._store.write(lambda changes: _note_use(changes, key, found.used_at))
        return Caller(found.principal, key[:16], found.scopes)

    def sign_in(self, name: str, password: str) -> Opened:
        """Open a session for a local user.

        Raises:
            Unauthenticated: the name or the password is not right; which of them is not told.
        """
        with self._store.reading() as reader:
            profile = reader.one(UserProfile, name=name, type=UserType.LOCAL)
            proof = reader.find(Proof, profile.id) if profile else None
        # Nobody of that name costs as much time as a wrong password.
        is_right = passwords.is_right(password, proof.text if proof else None)
        if profile is None or not is_right or not profile.status.is_in:
            refused = _note(
                "SignIn", profile.id if profile else "", via="password", outcome="DENIED"
            )
            self._store.write(lambda changes: changes.notes.append(refused))
            raise Unauthenticated("the name or the password is not right")

        def opened(changes: Transaction[AuditEvent]) -> Opened:
            return _open(changes, profile.id, "SignIn")

        return self._store.write(opened)

    def use_login(self, text: str) -> Opened:
        """Open a session by a one-time login, which is used up.

        Raises:
            Unauthenticated: it is none, used, expired, or its token is not active.
        """

        def used(changes: Transaction[AuditEvent]) -> Opened:
            proof = changes.find(Proof, shown.id)
            token = _token(changes, proof.token_id) if proof else None
            login = _login(proof) if proof else None
            done = logins.use(login, token, shown, now=_now())
            assert proof
            assert done.used_at
            at = microseconds(done.used_at)
            changes.put(replace(proof, version=proof.version + 1, used_at=at))
            return _open(changes, proof.owner_id, "UsePortalLogin", token=token)

        try:
            shown = logins.parse(text)
            return self._store.write(used)
        except (Forbidden, InvalidInput) as error:
            raise Unauthenticated(error.message) from error

    def sign_out(self, cookie: str, *, csrf: str) -> None:
        """End the session that a cookie stands for.

        Raises:
            Unauthenticated, Forbidden: as for any change.
        """
        caller = self.by_cookie(cookie, csrf=csrf)
        key = sessions.key_of(cookie)

        def ended(changes: Transaction[AuditEvent]) -> None:
            if found := changes.find(Proof, key):
                changes.remove(found)
            changes.notes.append(_note("SignOut", caller.profile_id, via=caller.via))

        self._store.write(ended)


def _open(
    changes: Transaction[AuditEvent], profile_id: str, how: str, token: tokens.Token | None = None
) -> Opened:
    profile = changes.get(UserProfile, profile_id)
    if not profile.status.is_in:
        raise Unauthenticated("you are not assigned to this domain; ask an administrator")
    now = _now()
    cookie, session = sessions.open_session(
        profile.id,
        generation=profile.generation,
        now=now,
        token=token,
    )
    at, ends = microseconds(now), microseconds(session.expires_at)
    changes.add(
        Proof(
            id=session.sha256,
            created_at=at,
            created_by=profile.id,
            updated_at=at,
            updated_by=profile.id,
            text=session.sha256,
            owner_id=profile.id,
            token_id=session.token_id or "",
            expires_at=ends,
            used_at=at,
            generation=session.generation,
            scopes=tuple(sorted(session.scopes)),
        )
    )
    changes.notes.append(_note(how, profile.id, via=session.sha256[:16]))
    return Opened(profile, cookie, sessions.csrf_token(cookie), ends)


def _token(reader: Reader, id_: str) -> tokens.Token | None:
    token, proof = reader.find(AccessToken, id_), reader.find(Proof, id_)
    return token_of(token, proof) if token and proof else None


def _session(proof: Proof) -> sessions.Session:
    return sessions.Session(
        sha256=proof.text,
        principal=proof.owner_id,
        generation=proof.generation,
        scopes=frozenset(proof.scopes),
        created_at=moment(proof.created_at),
        expires_at=moment(proof.expires_at),
        used_at=moment(proof.used_at),
        token_id=proof.token_id or None,
    )


def _login(proof: Proof) -> logins.Login:
    return logins.Login(
        id=proof.id,
        token_id=proof.token_id,
        sha256=proof.text,
        created_at=moment(proof.created_at),
        expires_at=moment(proof.expires_at),
        used_at=moment(proof.used_at) if proof.used_at else None,
    )


def _note_use(changes: Transaction[AuditEvent], key: str, used_at: datetime) -> None:
    if found := changes.find(Proof, key):
        changes.put(replace(found, version=found.version + 1, used_at=microseconds(used_at)))


def _note(how: str, profile: str, *, via: str, outcome: Outcome = "ALLOWED") -> AuditEvent:
    return new_event(
        how,
        outcome,
        principal=profile or NOBODY,
        via=via,
        resource_kind=UserProfile.KIND,
        resource_id=profile,
    )


def _now() -> datetime:
    return datetime.now(UTC)
