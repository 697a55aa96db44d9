"""Paths: how a proposal names one value of something, reads it, and sets it.

name, description, ...         a field
columns/NAME/FIELD             what is said of a column; NAME may hold slashes itself
forms/FORM/FIELD               a value in a metadata form
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from atoll.core.errors import InvalidInput
from atoll.core.records import converted
from atoll.mesh.model.catalog import Asset, Classification, DataProduct, PiiFlag, PiiStatus
from atoll.mesh.model.describing import Form, Glossary, GlossaryTerm
from atoll.mesh.model.record import Ids, Line, Name, Text
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import OPERATIONS, Operation
from atoll.mesh.service.assets import changed_asset, column_of, with_columns
from atoll.mesh.service.forms import FormInput, checked_forms
from atoll.mesh.service.glossaries import (
    ChangedGlossary,
    ChangedTerm,
    Synonyms,
    require_usable,
    update_glossary,
    update_glossary_term,
)
from atoll.mesh.service.products import changed_product

Subject: TypeAlias = Asset | DataProduct | GlossaryTerm | Glossary
# What a column tells of persons; empty: nothing.
PiiKind = Annotated[str, Meta(max_length=64, pattern=r"^([a-z][a-z0-9_]*)?$(?!\n)")]

_FIELDS: Mapping[type, Mapping[str, Any]] = {
    Asset: {
        "name": Name,
        "description": Text,
        "glossary_terms": Ids,
        "classification": Classification,
    },
    DataProduct: {"name": Name, "description": Text, "glossary_terms": Ids},
    GlossaryTerm: {
        "name": Name,
        "short_description": Text,
        "long_description": Text,
        "synonyms": Synonyms,
        "is_a": Ids,
        "classifies": Ids,
    },
    Glossary: {"name": Name, "description": Text},
}
_OF_COLUMNS: Mapping[str, Any] = {
    "business_name": Line,
    "description": Text,
    "glossary_terms": Ids,
    "pii": PiiKind,
}
_EDITING: Mapping[type, str] = {
    Asset: "UpdateAsset",
    DataProduct: "UpdateDataProduct",
    GlossaryTerm: "UpdateGlossaryTerm",
    Glossary: "UpdateGlossary",
}


def value_at(subject: Subject, path: str) -> Any:
    """Return the value that a path names, as JSON has it; None where a form has none.

    Raises:
        InvalidInput: there is no such path.
    """
    match _parts(subject, path):
        case "columns", name, "pii":
            assert isinstance(subject, Asset)
            flag = column_of(subject, name).pii
            return flag.kind if flag and flag.is_personal else ""
        case "columns", name, key:
            assert isinstance(subject, Asset)
            return getattr(column_of(subject, name), key)
        case "forms", form_type, key:
            return _content(subject, form_type).get(key)
    return getattr(subject, path)


def with_value(call: Call, subject: Subject, path: str, value: Any) -> Subject:
    """Return something as it would be with another value; nothing is kept yet.

    Args:
        call: the moment.
        subject: as it is.
        path: names the value.
        value: the other one; None removes a value from a form.

    Raises:
        InvalidInput: there is no such path, or the value does not fit it.
    """
    match _parts(subject, path):
        case "columns", name, key:
            assert isinstance(subject, Asset)
            if name not in {one.name for one in subject.schema}:
                raise InvalidInput(f"'{subject.name}' has no column {name!r}", column=name)
            checked = _checked(call, subject, path, value, _OF_COLUMNS[key])
            said = {"pii": _flag(call, subject, name, checked)} if key == "pii" else {key: checked}
            column = replace(column_of(subject, name), **said)
            return replace(subject, columns=with_columns(subject, [column]))
        case "forms", form_type, key:
            return _with_form(call, subject, form_type, {key: value})
    kind = _FIELDS[type(subject)][path]
    return replace(subject, **{path: _checked(call, subject, path, value, kind)})


def applied(call: Call, subject: Subject, wanted: Subject) -> None:
    """Change something into what `with_value` made of it, by the way that editing goes.

    Raises:
        InvalidInput, Conflict: as editing does.
    """
    values = {
        one.name: getattr(wanted, one.name)
        for one in fields(subject)
        if getattr(wanted, one.name) != getattr(subject, one.name)
    }
    match subject:
        case Asset():
            changed_asset(call, subject, **values)
        case DataProduct():
            changed_product(call, subject, **values)
        case GlossaryTerm():
            update_glossary_term(call, subject, ChangedTerm(**values))
        case Glossary():
            update_glossary(call, subject, ChangedGlossary(**values))


def editing(subject: Subject, path: str, value: Any) -> Operation:
    """Return the operation that would set a value; its right is what accepting it takes."""
    name = _EDITING[type(subject)]
    if path == "classification" and isinstance(subject, Asset):
        is_lowered = subject.classification.is_stricter_than(value)
        name = "DeclassifyAsset" if is_lowered else "ClassifyAsset"
    elif path.startswith("columns/"):
        name = "UpdateAssetColumns"
        if path.endswith("/pii"):
            name = "FlagPii" if value else "DecidePii"
    return OPERATIONS[name]


def _parts(subject: Subject, path: str) -> tuple[str, ...]:
    """Take a path apart.

    Raises:
        InvalidInput: there is no such path in a thing of this kind.
    """
    first, _, rest = path.partition("/")
    middle, _, last = rest.rpartition("/")
    is_there = path in _FIELDS[type(subject)]
    if first == "columns":
        is_there = isinstance(subject, Asset) and bool(middle) and last in _OF_COLUMNS
    if first == "forms":
        is_there = isinstance(subject, Asset | DataProduct) and bool(middle and last)
    if not is_there:
        takes = [*_FIELDS[type(subject)]]
        takes += ["forms/FORM/FIELD"] if isinstance(subject, Asset | DataProduct) else []
        takes += [f"columns/NAME/{one}" for one in _OF_COLUMNS if isinstance(subject, Asset)]
        raise InvalidInput(f"there is no path '{path}'; take one of {', '.join(takes)}", path=path)
    return (first, middle, last) if rest else (first,)


def _checked(call: Call, subject: Subject, path: str, value: Any, kind: Any) -> Any:
    try:
        checked = converted(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"this value does not fit {path}: {error}", path=path) from error
    if kind is Ids:
        require_usable(call, checked, value_at(subject, path))
    return checked


def _content(subject: Subject, form_type: str) -> dict[str, Any]:
    forms = subject.forms if isinstance(subject, Asset | DataProduct) else ()
    return next((one.content for one in forms if one.form_type == form_type), {})


def _with_form(call: Call, subject: Subject, form_type: str, values: dict[str, Any]) -> Subject:
    assert isinstance(subject, Asset | DataProduct)
    given = FormInput(form_type=form_type, content=_content(subject, form_type) | values)
    [form] = checked_forms(call, [given], subject.forms)
    forms: dict[str, Form] = {one.form_type: one for one in subject.forms} | {form_type: form}
    return replace(subject, forms=tuple(forms.values()))


def _flag(call: Call, asset: Asset, name: str, kind: str) -> PiiFlag | None:
    """Return what a column is said to tell of persons; an owner's word decides."""
    before = column_of(asset, name).pii
    if not kind:
        return replace(before, status=PiiStatus.REFUSED) if before else None
    is_owner = call.decide(OPERATIONS["DecidePii"].action, asset).is_allowed
    return PiiFlag(kind, PiiStatus.CONFIRMED if is_owner else PiiStatus.PROPOSED)
