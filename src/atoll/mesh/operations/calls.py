"""The one way that every operation goes: look up, decide, carry out, write down.

Whoever may not look at a thing has never heard of it: what is missing and what is hidden go the
same way and get the same answer. A change is decided on and made in one transaction, which also
holds what the audit says of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

import msgspec

from atoll.core.errors import (
    AtollError,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    Unauthenticated,
)
from atoll.core.groups import in_groups
from atoll.mesh.audit.keys import message
from atoll.mesh.audit.model import AuditEvent, Head, new_event
from atoll.mesh.identity import tokens
from atoll.mesh.model.organisation import Designation, Domain, Project
from atoll.mesh.model.record import Record, Replay, new_id
from atoll.mesh.operations.facts import Knowledge
from atoll.mesh.operations.registry import Operation, Page, Right, ToldOnce, viewing
from atoll.mesh.operations.standings import EVERYBODY, PARTICIPANT, role_in, standing
from atoll.mesh.operations.tools import Tools
from atoll.mesh.policies.decisions import Action, Authorizer, Decision, Standing
from atoll.mesh.store.reading import Reader
from atoll.mesh.store.writing import Store, Transaction

R = TypeVar("R", bound=Record)
CHECKED_AT_ONCE = 64
ID_LETTERS = 64
WHY_LETTERS = 500
_ASKED = "atoll.mesh.asked/1"
BY_POLICY = "policy"  # who did what a policy does by itself


@dataclass(frozen=True)
class Caller:
    """Who asks, and by what.

    Attributes:
        profile_id: of the user or service.
        via: id of the token or session.
        scopes: "read", "write", "admin".
        holds: tells whether what they came with still lets them in.
    """

    profile_id: str
    via: str
    scopes: frozenset[str]
    holds: Callable[[Reader], bool] = field(default=lambda _: True, compare=False)


@dataclass(frozen=True)
class Demands:
    """What a caller says about how, not what.

    Attributes:
        version: only if the record still is of this version; 0: any.
        key: the same key and the same call are carried out once.
    """

    version: int = 0
    key: str = ""


class Call:
    """One call under way, as the operation sees it.

    Attributes:
        who: the caller's standing.
        via: id of the token or session that they came with.
        tools: what the server has at hand.
        after: id of the last item of the page before; of a list's first page, empty.
        version: of the record that the caller has read; 0: they did not say.
        now: microseconds since the epoch.
    """

    def __init__(
        self,
        reader: Reader,
        who: Standing,
        via: str,
        authorizer: Authorizer,
        tools: Tools,
        after: str = "",
        version: int = 0,
    ) -> None:
        """Begin a call for somebody."""
        self._reader, self._authorizer = reader, authorizer
        self.after, self.version = after, version
        self.who, self.via, self.tools = who, via, tools
        self.now = time.time_ns() // 1000
        self.know = Knowledge(reader, who.id)
        self.told: dict[str, Any] = {}
        self.concerns: dict[str, str] = {}

    @cached_property
    def domain(self) -> Domain:
        """Return the one domain."""
        [found] = self._reader.all(Domain)
        return found

    @property
    def policies(self) -> Mapping[str, str]:
        """Return the texts of all policies by their ids."""
        return self._authorizer.named

    def seen_by(self, profile_id: str) -> Call:
        """Return the same moment as somebody else would see it, with nothing held back by a token.

        Raises:
            Unauthenticated: they are not assigned.
        """
        if profile_id == self.who.id:
            who = replace(self.who, scopes=tokens.EVERYTHING)
        else:
            who = standing(self._reader, profile_id, tokens.EVERYTHING, self.now)
        return Call(self._reader, who, "", self._authorizer, self.tools)

    def seen_by_members(self, project_id: str) -> Call:
        """Return the same moment as each member of a project sees it, whatever else they are."""
        roles = {EVERYBODY, PARTICIPANT, role_in(project_id, Designation.VIEWER)}
        who = Standing("User", "member", frozenset(roles), tokens.EVERYTHING)
        return Call(self._reader, who, "", self._authorizer, self.tools)

    @property
    def reader(self) -> Reader:
        """Return the moment that this call sees."""
        return self._reader

    @property
    def changes(self) -> Transaction[AuditEvent]:
        """Return the transaction that this call changes something in."""
        assert isinstance(self._reader, Transaction)
        return self._reader

    def decide(self, action: Action, record: Record, *, grant: str = "") -> Decision:
        """Ask the policies whether the caller may do something to a record."""
        return self._authorizer.decide(self.who, action, self.know.facts(record, grant))

    def may_see(self, record: Record) -> bool:
        """Tell whether the caller may look at a record: else it is not there for them."""
        return self.decide(viewing(type(record)), record).is_allowed

    def need(self, operation: Operation, record: Record) -> Decision:
        """Go on only where the caller may.

        Raises:
            NotFound: they may not even look.
            Forbidden: they may look, but not do this.
        """
        decision = self.decide(operation.action, record, grant=operation.grant)
        if decision.is_allowed:
            return decision
        if not self.may_see(record):
            raise missing(type(record), record.id)
        raise Forbidden(
            f"you may not do {operation.name} on {record.KIND} '{record.id}'; "
            f"it takes the right to {operation.right.lower()}",
            policies=list(decision.policies),
        )

    def get(self, kind: type[R], id_: str) -> R:
        """Return a record that the caller may look at.

        Raises:
            NotFound: there is none that they may look at.
        """
        # In place of what is missing another is decided on: the time it takes tells nothing.
        found = self._reader.find_or_other(kind, id_)
        is_seen = found is not None and self.may_see(found)
        if found is None or found.id != id_ or not is_seen:
            raise missing(kind, id_)
        return found

    def find(self, kind: type[R], /, **keys: Any) -> R | None:
        """Return the record with these keys, whether the caller may look at it or not."""
        return self._reader.one(kind, **keys)

    def values(self, kind: type[Record], key: str, /, **keys: Any) -> list[str]:
        """List one field of the records with these keys, whoever may look at them."""
        return self._reader.values(kind, key, **keys)

    def count(self, kind: type[Record], /, **keys: Any) -> int:
        """Count the records with these keys, whether the caller may look at them or not."""
        return self._reader.count(kind, **keys)

    def past(self, kind: type[R], id_: str, version: int) -> R:
        """Return a record as it was; whoever asks has been let look at it.

        Raises:
            NotFound: it never was of that version.
        """
        found = self._reader.past(kind, id_, version)
        if found is None:
            raise NotFound(f"the {kind.KIND} '{id_}' has no revision {version}", id=id_)
        return found

    def history(self, kind: type[R], id_: str, *, since: int = 0) -> Iterator[R]:
        """Yield a record as it was and is, the first version first, or from one on."""
        return self._reader.history(kind, id_, since=since)

    def events(self, **wanted: Any) -> Iterator[AuditEvent]:
        """Yield events of the audit; `store.events.events` tells how to ask for them."""
        return self._reader.events(**wanted)

    def event_head(self) -> Head:
        """Return where the audit's chain ends."""
        return self._reader.event_head()

    def last_change(self, *kinds: type[Record]) -> int:
        """Return the number of the last change of a record of some kinds."""
        return self._reader.last_change(*kinds)

    def each(self, kind: type[R], /, **keys: Any) -> Iterator[R]:
        """Yield the records with these keys, whether the caller may look at them or not."""
        return self._reader.all(kind, **keys)

    def newest(self, kind: type[R], by: str, /, **keys: Any) -> Iterator[R]:
        """Yield the records with these keys, the greatest number first, as `each` does."""
        return self._reader.newest(kind, by, **keys)

    def shown(self, kind: type[R], /, **keys: Any) -> Iterator[R]:
        """Yield the records of this page and after it that the caller may look at."""
        given = {key: value for key, value in keys.items() if value}
        yield from self.visible(self._reader.all(kind, after=self.after, **given))

    def visible(self, records: Iterable[R]) -> Iterator[R]:
        """Leave out what the caller may not look at."""
        for some in in_groups(records, CHECKED_AT_ONCE):
            self.know.look_up(some)
            facts = [self.know.facts(one) for one in some]
            found = self._authorizer.decide_all(self.who, viewing(type(some[0])), facts)
            yield from (one for one, decided in zip(some, found, strict=True) if decided.is_allowed)

    def add(self, kind: type[R], /, *, id_: str = "", **values: Any) -> R:
        """Keep a new record."""
        made = kind(
            id=id_ or new_id(kind.KIND),
            created_at=self.now,
            created_by=self.who.id,
            updated_at=self.now,
            updated_by=self.who.id,
            **values,
        )
        return self.changes.add(made)

    def change(self, record: R, **values: Any) -> R:
        """Keep a record with other values; as it is, where they are the same."""
        if all(getattr(record, key) == value for key, value in values.items()):
            return record
        changed = replace(
            record,
            version=record.version + 1,
            updated_at=self.now,
            updated_by=self.who.id,
            **values,
        )
        return self.changes.put(changed)

    def remove(self, record: Record) -> None:
        """Keep a record no longer."""
        self.changes.remove(record)

    def tell(self, **details: Any) -> None:
        """Say more to the audit."""
        self.told |= details

    def tell_of(self, asset_id: str, project_id: str | None) -> None:
        """Say to the audit which asset this call concerns, and for which project it was made."""
        self.concerns["asset_id"] = asset_id
        if project_id:
            self.concerns["project"] = project_id

    def note(
        self, operation: str, record: Record, *, asset_id: str | None = None, **details: Any
    ) -> None:
        """Say to the audit what else has happened in this call, as an event of its own."""
        self._note(operation, record, self.who.id, asset_id=asset_id, details=details)

    def note_by_policy(
        self, operation: str, record: Record, decision: Decision, **details: Any
    ) -> None:
        """Say to the audit what policies did in this call by themselves, whoever calls."""
        policies = decision.policies
        self._note(operation, record, BY_POLICY, policies=policies, details=details)

    def _note(self, operation: str, record: Record, principal: str, **more: Any) -> None:
        self.changes.notes.append(
            new_event(
                operation,
                "ALLOWED",
                principal=principal,
                via=self.via,
                project=project_of(record),
                resource_kind=record.KIND,
                resource_id=record.id,
                **more,
            )
        )


