"""The use cases: one function for each operation, by subject; here is the list of all."""

from atoll.mesh.operations.registry import OPERATIONS
from atoll.mesh.service import (
    forms,
    glossaries,
    guardrails,
    organisation,
    people,
    places,
    policies,
    registering,
    rules,
    runs,
    sources,
)

__all__ = [
    "OPERATIONS",
    "forms",
    "glossaries",
    "guardrails",
    "organisation",
    "people",
    "places",
    "policies",
    "registering",
    "rules",
    "runs",
    "sources",
]
