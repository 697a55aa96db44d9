"""Proposals: who makes them, who decides, and what becomes of the thing."""

import json

import pytest
from mesh_catalog import kept, plain_type, project_of, publish, storage, table, unpublish
from mesh_world import STAMP

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.mesh.model.catalog import Asset, Classification, ColumnMetadata, PiiFlag, PiiStatus
from atoll.mesh.model.describing import (
    EnabledStatus,
    Glossary,
    GlossaryTerm,
    Proposal,
    ProposalStatus,
)
from atoll.mesh.model.organisation import Designation
from atoll.mesh.service.proposals import propose


@pytest.fixture
def project(mesh):
    """Bob's project, of which Cy is a steward. Dee is in another one."""
    made = project_of(mesh, "bob", "press shop")
    given = {"member_id": "user-cy", "designation": Designation.STEWARD}
    mesh.ask("bob", "CreateProjectMembership", project_id=made.id, **given)
    project_of(mesh, "dee", "quality")
    return made


@pytest.fixture
def asset(mesh, project):
    """An asset that is published, and has a newer draft."""
    kept(mesh, plain_type(), storage(project), table(project, description="seams"))
    with mesh.store.reading() as reader:
        one = reader.get(Asset, "asset-welds")
    publish(mesh, "bob", one)
    return mesh.ask("bob", "UpdateAsset", asset_id=one.id, name="welds, draft")


@pytest.fixture
def term(mesh, project):
    glossary = Glossary(id="glossary-words", name="words", owning_project_id=project.id, **STAMP)
    made = GlossaryTerm(id="term-steel", name="steel", glossary_id=glossary.id, **STAMP)
    kept(mesh, glossary, made)
    return made


def proposed(mesh, who, subject, path, after, **more):
    given = {"subject_id": subject.id, "path": path, "after": after, **more}
    return mesh.ask(who, "CreateProposal", **given)


def accept(mesh, who, one, **more):
    return mesh.ask(who, "AcceptProposal", proposal_id=one.id, **more)


def now(mesh, asset):
    return mesh.ask("bob", "GetAsset", asset_id=asset.id)


def ids(mesh, who, **given):
    return [one.id for one in mesh.ask(who, "ListProposals", **given)["items"]]


def test_24_a_steward_accepts_what_a_consumer_proposes(mesh, asset):
    one = proposed(mesh, "dee", asset, "description", "spot welds", reason="I weld")
    assert (one.before, one.after, one.status) == ('"seams"', '"spot welds"', "PENDING")
    assert now(mesh, asset).description == "seams"
    found = accept(mesh, "cy", one, comment="thanks")
    assert (found.status, found.decided_by, found.comment) == ("ACCEPTED", "user-cy", "thanks")
    assert (now(mesh, asset).description, now(mesh, asset).version) == ("spot welds", 3)
    told = json.loads(mesh.notes[-1].details)
    assert (told["subject_id"], told["after"]) == (asset.id, {"description": "spot welds"})


def test_24_what_is_turned_down_changes_nothing_and_its_author_is_told_why(mesh, asset):
    one = proposed(mesh, "dee", asset, "description", "junk")
    mesh.ask("cy", "RejectProposal", proposal_id=one.id, comment="it is not")
    found = mesh.ask("dee", "GetProposal", proposal_id=one.id)
    assert (found.status, found.comment) == (ProposalStatus.REJECTED, "it is not")
    assert now(mesh, asset) == asset


def test_24_who_only_finds_a_listing_proposes_on_what_is_published(mesh, asset):
    one = proposed(mesh, "dee", asset, "name", "spot welds")
    assert one.before == '"welds"'
    told = mesh.refusal("cy", "AcceptProposal", proposal_id=one.id)
    assert isinstance(told, Conflict)
    assert proposed(mesh, "cy", asset, "name", "spot welds").before == '"welds, draft"'


