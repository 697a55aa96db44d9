"""Technical metadata harvested from storage: schema, partitions, size, rows, and what finds copies.

Read `model` for the nouns, `layout` for which files make which asset, `service` for the use cases.
"""

from __future__ import annotations

from atoll.mesh.harvest.changes import SchemaChange, schema_diff
from atoll.mesh.harvest.locations import normalised
from atoll.mesh.harvest.model import (
    CollectionFacts,
    CollectionReader,
    Column,
    Fingerprint,
    Outcome,
    Source,
    Technical,
    Unreadable,
)
from atoll.mesh.harvest.service import harvest, table_files

__all__ = [
    "CollectionFacts",
    "CollectionReader",
    "Column",
    "Fingerprint",
    "Outcome",
    "SchemaChange",
    "Source",
    "Technical",
    "Unreadable",
    "harvest",
    "normalised",
    "schema_diff",
    "table_files",
]
