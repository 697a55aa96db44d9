"""The use cases: one function for each operation, by subject; here is the list of all."""

from atoll.mesh.operations.registry import OPERATIONS
from atoll.mesh.service import organisation, people, places, policies

__all__ = ["OPERATIONS", "organisation", "people", "places", "policies"]