def test_24_nobody_proposes_on_what_they_may_not_know_of(mesh, asset):
    unpublish(mesh, "bob", asset)
    given = {"path": "name", "after": "x"}
    hidden = mesh.refusal("dee", "CreateProposal", subject_id=asset.id, **given)
    missing = mesh.refusal("dee", "CreateProposal", subject_id="asset-none", **given)
    assert type(hidden) is type(missing) is NotFound
    assert hidden.message.replace("welds", "none") == missing.message


def test_24_proposals_are_seen_by_their_author_and_those_who_keep_the_thing(mesh, asset):
    one = proposed(mesh, "dee", asset, "description", "a")
    other = proposed(mesh, "cy", asset, "description", "b")
    assert ids(mesh, "dee") == [one.id]
    assert ids(mesh, "bob", subject_id=asset.id) == sorted([one.id, other.id])
    assert ids(mesh, "cy", is_own=True) == [other.id]
    assert ids(mesh, "bob", status=ProposalStatus.ACCEPTED) == []
    mesh.person("eve")
    for name in ("GetProposal", "AcceptProposal", "RejectProposal", "WithdrawProposal"):
        assert isinstance(mesh.refusal("eve", name, proposal_id=one.id), NotFound), name


def test_24_an_author_does_not_accept_where_they_may_not_edit(mesh, asset):
    one = proposed(mesh, "dee", asset, "description", "a")
    for name in ("AcceptProposal", "RejectProposal"):
        assert isinstance(mesh.refusal("dee", name, proposal_id=one.id), Forbidden), name


def test_24_only_an_author_withdraws_and_that_is_the_end(mesh, asset):
    one = proposed(mesh, "dee", asset, "description", "a")
    assert isinstance(mesh.refusal("bob", "WithdrawProposal", proposal_id=one.id), Forbidden)
    mesh.ask("dee", "WithdrawProposal", proposal_id=one.id)
    told = mesh.refusal("bob", "AcceptProposal", proposal_id=one.id)
    assert told.message.endswith("is WITHDRAWN and cannot become ACCEPTED")
    assert now(mesh, asset) == asset


def test_24_what_was_changed_meanwhile_is_not_overwritten(mesh, asset):
    one = proposed(mesh, "dee", asset, "description", "a")
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, description="b")
    told = mesh.refusal("cy", "AcceptProposal", proposal_id=one.id)
    assert 'it was "seams" and is "b"' in told.message
    mesh.ask("bob", "UpdateAsset", asset_id=asset.id, description="a")
    assert accept(mesh, "cy", one).status is ProposalStatus.ACCEPTED


@pytest.mark.parametrize(
    ("path", "after", "what"),
    [
        ("columns/torque/business_name", "Torque", ("torque", "business_name", "Torque")),
        ("columns/year/description", "of welding", ("year", "description", "of welding")),
        ("columns/torque/glossary_terms", ("term-steel",), ("torque", "glossary_terms", None)),
    ],
)
def test_24_a_column_is_described_by_proposal(mesh, asset, term, path, after, what):
    accept(mesh, "cy", proposed(mesh, "dee", asset, path, after))
    [column] = now(mesh, asset).columns
    assert (column.name, getattr(column, what[1])) == (what[0], what[2] or after)


def test_24_a_form_is_filled_in_by_proposal(mesh, asset):
    path = "forms/CommonAttributes/business_unit"
    one = proposed(mesh, "dee", asset, path, "body")
    assert one.before == "null"
    accept(mesh, "cy", one)
    [form] = now(mesh, asset).forms
    assert form.content == {"business_unit": "body"}
    publish(mesh, "bob", asset, revision=1)
    accept(mesh, "cy", proposed(mesh, "cy", asset, path, None))
    assert now(mesh, asset).forms[0].content == {}


def test_24_terms_and_glossaries_are_changed_by_proposal(mesh, term):
    one = proposed(mesh, "dee", term, "synonyms", ("iron",))
    assert accept(mesh, "cy", one).status is ProposalStatus.ACCEPTED
    found = mesh.ask("dee", "GetGlossaryTerm", glossary_term_id=term.id)
    assert found.synonyms == ("iron",)
    glossary = mesh.ask("dee", "GetGlossary", glossary_id=term.glossary_id)
    accept(mesh, "cy", proposed(mesh, "dee", glossary, "description", "ours"))
    assert mesh.ask("dee", "GetGlossary", glossary_id=glossary.id).description == "ours"


