"""Metadata forms: their fields, what is filled in, and what is missing."""

import json

import pytest
from mesh_catalog import kept, plain_type, table
from mesh_world import ROOT, STAMP, world

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.mesh.model.describing import (
    EnabledStatus,
    FieldType,
    Form,
    Glossary,
    GlossaryTerm,
    RuleAction,
    RuleType,
)
from atoll.mesh.model.organisation import Designation, PolicyType
from atoll.mesh.service.forms import FormInput, NewField, checked_forms, missing_fields


@pytest.fixture
def project(mesh):
    """Ann's project."""
    return mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="press shop")


def form_type(mesh, project, *fields, name="Refresh", who="ann"):
    given = {"project_id": project.id, "name": name, "fields": fields or (NewField(name="note"),)}
    return mesh.ask(who, "CreateFormType", **given)


def update(mesh, one, **given):
    return mesh.ask("ann", "UpdateFormType", form_type_id=one.id, **given)


def filled(mesh, content, before=(), name="Refresh"):
    """Fill in a form, as an operation would."""
    given = [FormInput(form_type=name, content=content)]
    with mesh.store.reading() as reader:
        return checked_forms(mesh.call(reader, "ann"), given, before)


def missing(mesh, form):
    with mesh.store.reading() as reader:
        return missing_fields(mesh.call(reader, "ann"), form)


def test_20_a_form_is_filled_in_and_what_is_required_may_come_later(mesh, project):
    form_type(mesh, project, NewField(name="every", is_required=True), NewField(name="note"))
    [form] = filled(mesh, {"note": "soon", "every": None})
    assert form == Form("Refresh", 1, {"note": "soon"})
    assert missing(mesh, form) == ["every"]
    assert missing(mesh, filled(mesh, {"every": " "})[0]) == ["every"]
    assert missing(mesh, filled(mesh, {"every": "day"})[0]) == []


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ({"type": FieldType.STRING, "least": 2, "most": 3}, ["ab", "abc"], ["a", "abcd", 1, True]),
        ({"type": FieldType.INTEGER, "least": 0}, [0, 7], [-1, 1.0, True, "1", 1 << 60]),
        ({"type": FieldType.NUMBER, "most": 1}, [0.5, -3], [1.1, float("nan"), True, "1"]),
        ({"type": FieldType.BOOLEAN}, [True, False], [1, 0, "true"]),
        ({"type": FieldType.DATE}, ["2024-02-29"], ["2023-02-29", "20240229", "2024-02-29 ", 1]),
        (
            {"type": FieldType.TIMESTAMP},
            ["2026-11-26T08:30:00Z", "2026-11-26T08:30:00.5+01:00"],
            ["2026-11-26T08:30:00", "2026-11-26", "2026-11-26T25:30:00Z", "2026-11-26T08:30:00Z\n"],
        ),
        ({"type": FieldType.CHOICE, "choices": ("A", "B")}, ["A"], ["a", "", "A,B"]),
        ({"type": FieldType.USER}, ["user-bob"], ["user-none", "term-steel"]),
        ({"type": FieldType.TERM}, ["term-steel"], ["term-none", "user-bob", "term-old"]),
        ({"type": FieldType.STRING, "is_list": True}, [("a", "b"), ()], ["a", ("a", 1)]),
        ({"type": FieldType.INTEGER}, [1], [(1,)]),
    ],
    ids=lambda one: one["type"] + ("S" if one.get("is_list") else "") if "type" in one else None,
)
def test_20_a_value_fits_its_field(mesh, project, field, good, bad):
    terms(mesh, project)
    form_type(mesh, project, NewField(name="x", **field))
    for value in good:
        assert filled(mesh, {"x": value})[0].content == {"x": value}
    for value in bad:
        with pytest.raises(InvalidInput, match=r"the form 'Refresh' is not right: 'x' takes"):
            filled(mesh, {"x": value})


def terms(mesh, project):
    own = {"glossary_id": "glossary-words", **STAMP}
    kept(
        mesh,
        Glossary(id="glossary-words", name="words", owning_project_id=project.id, **STAMP),
        GlossaryTerm(id="term-steel", name="steel", **own),
        GlossaryTerm(id="term-old", name="old", status=EnabledStatus.DISABLED, **own),
    )


