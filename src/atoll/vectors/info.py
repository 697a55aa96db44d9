"""What a collection says of itself."""

from __future__ import annotations

from typing import Any

from atoll.vectors import drift, partitions
from atoll.vectors.model import Bucket, Calibration, CollectionSpec, Manifest, PartitionChoice


def facts(
    uri: str, manifest: Manifest, known: Calibration | None, choice: PartitionChoice | None
) -> dict[str, Any]:
    """Describe a version: JSON-ready; see `Collection.info`.

    Args:
        uri: of the collection.
        manifest: the version.
        known: its calibration, if there is one.
        choice: how the number of partitions was chosen, if it was.
    """
    spec = manifest.spec
    return {
        "uri": uri,
        "version": manifest.version,
        "created_at": manifest.created_at,
        "rows": manifest.rows,
        "dim": spec.dim,
        "dtype": spec.dtype,
        "distance_type": spec.distance_type,
        "vector_column": spec.vector_column,
        "id_column": spec.id_column,
        "columns": spec.columns,
        "embedder": None if spec.embedder is None else vars(spec.embedder),
        "index": vars(spec.index),
        "indexed": list(manifest.indexed),
        "recall": _of_recall(manifest, known),
        "partitions": None if choice is None else partitions.facts(choice),
        "buckets": [_of_bucket(uri, spec, bucket) for bucket in manifest.buckets],
    }


def _of_bucket(uri: str, spec: CollectionSpec, bucket: Bucket) -> dict[str, Any]:
    return {
        "name": bucket.name,
        "table": f"{uri}/{bucket.name}.lance",
        "rows": bucket.rows,
        "deleted": bucket.deleted_rows,
        "skipped": bucket.skipped,
        "rounding_error": bucket.rounding_error,
        "index": vars(spec.index_of(bucket)),
        "adopted": bucket.is_adopted,
        "sources": [
            {"uri": part.uri, "start": part.start, "stop": part.stop} for part in bucket.sources
        ],
    }


def _of_recall(manifest: Manifest, known: Calibration | None) -> dict[str, Any] | None:
    """Describe what is known of recall; None where tables have no model of ours."""
    if any(bucket.model is None for bucket in manifest.buckets):
        return None
    advice = drift.advise(known, manifest.rows, [bucket.name for bucket in manifest.buckets])
    found: dict[str, Any] = {"advice": advice.action, "why": advice.why}
    if known is not None:
        found["defaults"] = vars(drift.at_defaults(known))
        found |= {name: getattr(known, name) for name in ("created_at", "queries", "rows")}
        found["drift"] = [vars(each) for each in known.drift]
        found["spread"] = known.spread
        found["wanted_bits"] = drift.wanted_bits(known, manifest.spec.index)
    return found
