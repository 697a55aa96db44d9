"""Proposals: who makes them, who decides, and what becomes of the thing."""

import pytest
from mesh_world import ROOT, STAMP, world

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.mesh.harvest.model import Column, Technical
from atoll.mesh.model.catalog import (
    Asset,
    Classification,
    ColumnMetadata,
    EntityType,
    Listing,
    PiiFlag,
    PiiStatus,
)
from atoll.mesh.model.describing import ProposalStatus
from atoll.mesh.model.organisation import Designation
from atoll.mesh.service.proposals import propose


@pytest.fixture
def mesh(tmp_path):
    with world(f"sqlite:///{tmp_path}/mesh.db") as made:
        yield made


@pytest.fixture
def project(mesh):
    """Ann's project, of which Bob is a steward and Dee is not."""
    made = mesh.ask("ann", "CreateProject", domain_unit_id=ROOT, name="press shop")
    given = {"member_id": "user-bob", "designation": Designation.STEWARD}
    mesh.ask("ann", "CreateProjectMembership", project_id=made.id, **given)
    return made
