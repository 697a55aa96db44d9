"""Rules and guardrails: what is set once in a domain unit, and holds for all below."""

import pytest
from mesh_catalog import kept
from mesh_world import ROOT, STAMP

from atoll.core.errors import Conflict, Forbidden, InvalidInput
from atoll.mesh.model.access import Guardrails
from atoll.mesh.model.catalog import Classification
from atoll.mesh.model.describing import (
    EnabledStatus,
    Form,
    Glossary,
    GlossaryTerm,
    Rule,
    RuleAction,
    RuleType,
)
from atoll.mesh.service.forms import NewField
from atoll.mesh.service.guardrails import DEFAULT, guardrails_of
from atoll.mesh.service.rules import enforced

PUBLISH = RuleAction.CREATE_LISTING_CHANGE_SET
COMMON = {
    "business_unit": "body",
    "data_owner_contact": "ann@plant.test",
    "product_owner": "Ann",
    "refresh_frequency": "DAILY",
}


@pytest.fixture
def unit(mesh):
    """Bob's unit."""
    made = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="production")
    mesh.ask("ann", "SetDomainUnitOwners", domain_unit_id=made.id, owners=("user-bob",))
    return made


@pytest.fixture
def project(mesh, unit):
    """Bob's project."""
    return mesh.ask("bob", "CreateProject", domain_unit_id=unit.id, name="press shop")


def rule(mesh, unit_id, who="ann", **given):
    given = {
        "name": "common",
        "rule_type": RuleType.METADATA_FORM_ENFORCEMENT,
        "action": PUBLISH,
        **({} if "glossary_ids" in given else {"form_types": ("CommonAttributes",)}),
        **given,
    }
    return mesh.ask(who, "CreateRule", domain_unit_id=unit_id, **given)


def words(mesh, project):
    """A glossary with one term."""
    kept(
        mesh,
        Glossary(id="glossary-words", name="words", owning_project_id=project.id, **STAMP),
        GlossaryTerm(id="term-steel", name="steel", glossary_id="glossary-words", **STAMP),
    )
    return {
        "rule_type": RuleType.GLOSSARY_TERM_ENFORCEMENT,
        "glossary_ids": ("glossary-words",),
        "name": "steel",
    }


def problems(mesh, project, action=PUBLISH, *, asset_type="Table", content=None, terms=()):
    """What rules say to a publication."""
    forms = [] if content is None else [Form("CommonAttributes", 1, content)]
    with mesh.store.reading() as reader:
        given = {"asset_type": asset_type, "forms": forms, "glossary_terms": terms}
        try:
            enforced(mesh.call(reader, "bob"), project.id, action, **given)
        except InvalidInput as error:
            return error.details["problems"]
    return []


def test_22_a_rule_demands_a_form_complete_in_the_unit_and_below(mesh, unit, project):
    rule(mesh, ROOT)
    why = "the rule 'common' of the domain unit 'plant' demands the form 'CommonAttributes'"
    assert problems(mesh, project) == [why]
    content = COMMON | {"product_owner": "", "business_unit": " "}
    assert problems(mesh, project, content=content) == [
        f"{why} with its fields business_unit, product_owner"
    ]
    assert problems(mesh, project, content=COMMON) == []
    assert problems(mesh, project, RuleAction.CREATE_SUBSCRIPTION_REQUEST) == []


def test_22_a_rule_demands_a_term_of_a_glossary(mesh, project):
    rule(mesh, ROOT, **words(mesh, project))
    assert problems(mesh, project) == [
        "the rule 'steel' of the domain unit 'plant' demands a term of the glossary 'words'"
    ]
    assert problems(mesh, project, terms=["term-other"]) != []
    assert problems(mesh, project, terms=["term-steel"]) == []


def test_22_all_that_is_missing_is_told_at_once(mesh, unit, project):
    rule(mesh, ROOT, **words(mesh, project))
    rule(mesh, unit.id, who="bob")
    found = problems(mesh, project, content={})
    assert len(found) == 2
    assert {"'plant'", "'production'"} == {one.split("domain unit ")[1].split()[0] for one in found}


def test_22_a_rule_holds_below_only_where_it_says_so(mesh, unit, project):
    made = rule(mesh, ROOT, includes_children=False)
    assert problems(mesh, project) == []
    mesh.ask("ann", "UpdateRule", rule_id=made.id, includes_children=True)
    assert len(problems(mesh, project)) == 1
    mesh.ask("ann", "DeleteRule", rule_id=made.id)
    assert problems(mesh, project) == []


