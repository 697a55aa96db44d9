"""Weighs what names, descriptions and values say, and proposes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace

import pyarrow as pa

from atoll.core.errors import InvalidInput
from atoll.core.text import counted, printable
from atoll.mesh.pii.leaves import Family, Leaf, leaves_of
from atoll.mesh.pii.model import Column, Kind, Proposal
from atoll.mesh.pii.naming import LIKELY, MAYBE, WEAK, Hints, hints
from atoll.mesh.pii.values import (
    RULES,
    Found,
    count_of,
    hidden_of,
    mentions_of,
    prose_of,
)

MAX_COLUMNS = 10_000
MIN_CONFIDENCE = 0.5
# A description speaks less plainly than a name.
_DESCRIBED = 0.55
# A few values among others, as long as they prove what they are.
_SCATTERED, _SCATTERED_SHARE, _SCATTERED_LEAST = 0.6, 0.01, 2
_MENTIONED = 0.75
_SHOWN_CHARS = 80

_KINDS = {
    Family.TEXT: frozenset(Kind),
    Family.NUMBER: frozenset(
        {
            Kind.PHONE,
            Kind.NATIONAL_ID,
            Kind.PAYMENT_CARD,
            Kind.EMPLOYEE_NUMBER,
            Kind.USER_ACCOUNT,
            Kind.BANK_ACCOUNT,
            Kind.BIRTH_DATE,
            Kind.POSTAL_ADDRESS,
            Kind.LOCATION,
        }
    ),
    Family.FRACTION: frozenset({Kind.LOCATION}),
    Family.DATE: frozenset({Kind.BIRTH_DATE}),
    Family.OTHER: frozenset[Kind](),
}
# What values can prove without a name.
_PROVEN = frozenset(kind for kind, rule in RULES.items() if rule.confidence >= MIN_CONFIDENCE)
_SCATTERS = frozenset({Kind.EMAIL, Kind.IBAN})
# A product is called Charlotte, and the addresses of machines in a network identify nobody.
_NOT_OF_THINGS = frozenset(
    {Kind.PERSON_NAME, Kind.IP_ADDRESS, Kind.MAC_ADDRESS, Kind.POSTAL_ADDRESS}
)
# Who has one of these in a table, that table is about; there, also the rest is theirs.
_OF_PERSONS = frozenset({Kind.PERSON_NAME, Kind.BIRTH_DATE, Kind.NATIONAL_ID})
_THEIRS = _OF_PERSONS | {Kind.POSTAL_ADDRESS, Kind.LOCATION, Kind.PHONE, Kind.EMAIL}


@dataclass(frozen=True)
class _Finding:
    """What speaks for one kind in one leaf of a column."""

    column: str
    kind: Kind
    confidence: float
    evidence: str


def propose(columns: Sequence[Column], sample: pa.Table | None = None) -> list[Proposal]:
    """Propose which columns hold personal data.

    Names are understood in English, German, Portuguese and Spanish, and as SAP's fields. At most
    10,000 evenly spaced values of a column are looked at, and 1,000 characters of each.

    Args:
        columns: of one table, in its order.
        sample: rows of the table; columns are found in it by name, and its own types count. Without
            it, and for columns that it lacks, names and descriptions alone speak.

    Returns:
        In the order of the columns, at most one for each; of a nested column, at most one for each
        kind.

    Raises:
        InvalidInput: more than 10,000 columns.
    """
    if len(columns) > MAX_COLUMNS:
        raise InvalidInput(
            f"{counted(len(columns), 'column')} are more than {MAX_COLUMNS:,}; look at a part",
            columns=len(columns),
        )
    found = [list(_best(column, sample)) for column in columns]
    sure = {one.kind for findings in found for one in findings if one.confidence >= LIKELY}
    is_of_persons = not sure.isdisjoint(_OF_PERSONS) or any(
        hints(one.name).is_cue for one in columns
    )
    found = [
        [_in_context(finding, sure, is_of_persons) for finding in findings] for findings in found
    ]
    return [
        Proposal(one.column, one.kind, round(one.confidence, 2), one.evidence)
        for findings in found
        for one in _distinct(findings)
        if one.confidence >= MIN_CONFIDENCE
    ]


def _best(column: Column, sample: pa.Table | None) -> Iterator[_Finding]:
    """Find what speaks loudest in each leaf of a column."""
    for leaf in leaves_of(column, sample):
        if leaf is None:
            why = "nested too deeply or widely to look into"
            yield _Finding(column.name, Kind.FREE_TEXT, MIN_CONFIDENCE, why)
            continue
        findings = list(_findings(column, leaf))
        if findings:
            yield max(findings, key=lambda one: one.confidence)


def _findings(column: Column, leaf: Leaf) -> Iterator[_Finding]:
    named = hints("_".join((column.name, *leaf.fields)))
    described = hints(column.description).strengths
    for kind in Kind:
        if kind not in _KINDS[leaf.family]:
            continue
        strength = named.strengths.get(kind, 0.0)
        said = _said(kind, strength)
        if not strength and described.get(kind, 0.0) >= LIKELY:
            strength, said = _DESCRIBED, f"the description says {kind.noun}"
        judged = _judged(kind, strength, named, leaf)
        if judged is not None:
            confidence, seen = judged
            place = f"field {_shown(leaf.fields)}: " if leaf.fields else ""
            evidence = place + "; ".join(part for part in (said, seen) if part)
            yield _Finding(column.name, kind, confidence, evidence)


def _said(kind: Kind, strength: float) -> str:
    if not strength:
        return ""
    return f"the name {'says' if strength > WEAK else 'may mean'} {kind.noun}"


def _judged(kind: Kind, strength: float, named: Hints, leaf: Leaf) -> tuple[float, str] | None:
    """Weigh the values against the name: a confidence, and what was seen; None says nothing."""
    values = leaf.values
    if values is None or not len(values) or kind is Kind.LOCATION:
        return (strength, "") if strength else None
    if kind is Kind.FREE_TEXT:
        return _judged_text(strength, values)
    if (named.is_of_thing and kind in _NOT_OF_THINGS) or not (strength or kind in _PROVEN):
        return None
    found = count_of(kind, values)
    if found.proves(RULES[kind], is_named=strength > WEAK):
        doubt = (1 - strength) * (1 - RULES[kind].confidence)
        return 1 - doubt, _seen(found.proven, found, f"are {kind.plural}")
    if strength:
        return _judged_name(kind, strength, found, values)
    if kind in _SCATTERS and found.proven >= max(_SCATTERED_LEAST, _SCATTERED_SHARE * found.total):
        return _SCATTERED, _seen(found.proven, found, f"are {kind.plural}")
    return None


def _judged_name(
    kind: Kind, strength: float, found: Found, values: pa.Array
) -> tuple[float, str] | None:
    """Believe a name unless its values cannot be what it says."""
    if not found.contradicts:
        return strength, _seen(found.look, found, f"could be {kind.plural}")
    hidden = hidden_of(values)
    if hidden >= found.total / 2:
        return strength * LIKELY, _seen(hidden, found, "are hashed or starred out")
    return strength / 2, _seen(found.look, found, f"could be {kind.plural}, no more")


def _judged_text(strength: float, values: pa.Array) -> tuple[float, str] | None:
    total = len(values)
    mentions, prose = mentions_of(values), prose_of(values)
    if mentions >= max(_SCATTERED_LEAST, _SCATTERED_SHARE * total):
        confidence = max(strength, _MENTIONED)
        return confidence, f"{mentions:,} of {_values(total)} mention a person"
    if not strength:
        return None
    confidence = strength if prose >= total / 4 else strength / 2
    return confidence, f"{prose:,} of {_values(total)} have several words"


def _seen(count: int, found: Found, what: str) -> str:
    return f"{count:,} of {_values(found.total)} {what}"


def _values(total: int) -> str:
    return counted(total, "distinct value")


def _shown(fields: tuple[str, ...]) -> str:
    text = printable(".".join(fields))
    return repr(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}...")


def _in_context(finding: _Finding, sure: Set[Kind], is_of_persons: bool) -> _Finding:
    """Believe a weak name in a table whose other columns make it likely."""
    if finding.confidence != WEAK:
        return finding
    if finding.kind in _THEIRS and is_of_persons:
        why = "the table is about persons"
    elif finding.kind is Kind.POSTAL_ADDRESS and Kind.POSTAL_ADDRESS in sure:
        why = "the table has the rest of the address"
    else:
        return finding
    return replace(finding, confidence=MAYBE, evidence=f"{finding.evidence}; {why}")


def _distinct(findings: Sequence[_Finding]) -> list[_Finding]:
    """Keep the surest of each kind."""
    best: dict[Kind, _Finding] = {}
    for one in findings:
        if one.kind not in best or one.confidence > best[one.kind].confidence:
            best[one.kind] = one
    return list(best.values())
