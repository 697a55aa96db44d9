"""The use cases: one function for each operation, by subject; here is the list of all."""

from atoll.mesh.operations.registry import OPERATIONS
from atoll.mesh.service import audit, glossaries, organisation, people, places, policies

__all__ = ["OPERATIONS", "audit", "glossaries", "organisation", "people", "places", "policies"]