def test_22_a_rule_of_another_unit_does_not_hold(mesh, unit, project):
    other = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="quality")
    rule(mesh, other.id)
    assert problems(mesh, project) == []


def test_22_a_rule_for_a_type_of_assets_holds_for_that_type_alone(mesh, project):
    rule(mesh, ROOT, asset_types=("View",))
    assert problems(mesh, project, asset_type="Table") == []
    assert problems(mesh, project, asset_type="") == []
    assert len(problems(mesh, project, asset_type="View")) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"form_types": ("Nothing",)},
        {"form_types": ()},
        {"form_types": ("CommonAttributes",), "glossary_ids": ("glossary-words",)},
        {"rule_type": RuleType.GLOSSARY_TERM_ENFORCEMENT, "glossary_ids": ("glossary-none",)},
        {"rule_type": RuleType.GLOSSARY_TERM_ENFORCEMENT},
        {"asset_types": ("Nothing",)},
    ],
)
def test_22_a_rule_that_nobody_could_follow_is_refused(mesh, project, given):
    words(mesh, project)
    with pytest.raises(InvalidInput):
        rule(mesh, ROOT, **given)
    assert mesh.ask("ann", "ListRules", domain_unit_id=ROOT)["items"] == []


def test_22_a_rule_demands_nothing_that_is_disabled(mesh, project):
    made = mesh.ask(
        "ann",
        "CreateFormType",
        project_id=mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="forms").id,
        name="Old",
        fields=(NewField(name="a"),),
    )
    given = {"form_type_id": made.id, "status": EnabledStatus.DISABLED}
    mesh.ask("ann", "UpdateFormType", **given)
    with pytest.raises(InvalidInput, match="is disabled"):
        rule(mesh, ROOT, form_types=("Old",))


def test_22_a_glossary_that_a_rule_demands_is_neither_disabled_nor_removed(mesh, project):
    rule(mesh, ROOT, **words(mesh, project))
    mesh.ask("bob", "DeleteGlossaryTerm", glossary_term_id="term-steel")
    told = mesh.refusal("bob", "DeleteGlossary", glossary_id="glossary-words")
    assert isinstance(told, Conflict)
    given = {"glossary_id": "glossary-words", "status": EnabledStatus.DISABLED}
    assert isinstance(mesh.refusal("bob", "UpdateGlossary", **given), Conflict)


def test_22_rules_of_units_above_are_listed_as_inherited(mesh, unit):
    rule(mesh, ROOT)
    rule(mesh, ROOT, name="here only", includes_children=False)
    rule(mesh, unit.id, name="own", who="bob", action=RuleAction.CREATE_SUBSCRIPTION_REQUEST)

    def listed(**more):
        found = mesh.ask("dee", "ListRules", domain_unit_id=unit.id, **more)["items"]
        return sorted(one.name for one in found)

    assert listed() == ["own"]
    assert listed(inherited=True) == ["common", "own"]
    assert listed(inherited=True, action=PUBLISH) == ["common"]


def test_22_only_who_governs_a_unit_sets_its_rules(mesh, unit):
    made = rule(mesh, ROOT)
    with pytest.raises(Forbidden):
        rule(mesh, ROOT, who="bob", name="mine")
    for name in ("UpdateRule", "DeleteRule"):
        assert isinstance(mesh.refusal("bob", name, rule_id=made.id), Forbidden)
    assert mesh.ask("bob", "GetRule", rule_id=made.id) == made


def set_(mesh, who, unit_id, **given):
    return mesh.ask(who, "SetGuardrails", domain_unit_id=unit_id, **given)


def in_force(mesh, project):
    with mesh.store.reading() as reader:
        return guardrails_of(mesh.call(reader, "bob"), project.id)


def test_47_a_new_project_has_its_guardrails_with_nothing_done(mesh, unit):
    day = 24 * 3600
    set_(mesh, "ann", ROOT, longest_access_s=30 * day, min_score=80.0)
    set_(mesh, "bob", unit.id, default_classification=Classification.INTERNAL)
    project = mesh.ask("bob", "CreateProject", domain_unit_id=unit.id, name="press shop")
    found = in_force(mesh, project)
    assert (found.longest_access_s, found.min_score) == (30 * day, 80.0)
    assert found.default_classification is Classification.INTERNAL
    assert found.request_expires_s == DEFAULT.request_expires_s
    assert found.set_in == {
        "longest_access_s": ROOT,
        "min_score": ROOT,
        "default_classification": unit.id,
    }
    assert mesh.ask("dee", "GetGuardrails", domain_unit_id=unit.id) == found


