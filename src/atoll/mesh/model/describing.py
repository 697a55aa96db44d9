"""What business metadata are made of: glossaries and terms, forms, rules that demand them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import ClassVar

from atoll.mesh.model.record import Record, id_pattern

# The name of the form that all assets share.
COMMON = "CommonAttributes"


class EnabledStatus(StrEnum):
    """Whether something may be used anew; what uses it already stays."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Glossary(Record):
    """Words that a company has agreed on."""

    KIND: ClassVar[str] = "glossary"

    name: str
    description: str = ""
    owning_project_id: str
    status: EnabledStatus = EnabledStatus.ENABLED


@dataclass(frozen=True, kw_only=True, slots=True)
class GlossaryTerm(Record):
    """One word, and what it means.

    Attributes:
        synonyms: other words for it; search finds it by them.
        is_a, classifies: ids of terms: what it is a kind of, and what it sorts.
    """

    KIND: ClassVar[str] = "term"

    name: str
    glossary_id: str
    short_description: str = ""
    long_description: str = ""
    synonyms: tuple[str, ...] = ()
    is_a: tuple[str, ...] = ()
    classifies: tuple[str, ...] = ()
    status: EnabledStatus = EnabledStatus.ENABLED


_TERM_ID = re.compile(id_pattern(GlossaryTerm.KIND))


class FieldType(StrEnum):
    """What a field of a form holds."""

    STRING = "STRING"
    INTEGER = "INTEGER"
    NUMBER = "NUMBER"
    BOOLEAN = "BOOLEAN"
    DATE = "DATE"  # 2026-11-26
    TIMESTAMP = "TIMESTAMP"  # 2026-11-26T08:30:00Z
    CHOICE = "CHOICE"  # one of `choices`
    TERM = "TERM"  # id of a glossary term
    USER = "USER"  # id of a user or group


@dataclass(frozen=True)
class FormField:
    """One field of a form.

    Attributes:
        is_list: whether it holds several values.
        is_required: whether a form without it is incomplete: it can be kept, not published.
        is_facet: whether search can be narrowed by it.
        choices: of a CHOICE.
        least, most: bounds of a number, or of a text's length.
    """

    name: str
    type: FieldType = FieldType.STRING
    description: str = ""
    is_list: bool = False
    is_required: bool = False
    is_facet: bool = False
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FormType(Record):
    """A metadata form: typed fields. Its `version` is its revision; earlier ones are kept.

    Attributes:
        owning_project_id: empty of those that come with Atoll.
    """

    KIND: ClassVar[str] = "form"

    name: str
    description: str = ""
    owning_project_id: str = ""
    status: EnabledStatus = EnabledStatus.ENABLED
    fields: tuple[FormField, ...] = ()


OneValue = str | int | float | bool
FieldValue = OneValue | tuple[OneValue, ...]


@dataclass(frozen=True)
class Form:
    """A form, filled in.

    Attributes:
        form_type: its type's name.
        revision: the type's version that it was filled in by.
        content: values by the names of fields.
    """

    form_type: str
    revision: int
    content: dict[str, FieldValue] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, tuple[OneValue, ...]]:
        """Values by the names of fields, each in a tuple."""
        return {
            name: value if isinstance(value, tuple) else (value,)
            for name, value in self.content.items()
        }


def types_of(forms: tuple[Form, ...]) -> tuple[str, ...]:
    """Name the types of forms."""
    return tuple(one.form_type for one in forms)


def terms_of(forms: Iterable[Form]) -> Iterator[str]:
    """Yield what is the id of a glossary term by its looks among the values of forms.

    Their types, which are not known here, tell whether it is meant so: a text may look like one.
    """
    for one in forms:
        for value in chain(*one.values.values()):
            if isinstance(value, str) and _TERM_ID.fullmatch(value):
                yield value


class RuleType(StrEnum):
    """What a rule demands; DataZone's."""

    METADATA_FORM_ENFORCEMENT = "METADATA_FORM_ENFORCEMENT"
    GLOSSARY_TERM_ENFORCEMENT = "GLOSSARY_TERM_ENFORCEMENT"


class RuleAction(StrEnum):
    """When a rule demands it; DataZone's."""

    CREATE_LISTING_CHANGE_SET = "CREATE_LISTING_CHANGE_SET"
    CREATE_SUBSCRIPTION_REQUEST = "CREATE_SUBSCRIPTION_REQUEST"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule(Record):
    """What must be filled in before something is published, or asked for, in a domain unit.

    Attributes:
        domain_unit_id: where; it holds in all units below, too, unless `includes_children` is off.
        form_types: names of forms, of each of which one must be complete.
        glossary_ids: from each of these a term must be there.
        asset_types: names of the types of assets it is for; empty: for all, and data products.
    """

    KIND: ClassVar[str] = "rule"

    name: str
    description: str = ""
    domain_unit_id: str
    rule_type: RuleType
    action: RuleAction
    form_types: tuple[str, ...] = ()
    glossary_ids: tuple[str, ...] = ()
    asset_types: tuple[str, ...] = ()
    includes_children: bool = True


class ProposalStatus(StrEnum):
    """Where a proposal stands."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    WITHDRAWN = "WITHDRAWN"


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal(Record):
    """A change of business metadata that somebody else decides on.

    Attributes:
        subject_kind, subject_id: what it would change: an asset, a data product, a term, a form...
        owning_project_id: of the subject; its people decide.
        path: what of it: "name", "description", "glossary_terms", "columns/NAME/description",
            "columns/NAME/pii", "forms/FORM/FIELD".
        before, after: as JSON.
        provenance: who or what it comes from: "person", "detector", "model NAME".
        confidence: of a machine, 0 to 1; None of a person.
        reason: why, in words.
        decided_by, comment: who decided, and what they said.
    """

    KIND: ClassVar[str] = "proposal"

    subject_kind: str
    subject_id: str
    owning_project_id: str
    path: str
    before: str
    after: str
    provenance: str = "person"
    confidence: float | None = None
    reason: str = ""
    status: ProposalStatus = ProposalStatus.PENDING
    decided_by: str = ""
    decided_at: int = 0
    comment: str = ""