def test_20_all_that_is_wrong_with_a_form_is_told_at_once(mesh, project):
    form_type(mesh, project, NewField(name="count", type=FieldType.INTEGER), NewField(name="note"))
    with pytest.raises(InvalidInput) as caught:
        filled(mesh, {"count": "many", "other": 1, "note": 2})
    assert [one.split()[0] for one in caught.value.details["problems"]] == [
        "'count'",
        "'other'",
        "'note'",
    ]


def test_20_a_form_that_is_not_there_or_comes_twice_is_refused(mesh, project):
    form_type(mesh, project)
    with pytest.raises(InvalidInput, match="there is no form 'Nothing'"):
        filled(mesh, {}, name="Nothing")
    twice = [FormInput(form_type="Refresh", content={})] * 2
    with mesh.store.reading() as reader, pytest.raises(InvalidInput, match="more than once"):
        checked_forms(mesh.call(reader, "ann"), twice)


def test_20_a_form_is_not_longer_than_all_of_it_may_be(mesh, project):
    form_type(mesh, project, NewField(name="note", is_list=True))
    with pytest.raises(InvalidInput, match="longer than 100,000 characters"):
        filled(mesh, {"note": ("x" * 10_000,) * 11})


def test_20_what_is_filled_in_keeps_its_revision_until_it_is_changed(mesh, project):
    one = form_type(mesh, project, NewField(name="every"))
    before = filled(mesh, {"every": "day"})
    field = NewField(name="every", type=FieldType.INTEGER, is_required=True)
    assert update(mesh, one, fields=(field,)).version == 2
    assert filled(mesh, {"every": "day"}, before) == before
    with pytest.raises(InvalidInput, match="takes a number"):
        filled(mesh, {"every": "week"}, before)
    assert filled(mesh, {"every": 7}, before) == (Form("Refresh", 2, {"every": 7}),)


def test_20_every_revision_of_a_form_stays_readable(mesh, project):
    one = form_type(mesh, project, NewField(name="every"))
    update(mesh, one, description="anew", fields=(NewField(name="often"),))
    names = [
        mesh.ask("dee", "GetFormType", form_type_id=one.id, revision=number).fields[0].name
        for number in (0, 1, 2)
    ]
    assert names == ["often", "every", "often"]
    told = mesh.refusal("dee", "GetFormType", form_type_id=one.id, revision=3)
    assert isinstance(told, NotFound)
    [note] = [one for one in mesh.notes if one.operation == "UpdateFormType"]
    assert set(json.loads(note.details)["after"]) == {"description", "fields"}


def test_20_a_new_required_field_is_missing_in_what_was_filled_in_before(mesh, project):
    one = form_type(mesh, project, NewField(name="every"))
    [before] = filled(mesh, {"every": "day"})
    fields = (NewField(name="every"), NewField(name="until", is_required=True))
    update(mesh, one, fields=fields)
    assert missing(mesh, before) == ["until"]


def test_20_a_disabled_form_is_not_newly_used(mesh, project):
    one = form_type(mesh, project)
    before = filled(mesh, {"note": "a"})
    update(mesh, one, status=EnabledStatus.DISABLED)
    with pytest.raises(InvalidInput, match="is disabled"):
        filled(mesh, {"note": "b"})
    assert filled(mesh, {"note": "b"}, before)[0].content == {"note": "b"}


def test_20_a_disabled_term_stays_where_it_was_and_comes_nowhere_else(mesh, project):
    terms(mesh, project)
    form_type(mesh, project, NewField(name="of", type=FieldType.TERM), NewField(name="note"))
    before = (Form("Refresh", 1, {"of": "term-old"}),)
    assert filled(mesh, {"of": "term-old", "note": "x"}, before)[0].content["note"] == "x"
    with pytest.raises(InvalidInput, match="is disabled"):
        filled(mesh, {"of": "term-old"})


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ([{"name": "a"}, {"name": "a"}], "two fields are called 'a'"),
        ([{"name": "a", "choices": ("x",)}], "has choices"),
        ([{"name": "a", "type": FieldType.CHOICE}], "needs choices"),
        ([{"name": "a", "type": FieldType.CHOICE, "choices": ("x", "x")}], "a choice twice"),
        ([{"name": "a", "least": 2, "most": 1}], "least value above its greatest"),
        ([{"name": "a", "type": FieldType.DATE, "least": 2}], "has bounds"),
        ([{"name": "a", "most": float("inf")}], "without end"),
    ],
)
def test_20_fields_that_make_no_sense_are_refused(mesh, project, fields, why):
    given = {"name": "Odd", "fields": tuple(NewField(**one) for one in fields)}
    told = mesh.refusal("ann", "CreateFormType", project_id=project.id, **given)
    assert why in told.message


