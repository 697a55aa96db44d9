"""Subscription requests: who asks for what, and what a policy or a person decides."""

import pytest
from mesh_access import Plant
from mesh_world import world


@pytest.fixture
def mesh(tmp_path):
    with world(f"sqlite:///{tmp_path}/mesh.db") as made:
        yield made


@pytest.fixture
def plant(mesh, tmp_path):
    return Plant(mesh, tmp_path / "lake")


def test_39_public_and_internal_data_are_given_by_policy_and_confidential_ones_wait(plant):
    made = plant.basket(plant.public, plant.internal, plant.secret).requests
    assert [one.status for one in made] == ["ACCEPTED", "ACCEPTED", "PENDING"]
    assert [one.reviewer_id for one in made] == ["policy", "policy", ""]