def test_47_where_nothing_is_set_the_defaults_hold(mesh, project):
    assert in_force(mesh, project) == DEFAULT
    assert DEFAULT.default_classification is Classification.CONFIDENTIAL
    assert (DEFAULT.longest_access_s, DEFAULT.min_score, DEFAULT.set_in) == (0, 0.0, {})


@pytest.mark.parametrize(
    ("above", "looser", "stricter"),
    [
        ({"longest_access_s": 100}, {"longest_access_s": 101}, {"longest_access_s": 99}),
        ({"longest_access_s": 100}, {"longest_access_s": 0}, {"longest_access_s": 1}),
        ({"min_score": 80.0}, {"min_score": 79.0}, {"min_score": 81.0}),
    ],
)
def test_47_a_unit_below_is_stricter_and_never_looser(mesh, unit, above, looser, stricter):
    set_(mesh, "ann", ROOT, **above)
    told = mesh.refusal("bob", "SetGuardrails", domain_unit_id=unit.id, **looser)
    assert (type(told), told.details) == (InvalidInput, {"unit": ROOT})
    [(key, value)] = stricter.items()
    found = set_(mesh, "bob", unit.id, **stricter)
    assert (getattr(found, key), found.set_in[key]) == (value, unit.id)


def test_47_a_guardrail_that_becomes_stricter_above_is_so_below(mesh, unit, project):
    set_(mesh, "bob", unit.id, longest_access_s=100, min_score=50.0, remind_after_s=60)
    set_(mesh, "ann", ROOT, longest_access_s=10, min_score=90.0, remind_after_s=3600)
    found = in_force(mesh, project)
    assert (found.longest_access_s, found.min_score, found.remind_after_s) == (10, 90.0, 60)


def test_47_what_is_left_out_is_as_above_again(mesh, unit, project):
    set_(mesh, "bob", unit.id, min_score=50.0)
    set_(mesh, "bob", unit.id, remind_after_s=60)
    assert in_force(mesh, project).set_in == {"remind_after_s": unit.id}
    set_(mesh, "bob", unit.id)
    assert in_force(mesh, project) == DEFAULT


def test_47_only_who_governs_a_unit_sets_its_guardrails(mesh, unit):
    told = mesh.refusal("bob", "SetGuardrails", domain_unit_id=ROOT, min_score=0.0)
    assert isinstance(told, Forbidden)
    told = mesh.refusal("dee", "SetGuardrails", domain_unit_id=unit.id, min_score=0.0)
    assert isinstance(told, Forbidden)


def test_47_nobody_moves_what_is_theirs_out_of_what_is_set_above_it(mesh, unit, project):
    below = mesh.ask("bob", "CreateDomainUnit", domain_unit_id=unit.id, name="below")
    other = mesh.ask("ann", "CreateDomainUnit", domain_unit_id=ROOT, name="other")
    for one in (below, other):
        mesh.ask("ann", "SetDomainUnitOwners", domain_unit_id=one.id, owners=("user-cy",))
    mesh.ask("bob", "MoveProject", project_id=project.id, domain_unit_id=below.id)
    to = {"project_id": project.id, "domain_unit_id": other.id}
    assert isinstance(mesh.refusal("cy", "MoveProject", **to), Forbidden)
    unit_to = {"domain_unit_id": below.id, "parent_domain_unit_id": other.id}
    assert isinstance(mesh.refusal("cy", "MoveDomainUnit", **unit_to), Forbidden)
    assert mesh.ask("ann", "MoveDomainUnit", **unit_to).parent_domain_unit_id == other.id
    assert mesh.ask("cy", "MoveProject", **to).domain_unit_id == other.id


def test_47_a_unit_goes_with_its_rules_and_guardrails(mesh, unit):
    made = rule(mesh, unit.id, who="bob")
    set_(mesh, "bob", unit.id, min_score=50.0)
    mesh.ask("bob", "DeleteDomainUnit", domain_unit_id=unit.id)
    with mesh.store.reading() as reader:
        assert (reader.find(Rule, made.id), reader.any(Guardrails)) == (None, None)


def test_2_a_project_that_owns_something_is_not_removed(mesh, project):
    made = mesh.ask("bob", "CreateGlossary", project_id=project.id, name="words")
    told = mesh.refusal("bob", "DeleteProject", project_id=project.id)
    assert told.message == "'press shop' has a glossary; remove it first"
    mesh.ask("bob", "DeleteGlossary", glossary_id=made.id)
    mesh.ask("bob", "DeleteProject", project_id=project.id)