def test_20_forms_are_made_by_grant_and_kept_by_their_project(mesh, project):
    given = {"member_id": "user-bob", "designation": Designation.CONTRIBUTOR}
    mesh.ask("ann", "CreateProjectMembership", project_id=project.id, **given)
    given = {"project_id": project.id, "name": "Mine", "fields": (NewField(name="a"),)}
    assert isinstance(mesh.refusal("bob", "CreateFormType", **given), Forbidden)
    grant = {"policy_type": PolicyType.CREATE_FORM_TYPE, "principal_id": "user-bob"}
    mesh.ask("ann", "AddPolicyGrant", domain_unit_id=ROOT, **grant)
    one = mesh.ask("bob", "CreateFormType", **given)
    assert isinstance(mesh.refusal("ann", "CreateFormType", **given), Conflict)
    told = mesh.refusal("dee", "UpdateFormType", form_type_id=one.id, description="hers")
    assert isinstance(told, Forbidden)


def test_20_a_form_that_is_used_is_not_removed(database):
    with world(database) as mesh:
        project = mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="press shop")
        refuse_to_remove_what_is_used(mesh, project)


def refuse_to_remove_what_is_used(mesh, project):
    one, other = form_type(mesh, project), form_type(mesh, project, name="Other")
    kept(mesh, plain_type(), table(project, forms=(Form("Refresh", 1, {}),)))
    told = mesh.refusal("ann", "DeleteFormType", form_type_id=one.id)
    assert "is used;" in told.message
    mesh.ask("ann", "DeleteFormType", form_type_id=other.id)
    assert isinstance(mesh.refusal("ann", "GetFormType", form_type_id=other.id), NotFound)


def test_22_what_a_rule_demands_is_neither_removed_nor_disabled(mesh, project):
    one = form_type(mesh, project)
    rule = {"rule_type": RuleType.METADATA_FORM_ENFORCEMENT, "form_types": ("Refresh",)}
    rule |= {"name": "all refreshed", "action": RuleAction.CREATE_LISTING_CHANGE_SET}
    made = mesh.ask("ann", "CreateRule", domain_unit_id=ROOT, **rule)
    for name, given in (
        ("DeleteFormType", {}),
        ("UpdateFormType", {"status": EnabledStatus.DISABLED}),
    ):
        told = mesh.refusal("ann", name, form_type_id=one.id, **given)
        assert isinstance(told, Conflict), name
    mesh.ask("ann", "DeleteRule", rule_id=made.id)
    mesh.ask("ann", "DeleteFormType", form_type_id=one.id)


def test_21_what_everybody_wants_to_know_of_data_is_a_form_that_comes_with_atoll(mesh):
    [common] = mesh.ask("dee", "ListFormTypes", name="CommonAttributes")["items"]
    assert [one.name for one in common.fields] == [
        "business_unit",
        "data_owner_contact",
        "product_owner",
        "refresh_frequency",
    ]
    assert [one.name for one in common.fields if one.is_facet] == [
        "business_unit",
        "refresh_frequency",
    ]
    types = mesh.ask("dee", "ListAssetTypes")["items"]
    assert {one.name for one in types} == {"Table", "VectorCollection", "View", "FileSet"}
    assert {one.form_types for one in types} == {("CommonAttributes",)}


def test_21_nobody_changes_what_comes_with_atoll(mesh):
    [common] = mesh.ask("ann", "ListFormTypes", name="CommonAttributes")["items"]
    for name in ("UpdateFormType", "DeleteFormType"):
        told = mesh.refusal("ann", name, form_type_id=common.id)
        assert isinstance(told, Forbidden), name
