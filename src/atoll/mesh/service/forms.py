"""Metadata forms: typed fields that projects agree on, and what is filled in.

A change of a form's type is a new revision. What was filled in keeps the revision that it was
filled in by until somebody changes it, and is then held to the newest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Annotated

from msgspec import Meta

from atoll.core.errors import Conflict, InvalidInput
from atoll.core.text import some_of
from atoll.mesh.model.access import SubscriptionRequest
from atoll.mesh.model.catalog import Asset, AssetType, DataProduct, DataSource
from atoll.mesh.model.describing import (
    EnabledStatus,
    FieldType,
    FieldValue,
    Form,
    FormField,
    FormType,
    OneValue,
    Rule,
)
from atoll.mesh.model.organisation import Domain, PolicyType, Project
from atoll.mesh.model.record import Name, Text
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Ask, Done, Named, Right, operation
from atoll.mesh.service.glossaries import require_usable
from atoll.mesh.service.history import OneRevision, as_it_was, revised
from atoll.mesh.service.organisation import is_somebody

MAX_LETTERS = 100_000  # of all values of one form
MAX_NUMBER = 1 << 53  # JSON's numbers are exact up to here
NAMES_TOLD = 20  # of what a person is to choose from, or to mend

Word = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_]*$(?!\n)")]
FormNames = Annotated[tuple[Word, ...], Meta(max_length=50)]
Given = Text | int | float | bool
GivenValue = Given | Annotated[tuple[Given, ...], Meta(max_length=100)] | None


class FormInput(Ask, frozen=True, kw_only=True):
    """A form as somebody fills it in.

    Attributes:
        form_type: its type's name.
        content: values by the names of fields; a null is as if it were left out.
    """

    form_type: Word
    content: Annotated[dict[Word, GivenValue], Meta(max_length=200)]


FormInputs = Annotated[tuple[FormInput, ...], Meta(max_length=50)]


class NewField(Ask, frozen=True, kw_only=True):
    """One field of a form.

    Attributes:
        is_list: whether it holds several values.
        is_required: whether a form without it is incomplete: it can be kept, not published.
        is_facet: whether search can be narrowed by it.
        choices: of a CHOICE.
        least, most: bounds of a number, or of a text's length.
    """

    name: Word
    type: FieldType = FieldType.STRING
    description: Text = ""
    is_list: bool = False
    is_required: bool = False
    is_facet: bool = False
    choices: Annotated[tuple[Name, ...], Meta(max_length=200)] = ()
    least: float | None = None
    most: float | None = None


NewFields = Annotated[tuple[NewField, ...], Meta(min_length=1, max_length=200)]


class NewFormType(Ask, frozen=True, kw_only=True):
    """A name, which stays, and fields."""

    name: Word
    description: Text = ""
    fields: NewFields


class ChangedFormType(Ask, frozen=True, kw_only=True):
    """What changes; what is left out stays.

    Attributes:
        fields: all of them, in their order.
    """

    description: Text | None = None
    status: EnabledStatus | None = None
    fields: NewFields | None = None


class FormTypes(Named, frozen=True, kw_only=True):
    """Which form types."""

    owning_project_id: str = ""


@operation(
    "POST", "/projects/{project_id}/form-types", Right.CREATE, grant=PolicyType.CREATE_FORM_TYPE
)
def create_form_type(call: Call, project: Project, ask: NewFormType) -> FormType:
    """Make a metadata form, kept by a project, filled in by everybody."""
    return call.add(
        FormType,
        name=ask.name,
        description=ask.description,
        owning_project_id=project.id,
        fields=_fields(ask.fields),
    )


@operation("GET", "/form-types", Right.BROWSE)
def list_form_types(call: Call, domain: Domain, ask: FormTypes) -> Iterator[FormType]:
    """List metadata forms."""
    return call.shown(FormType, name=ask.name, owning_project_id=ask.owning_project_id)


@operation("GET", "/form-types/{form_type_id}", Right.BROWSE)
def get_form_type(call: Call, form_type: FormType, ask: OneRevision) -> FormType:
    """Show a metadata form, as it is or as it was."""
    return as_it_was(call, form_type, ask.revision)


@operation("PATCH", "/form-types/{form_type_id}", Right.DESCRIBE)
def update_form_type(call: Call, form_type: FormType, ask: ChangedFormType) -> FormType:
    """Make a new revision of a metadata form; a disabled one is not newly filled in."""
    values = ask.given()
    if ask.fields is not None:
        values["fields"] = _fields(ask.fields)
    if ask.status is EnabledStatus.DISABLED:
        _refuse_demanded(call, form_type)
    return revised(call, form_type, **values)


@operation("DELETE", "/form-types/{form_type_id}", Right.CONTRIBUTE)
def delete_form_type(call: Call, form_type: FormType) -> Done:
    """Remove a metadata form that nothing uses; disable it otherwise."""
    _refuse_demanded(call, form_type)
    filled = (Asset, DataProduct, DataSource, SubscriptionRequest)
    # Not how often: that would count what others may not know of.
    if any(call.find(kind, form_types=form_type.name) for kind in filled) or any(
        form_type.name in (*one.form_types, *one.required_forms) for one in call.each(AssetType)
    ):
        raise Conflict(f"'{form_type.name}' is used; disable it instead")
    call.remove(form_type)
    return Done()


def checked_forms(
    call: Call, forms: Sequence[FormInput], before: Sequence[Form] = ()
) -> tuple[Form, ...]:
    """Make forms of what was filled in.

    What is required may be missing: `missing_fields` tells. What is given as it was before keeps
    the revision that it had.

    Args:
        call: the moment.
        forms: what was filled in, each type once at most.
        before: what was filled in until now.

    Raises:
        InvalidInput: there is no such form or field, the form is disabled and was not there
            before, or a value is none of its field; all of these are named.
    """
    known = {one.form_type: one for one in before}
    names = [one.form_type for one in forms]
    if again := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInput(f"the form '{again[0]}' is given more than once; give it once")
    return tuple(_checked(call, one, known.get(one.form_type)) for one in forms)


def missing_fields(call: Call, form: Form) -> list[str]:
    """List the required fields, of the type's newest revision, that a form leaves empty."""
    type_ = call.find(FormType, name=form.form_type)
    required = [one.name for one in type_.fields if one.is_required] if type_ else []
    return [name for name in required if _is_empty(form.content.get(name))]


