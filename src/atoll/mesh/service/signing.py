"""Coming in: what a token, a cookie, a password or a one-time login proves, and what it opens."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from atoll.core.errors import Forbidden, InvalidInput, Unauthenticated, Unavailable
from atoll.mesh.audit.model import AuditEvent, Outcome, new_event
from atoll.mesh.identity import logins, passwords, secret, sessions, tokens
from atoll.mesh.identity.throttle import DEVICE, PLACE, SECRET, Key, Throttle, of_name
from atoll.mesh.model.people import AccessToken, Proof, ProofType, UserProfile, UserType
from atoll.mesh.model.record import microseconds, moment
from atoll.mesh.operations.calls import Caller
from atoll.mesh.service.people import DAY_SECONDS, token_of
from atoll.mesh.store.reading import Reader
from atoll.mesh.store.writing import Store, Transaction

NOBODY = "nobody"
DEVICE_DAYS = 180
DEVICES_OF_ONE = 20


@dataclass(frozen=True)
class Visit:
    """What a browser brings along when somebody signs in.

    Attributes:
        place: where it comes from; see `throttle.place_of`.
        cookie: of the session that it had, which ends; empty: it had none.
        device: what tells it from a stranger's; empty: nothing does.
    """

    place: str
    cookie: str = field(default="", repr=False)
    device: str = field(default="", repr=False)


@dataclass(frozen=True)
class Opened:
    """A browser session that is open.

    Attributes:
        cookie: its text, told once.
        csrf: goes with every change.
        expires_at: microseconds since the epoch.
        device: what the browser shall keep for the next sign-in; empty: what it has.
    """

    profile_id: str
    cookie: str = field(repr=False)
    csrf: str = field(repr=False)
    expires_at: int
    device: str = field(default="", repr=False)


class Doorkeeper:
    """Tells who somebody is, and opens and ends sessions."""

    def __init__(self, store: Store[AuditEvent], throttle: Throttle) -> None:
        """Look in a store for what was issued."""
        self._store, self._throttle = store, throttle

    def by_token(self, text: str, *, place: str) -> Caller:
        """Tell who shows a token, and from where.

        Raises:
            Unauthenticated: nobody that may come in.
            TooManyRequests: nor was it the many times before.
        """
        try:
            shown = tokens.parse(text)
            with self._store.reading() as reader:
                token = _token(reader, shown.id)
            found = tokens.check(token, shown, now=_now())
        except (Forbidden, InvalidInput) as error:
            # Only what is wrong is slowed down: a neighbour's right token must go on working.
            self._throttle.attempt((SECRET, place))
            raise Unauthenticated(error.message) from error
        holds = partial(_is_unrevoked, token_id=found.id)
        return Caller(found.principal, found.id, found.scopes, holds)

    def by_cookie(self, cookie: str, *, csrf: str | None) -> Caller:
        """Tell whose session a cookie stands for.

        Args:
            cookie: its text.
            csrf: what came with a change; None: nothing is to be changed.

        Raises:
            Unauthenticated: nobody's, or not any longer.
            Forbidden: the change was made elsewhere.
        """
        proof = self._session(cookie, csrf)
        holds = partial(_is_open, key=sessions.key_of(cookie))
        return Caller(proof.owner_id, proof.via, frozenset(proof.scopes), holds)

    def session(self, cookie: str) -> Opened:
        """Tell a browser what it needs to know of its session.

        Raises:
            Unauthenticated: it has none, or not any longer.
        """
        proof = self._session(cookie, None)
        return Opened(proof.owner_id, cookie, sessions.csrf_token(cookie), proof.expires_at)

    def _session(self, cookie: str, csrf: str | None) -> Proof:
        key = sessions.key_of(cookie)
        with self._store.reading() as reader:
            proof = _kept(reader, key, ProofType.SESSION)
            profile = reader.find(UserProfile, proof.owner_id) if proof else None
        try:
            before = session_of(proof) if proof else None
            generation = profile.generation if profile else None
            found = sessions.check(before, generation=generation, now=_now())
        except Forbidden as error:
            raise Unauthenticated(error.message) from error
        assert proof
        if csrf is not None:
            sessions.check_csrf(cookie, csrf)
        if found != before:
            self._store.write(lambda changes: _note_use(changes, key, found.used_at))
        return proof

    def sign_in(self, name: str, password: str, visit: Visit) -> Opened:
        """Open a session for a local user.

        Raises:
            Unauthenticated: the name or the password is not right; which of them is not told.
            TooManyRequests: it was tried too often.
        """
        with self._store.reading() as reader:
            profile = reader.one(UserProfile, name=name, type=UserType.LOCAL)
            # Nobody of that name costs as much time as a wrong password, here and below.
            id_ = profile.id if profile else ""
            proof = reader.find(Proof, id_)
            is_known = _device(reader, id_, visit) is not None
        device: list[Key] = [(DEVICE, sessions.key_of(visit.device))]
        tried = device if is_known else of_name(name, visit.place)
        at: list[Key] = [] if is_known else [(PLACE, visit.place)]
        self._throttle.attempt(*tried, *at)
        try:
            is_right = passwords.is_right(password, proof.text if proof else None)
        except Unavailable:
            self._throttle.was_right(*tried, *at)
            raise

        def opened(changes: Transaction[AuditEvent]) -> Opened | None:
            # What was changed meanwhile counts: another password, or unassigned.
            found = changes.find(UserProfile, id_) if is_right else None
            if found and found.status.is_in and changes.find(Proof, id_) == proof:
                return _with_device(changes, id_, visit)
            changes.notes.append(note("SignIn", id_, via="password", outcome="DENIED"))
            return None

        found = self._store.write(opened)
        if found is None:
            raise Unauthenticated("the name or the password is not right")
        self._throttle.forget(*tried)
        self._throttle.was_right(*at)
        return found

    def use_login(self, text: str, visit: Visit) -> Opened:
        """Open a session by a one-time login, which is used up.

        Raises:
            Unauthenticated: it is none, used, expired, or its token is not active.
            TooManyRequests: nor was it the many times before.
        """

        def used(changes: Transaction[AuditEvent]) -> Opened:
            proof = _kept(changes, shown.id, ProofType.LOGIN)
            token = _token(changes, proof.token_id) if proof else None
            login = _login(proof) if proof else None
            done = logins.use(login, token, shown, now=_now())
            assert proof
            assert done.used_at
            at = microseconds(done.used_at)
            changes.put(replace(proof, version=proof.version + 1, used_at=at))
            return open_session(
                changes, proof.owner_id, visit, how="UsePortalLogin", means="token", token=token
            )

        try:
            shown = logins.parse(text)
            return self._store.write(used)
        except (Forbidden, InvalidInput) as error:
            self._throttle.attempt((SECRET, visit.place))
            refused = note("UsePortalLogin", "", via="login", outcome="DENIED")
            self._store.write(lambda changes: changes.notes.append(refused))
            raise Unauthenticated(error.message) from error

    def sign_out(self, cookie: str, *, csrf: str) -> None:
        """End the session that a cookie stands for.

        Raises:
            Unauthenticated, Forbidden: as for any change.
        """
        caller = self.by_cookie(cookie, csrf=csrf)

        def ended(changes: Transaction[AuditEvent]) -> None:
            _end(changes, cookie)
            changes.notes.append(note("SignOut", caller.profile_id, via=caller.via))

        self._store.write(ended)


def open_session(
    changes: Transaction[AuditEvent],
    profile_id: str,
    visit: Visit,
    *,
    how: str,
    means: str,
    token: tokens.Token | None = None,
) -> Opened:
    """Open a session for somebody who has just proved who they are; the one before ends.

    Args:
        changes: the transaction.
        profile_id: who.
        visit: what their browser brought.
        how: what the audit calls it.
        means: see `Proof`.
        token: whose login opens it; None: a person signed in.

    Raises:
        Unauthenticated: they are not assigned.
    """
    profile = changes.get(UserProfile, profile_id)
    if not profile.status.is_in:
        raise Unauthenticated("you are not assigned to this domain; ask an administrator")
    _end(changes, visit.cookie)
    cookie, session = sessions.open_session(
        profile.id, generation=profile.generation, now=_now(), token=token
    )
    ends = microseconds(session.expires_at)
    proof = _keep(
        changes,
        ProofType.SESSION,
        session.sha256,
        profile.id,
        token_id=session.token_id or "",
        expires_at=ends,
        generation=session.generation,
        scopes=tuple(sorted(session.scopes)),
        means=means,
    )
    changes.notes.append(note(how, profile.id, via=proof.via, means=means))
    return Opened(profile.id, cookie, sessions.csrf_token(cookie), ends)


def session_of(proof: Proof) -> sessions.Session:
    """Put a session together from what is kept of it."""
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


def note(
    how: str, profile_id: str, *, via: str, outcome: Outcome = "ALLOWED", **details: Any
) -> AuditEvent:
    """Say to the audit that somebody came, went or was turned away."""
    return new_event(
        how,
        outcome,
        principal=profile_id or NOBODY,
        via=via,
        resource_kind=UserProfile.KIND,
        resource_id=profile_id,
        details=details,
    )


def _with_device(changes: Transaction[AuditEvent], profile_id: str, visit: Visit) -> Opened:
    """Open a session by a password, and know the browser again the next time."""
    opened = open_session(changes, profile_id, visit, how="SignIn", means="password")
    if known := _device(changes, profile_id, visit):
        _note_use(changes, known.id, _now())
        return opened
    others = list(changes.all(Proof, owner_id=profile_id, type=ProofType.DEVICE))
    others.sort(key=lambda one: one.used_at, reverse=True)
    for one in others[DEVICES_OF_ONE - 1 :]:
        changes.remove(one)
    text = secret.new_secret()
    ends = microseconds(_now()) + DEVICE_DAYS * DAY_SECONDS * 1_000_000
    _keep(changes, ProofType.DEVICE, secret.digest(text), profile_id, expires_at=ends)
    return replace(opened, device=text)


def _keep(
    changes: Transaction[AuditEvent], type_: ProofType, key: str, owner_id: str, **values: Any
) -> Proof:
    at = microseconds(_now())
    return changes.add(
        Proof(
            id=key,
            created_at=at,
            created_by=owner_id,
            updated_at=at,
            updated_by=owner_id,
            type=type_,
            text=key,
            owner_id=owner_id,
            used_at=at,
            **values,
        )
    )


def _end(changes: Transaction[AuditEvent], cookie: str) -> None:
    if found := _kept(changes, sessions.key_of(cookie), ProofType.SESSION):
        changes.remove(found)


def _kept(reader: Reader, id_: str, type_: ProofType) -> Proof | None:
    found = reader.find(Proof, id_)
    return found if found and found.type is type_ else None


def _device(reader: Reader, profile_id: str, visit: Visit) -> Proof | None:
    found = _kept(reader, sessions.key_of(visit.device), ProofType.DEVICE)
    is_theirs = found and found.owner_id == profile_id and moment(found.expires_at) > _now()
    return found if is_theirs else None


def _is_unrevoked(reader: Reader, *, token_id: str) -> bool:
    token = reader.find(AccessToken, token_id)
    return token is not None and not token.revoked_at


def _is_open(reader: Reader, *, key: str) -> bool:
    proof = _kept(reader, key, ProofType.SESSION)
    profile = reader.find(UserProfile, proof.owner_id) if proof else None
    if proof is None or profile is None:
        return False
    return sessions.is_open(session_of(proof), profile.generation, _now())


def _token(reader: Reader, id_: str) -> tokens.Token | None:
    token, proof = reader.find(AccessToken, id_), _kept(reader, id_, ProofType.TOKEN)
    return token_of(token, proof) if token and proof else None


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


def _now() -> datetime:
    return datetime.now(UTC)
