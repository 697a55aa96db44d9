"""The use cases: one function for each operation, by subject; here is the list of all."""

from atoll.mesh.operations.registry import OPERATIONS
from atoll.mesh.service import (
    asset_types,
    assets,
    duplicates,
    forms,
    glossaries,
    guardrails,
    listings,
    organisation,
    people,
    places,
    policies,
    products,
    proposals,
    revisions,
    rules,
    sensitivity,
)

__all__ = [
    "OPERATIONS",
    "asset_types",
    "assets",
    "duplicates",
    "forms",
    "glossaries",
    "guardrails",
    "listings",
    "organisation",
    "people",
    "places",
    "policies",
    "products",
    "proposals",
    "revisions",
    "rules",
    "sensitivity",
]
