"""Glossaries: terms, how they stand to each other, and whose they are."""

import pytest
from mesh_catalog import project_of

from atoll.core.errors import Conflict, Forbidden, InvalidInput
from atoll.mesh.model.describing import EnabledStatus
from atoll.mesh.model.organisation import Designation


@pytest.fixture
def project(mesh):
    """Bob's project; Dee is in none, unless a test takes her in."""
    return project_of(mesh, "bob", "press shop")


@pytest.fixture
def glossary(mesh, project):
    """Begun for Bob by Ann, who governs: he was granted no such right."""
    return mesh.ask("ann", "CreateGlossary", project_id=project.id, name="materials")


def term(mesh, glossary, name, **given):
    return mesh.ask("bob", "CreateGlossaryTerm", glossary_id=glossary.id, name=name, **given)


def update(mesh, one, **given):
    return mesh.ask("bob", "UpdateGlossaryTerm", glossary_term_id=one.id, **given)


def seen(mesh, one, who="dee"):
    return mesh.ask(who, "GetGlossaryTerm", glossary_term_id=one.id)


def test_19_terms_are_kinds_of_others_and_none_of_itself(mesh, glossary):
    metal = term(mesh, glossary, "metal")
    steel = term(mesh, glossary, "steel", is_a=(metal.id,))
    spring = term(mesh, glossary, "spring steel", is_a=(steel.id, metal.id))
    assert seen(mesh, spring).is_a == (steel.id, metal.id)
    for kind in (metal, steel, spring):
        given = {"glossary_term_id": metal.id, "is_a": (kind.id,)}
        refused = mesh.refusal("bob", "UpdateGlossaryTerm", **given)
        assert isinstance(refused, InvalidInput)
        assert "'metal' would be a kind of itself" in refused.message
    assert seen(mesh, metal) == metal
    update(mesh, steel, is_a=())
    update(mesh, spring, is_a=())
    assert update(mesh, metal, is_a=(spring.id,)).is_a == (spring.id,)


def test_19_what_a_term_sorts_is_kept_and_shown_to_everybody_and_may_go_round(mesh, glossary):
    line, shift = term(mesh, glossary, "line"), term(mesh, glossary, "shift")
    stop = term(mesh, glossary, "stop", classifies=(line.id, shift.id))
    assert seen(mesh, stop).classifies == (line.id, shift.id)
    update(mesh, stop, short_description="nothing moves")
    assert seen(mesh, stop).classifies == (line.id, shift.id)
    assert update(mesh, line, classifies=(stop.id,)).classifies == (stop.id,)
    assert update(mesh, stop, classifies=()).classifies == ()


@pytest.mark.parametrize("relation", ["is_a", "classifies"])
def test_19_a_term_that_another_refers_to_is_there_and_stays(mesh, project, glossary, relation):
    given = {"glossary_id": glossary.id, "name": "steel", relation: ("term-none",)}
    refused = mesh.refusal("bob", "CreateGlossaryTerm", **given)
    assert isinstance(refused, InvalidInput)
    metal = term(mesh, glossary, "metal")
    other = mesh.ask("ann", "CreateGlossary", project_id=project.id, name="other")
    steel = term(mesh, other, "steel", **{relation: (metal.id,)})
    assert isinstance(
        mesh.refusal("bob", "DeleteGlossaryTerm", glossary_term_id=metal.id), Conflict
    )
    assert update(mesh, metal, status=EnabledStatus.DISABLED).status is EnabledStatus.DISABLED
    update(mesh, steel, **{relation: ()})
    mesh.ask("bob", "DeleteGlossaryTerm", glossary_term_id=metal.id)


def test_19_a_glossary_is_its_projects_whose_stewards_keep_it_and_everybody_reads_it(
    mesh, project, glossary
):
    def keeps(who):
        given = {"glossary_id": glossary.id, "description": f"by {who}"}
        return mesh.ask(who, "UpdateGlossary", **given).description

    project_of(mesh, "cy", "analysis")
    assert mesh.ask("cy", "GetGlossary", glossary_id=glossary.id).owning_project_id == project.id
    given = {"glossary_id": glossary.id, "description": "by another project's owner"}
    assert isinstance(mesh.refusal("cy", "UpdateGlossary", **given), Forbidden)
    given = {"project_id": project.id, "member_id": "user-dee"}
    mesh.ask("bob", "CreateProjectMembership", designation=Designation.STEWARD, **given)
    assert [keeps("bob"), keeps("dee")] == ["by bob", "by dee"]
    refused = mesh.refusal("dee", "DeleteGlossary", glossary_id=glossary.id)
    assert isinstance(refused, Forbidden)
    mesh.ask("bob", "DeleteGlossary", glossary_id=glossary.id)