def required_form(call: Call, name: str) -> FormType:
    """Return the type of a form that is newly demanded, or put on a type of assets.

    Raises:
        InvalidInput: there is none of that name, or it is disabled.
    """
    found = call.find(FormType, name=name)
    if found is None:
        raise InvalidInput(f"there is no form '{name}'; see ListFormTypes", form=name)
    if found.status is EnabledStatus.DISABLED:
        raise InvalidInput(f"the form '{name}' is disabled; take another", form=name)
    return found


def _checked(call: Call, given: FormInput, before: Form | None) -> Form:
    content: dict[str, FieldValue] = {
        key: value for key, value in given.content.items() if value is not None
    }
    if before and before.content == content:
        return before
    known = before.content if before else {}
    type_ = call.find(FormType, name=given.form_type)
    if before is None or type_ is None:
        type_ = required_form(call, given.form_type)
    fields = {one.name: one for one in type_.fields}
    problems = []
    for key, value in content.items():
        if key not in fields:
            problems.append(
                f"'{key}' is no field of it; it has {some_of(list(fields), NAMES_TOLD)}"
            )
        elif found := _problem(call, fields[key], value, known.get(key)):
            problems.append(f"'{key}' {found}")
    if sum(_letters(one) for one in content.values()) > MAX_LETTERS:
        problems.append(f"its values are longer than {MAX_LETTERS:,} characters together")
    if problems:
        raise InvalidInput(
            f"the form '{type_.name}' is not right: "
            f"{some_of(problems, NAMES_TOLD, separator='; ')}",
            form=type_.name,
            problems=problems[:NAMES_TOLD],
        )
    return Form(type_.name, type_.version, content)


def _problem(call: Call, field: FormField, value: FieldValue, before: FieldValue | None) -> str:
    """Tell what is wrong with a value, as the end of a sentence; empty: nothing."""
    if isinstance(value, tuple) != field.is_list:
        return "takes a list of values" if field.is_list else "takes one value, not a list"
    known = before if isinstance(before, tuple) else (before,)
    for one in value if isinstance(value, tuple) else (value,):
        if found := _problem_of_one(call, field, one, is_known=one in known):
            return found
    return ""


