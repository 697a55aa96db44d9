"""Proposals: changes of business metadata that the people of a project decide on.

    PENDING -> ACCEPTED      by whoever may make the change themselves, which is then made
            -> REJECTED
            -> WITHDRAWN     by whoever proposed it

Whoever may look at something, or finds its listing, proposes. All proposals about one thing,
decided or not, are the history of how its metadata came about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from atoll.core.errors import Conflict, InvalidInput, NotFound
from atoll.core.records import decoded
from atoll.core.text import shortened
from atoll.mesh.model.catalog import Asset, DataProduct
from atoll.mesh.model.describing import Glossary, GlossaryTerm, Proposal, ProposalStatus
from atoll.mesh.model.organisation import Domain, Project
from atoll.mesh.model.record import Id, Record, Text, moved
from atoll.mesh.operations.calls import Call, missing, project_of
from atoll.mesh.operations.registry import Ask, Page, Right, operation
from atoll.mesh.service.forms import GivenValue
from atoll.mesh.service.listed import shown_listing
from atoll.mesh.service.paths import Subject, applied, editing, value_at, with_value

PROPOSAL_EDGES = {
    ProposalStatus.PENDING: (
        ProposalStatus.ACCEPTED,
        ProposalStatus.REJECTED,
        ProposalStatus.WITHDRAWN,
    ),
    ProposalStatus.ACCEPTED: (),
    ProposalStatus.REJECTED: (),
    ProposalStatus.WITHDRAWN: (),
}
MAX_PENDING = 1000  # of one person
LETTERS_TOLD = 120  # of a value, in an error
_VALUE: Any = GivenValue
_KINDS: dict[str, type[Subject]] = {
    one.KIND: one for one in (Asset, DataProduct, GlossaryTerm, Glossary)
}


class NewProposal(Ask, frozen=True, kw_only=True):
    """What should be otherwise.

    Attributes:
        subject_id: of an asset, data product, glossary term or glossary.
        path: what of it, such as "description", "columns/NAME/business_name", "columns/NAME/pii"
            (what the column tells of persons; empty: nothing) or "forms/FORM/FIELD".
        after: its new value; null, or nothing, empties a field of a form.
    """

    subject_id: Id
    path: Annotated[str, Meta(min_length=1, max_length=1200)]
    after: GivenValue = None
    reason: Text = ""


class Proposals(Page, frozen=True, kw_only=True):
    """Which proposals.

    Attributes:
        is_own: only yours.
    """

    subject_id: str = ""
    owning_project_id: str = ""
    status: ProposalStatus | None = None
    is_own: bool = False


class Opinion(Ask, frozen=True, kw_only=True):
    """Why it is decided so."""

    comment: Text = ""


class Opinions(Ask, frozen=True, kw_only=True):
    """Some proposals about one thing, in the order in which they are applied."""

    proposal_ids: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=100)]
    comment: Text = ""


class Decided(msgspec.Struct, frozen=True):
    """Proposals, as they stand now."""

    proposals: list[Proposal]


@operation("POST", "/proposals", Right.BROWSE)
def create_proposal(call: Call, domain: Domain, ask: NewProposal) -> Proposal:
    """Propose a change of business metadata to those who keep them."""
    if call.count(Proposal, created_by=call.who.id, status=ProposalStatus.PENDING) >= MAX_PENDING:
        raise Conflict(f"{MAX_PENDING} of your proposals are undecided; withdraw some")
    seen = _seen(call, ask.subject_id)
    before = _told(value_at(seen, ask.path))
    after = _told(value_at(with_value(call, seen, ask.path, ask.after), ask.path))
    if after == before:
        raise InvalidInput(f"{ask.path} is so already", path=ask.path)
    mine = {"subject_id": seen.id, "created_by": call.who.id, "status": ProposalStatus.PENDING}
    for one in call.each(Proposal, **mine):
        if (one.path, one.after) == (ask.path, after):
            raise Conflict(f"you have proposed that already, as '{one.id}'", id=one.id)
    call.tell(subject_id=seen.id, path=ask.path)
    return _add(call, seen, ask.path, before, after, reason=ask.reason)


@operation("GET", "/proposals", Right.BROWSE)
def list_proposals(call: Call, domain: Domain, ask: Proposals) -> Iterator[Proposal]:
    """List your proposals, and those about what your projects own."""
    return call.shown(
        Proposal,
        subject_id=ask.subject_id,
        owning_project_id=ask.owning_project_id,
        status=ask.status,
        created_by=call.who.id if ask.is_own else "",
    )


@operation("GET", "/proposals/{proposal_id}", Right.VIEW)
def get_proposal(call: Call, proposal: Proposal) -> Proposal:
    """Show a proposal."""
    return proposal


@operation("POST", "/proposals/{proposal_id}/accept", Right.DESCRIBE)
def accept_proposal(call: Call, proposal: Proposal, ask: Opinion) -> Proposal:
    """Make a proposed change, if nobody has changed that value meanwhile.

    You need the right to make it by yourself.
    """
    return _accepted(call, [proposal], ask.comment)[0]


@operation("POST", "/proposals/{proposal_id}/reject", Right.DESCRIBE)
def reject_proposal(call: Call, proposal: Proposal, ask: Opinion) -> Proposal:
    """Turn a proposed change down."""
    return _decided(call, proposal, ProposalStatus.REJECTED, ask.comment)


@operation("POST", "/proposals/{proposal_id}/withdraw", Right.ACT)
def withdraw_proposal(call: Call, proposal: Proposal) -> Proposal:
    """Take back what you have proposed."""
    return _decided(call, proposal, ProposalStatus.WITHDRAWN)


@operation("POST", "/projects/{project_id}/proposals/accept", Right.DESCRIBE)
def accept_proposals(call: Call, project: Project, ask: Opinions) -> Decided:
    """Make several proposed changes of one thing at once: all of them, or none."""
    return Decided(_accepted(call, _several(call, project, ask), ask.comment))


@operation("POST", "/projects/{project_id}/proposals/reject", Right.DESCRIBE)
def reject_proposals(call: Call, project: Project, ask: Opinions) -> Decided:
    """Turn several proposed changes of one thing down."""
    found = _several(call, project, ask)
    return Decided([_decided(call, one, ProposalStatus.REJECTED, ask.comment) for one in found])


def propose(
    call: Call,
    subject: Subject,
    path: str,
    after: Any,
    *,
    provenance: str,
    confidence: float | None = None,
    reason: str = "",
) -> Proposal | None:
    """Propose what a machine has found.

    Args:
        call: the change under way.
        subject: as it is.
        path: names a value of it.
        after: another one.
        provenance: which machine: "detector", "model NAME".
        confidence: 0 to 1.
        reason: in words; no values of the data.

    Returns:
        None where it is so already, or the same was proposed and is undecided or turned down.

    Raises:
        InvalidInput: there is no such path, or the value does not fit it.
    """
    before = _told(value_at(subject, path))
    wanted = _told(value_at(with_value(call, subject, path, after), path))
    stays = (ProposalStatus.PENDING, ProposalStatus.REJECTED)
    known = call.each(Proposal, subject_id=subject.id, status=stays)
    if wanted == before or any((one.path, one.after) == (path, wanted) for one in known):
        return None
    more: dict[str, Any] = {"provenance": provenance, "confidence": confidence, "reason": reason}
    return _add(call, subject, path, before, wanted, **more)


def _seen(call: Call, id_: str) -> Subject:
    """Return something as the caller may see it: as it is, or as it is published.

    Raises:
        NotFound: they may not know of it.
    """
    kind = _KINDS.get(id_.partition("-")[0])
    found = call.find(kind, id=id_) if kind else None
    if kind is None or found is None:
        raise _unknown(id_)
    if call.may_see(found):
        return found
    listing = shown_listing(call, id_)
    if listing is None:
        raise _unknown(id_)
    # Of a draft that is not published yet, they may know nothing.
    shown = call.past(kind, id_, listing.entity_revision)
    if isinstance(shown, Asset):
        return replace(shown, classification=listing.classification)
    return shown


def _unknown(id_: str) -> NotFound:
    return NotFound(f"there is no asset, data product, term or glossary '{id_}'", id=id_)


def _add(call: Call, subject: Subject, path: str, before: str, after: str, **more: Any) -> Proposal:
    owned: Record | None = subject
    if isinstance(subject, GlossaryTerm):
        owned = call.find(Glossary, id=subject.glossary_id)
    return call.add(
        Proposal,
        subject_kind=subject.KIND,
        subject_id=subject.id,
        owning_project_id=(project_of(owned) if owned else None) or "",
        path=path,
        before=before,
        after=after,
        **more,
    )


def _several(call: Call, project: Project, ask: Opinions) -> list[Proposal]:
    found = [call.get(Proposal, id_) for id_ in dict.fromkeys(ask.proposal_ids)]
    for one in found:
        if one.owning_project_id != project.id:
            raise missing(Proposal, one.id)
    if len({one.subject_id for one in found}) > 1:
        raise InvalidInput("these are about several things; decide on one at a time")
    call.tell(subject_id=found[0].subject_id, proposals=[one.id for one in found])
    return found


def _accepted(call: Call, proposals: Sequence[Proposal], comment: str) -> list[Proposal]:
    subject = call.find(_KINDS[proposals[0].subject_kind], id=proposals[0].subject_id)
    if subject is None:
        raise Conflict("what this is about is gone; reject it")
    decided = [_decided(call, one, ProposalStatus.ACCEPTED, comment) for one in proposals]
    wanted = subject
    try:
        for one in proposals:
            wanted = _with(call, wanted, one)
        applied(call, subject, wanted)
    except InvalidInput as error:
        raise Conflict(f"what was proposed does not fit any more: {error.message}") from error
    return decided


def _with(call: Call, subject: Subject, proposal: Proposal) -> Subject:
    """Return something as a proposal would have it.

    Raises:
        Forbidden: the caller may not change that.
        Conflict: it is not as it was when that was proposed.
    """
    path, after = proposal.path, decoded(proposal.after, _VALUE)
    call.need(editing(subject, path, after), subject)
    now = _told(value_at(subject, path))
    if now not in (proposal.before, proposal.after):
        raise Conflict(
            f"{path} was changed since '{proposal.id}' was made: it was {_short(proposal.before)} "
            f"and is {_short(now)}; reject it, or change it by hand",
            id=proposal.id,
        )
    return with_value(call, subject, path, after)


def _decided(call: Call, proposal: Proposal, to: ProposalStatus, comment: str = "") -> Proposal:
    moved(f"the proposal '{proposal.id}'", proposal.status, to, PROPOSAL_EDGES)
    call.tell(subject_id=proposal.subject_id, path=proposal.path)
    return call.change(
        proposal, status=to, decided_by=call.who.id, decided_at=call.now, comment=comment
    )


def _told(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def _short(told: str) -> str:
    return shortened(told, LETTERS_TOLD)
