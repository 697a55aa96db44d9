"""Laws of forms, paths, guardrails and proposals, against oracles of their own."""

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from mesh_catalog import kept, plain_type, project_of, publish, storage, table
from mesh_databases import database_of
from mesh_world import ROOT, world

from atoll.core.errors import AtollError, InvalidInput
from atoll.mesh.model.catalog import Asset
from atoll.mesh.model.describing import FieldType, Proposal
from atoll.mesh.model.organisation import Designation
from atoll.mesh.service.forms import FormInput, NewField, checked_forms
from atoll.mesh.service.guardrails import DEFAULT
from atoll.mesh.service.paths import value_at, with_value

TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
VALUES = {
    FieldType.STRING: TEXTS,
    FieldType.INTEGER: st.integers(-(1 << 53), 1 << 53),
    FieldType.NUMBER: st.floats(allow_nan=False, allow_infinity=False),
    FieldType.BOOLEAN: st.booleans(),
    FieldType.DATE: st.dates().map(date.isoformat),
    FieldType.TIMESTAMP: st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    FieldType.CHOICE: st.sampled_from(["A", "B"]),
    FieldType.USER: st.sampled_from(["user-ann", "user-bob"]),
}
# By which other types' values a field's type can be told.
OTHERS = {
    FieldType.INTEGER: st.one_of(TEXTS, st.booleans(), st.floats()),
    FieldType.NUMBER: st.one_of(TEXTS, st.booleans(), st.just(float("inf"))),
    FieldType.BOOLEAN: st.one_of(TEXTS, st.integers()),
    FieldType.DATE: st.one_of(TEXTS, st.integers(), VALUES[FieldType.TIMESTAMP]),
    FieldType.TIMESTAMP: st.one_of(TEXTS, st.integers(), VALUES[FieldType.DATE]),
    FieldType.CHOICE: st.one_of(TEXTS.filter(lambda one: one not in "AB"), st.integers()),
    FieldType.STRING: st.one_of(st.integers(), st.booleans()),
    FieldType.USER: st.one_of(TEXTS, st.integers()),
}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    with world(database_of(tmp_path_factory.mktemp("laws"))) as made:
        project = made.ask("ann", "CreateProject", domain_unit_id=ROOT, name="press shop")
        fields = [
            NewField(
                name=f"{type_}{'S' if is_list else ''}",
                type=type_,
                is_list=is_list,
                choices=("A", "B") if type_ is FieldType.CHOICE else (),
            )
            for type_ in VALUES
            for is_list in (False, True)
        ]
        given = {"project_id": project.id, "name": "All", "fields": tuple(fields)}
        made.ask("ann", "CreateFormType", **given)
        kept(made, plain_type(), storage(project), table(project, name="first"))
        yield made


def filled(mesh, content):
    given = [FormInput(form_type="All", content=content)]
    with mesh.store.reading() as reader:
        return checked_forms(mesh.call(reader, "ann"), given)


def contents(values):
    """Contents of forms, each field of its type."""
    one = {str(type_): values[type_] for type_ in VALUES}
    several = {f"{key}S": st.lists(value, max_size=3).map(tuple) for key, value in one.items()}
    return st.fixed_dictionaries({}, optional=one | several)


@settings(deadline=None, max_examples=50)
@given(content=contents(VALUES))
def test_20_values_of_their_types_are_kept_as_they_are(mesh, content):
    [form] = filled(mesh, content)
    assert form.content == content
    made = mesh.store.write(lambda changes: _kept_with(changes, form))
    with mesh.store.reading() as reader:
        assert reader.get(Asset, made.id).forms == (form,)


def _kept_with(changes, form):
    before = changes.get(Asset, "asset-first")
    return changes.put(replace(before, forms=(form,), version=before.version + 1))


@settings(deadline=None, max_examples=100)
@given(data=st.data(), type_=st.sampled_from(list(VALUES)))
def test_20_values_of_other_types_are_refused(mesh, data, type_):
    value = data.draw(OTHERS[type_])
    for content in ({str(type_): value}, {f"{type_}S": (value,)}, {str(type_): (value,)}):
        with pytest.raises(InvalidInput):
            filled(mesh, content)


PATHS = {
    "name": TEXTS.filter(lambda one: one.strip()).map(str.strip),
    "description": TEXTS,
    "classification": st.sampled_from(["PUBLIC", "INTERNAL", "CONFIDENTIAL"]),
    "columns/torque/business_name": TEXTS,
    "columns/year/description": TEXTS,
    "columns/worker/pii": st.sampled_from(["email", "person_name", ""]),
    "forms/All/STRING": TEXTS,
    "forms/All/INTEGERS": st.lists(st.integers(0, 9), max_size=2).map(tuple),
}


