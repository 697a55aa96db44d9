"""What one may not know of is as what is not there: for every operation, in every id it takes."""

import threading
from contextlib import contextmanager
from itertools import chain

import pytest
import sqlalchemy as sa
from mesh_access import COLUMNS, Plant, asset, technical
from mesh_databases import database_of
from mesh_hidden import OPEN, Hidden, fields_with_ids, outcome
from mesh_world import SCOPES, STAMP, world

from atoll.core.errors import NotFound
from atoll.mesh.model.catalog import (
    Asset,
    Classification,
    ColumnMetadata,
    EntityType,
    Listing,
    PiiFlag,
    PiiStatus,
)
from atoll.mesh.model.describing import Glossary, GlossaryTerm
from atoll.mesh.model.notices import Notification
from atoll.mesh.model.organisation import Domain
from atoll.mesh.operations.calls import Caller
from atoll.mesh.operations.registry import Right
from atoll.mesh.service import OPERATIONS
from atoll.mesh.service.telling import tell

MISSING = "missing-missing-missing"
# What is open to all, and what only owners of the domain ask, hides nothing.
ABOUT_HIDDEN = [one for one in OPERATIONS.values() if one.about and one.on not in OPEN]
OPEN_FIELDS = {
    *("glossary_ids", "glossary_terms", "columns.glossary_terms", "is_a", "classifies"),
    *("domain_unit_id", "parent_domain_unit_id", "owners", "member_id", "session_id"),
}


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    home = tmp_path_factory.mktemp("hidden")
    with world(database_of(home), home) as mesh:
        yield Hidden(mesh, home / "lake")


@pytest.fixture(scope="module")
def askers(hidden):
    return hidden.askers()


def perform(mesh, who, operation, id_):
    """Perform an operation about something, with nothing else told."""
    caller = Caller(f"user-{who}", "test", SCOPES)
    ask = operation.ask() if operation.is_list else None
    return mesh.performer.perform(operation, caller, {operation.about: id_}, ask)


@contextmanager
def counted(mesh, monkeypatch):
    """Count what is asked of the database, and of the policies, on behalf of somebody."""
    found = {"statements": 0, "decisions": 0}
    threads = (threading.current_thread().name, "mesh-writer")

    def executed(*_):
        found["statements"] += threading.current_thread().name in threads

    def decided(who, action, things):
        found["decisions"] += len(things)
        return decide_all(who, action, things)

    decide_all = mesh.authorizer.decide_all
    sa.event.listen(mesh.store.engine, "before_cursor_execute", executed)
    with monkeypatch.context() as patched:
        patched.setattr(mesh.authorizer, "decide_all", decided)
        yield found
    sa.event.remove(mesh.store.engine, "before_cursor_execute", executed)


@pytest.mark.parametrize("who", ["bob", "sam"])
@pytest.mark.parametrize("operation", ABOUT_HIDDEN, ids=lambda one: one.name)
def test_a_hidden_thing_is_as_none_to_every_operation(hidden, monkeypatch, operation, who):
    """In what is told, in what the audit says, and in what it takes to find that out."""
    mesh, told = hidden.mesh, []
    for id_ in (hidden.ids[operation.on][0], MISSING):
        before = len(mesh.notes)
        with counted(mesh, monkeypatch) as took:
            said = outcome(lambda id_=id_: perform(mesh, who, operation, id_), id_)
        notes = [
            (one.operation, one.outcome, one.details.replace(id_, "ID"))
            for one in mesh.notes[before:]
        ]
        told.append((said, notes, took))
    assert told[0] == told[1]
    assert told[0][0].startswith('["NotFound"')


def takes_hidden(name, path):
    operation = OPERATIONS[name]
    is_open = operation.is_list and operation.answer in OPEN
    is_for_governors = operation.on is Domain and operation.right is Right.GOVERN
    return not (is_open or is_for_governors or path in OPEN_FIELDS or _is_of_people(name, path))


def _is_of_people(name, path):
    people = {("CreateDelegation", "principal_id"), ("UpdateUserProfile", "groups")}
    return (name, path) in people


FIELDS = [one for one in fields_with_ids() if takes_hidden(*one)]


def test_every_field_that_takes_an_id_is_tried(askers):
    assert set(askers) == set(FIELDS)


@pytest.mark.parametrize(("name", "path"), FIELDS, ids=str)
def test_a_hidden_id_that_is_told_is_as_none(hidden, askers, name, path):
    who, known, rest, *more = askers[name, path]
    is_many = isinstance(known, tuple)
    given = known if more else lambda id_: {path: (id_,) if is_many else id_}
    [known] = more or (known if is_many else [known])

    def told(id_):
        asked = rest | given(id_)
        return outcome(lambda: hidden.mesh.ask(who, name, **asked), id_)

    for id_ in chain.from_iterable(hidden.ids.values()):
        assert told(id_) == told(MISSING), id_
    if (name, path) != ("Explain", "principal_id"):
        assert told(known) != told(MISSING)


READ_ALONE = [one for one in OPERATIONS.values() if one.is_read and one.on is Domain]
NEEDED = {"Suggest": {"text": "hid"}, "Explain": {"operation": "GetDomain"}}


