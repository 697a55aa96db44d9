"""Single sign-on: people come in at their company's own provider.

    begin -> kept -> the provider asks who they are -> finish: taken away again, checked, session

Somebody is known by issuer and subject and by nothing else: neither a name nor an e-mail address
that is a local user's makes them that user. What went wrong is told to the log, not to the browser.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from atoll.core.errors import (
    AtollError,
    Forbidden,
    InvalidInput,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from atoll.core.text import printable
from atoll.mesh.audit.model import AuditEvent
from atoll.mesh.identity.configured import Configured
from atoll.mesh.identity.oidc import RelyingParty
from atoll.mesh.identity.pending import Begun, Pending
from atoll.mesh.identity.person import Identity
from atoll.mesh.identity.provider import checked_url
from atoll.mesh.identity.throttle import BEGINNING, Throttle
from atoll.mesh.model.people import (
    GroupProfile,
    PendingSignIn,
    ProfileStatus,
    UserProfile,
    UserType,
)
from atoll.mesh.model.record import microseconds, moment, new_id
from atoll.mesh.service.signing import Opened, Visit, note, open_session
from atoll.mesh.store.writing import Store, Transaction

logger = logging.getLogger(__name__)

NAME_LETTERS = 100  # leaves room for a number
_PATH = re.compile(r"/[!-\[\]-~]{0,2000}", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True)
class Choice:
    """A provider, as people choose it.

    Attributes:
        name: in the address of its sign-in.
    """

    name: str
    title: str


@dataclass(frozen=True)
class _Door:
    configured: Configured
    party: RelyingParty
    callback: str


class SingleSignOn:
    """Sends browsers to providers, and takes them in again."""

    def __init__(
        self,
        store: Store[AuditEvent],
        throttle: Throttle,
        providers: Iterable[Configured],
        portal_url: str,
    ) -> None:
        """Ask nothing yet.

        Raises:
            InvalidInput: portal_url is no address that a provider may send browsers to.
        """
        self._store, self._throttle = store, throttle
        self._portal_url = portal_url.rstrip("/")
        self._doors = {}
        for one in providers:
            callback = f"{self._portal_url}/v1/sso/{one.provider.name}/callback"
            checked_url(callback, "address of the portal (`atoll serve --url`)")
            self._doors[one.provider.name] = _Door(one, RelyingParty(one.provider), callback)

    @property
    def choices(self) -> list[Choice]:
        """List the providers."""
        return [Choice(name, door.configured.title) for name, door in self._doors.items()]

    def begin(self, name: str, return_to: str, visit: Visit) -> Begun:
        """Begin a sign-in.

        Args:
            name: of the provider.
            return_to: path of the portal, where the browser goes when it is signed in.
            visit: what it brought.

        Raises:
            NotFound: there is no such provider.
            InvalidInput: the path leads elsewhere.
            TooManyRequests: many were begun there and not finished.
            Unavailable: the provider does not answer as it should.
        """
        door = self._door(name)
        if not is_path(return_to):
            raise InvalidInput("return_to takes a path of the portal, such as /projects?page=2")
        self._throttle.attempt((BEGINNING, visit.place))
        try:
            begun = door.party.begin(door.callback, now=_now())
        except AtollError as error:
            raise _not_reached(name, error) from error
        self._store.write(lambda changes: changes.add(_record(begun.pending, name, return_to)))
        return begun

    def finish(
        self, name: str, callback: Sequence[tuple[str, str]], cookie: str, visit: Visit
    ) -> tuple[Opened, str]:
        """Finish a sign-in.

        Args:
            name: of the provider.
            callback: every parameter that the browser brought, repeated ones, too.
            cookie: that it was given when the sign-in began; empty: it brought none.
            visit: what else it brought.

        Returns:
            The session, and the address to send the browser to.

        Raises:
            NotFound: there is no such provider.
            Unauthenticated: the provider or one of the checks refused; which is logged.
            Forbidden: they are who they are, and nobody assigned them.
            Unavailable: the provider does not answer as it should.
        """
        door = self._door(name)
        kept = self._taken(dict(callback).get("state", ""))
        begun = _pending(kept) if kept and kept.provider == name else None
        try:
            identity = door.party.finish(begun, callback, cookie, now=_now())
        except (Forbidden, InvalidInput) as error:
            logger.warning("a sign-in was refused provider=%s: %s", name, error.message)
            if kept:
                refused = note("SignIn", "", via=f"sso:{name}", outcome="DENIED")
                self._store.write(lambda changes: changes.notes.append(refused))
            raise Unauthenticated(
                "you could not be signed in; begin again, and if that does not help, ask an "
                "administrator: the server's log says why"
            ) from error
        except AtollError as error:
            raise _not_reached(name, error) from error
        assert kept
        opened = self._store.write(lambda changes: _let_in(changes, door, identity, visit))
        self._throttle.was_right((BEGINNING, visit.place))
        if opened is None:
            raise Forbidden(
                "you are known here now, but not assigned to this domain; ask an administrator"
            )
        return opened, f"{self._portal_url}{kept.return_to}"

    def _door(self, name: str) -> _Door:
        found = self._doors.get(name)
        if found is None:
            raise NotFound("there is no such sign-in provider")
        return found

    def _taken(self, state: str) -> PendingSignIn | None:
        """Take away what was kept under a state: whoever comes second finds nothing."""
        # Who invents states must not cost a change each time.
        with self._store.reading() as reader:
            if not state.isalnum() or not reader.find(PendingSignIn, state):
                return None

        def taken(changes: Transaction[AuditEvent]) -> PendingSignIn | None:
            found = changes.find(PendingSignIn, state)
            if found:
                changes.remove(found)
            return found

        return self._store.write(taken)


def is_path(text: str) -> bool:
    r"""Tell whether a text is a path of the portal, whoever reads it: browsers take `\` for `/`.

    >>> is_path("/projects?page=2"), is_path("//evil.example"), is_path("/\\evil.example")
    (True, False, False)
    """
    return _PATH.fullmatch(text) is not None and "//" not in text


def merged(
    groups: Sequence[str], mapped: Sequence[str], told: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Put what a provider tells now in the place of what it told before.

    Args:
        groups: ids of all that somebody is in.
        mapped: those of them that the provider gave.
        told: those that it gives now.

    Returns:
        All, and those of them that are the provider's: what was given by hand stays by hand.
    """
    by_hand = tuple(one for one in groups if one not in mapped)
    added = tuple(one for one in told if one not in by_hand)
    return (*by_hand, *added), added


def _let_in(
    changes: Transaction[AuditEvent], door: _Door, identity: Identity, visit: Visit
) -> Opened | None:
    """Open a session; None where they are not assigned, which is kept, too."""
    means = door.configured.provider.name
    via = f"sso:{means}"
    found = changes.one(UserProfile, issuer=identity.issuer, subject=identity.subject)
    profile = _as_told(changes, found or _newcomer(changes, identity), door, identity)
    if profile != found:
        if found is None:
            changes.add(profile)
        else:
            at = microseconds(_now())
            changes.put(replace(profile, version=found.version + 1, updated_at=at))
        how = "UpdateUserProfile" if found else "CreateUserProfile"
        told = {"groups": list(profile.groups), "status": str(profile.status)}
        changes.notes.append(note(how, profile.id, via=via, after=told))
    if not profile.status.is_in:
        changes.notes.append(note("SignIn", profile.id, via=via, outcome="DENIED"))
        return None
    return open_session(changes, profile.id, visit, how="SignIn", means=means)


def _newcomer(changes: Transaction[AuditEvent], identity: Identity) -> UserProfile:
    id_, at = new_id(UserProfile.KIND), microseconds(_now())
    return UserProfile(
        id=id_,
        created_at=at,
        created_by=id_,
        updated_at=at,
        updated_by=id_,
        name=_free_name(changes, identity.name or identity.email or identity.subject),
        type=UserType.SSO,
        status=ProfileStatus.NOT_ASSIGNED,
        issuer=identity.issuer,
        subject=identity.subject,
        follows_provider=True,
    )


def _as_told(
    changes: Transaction[AuditEvent], profile: UserProfile, door: _Door, identity: Identity
) -> UserProfile:
    """Return a profile as the provider's word makes it; what was said by hand stays."""
    wanted = list(identity.groups)
    mapped = [one.id for one in changes.all(GroupProfile, name=wanted) if one.status.is_in]
    if len(mapped) < len(wanted):
        logger.warning("groups of the configuration are not there, or unassigned: %s", wanted)
    groups, added = merged(profile.groups, profile.mapped_groups, mapped)
    values: dict[str, Any] = {"groups": groups, "mapped_groups": added}
    if identity.email and _EMAIL.fullmatch(identity.email):
        values["email"] = identity.email
    if profile.follows_provider:
        is_in = door.configured.assign or bool(mapped)
        values["status"] = ProfileStatus.ASSIGNED if is_in else ProfileStatus.NOT_ASSIGNED
        if profile.status.is_in and not is_in:
            values["generation"] = profile.generation + 1
    return replace(profile, **values)


def _free_name(changes: Transaction[AuditEvent], wanted: str) -> str:
    name = " ".join(printable(wanted).split())[:NAME_LETTERS].strip() or "somebody"
    names = (name, *(f"{name} ({number})" for number in range(2, 10)))
    free = (one for one in names if not changes.one(UserProfile, name=one))
    return next(free, None) or f"{name} ({new_id('')[-6:]})"


def _record(pending: Pending, provider: str, return_to: str) -> PendingSignIn:
    at = microseconds(pending.created_at)
    return PendingSignIn(
        id=pending.state,
        created_at=at,
        created_by=provider,
        updated_at=at,
        updated_by=provider,
        provider=provider,
        issuer=pending.issuer,
        redirect_uri=pending.redirect_uri,
        nonce=pending.nonce,
        verifier=pending.verifier,
        browser_sha256=pending.browser_sha256,
        return_to=return_to,
        expires_at=microseconds(pending.expires_at),
    )


def _pending(kept: PendingSignIn) -> Pending:
    return Pending(
        state=kept.id,
        issuer=kept.issuer,
        redirect_uri=kept.redirect_uri,
        nonce=kept.nonce,
        verifier=kept.verifier,
        browser_sha256=kept.browser_sha256,
        created_at=moment(kept.created_at),
        expires_at=moment(kept.expires_at),
    )


def _not_reached(name: str, error: AtollError) -> Unavailable:
    logger.warning("a sign-in provider cannot be used provider=%s: %s", name, error.message)
    return Unavailable(
        "the sign-in provider does not answer as it should; try again in a minute, and if that "
        "does not help, ask an administrator: the server's log says why"
    )


def _now() -> datetime:
    return datetime.now(UTC)
