"""The versions of a collection: one manifest each, made current by a conditional put."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version as installed
from typing import Any

import msgspec

from atoll.core.errors import Corrupt, NotFound
from atoll.core.records import decoded
from atoll.storage import Storage
from atoll.vectors.leases import Held
from atoll.vectors.model import FORMAT_VERSION, Bucket, Manifest
from atoll.vectors.paths import FOLDER

logger = logging.getLogger(__name__)


def manifest_path(version: int) -> str:
    """Name the object that holds a version."""
    return f"{FOLDER}/manifests/{version:020d}.json"


def load_manifest(storage: Storage, version: int) -> Manifest:
    """Read one version.

    Raises:
        NotFound: there is no such version.
        Corrupt: it does not read as a manifest, or a later Atoll wrote it.
    """
    path = manifest_path(version)
    return _read(storage, path, version, storage.get(path))


def _read(storage: Storage, path: str, version: int, data: bytes) -> Manifest:
    try:
        found = decoded(data, dict[str, Any])["format_version"]
        manifest = decoded(data, Manifest) if found <= FORMAT_VERSION else None
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise Corrupt(
            f"{storage}/{path} is not a manifest ({error}); restore the object from a backup",
            path=path,
        ) from error
    except Corrupt as error:
        raise Corrupt(f"{storage}/{path}: {error.message}", path=path) from error
    if manifest is None:
        raise Corrupt(
            f"{storage}/{path} has format {found}, this Atoll reads up to {FORMAT_VERSION}; "
            "install a newer one",
            path=path,
        )
    if manifest.version != version:
        raise Corrupt(
            f"{storage}/{path} holds version {manifest.version}; copying a manifest does not bring "
            "its version back. Remove the copy",
            path=path,
        )
    return manifest


def latest_manifest(storage: Storage, known: Manifest | None = None) -> Manifest | None:
    """Read the current version; None where there is no collection.

    Args:
        storage: the collection.
        known: a version read before; one read then tells whether a newer one exists.
    """
    current = known or _hinted_manifest(storage)
    while current is not None:
        path = manifest_path(current.version + 1)
        # Every search comes here: what is not there costs no exception.
        if (data := storage.find(path)) is None:
            return current
        current = _read(storage, path, current.version + 1, data)
    return None


def listed_versions(storage: Storage) -> list[int]:
    """List the versions whose manifests are there, ascending."""
    found = (
        re.search(r"/(\d{20})\.json$", entry.path) for entry in storage.list(f"{FOLDER}/manifests")
    )
    return sorted(int(match[1]) for match in found if match)


def oldest_kept(storage: Storage) -> int:
    """Read from which version on nothing was removed by `gc`."""
    try:
        return int(storage.get(f"{FOLDER}/oldest"))
    except (NotFound, ValueError):
        return 1


def put_oldest(storage: Storage, version: int) -> None:
    """Note from which version on nothing is removed."""
    storage.put(f"{FOLDER}/oldest", str(version).encode())


def hinted_version(storage: Storage) -> int | None:
    """Read which version was committed last, or shortly before; None where that is not known."""
    hint = _hint(storage)
    return None if hint is None else hint[0]


def _hint(storage: Storage) -> tuple[int, int, str] | None:
    """Read the version, size in bytes and hash of a manifest; 0 and none where only its version."""
    try:
        version, *rest = storage.get(f"{FOLDER}/hint").decode().split()
        size, digest = rest or ("0", "")
        return int(version), int(size), digest
    except (NotFound, ValueError):
        return None


def _put_hint(storage: Storage, version: int, data: bytes) -> None:
    told = f"{version} {len(data)} {hashlib.sha256(data).hexdigest()}"
    storage.put(f"{FOLDER}/hint", told.encode())


def _hinted_manifest(storage: Storage) -> Manifest | None:
    hint = _hint(storage)
    if hint is None:
        return _listed_manifest(storage)
    version, size, digest = hint
    path = manifest_path(version)
    # A place may have been emptied and used again: only the hash tells that this is still it.
    data = storage.kept(path, 0, size) if size else None
    if data is None or hashlib.sha256(data).hexdigest() != digest:
        try:
            data = storage.get(path)
        except NotFound:
            return _listed_manifest(storage)
        if hashlib.sha256(data).hexdigest() == digest:
            storage.keep(path, 0, data)
    return _read(storage, path, version, data)


def _listed_manifest(storage: Storage) -> Manifest | None:
    versions = listed_versions(storage)
    return load_manifest(storage, versions[-1]) if versions else None


def next_manifest(
    manifest: Manifest, action: str, *, buckets: Sequence[Bucket] | None = None, plan: str = ""
) -> Manifest:
    """Make the manifest that follows another.

    Args:
        manifest: the one before.
        action: what makes it.
        buckets: those that are live then; None keeps them.
        plan: hash of the plan whose result it is.
    """
    return replace(
        manifest,
        version=manifest.version + 1,
        created_at=now(),
        created_by=created_by(),
        buckets=manifest.buckets if buckets is None else tuple(buckets),
        plan=plan,
        action=action,
    )


def now() -> str:
    """Tell the time for a manifest: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def created_by() -> str:
    """Name this Atoll for a manifest."""
    return f"atoll {installed('atoll')}"


def commit_manifest(storage: Storage, manifest: Manifest) -> bool:
    """Make a version current, unless somebody else took its number; then nothing is written."""
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    path = manifest_path(manifest.version)
    # What is there may be our own first attempt, whose answer was lost.
    if not storage.put_new(path, data) and storage.get(path) != data:
        return False
    _put_hint(storage, manifest.version, data)
    logger.info(
        "manifest committed collection=%s version=%d action=%s buckets=%d rows=%d",
        *(storage, manifest.version, manifest.action, len(manifest.buckets), manifest.rows),
    )
    return True


def commit_next(
    storage: Storage,
    manifest: Manifest,
    make: Callable[[Manifest], Manifest],
    lease: Held,
) -> tuple[Manifest, bool]:
    """Commit what follows the version in force, or where somebody else is first, theirs.

    Args:
        storage: the collection.
        manifest: the version read last.
        make: makes the next of a version; that very version where there is nothing to commit.
        lease: must still be held.

    Returns:
        The version in force, and whether it is ours.

    Raises:
        Conflict: the lease has lapsed.
    """
    while (following := make(manifest)) is not manifest:
        lease.require()
        if commit_manifest(storage, following):
            return following, True
        manifest = latest_manifest(storage, manifest) or manifest
    return manifest, False