@pytest.mark.parametrize("who", ["bob", "sam"])
@pytest.mark.parametrize("operation", READ_ALONE, ids=lambda one: one.name)
def test_34_35_nothing_hidden_is_in_any_list_or_count(hidden, operation, who):
    more = {"text": "hidden"} if operation.name.startswith("Search") else {}
    more = more if "text" in operation.ask.__struct_fields__ else {}
    given = NEEDED.get(operation.name, {})
    for one in (given, given | more):
        told = outcome(lambda one=one: hidden.mesh.ask(who, operation.name, **one))
        # Whose a glossary is, everybody may see.
        there = [id_ for ids in hidden.ids.values() for id_ in ids if id_ in told]
        assert set(there) <= {"project-hidden"}
        assert "s3://hidden" not in told


def test_19_a_terms_usage_counts_what_one_may_know_of_only(hidden):
    mesh, plant = hidden.mesh, hidden.plant
    own = {"owning_project_id": plant.owner, **STAMP}
    plant.keep(
        Glossary(id="glossary-bobs", name="bob's", **own),
        GlossaryTerm(id="term-weld", name="weld", glossary_id="glossary-bobs", **STAMP),
    )
    plant.table("carried", Classification.INTERNAL)
    for name in ("asset-hidden", "asset-carried"):
        plant.change(plant.find(Asset, name), glossary_terms=("term-weld",))

    def usage(who):
        return mesh.ask(who, "GetGlossaryTermUsage", glossary_term_id="term-weld").assets

    # Cy finds the listing, whose revision does not carry it yet.
    assert [usage(who) for who in ("ann", "bob", "hugo", "cy", "sam")] == [2, 1, 1, 0, 0]
    shown = plant.find(Listing, "listing-asset-carried")
    newest = plant.find(Asset, "asset-carried")
    plant.change(shown, entity_revision=newest.version, all_terms=newest.all_terms)
    assert [usage(who) for who in ("bob", "cy", "sam")] == [1, 1, 0]
    refused = mesh.refusal("bob", "DeleteGlossaryTerm", glossary_term_id="term-weld")
    assert "'weld' is used; disable" in refused.message
    for name in ("asset-hidden", "asset-carried"):
        plant.change(plant.find(Asset, name), glossary_terms=())
    assert [usage(who) for who in ("bob", "cy")] == [1, 1]  # as it is published
    refused = mesh.refusal("bob", "DeleteGlossaryTerm", glossary_term_id="term-weld")
    assert "'weld' is used; disable" in refused.message


FORBIDDEN = """@id("not-sam")
@description("Sam sees nothing of what is listed.")
forbid (principal == User::"user-sam", action in Action::"Discover", resource);"""


def test_34_openmetadata_8892_who_is_denied_everything_finds_no_table_by_search(tmp_path):
    with world(database_of(tmp_path), tmp_path, policies=FORBIDDEN) as mesh:
        mesh.person("sam")
        plant = Plant(mesh, tmp_path / "lake")
        assert "asset-public" in outcome(lambda: mesh.ask("dee", "SearchListings", text="public"))
        found = mesh.ask("sam", "SearchListings", text="public")
        assert (found.items, found.total, sum(map(len, found.facets.values()))) == ([], 0, 0)
        assert mesh.ask("sam", "Suggest", text="pub").names == []
        assert mesh.ask("sam", "ListListings")["items"] == []
        assert isinstance(mesh.refusal("sam", "GetListing", listing_id=plant.public), NotFound)


def test_34_datahub_10576_the_api_gives_nothing_that_pages_would_refuse(hidden):
    """Of a listing that one may not discover, none of what belongs to it is told."""
    mesh, plant = hidden.mesh, hidden.plant
    for one in OPERATIONS.values():
        if one.on is Listing:
            told = outcome(lambda one=one: perform(mesh, "sam", one, plant.secret), plant.secret)
            assert told.startswith('["NotFound"'), one.name
    lists = ("ListSubscriptionRequests", "ListSubscriptions", "ListSubscriptionGrants")
    for name in lists:
        assert mesh.ask("sam", name)["items"] == []


def test_40_a_column_of_a_draft_cannot_be_asked_for_by_guessing(hidden):
    """Whether a draft has a column, or a personal one, is told to nobody else."""
    plant = hidden.plant
    plant.keep(asset(plant.owner, "drafted", "s3://x/drafted", Classification.INTERNAL))
    listing = plant.listing("asset-drafted", EntityType.ASSET, Classification.INTERNAL)
    before = plant.find(Asset, "asset-drafted")
    technical_now = technical("s3://x/drafted", COLUMNS | {"salary": "double"})
    flags = (*before.columns, ColumnMetadata("salary", pii=PiiFlag("pay", PiiStatus.PROPOSED)))
    plant.change(before, technical=technical_now, columns=flags)
    told = {
        name: outcome(lambda name=name: plant.ask(listing, unmasked=(name,)), name)
        for name in ("salary", "nothing")
    }
    assert told["salary"] == told["nothing"]
    assert told["salary"].startswith('["InvalidInput"')


def test_29_a_notice_tells_of_nothing_that_its_reader_may_not_look_at(hidden):
    """Who has left a project is told nothing of it any more, and no name that is hidden."""
    mesh, plant = hidden.mesh, hidden.plant
    request = plant.ask(plant.table("noticed", Classification.CONFIDENTIAL), by="dee")
    mesh.ask("cy", "DeleteProjectMembership", project_id=plant.reader, member_id="user-dee")
    mesh.ask("bob", "RejectSubscriptionRequest", subscription_request_id=request.id)
    position = 0
    while position != (position := tell(mesh.attendant, position)):
        pass
    told = [one.topic for one in plant.every(Notification) if one.subject_id == request.id]
    assert told == []
    assert all(
        "hidden" not in one.title + one.message
        for one in plant.every(Notification)
        if one.recipient_id != "user-hugo"
    )