@pytest.mark.parametrize(
    ("path", "after"),
    [
        ("id", "asset-mine"),
        ("is_archived", True),
        ("owning_project_id", "project-mine"),
        ("version", 7),
        ("", ""),
        ("columns/torque", "x"),
        ("columns/torque/type", "x"),
        ("columns//description", "x"),
        ("columns/none/description", "x"),
        ("columns/torque/pii", "Not A Word"),
        ("columns/torque/business_name", "two\nlines"),
        ("forms/CommonAttributes", "x"),
        ("forms/None/business_unit", "x"),
        ("forms/CommonAttributes/none", "x"),
        ("forms/CommonAttributes/refresh_frequency", "SOMETIMES"),
        ("name", ""),
        ("name", 7),
        ("name", None),
        ("name", ("a", "b")),
        ("description", "seams"),
        ("glossary_terms", ("term-none",)),
        ("glossary_terms", "term-none"),
        ("classification", "SECRET"),
    ],
)
def test_24_what_cannot_be_is_not_proposed(mesh, asset, path, after):
    given = {"subject_id": asset.id, "path": path, "after": after}
    assert isinstance(mesh.refusal("cy", "CreateProposal", **given), InvalidInput)


def test_24_the_same_is_not_proposed_twice_by_one_person(mesh, asset):
    one = proposed(mesh, "dee", asset, "description", "a")
    given = {"subject_id": asset.id, "path": "description", "after": "a"}
    told = mesh.refusal("dee", "CreateProposal", **given)
    assert (type(told), told.details) == (Conflict, {"id": one.id})
    assert proposed(mesh, "cy", asset, "description", "a").id != one.id


def test_24_what_cannot_be_any_more_is_not_accepted(mesh, asset, term):
    one = proposed(mesh, "dee", asset, "glossary_terms", (term.id,))
    given = {"glossary_term_id": term.id, "status": EnabledStatus.DISABLED}
    mesh.ask("bob", "UpdateGlossaryTerm", **given)
    told = mesh.refusal("cy", "AcceptProposal", proposal_id=one.id)
    assert (type(told), "is disabled" in told.message) == (Conflict, True)


def test_24_terms_that_would_be_kinds_of_each_other_are_not_accepted(mesh, term):
    given = {"glossary_id": term.glossary_id, "name": "alloy", "is_a": (term.id,)}
    other = mesh.ask("bob", "CreateGlossaryTerm", **given)
    one = proposed(mesh, "dee", term, "is_a", (other.id,))
    told = mesh.refusal("cy", "AcceptProposal", proposal_id=one.id)
    assert (type(told), "a kind of itself" in told.message) == (Conflict, True)


def test_24_what_is_about_a_thing_that_is_gone_is_only_rejected(mesh, term):
    one = proposed(mesh, "dee", term, "short_description", "metal")
    mesh.ask("bob", "DeleteGlossaryTerm", glossary_term_id=term.id)
    assert isinstance(mesh.refusal("cy", "AcceptProposal", proposal_id=one.id), Conflict)
    found = mesh.ask("cy", "RejectProposal", proposal_id=one.id)
    assert found.status is ProposalStatus.REJECTED


def test_39_what_makes_data_less_sensitive_takes_an_owner(mesh, asset):
    raised = proposed(mesh, "dee", asset, "classification", "CONFIDENTIAL")
    accept(mesh, "cy", raised)
    lowered = proposed(mesh, "dee", asset, "classification", "PUBLIC")
    assert isinstance(mesh.refusal("cy", "AcceptProposal", proposal_id=lowered.id), Forbidden)
    assert now(mesh, asset).classification is Classification.CONFIDENTIAL
    accept(mesh, "bob", lowered)
    assert now(mesh, asset).classification is Classification.PUBLIC


