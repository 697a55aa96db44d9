"""Vector collections as assets of the mesh: what a harvest and a reader ask of one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from atoll.core.config import Settings, StorageOptions
from atoll.mesh.harvest import CollectionFacts
from atoll.vectors.collection import Collection
from atoll.vectors.model import CODE_COLUMN
from atoll.vectors.schemas import seen_schema
from atoll.vectors.service import open_collection


class Collections:
    """Describes and reads vector collections; the `CollectionReader` of the mesh."""

    def __init__(self, settings: Settings) -> None:
        """Take settings; what they say of stores gives way to those of each data source."""
        self._settings = settings

    def describe(self, location: str, options: StorageOptions) -> CollectionFacts:
        """Open the collection at a URL and describe its newest version.

        Raises:
            NotFound: there is none. Forbidden, Unavailable, Corrupt: it cannot be opened.
        """
        collection = self._opened(location, options)
        spec = collection.spec
        schema = seen_schema(spec)
        return CollectionFacts(
            schema=pa.schema([one for one in schema if one.name != CODE_COLUMN]),
            rows=len(collection),
            version=collection.version,
            digest=_digest(collection),
            details={
                "dim": spec.dim,
                "dtype": spec.dtype,
                "distance_type": spec.distance_type,
                "vector_column": spec.vector_column,
                "id_column": spec.id_column,
                "embedder": "unknown" if spec.embedder is None else str(spec.embedder),
            },
        )

    def first_rows(
        self, location: str, options: StorageOptions, columns: Sequence[str], most: int
    ) -> pa.Table:
        """Read some columns of the first rows of the collection at a URL.

        Raises:
            NotFound: there is none. InvalidInput: it has no such column, or refers to files outside
            its tables' folders. Forbidden, Unavailable, Corrupt: it cannot be read.
        """
        return self._opened(location, options).head(most, columns)

    def _opened(self, location: str, options: StorageOptions) -> Collection:
        settings = replace(self._settings, storage=options)
        return open_collection(location, settings, is_strangers=True)


def _digest(collection: Collection) -> str | None:
    """Hash what each bucket holds; None where one is an adopted table, which nobody has hashed."""
    if any(bucket.is_adopted for bucket in collection.buckets):
        return None
    held = [
        [bucket.digest, bucket.deleted and bucket.deleted.sha256] for bucket in collection.buckets
    ]
    parts = sorted(json.dumps(each, sort_keys=True) for each in held)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
