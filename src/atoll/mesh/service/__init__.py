"""The use cases: one function for each operation, by subject; here is the list of all."""

from atoll.mesh.operations.registry import OPERATIONS
from atoll.mesh.service import glossaries, notices, organisation, people, places, policies

__all__ = ["OPERATIONS", "glossaries", "notices", "organisation", "people", "places", "policies"]