def test_40_a_column_is_called_personal_by_a_steward_and_not_so_by_an_owner_only(mesh, asset):
    accept(mesh, "cy", proposed(mesh, "dee", asset, "columns/worker/pii", "person_name"))
    assert now(mesh, asset).columns == (
        ColumnMetadata("worker", pii=PiiFlag("person_name", PiiStatus.PROPOSED)),
    )
    one = proposed(mesh, "cy", asset, "columns/worker/pii", "")
    assert isinstance(mesh.refusal("cy", "AcceptProposal", proposal_id=one.id), Forbidden)
    assert now(mesh, asset).personal == {"worker"}
    accept(mesh, "bob", one)
    assert now(mesh, asset).personal == frozenset()


def bulk(mesh, who, project, name, *proposals):
    given = {"proposal_ids": tuple(one.id for one in proposals), "comment": "all"}
    return mesh.ask(who, name, project_id=project.id, **given).proposals


def test_23_several_are_accepted_at_once_in_one_revision(mesh, project, asset):
    one = proposed(mesh, "dee", asset, "description", "a")
    other = proposed(mesh, "dee", asset, "forms/CommonAttributes/business_unit", "body")
    third = proposed(mesh, "dee", asset, "forms/CommonAttributes/product_owner", "Bob")
    found = bulk(mesh, "cy", project, "AcceptProposals", one, other, third)
    assert {one.status for one in found} == {ProposalStatus.ACCEPTED}
    assert now(mesh, asset).version == asset.version + 1
    assert len(now(mesh, asset).forms[0].content) == 2


def test_23_several_are_accepted_all_or_none(mesh, project, asset):
    one = proposed(mesh, "dee", asset, "description", "a")
    other = proposed(mesh, "cy", asset, "description", "b")
    with pytest.raises(Conflict):
        bulk(mesh, "cy", project, "AcceptProposals", one, other)
    assert now(mesh, asset) == asset
    assert set(ids(mesh, "cy", status=ProposalStatus.PENDING)) == {one.id, other.id}
    bulk(mesh, "cy", project, "RejectProposals", one, other)
    assert ids(mesh, "cy", status=ProposalStatus.PENDING) == []


def test_23_nobody_decides_in_bulk_for_another_project(mesh, project, asset, term):
    mine = mesh.ask("dee", "ListProjects", name="quality")["items"][0]
    one = proposed(mesh, "dee", asset, "description", "a")
    with pytest.raises(NotFound):
        bulk(mesh, "dee", mine, "AcceptProposals", one)
    other = proposed(mesh, "dee", term, "name", "iron")
    with pytest.raises(InvalidInput, match="several things"):
        bulk(mesh, "cy", project, "AcceptProposals", one, other)


def machine(mesh, asset, path, after):
    """What a machine proposes, as a job would."""

    def found(call):
        return propose(call, asset, path, after, provenance="detector", confidence=0.9)

    return mesh.attendant.act("ProposeMetadata", "test", found)


def test_23_what_a_machine_proposes_is_accepted_by_a_person(mesh, asset):
    one = machine(mesh, asset, "columns/worker/pii", "person_name")
    assert (one.provenance, one.confidence, one.created_by) == ("detector", 0.9, "system")
    assert now(mesh, asset) == asset
    accept(mesh, "bob", one)
    [column] = now(mesh, asset).columns
    assert column.pii.status is PiiStatus.CONFIRMED


def test_23_a_machine_does_not_repeat_what_is_known_undecided_or_turned_down(mesh, asset):
    assert machine(mesh, asset, "description", "seams") is None
    one = machine(mesh, asset, "description", "a")
    assert machine(mesh, asset, "description", "a") is None
    mesh.ask("cy", "RejectProposal", proposal_id=one.id)
    assert machine(mesh, asset, "description", "a") is None
    with mesh.store.reading() as reader:
        assert reader.count(Proposal) == 1
    assert machine(mesh, asset, "description", "b") is not None
