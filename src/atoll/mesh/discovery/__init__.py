"""Finding listings: a search index over the catalog that no one sees more through than they may."""

from atoll.mesh.discovery.index import Index
from atoll.mesh.discovery.model import (
    FACETS,
    Change,
    Column,
    Entry,
    FacetValue,
    Hit,
    Page,
    Put,
    Query,
    Remove,
    Sort,
)

__all__ = [
    "FACETS",
    "Change",
    "Column",
    "Entry",
    "FacetValue",
    "Hit",
    "Index",
    "Page",
    "Put",
    "Query",
    "Remove",
    "Sort",
]
