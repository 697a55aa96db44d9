"""Users, services and groups; the tokens that they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from atoll.core.errors import Conflict, Forbidden, InvalidInput
from atoll.mesh.identity import logins, passwords, tokens
from atoll.mesh.identity.throttle import OWN
from atoll.mesh.model.access import Delegation
from atoll.mesh.model.organisation import Domain, PolicyGrant, ProjectMembership
from atoll.mesh.model.people import (
    AccessToken,
    GroupProfile,
    ProfileStatus,
    Proof,
    ProofType,
    UserProfile,
    UserType,
)
from atoll.mesh.model.record import Id, Name, Record, microseconds, moment
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import (
    OPERATIONS,
    Ask,
    Described,
    Done,
    Named,
    Page,
    Redescribed,
    Right,
    ToldOnce,
    operation,
)
from atoll.mesh.service.organisation import require_administrator

Email = Annotated[str, Meta(max_length=254, pattern=r"^([^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+)?$")]
Secret = Annotated[str, Meta(max_length=1024)]
DAY_SECONDS = 86_400
_OF_GROUPS: tuple[tuple[type[Record], str], ...] = (
    (ProjectMembership, "member_id"),
    (PolicyGrant, "principal_id"),
    (Delegation, "principal_id"),
)


class NewUser(Ask, frozen=True, kw_only=True):
    """Who comes in. Users of an OIDC provider come in by signing in."""

    name: Name
    email: Email = ""
    type: UserType = UserType.LOCAL
    password: Secret = ""


class ChangedUser(Ask, frozen=True, kw_only=True):
    """What changes; what is left out stays."""

    name: Name | None = None
    email: Email | None = None
    status: ProfileStatus | None = None
    groups: Annotated[tuple[Id, ...], Meta(max_length=1000)] | None = None


class NewPassword(Ask, frozen=True, kw_only=True):
    """The new one, and the one that holds now."""

    password: Secret
    current: Secret


class GivenPassword(Ask, frozen=True, kw_only=True):
    """The new one."""

    password: Secret


class ChangedGroup(Redescribed, frozen=True, kw_only=True):
    """What changes; what is left out stays."""

    status: ProfileStatus | None = None


class NewToken(Ask, frozen=True, kw_only=True):
    """What a token is for.

    Attributes:
        scopes: "read", "write" (which covers it), "admin" (which covers both), or the names of
            operations.
        ttl_s: seconds that it lasts.
    """

    name: Name
    scopes: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)] = ("read",)
    ttl_s: Annotated[int, Meta(ge=1, le=tokens.MAX_TTL_SECONDS)] = 30 * DAY_SECONDS


class IssuedToken(ToldOnce, frozen=True):
    """A token, and its text, which is never shown again."""

    token: AccessToken
    text: str


class PortalLogin(ToldOnce, frozen=True):
    """An address that opens the portal once.

    Attributes:
        expires_at: microseconds since the epoch.
    """

    url: str
    expires_at: int


class Myself(msgspec.Struct, frozen=True):
    """Who you are here.

    Attributes:
        roles: what you are, wherever you are something.
    """

    profile: UserProfile
    roles: list[str]
    scopes: list[str]


@operation("GET", "/me", Right.BROWSE)
def who_am_i(call: Call, domain: Domain) -> Myself:
    """Show who you are here, and as what."""
    profile = call.get(UserProfile, call.who.id)
    return Myself(profile, sorted(call.who.roles), sorted(call.who.scopes))


class Hashed(msgspec.Struct, frozen=True):
    """A password as it is kept, made before anybody has to wait for it."""

    ask: NewUser
    text: str


def _hash_first(call: Call, domain: Domain, ask: NewUser) -> Hashed:
    if ask.type is UserType.SSO:
        raise InvalidInput("users of a provider come in by signing in; map their groups instead")
    if (ask.type is UserType.LOCAL) != bool(ask.password):
        raise InvalidInput("a local user needs a password to begin with; a service has none")
    return Hashed(ask, _hashed(ask.password, ask.name) if ask.password else "")


@operation("POST", "/user-profiles", Right.GOVERN, before=_hash_first)
def create_user_profile(call: Call, domain: Domain, given: Hashed) -> UserProfile:
    """Assign a local user or a service to the domain."""
    ask = given.ask
    made = call.add(UserProfile, name=ask.name, email=ask.email, type=ask.type)
    if given.text:
        call.add(Proof, id_=made.id, type=ProofType.PASSWORD, text=given.text, owner_id=made.id)
    return made


@operation("GET", "/user-profiles", Right.BROWSE)
def list_user_profiles(call: Call, domain: Domain, ask: Named) -> Iterator[UserProfile]:
    """List users and services."""
    return call.shown(UserProfile, name=ask.name)


@operation("GET", "/user-profiles/{user_profile_id}", Right.BROWSE)
def get_user_profile(call: Call, profile: UserProfile) -> UserProfile:
    """Show a user or service."""
    return profile


@operation("PATCH", "/user-profiles/{user_profile_id}", Right.GOVERN)
def update_user_profile(call: Call, profile: UserProfile, ask: ChangedUser) -> UserProfile:
    """Rename, assign or unassign somebody, or say which groups they are in.

    Unassigning ends their sessions; their tokens are refused from then on. A user of a provider
    who is in a group by its word is put back into it at the next sign-in.
    """
    given = ask.given()
    for group_id in ask.groups or ():
        if call.find(GroupProfile, id=group_id) is None:
            raise InvalidInput(f"there is no group '{group_id}'", id=group_id)
    if ask.status and not ask.status.is_in:
        if profile.id == call.who.id:
            raise Conflict("you would lock yourself out; let another administrator do that")
        given["generation"] = profile.generation + 1
    if ask.status:
        given["follows_provider"] = False
    if ask.groups is not None:
        given["mapped_groups"] = tuple(one for one in profile.mapped_groups if one in ask.groups)
        call.tell(groups_before=profile.groups, groups_after=ask.groups)
    call.tell(before=profile.status, after=ask.status or profile.status)
    changed = call.change(profile, **given)
    require_administrator(call)
    return changed


class Checked(msgspec.Struct, frozen=True):
    """A new password as it is kept, and what the current one was checked by."""

    text: str
    before: str


def _check_first(call: Call, profile: UserProfile, ask: NewPassword) -> Checked:
    found = call.find(Proof, id=profile.id)
    call.tools.throttle.attempt((OWN, profile.id))
    if not passwords.is_right(ask.current, found.text if found else None):
        raise Forbidden("the current password is not right")
    call.tools.throttle.forget((OWN, profile.id))
    assert found
    return Checked(_hashed(ask.password, profile.name), found.text)


def _hash_given(call: Call, profile: UserProfile, ask: GivenPassword) -> str:
    if profile.type is not UserType.LOCAL:
        raise InvalidInput(f"{profile.name} does not sign in with a password of ours")
    return _hashed(ask.password, profile.name)


@operation("PUT", "/user-profiles/{user_profile_id}/password", Right.ACT, before=_check_first)
def change_password(call: Call, profile: UserProfile, given: Checked) -> Done:
    """Give yourself another password; all your sessions end."""
    found = call.find(Proof, id=profile.id)
    if found is None or found.text != given.before:
        raise Conflict("the password was changed meanwhile; sign in again")
    _keep_password(call, profile, found, given.text)
    return Done()


@operation(
    "POST",
    "/user-profiles/{user_profile_id}/reset-password",
    Right.GOVERN,
    before=_hash_given,
)
def reset_password(call: Call, profile: UserProfile, text: str) -> Done:
    """Give somebody another password; all their sessions end."""
    _keep_password(call, profile, call.find(Proof, id=profile.id), text)
    return Done()


@operation("POST", "/user-profiles/{user_profile_id}/end-sessions", Right.ACT)
def end_sessions(call: Call, profile: UserProfile) -> UserProfile:
    """Sign yourself out everywhere."""
    return call.change(profile, generation=profile.generation + 1)


@operation("POST", "/group-profiles", Right.GOVERN)
def create_group_profile(call: Call, domain: Domain, ask: Described) -> GroupProfile:
    """Make a group."""
    return call.add(GroupProfile, name=ask.name, description=ask.description)


@operation("GET", "/group-profiles", Right.BROWSE)
def list_group_profiles(call: Call, domain: Domain, ask: Named) -> Iterator[GroupProfile]:
    """List groups."""
    return call.shown(GroupProfile, name=ask.name)


@operation("GET", "/group-profiles/{group_profile_id}", Right.BROWSE)
def get_group_profile(call: Call, group: GroupProfile) -> GroupProfile:
    """Show a group."""
    return group


@operation("PATCH", "/group-profiles/{group_profile_id}", Right.GOVERN)
def update_group_profile(call: Call, group: GroupProfile, ask: ChangedGroup) -> GroupProfile:
    """Rename, describe, assign or unassign a group.

    Unassigning ends what it was granted and the sessions of its members, who may sign in again as
    far as they may without it.
    """
    call.tell(before=group.status, after=ask.status or group.status)
    if ask.status and group.status.is_in and not ask.status.is_in:
        _refuse_own(call, group)
        for profile in list(call.each(UserProfile, groups=group.id)):
            call.change(profile, generation=profile.generation + 1)
    changed = call.change(group, **ask.given())
    require_administrator(call)
    return changed


@operation("DELETE", "/group-profiles/{group_profile_id}", Right.GOVERN)
def delete_group_profile(call: Call, group: GroupProfile) -> Done:
    """Remove a group; what it was granted ends."""
    _refuse_own(call, group)
    for profile in list(call.each(UserProfile, groups=group.id)):
        left = tuple(one for one in profile.groups if one != group.id)
        call.change(profile, groups=left)
    for kind, key in _OF_GROUPS:
        for one in list(call.each(kind, **{key: group.id})):
            call.remove(one)
    call.remove(group)
    require_administrator(call)
    return Done()


def _refuse_own(call: Call, group: GroupProfile) -> None:
    if group.id in call.get(UserProfile, call.who.id).groups:
        raise Conflict("you are in it and might lock yourself out; let somebody else do that")


@operation("POST", "/user-profiles/{user_profile_id}/access-tokens", Right.ACT)
def create_access_token(call: Call, profile: UserProfile, ask: NewToken) -> IssuedToken:
    """Issue a token for yourself, or, as an administrator, for a service.

    One that you issue for yourself by another token ends with that one.
    """
    text, made = tokens.issue(
        profile.id,
        ask.scopes,
        operations=OPERATIONS,
        now=moment(call.now),
        ttl_s=ask.ttl_s,
    )
    for scope in ask.scopes:
        level = OPERATIONS[scope].level if scope in OPERATIONS else scope
        if not tokens.permits(call.who.scopes, scope, level):
            raise Forbidden(f"what you came with does not reach as far as '{scope}'")
    parent = _token_behind(call) if profile.id == call.who.id else None
    ends = microseconds(made.expires_at)
    token = call.add(
        AccessToken,
        id_=made.id,
        name=ask.name,
        principal_id=profile.id,
        scopes=tuple(sorted(made.scopes)),
        expires_at=min(ends, parent.expires_at) if parent else ends,
        parent_id=parent.id if parent else "",
    )
    call.add(Proof, id_=made.id, type=ProofType.TOKEN, text=made.sha256, owner_id=profile.id)
    call.tell(token_id=made.id, scopes=list(token.scopes))
    return IssuedToken(token, text)


@operation("GET", "/user-profiles/{user_profile_id}/access-tokens", Right.ACT)
def list_access_tokens(call: Call, profile: UserProfile, ask: Page) -> Iterator[AccessToken]:
    """List tokens; none tells its text."""
    return call.shown(AccessToken, principal_id=profile.id)


@operation("GET", "/access-tokens/{access_token_id}", Right.ACT)
def get_access_token(call: Call, token: AccessToken) -> AccessToken:
    """Show a token, not its text."""
    return token


@operation("DELETE", "/access-tokens/{access_token_id}", Right.ACT)
def revoke_access_token(call: Call, token: AccessToken) -> AccessToken:
    """Refuse a token from now on, and end the sessions, logins and tokens that came from it."""
    for one in list(call.each(Proof, owner_id=token.principal_id, token_id=token.id)):
        call.remove(one)
    for other in list(call.each(AccessToken, principal_id=token.principal_id)):
        if other.parent_id == token.id:
            revoke_access_token(call, other)
    return token if token.revoked_at else call.change(token, revoked_at=call.now)


@operation("POST", "/user-profiles/{user_profile_id}/portal-logins", Right.ACT)
def create_portal_login(call: Call, profile: UserProfile) -> PortalLogin:
    """Exchange the token that you came with for an address that opens the portal once."""
    token = call.find(AccessToken, id=call.via)
    proof = call.find(Proof, id=call.via)
    if token is None or proof is None or token.principal_id != profile.id:
        raise InvalidInput("only a token of their own is exchanged for somebody's portal login")
    text, made = logins.issue(token_of(token, proof), now=moment(call.now))
    ends = microseconds(made.expires_at)
    call.add(
        Proof,
        id_=made.id,
        type=ProofType.LOGIN,
        text=made.sha256,
        owner_id=profile.id,
        token_id=token.id,
        expires_at=ends,
    )
    return PortalLogin(f"{call.domain.portal_url}/once#{text}", ends)


def _token_behind(call: Call) -> AccessToken | None:
    """Return the token that the caller came with, or by which their session was opened."""
    id_ = call.via
    for one in call.each(Proof, owner_id=call.who.id, type=ProofType.SESSION):
        if one.via == call.via:
            id_ = one.token_id
    return call.find(AccessToken, id=id_)


def token_of(token: AccessToken, proof: Proof) -> tokens.Token:
    """Put a token together from what is shown of it and what is not."""
    return tokens.Token(
        id=token.id,
        principal=token.principal_id,
        scopes=frozenset(token.scopes),
        sha256=proof.text,
        created_at=moment(token.created_at),
        expires_at=moment(token.expires_at),
        revoked_at=moment(token.revoked_at) if token.revoked_at else None,
    )


def _hashed(password: str, name: str) -> str:
    passwords.refuse_weak(password, [name])
    return passwords.hashed(password)


def _keep_password(call: Call, profile: UserProfile, found: Proof | None, text: str) -> None:
    if found:
        call.change(found, text=text)
    else:
        call.add(Proof, id_=profile.id, type=ProofType.PASSWORD, text=text, owner_id=profile.id)
    call.change(profile, generation=profile.generation + 1)