def _problem_of_one(call: Call, field: FormField, value: OneValue, *, is_known: bool) -> str:
    match field.type:
        case FieldType.BOOLEAN:
            return "" if isinstance(value, bool) else "takes true or false"
        case FieldType.INTEGER | FieldType.NUMBER:
            return _problem_of_number(field, value)
    if not isinstance(value, str):
        return "takes a text"
    match field.type:
        case FieldType.STRING:
            return _out_of_bounds(field, len(value), " characters")
        case FieldType.CHOICE if value not in field.choices:
            return f"takes one of {some_of(field.choices, NAMES_TOLD)}"
        case FieldType.DATE if not _is_date(value):
            return "takes a date such as 2026-11-26"
        case FieldType.TIMESTAMP if not _is_timestamp(value):
            return "takes a moment with its zone, such as 2026-11-26T08:30:00Z"
        case FieldType.TERM if not is_known:
            return _problem_of_term(call, value)
        case FieldType.USER if not is_known and not is_somebody(call, value):
            return "takes the id of a user or group"
    return ""


def _problem_of_number(field: FormField, value: OneValue) -> str:
    if isinstance(value, bool | str):
        return "takes a number"
    if isinstance(value, float) and field.type is FieldType.INTEGER:
        return "takes a whole number"
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        return f"takes a number between {-MAX_NUMBER} and {MAX_NUMBER}"
    return _out_of_bounds(field, value, "") if math.isfinite(value) else "takes a finite number"


def _out_of_bounds(field: FormField, value: float, unit: str) -> str:
    if field.least is not None and value < field.least:
        return f"takes at least {field.least:,.15g}{unit}"
    if field.most is not None and value > field.most:
        return f"takes at most {field.most:,.15g}{unit}"
    return ""


def _is_date(text: str) -> bool:
    try:
        return bool(re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) and date.fromisoformat(text))
    except ValueError:
        return False


def _is_timestamp(text: str) -> bool:
    shape = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
    try:
        return bool(re.fullmatch(shape, text) and datetime.fromisoformat(text))
    except ValueError:
        return False


def _problem_of_term(call: Call, id_: str) -> str:
    try:
        require_usable(call, [id_])
    except InvalidInput as error:
        return f"takes a glossary term: {error.message}"
    return ""


def _is_empty(value: FieldValue | None) -> bool:
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, tuple):
        return all(_is_empty(one) for one in value)
    return value is None


def _letters(value: FieldValue) -> int:
    if isinstance(value, tuple):
        return sum(_letters(one) for one in value)
    return len(value) if isinstance(value, str) else 0


def _fields(given: Sequence[NewField]) -> tuple[FormField, ...]:
    """Make fields, where they make sense.

    Raises:
        InvalidInput: two have one name, or choices or bounds do not fit the type.
    """
    names = [one.name for one in given]
    if again := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInput(f"two fields are called '{again[0]}'; give each its own name")
    for one in given:
        if found := _nonsense(one):
            raise InvalidInput(f"the field '{one.name}' {found}", field=one.name)
    return tuple(FormField(**one.given()) for one in given)


def _nonsense(field: NewField) -> str:
    """Tell what is wrong with a field, as the end of a sentence; empty: nothing."""
    is_choice = field.type is FieldType.CHOICE
    if is_choice != bool(field.choices):
        return "needs choices" if is_choice else f"has choices, but is no {FieldType.CHOICE}"
    if len(set(field.choices)) != len(field.choices):
        return "has a choice twice"
    bounds = [one for one in (field.least, field.most) if one is not None]
    if bounds and field.type not in (FieldType.STRING, FieldType.INTEGER, FieldType.NUMBER):
        return f"has bounds, which a {field.type} has not"
    if not all(map(math.isfinite, bounds)):
        return "has a bound without end; leave it out"
    if bounds != sorted(bounds):
        return "has a least value above its greatest"
    return ""


def _refuse_demanded(call: Call, form_type: FormType) -> None:
    for rule in call.each(Rule):
        if form_type.name in rule.form_types:
            raise Conflict(
                f"the rule '{rule.name}' demands '{form_type.name}'; have that rule changed first",
                rule=rule.id,
            )