@settings(deadline=None, max_examples=50)
@given(data=st.data(), paths=st.lists(st.sampled_from(list(PATHS)), max_size=5))
def test_24_a_path_reads_what_was_set_there_and_nothing_else_changes(mesh, data, paths):
    with mesh.store.reading() as reader:
        call = mesh.call(reader, "ann")
        subject = reader.get(Asset, "asset-first")
        wanted = {one: value_at(subject, one) for one in PATHS}
        for path in paths:
            wanted[path] = data.draw(PATHS[path])
            subject = with_value(call, subject, path, wanted[path])
            assert {one: value_at(subject, one) for one in PATHS} == wanted


BOUND = st.none() | st.integers(0, 3)


@settings(deadline=None, max_examples=15)
@given(tries=st.lists(st.tuples(st.integers(0, 2), BOUND, BOUND, BOUND), max_size=6))
def test_47_what_holds_is_the_strictest_bound_and_the_nearest_default(tries):
    with tempfile.TemporaryDirectory() as home, world(database_of(home)) as mesh:
        units = [ROOT]
        for name in ("middle", "low"):
            given = {"domain_unit_id": units[-1], "name": name}
            units.append(mesh.ask("ann", "CreateDomainUnit", **given).id)
        set_here = {}
        for depth, longest, score, remind in tries:
            ask = {"longest_access_s": longest, "min_score": score, "remind_after_s": remind}
            try:
                mesh.ask("ann", "SetGuardrails", domain_unit_id=units[depth], **ask)
            except InvalidInput:
                continue
            set_here[depth] = ask
            for lowest in range(3):
                chain = [set_here.get(one, {}) for one in range(lowest + 1)]
                found = mesh.ask("dee", "GetGuardrails", domain_unit_id=units[lowest])
                assert found.longest_access_s == min(told(chain, "longest_access_s") or [0])
                assert found.min_score == max(told(chain, "min_score") or [0])
                remind = [DEFAULT.remind_after_s, *told(chain, "remind_after_s", with_zero=True)]
                assert found.remind_after_s == remind[-1]


def told(chain, key, *, with_zero=False):
    """What units say, the highest first; of bounds, none that bounds nothing."""
    found = [one[key] for one in chain if one.get(key) is not None]
    return found if with_zero else [one for one in found if one]


class Proposing(RuleBasedStateMachine):
    """People who propose and decide as it comes: what may happen, happens, and nothing else."""

    made = Bundle("made")
    MAY_DECIDE = ("bob", "cy")  # an owner and a steward; Dee only finds the listing

    def __init__(self):
        super().__init__()
        self._stack = ExitStack()
        home = self._stack.enter_context(tempfile.TemporaryDirectory())
        self.mesh = self._stack.enter_context(world(database_of(home)))
        project = project_of(self.mesh, "bob", "press shop")
        given = {"member_id": "user-cy", "designation": Designation.STEWARD}
        self.mesh.ask("bob", "CreateProjectMembership", project_id=project.id, **given)
        project_of(self.mesh, "dee", "quality")
        kept(self.mesh, plain_type(), storage(project), table(project))
        with self.mesh.store.reading() as reader:
            publish(self.mesh, "bob", reader.get(Asset, "asset-welds"))
        self.description, self.status, self.author = "", {}, {}

    def teardown(self):
        self._stack.close()

    @rule(target=made, who=st.sampled_from(["bob", "cy", "dee"]), after=st.sampled_from("abc"))
    def propose(self, who, after):
        given = {"subject_id": "asset-welds", "path": "description", "after": after}
        try:
            one = self.mesh.ask(who, "CreateProposal", **given)
        except AtollError:
            return None
        self.status[one.id], self.author[one.id] = "PENDING", who
        return one

    @rule(
        one=made,
        who=st.sampled_from(["bob", "cy", "dee"]),
        how=st.sampled_from(["Accept", "Reject", "Withdraw"]),
    )
    def decide(self, one, who, how):
        if one is None:
            return
        may = who == self.author[one.id] if how == "Withdraw" else who in self.MAY_DECIDE
        may = may and self.status[one.id] == "PENDING"
        before, after = one.before.strip('"'), one.after.strip('"')
        if how == "Accept":
            may = may and self.description in (before, after)
        try:
            self.mesh.ask(who, f"{how}Proposal", proposal_id=one.id)
        except AtollError:
            assert not may
            return
        assert may
        ends = {"Accept": "ACCEPTED", "Reject": "REJECTED", "Withdraw": "WITHDRAWN"}
        self.status[one.id] = ends[how]
        self.description = after if how == "Accept" else self.description

    @rule(text=st.sampled_from("abc"))
    def edit(self, text):
        self.mesh.ask("bob", "UpdateAsset", asset_id="asset-welds", description=text)
        self.description = text

    @invariant()
    def everything_is_as_it_should_be(self):
        with self.mesh.store.reading() as reader:
            assert reader.get(Asset, "asset-welds").description == self.description
            assert {one.id: one.status for one in reader.all(Proposal)} == self.status


def test_24_proposals_take_no_edge_outside_the_diagram():
    few = settings(deadline=None, max_examples=15, stateful_step_count=15)
    run_state_machine_as_test(Proposing, settings=few)
