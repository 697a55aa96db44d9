"""Metadata forms: their fields, what is filled in, and what is missing."""

import pytest
from mesh_world import ROOT, world

from atoll.mesh.model.describing import Form
from atoll.mesh.service.forms import FormInput, NewField, checked_forms, missing_fields


@pytest.fixture
def mesh(tmp_path):
    with world(f"sqlite:///{tmp_path}/mesh.db") as made:
        yield made


@pytest.fixture
def project(mesh):
    """Ann's project."""
    return mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="press shop")


def form_type(mesh, project, *fields, name="Refresh"):
    return mesh.ask("ann", "CreateFormType", project_id=project.id, name=name, fields=fields)


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