def project_of(record: Record) -> str | None:
    """Return the id of the project that a record belongs to, or is; None where it is of none."""
    if isinstance(record, Project):
        return record.id
    found = getattr(record, "project_id", "") or getattr(record, "owning_project_id", "")
    return found or None


def _acting_for(operation: Operation, record: Record) -> str | None:
    """Return the id of the project for which something is done to what may be between two."""
    is_decided = operation.right in (Right.REVIEW, Right.REVOKE)
    return (getattr(record, "owning_project_id", "") if is_decided else "") or project_of(record)


def missing(kind: type[Record], id_: str) -> NotFound:
    """Return the error for what is not there, and for what must seem so."""
    return NotFound(f"there is no {kind.KIND} '{id_}'", kind=kind.KIND, id=id_)


class Performer:
    """Carries out operations on one store."""

    def __init__(self, store: Store[AuditEvent], authorizer: Authorizer, tools: Tools) -> None:
        """Perform on a store, by policies."""
        self._store, self._authorizer, self._tools = store, authorizer, tools

    def _call(self, reader: Reader, caller: Caller, after: str = "", version: int = 0) -> Call:
        who = standing(reader, caller.profile_id, caller.scopes, time.time_ns() // 1000)
        return Call(reader, who, caller.via, self._authorizer, self._tools, after, version)

    def perform(
        self,
        operation: Operation,
        caller: Caller,
        ids: dict[str, str],
        ask: Any,
        demands: Demands = Demands(),
    ) -> Any:
        """Carry out one operation.

        Args:
            operation: which.
            caller: for whom.
            ids: what stands in the path by the operation's names.
            ask: of the operation's type.
            demands: how.

        Returns:
            The answer; of a list, the encoded page: `{"items": [...], "next": cursor}`.

        Raises:
            NotFound: what it is about is not there, or not for this caller.
            Forbidden: they may not do this.
            Conflict: it is of another version, or its state does not allow this.
        """
        try:
            if operation.is_read:
                with self._store.reading() as reader:
                    return self._run(operation, reader, caller, ids, ask, demands)[0]
            if operation.only_looks:
                # Asked again it looks again: an older answer may show what is not shown any more.
                demands = replace(demands, key="")
            asked = self._asked(operation, ids, ask) if demands.key else ""
            if operation.before:
                with self._store.reading() as reader:
                    # Before `before`, which may find something else the next time.
                    if told := self._told_before(reader, caller, demands.key, asked):
                        return told
                    ask = self._prepared(operation, reader, caller, ids, ask, demands)
            return self._store.write(
                lambda changes: self._written(operation, changes, caller, ids, ask, demands, asked)
            )
        except (Forbidden, NotFound) as error:
            self._note_refusal(operation, caller, ids, error)
            raise

    def _asked(self, operation: Operation, ids: dict[str, str], ask: Any) -> str:
        """Digest what is asked; with a key, as passwords are guessed from a mere hash."""
        told = msgspec.json.encode((ids, ask)).decode()
        return self._tools.sealing.key.sign(message(_ASKED, operation.name, told))

    def _told_before(
        self, reader: Reader, caller: Caller, key: str, asked: str
    ) -> msgspec.Raw | None:
        """Return the answer that the same call got before; None where there was none.

        Raises:
            Unauthenticated: the caller is no longer assigned.
            Conflict: it was another call, or its answer is told once.
        """
        before = reader.find(Replay, _replay_id(caller, key)) if key else None
        if before is None:
            return None
        self._call(reader, caller)
        if before.asked != asked:
            raise Conflict("this idempotency key was used for another call; take a new one")
        if not before.answer:
            raise Conflict("this was done, and its answer is told once; ask anew for another")
        return msgspec.Raw(before.answer.encode())

    def _prepared(
        self,
        operation: Operation,
        reader: Reader,
        caller: Caller,
        ids: dict[str, str],
        ask: Any,
        demands: Demands,
    ) -> Any:
        assert operation.before
        call = self._call(reader, caller)
        record = self._subject(operation, reader, call, ids)
        call.need(operation, record)
        _require_version(record, demands)
        return operation.before(call, record, ask)

    def _written(
        self,
        operation: Operation,
        changes: Transaction[AuditEvent],
        caller: Caller,
        ids: dict[str, str],
        ask: Any,
        demands: Demands,
        asked: str,
    ) -> Any:
        if not caller.holds(changes):
            # They were let in, and waited: what was revoked since makes no token that outlives it.
            raise Unauthenticated("what you came with has ended meanwhile; sign in again")
        if told := self._told_before(changes, caller, demands.key, asked):
            return told
        answer, note = self._run(operation, changes, caller, ids, ask, demands)
        changes.notes.append(note)
        if not demands.key:
            return answer
        now = time.time_ns() // 1000
        changes.add(
            Replay(
                id=_replay_id(caller, demands.key),
                created_at=now,
                created_by=caller.profile_id,
                updated_at=now,
                updated_by=caller.profile_id,
                asked=asked,
                answer="" if isinstance(answer, ToldOnce) else msgspec.json.encode(answer).decode(),
            )
        )
        return answer

    def _run(
        self,
        operation: Operation,
        reader: Reader,
        caller: Caller,
        ids: dict[str, str],
        ask: Any,
        demands: Demands,
    ) -> tuple[Any, AuditEvent]:
        after = _after(ask.cursor) if isinstance(ask, Page) else ""
        call = self._call(reader, caller, after, demands.version)
        record = self._subject(operation, reader, call, ids)
        decision = call.need(operation, record)
        _require_version(record, demands)
        answer = operation.run(call, record, ask)
        if isinstance(ask, Page):
            answer = _page(answer, ask.limit)
        note = new_event(
            operation.name,
            "ALLOWED",
            principal=caller.profile_id,
            via=caller.via,
            resource_kind=answer.KIND if isinstance(answer, Record) else record.KIND,
            resource_id=getattr(answer, "id", record.id),
            details=call.told,
            policies=decision.policies,
            **{"project": _acting_for(operation, record), **call.concerns},
        )
        return answer, note

    def _subject(
        self, operation: Operation, reader: Reader, call: Call, ids: dict[str, str]
    ) -> Record:
        if not operation.about:
            return call.domain
        id_ = ids[operation.about][:ID_LETTERS]
        found = reader.find_or_other(operation.on, id_)
        if found is None or found.id != id_:
            # What is hidden takes two decisions, so what is missing does: the time tells nothing.
            if found:
                call.decide(operation.action, found, grant=operation.grant)
                call.decide(viewing(operation.on), found)
            raise missing(operation.on, id_)
        return found

    def _note_refusal(
        self, operation: Operation, caller: Caller, ids: dict[str, str], error: AtollError
    ) -> None:
        note = new_event(
            operation.name,
            "DENIED",
            principal=caller.profile_id,
            via=caller.via,
            resource_kind=operation.on.KIND,
            resource_id=ids.get(operation.about, "")[:ID_LETTERS],
            details={"why": error.message[:WHY_LETTERS]},
        )
        self._store.write(lambda changes: changes.notes.append(note))


def _replay_id(caller: Caller, key: str) -> str:
    # What one token of theirs did is not told to another that could not do it.
    named = (caller.profile_id, sorted(caller.scopes), key)
    return hashlib.sha256(msgspec.json.encode(named)).hexdigest()


def _require_version(record: Record, demands: Demands) -> None:
    if demands.version and demands.version != record.version:
        raise Conflict(
            f"{record.KIND} '{record.id}' is of version {record.version}, not "
            f"{demands.version}; read it again",
            version=record.version,
        )


def _page(items: Iterator[Any], limit: int) -> dict[str, Any]:
    found = list(islice(items, limit + 1))
    last = found[limit - 1].id if len(found) > limit else ""
    return {"items": found[:limit], "next": base64.urlsafe_b64encode(last.encode()).decode()}


def _after(cursor: str) -> str:
    wrong = InvalidInput("this cursor is none of ours; take `next` of the page before")
    try:
        last = base64.b64decode(cursor.encode(), b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise wrong from error
    if not last.isprintable():
        raise wrong
    return last
