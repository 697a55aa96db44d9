from __future__ import annotations

import json
import uuid
from dataclasses import replace

import pytest

from atoll.core.errors import Corrupt
from atoll.storage import Storage, count_usage, open_storage
from atoll.vectors import blobs, manifests
from atoll.vectors.garbage import collect
from atoll.vectors.model import Blob, Bucket, CollectionSpec, IndexSpec, Manifest, SourceSlice

SPEC = CollectionSpec(
    dim=2, dtype="float32", distance_type="l2", vector_column="embedding", id_column="id",
    columns={"length": "int64"}, arrow_schema="", embedder=None, index=IndexSpec("rabitq", 3),
)  # fmt: skip
BUCKET = Bucket(
    name="bucket_00000_0", version=1, stored_rows=7, skipped=1, digest={"id": "x"}, plan="p",
    model="m", layout=Blob("o", 1, "h"), ids=Blob("i", 2, "h"), names=Blob("n", 2, "h"),
    sources=(SourceSlice("a.h5", "v", 0, 8),),
)  # fmt: skip


def manifest(version=1, **changes):
    made = Manifest(version, "2026-01-01", SPEC, {"m": Blob("b", 1, "h")}, "m", (BUCKET,))
    return replace(made, **changes)


@pytest.fixture
def storage():
    return open_storage(f"memory://{uuid.uuid4().hex}")


def test_a_manifest_reads_as_it_was_written(storage):
    assert manifests.commit_manifest(storage, manifest())
    assert manifests.load_manifest(storage, 1) == manifest()
    assert manifests.latest_manifest(storage).rows == 7


def test_of_two_writers_of_one_number_the_second_changes_nothing(storage):
    assert manifests.commit_manifest(storage, manifest(created_by="first"))
    assert not manifests.commit_manifest(storage, manifest(created_by="second"))
    assert manifests.latest_manifest(storage).created_by == "first"


def test_a_commit_whose_answer_was_lost_is_recognised(storage):
    assert manifests.commit_manifest(storage, manifest())
    assert manifests.commit_manifest(storage, manifest())


@pytest.mark.parametrize(
    "hint", [None, b"1", b"2", b"3", b"99", b"rubbish", b"", b"2 7", b"2 7 x", b"\xff"]
)
def test_the_newest_manifest_is_found_whatever_the_hint_says(storage, hint):
    for version in (1, 2, 3):
        manifests.commit_manifest(storage, manifest(version))
    storage.delete("_atoll/hint")
    if hint is not None:
        storage.put("_atoll/hint", hint)
    assert manifests.latest_manifest(storage).version == 3


def test_a_known_manifest_costs_one_read_to_confirm(storage):
    for version in (1, 2):
        manifests.commit_manifest(storage, manifest(version))
    with count_usage() as usage:
        assert manifests.latest_manifest(storage, manifest(2)) == manifest(2)
    assert (usage.reads, usage.bytes_read) == (1, 0)


@pytest.fixture
def kept(monkeypatch):
    """A disk cache, as a dict by path."""
    found = {}
    monkeypatch.setattr(Storage, "keep", lambda _, path, start, data: found.update({path: data}))
    monkeypatch.setattr(Storage, "kept", lambda _, path, start, length: found.get(path))
    return found


def test_a_kept_manifest_is_taken_only_where_its_hash_is_the_hints(storage, kept):
    manifests.commit_manifest(storage, manifest(created_by="first"))
    manifests.latest_manifest(storage)
    assert list(kept) == [manifests.manifest_path(1)]
    with count_usage() as usage:
        assert manifests.latest_manifest(storage).created_by == "first"
    assert usage.reads == 2
    # The place is emptied, and another collection made there.
    storage.delete(manifests.manifest_path(1))
    manifests.commit_manifest(storage, manifest(created_by="other"))
    assert manifests.latest_manifest(storage).created_by == "other"


def test_a_kept_manifest_leads_to_the_newest_one_after_gc_too(storage, kept):
    manifests.commit_manifest(storage, manifest())
    manifests.latest_manifest(storage)
    hint = storage.get("_atoll/hint")
    for version in (2, 3):
        manifests.commit_manifest(storage, manifest(version, buckets=()))
    collect(storage, keep_versions=1, dry_run=False)
    # As its writer leaves it that was held up since version 1.
    storage.put("_atoll/hint", hint)
    assert manifests.manifest_path(1) in kept
    assert manifests.latest_manifest(storage).version == 3


def test_a_kept_manifest_is_not_taken_once_it_was_removed_as_the_docs_say(storage, kept):
    for version in (1, 2):
        manifests.commit_manifest(storage, manifest(version))
    assert manifests.latest_manifest(storage).version == 2
    assert manifests.manifest_path(2) in kept
    storage.delete("_atoll/hint")
    storage.delete(manifests.manifest_path(2))
    assert manifests.latest_manifest(storage).version == 1


def test_where_nothing_is_there_is_no_manifest(storage):
    assert manifests.latest_manifest(storage) is None
    storage.put("_atoll/manifests/notes.txt", b"x")
    assert manifests.latest_manifest(storage) is None


def test_a_manifest_of_a_later_format_asks_for_a_newer_atoll(storage):
    manifests.commit_manifest(storage, manifest(format_version=99))
    with pytest.raises(Corrupt, match=r"format 99, this Atoll reads up to \d+; install a newer"):
        manifests.latest_manifest(storage)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"format_version": 1}', b"\xff"])
def test_what_is_no_manifest_is_named(storage, data):
    storage.put(manifests.manifest_path(1), data)
    with pytest.raises(Corrupt, match=r"0000001\.json is not a manifest"):
        manifests.latest_manifest(storage)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ("bucket_00000_0", ".."),
        ("bucket_00000_0", "../c"),
        ("bucket_00000_0", "/etc/c"),
        ('"o"', '"/home/me/thesis"'),
        ('"n"', '"_atoll/../../thesis"'),
        ('"b"', '""'),
    ],
)
def test_what_leads_out_of_the_collection_is_refused(storage, mine, theirs):
    manifests.commit_manifest(storage, manifest())
    path = manifests.manifest_path(1)
    storage.put(path, storage.get(path).replace(mine.encode(), theirs.encode()))
    with pytest.raises(Corrupt, match=r"0000001\.json: .* is no (name of a bucket|path inside)"):
        manifests.latest_manifest(storage)


def test_fields_of_a_later_minor_version_are_passed_over(storage):
    manifests.commit_manifest(storage, manifest())
    data = json.loads(storage.get(manifests.manifest_path(1)))
    storage.put(manifests.manifest_path(1), json.dumps(data | {"new": 1}).encode())
    assert manifests.latest_manifest(storage) == manifest()


def test_a_blob_is_held_against_its_hash(storage):
    blob = blobs.put_blob(storage, "blobs", b"content")
    assert blobs.get_blob(storage, blob) == b"content"
    storage.put(blob.path, b"c0ntent")
    with pytest.raises(Corrupt, match="has changed"):
        blobs.get_blob(storage, blob)
    storage.delete(blob.path)
    with pytest.raises(Corrupt, match="is missing"):
        blobs.get_blob(storage, blob)


def test_a_copied_manifest_is_refused_as_such(storage):
    manifests.commit_manifest(storage, manifest())
    storage.put(manifests.manifest_path(2), storage.get(manifests.manifest_path(1)))
    with pytest.raises(Corrupt, match="holds version 1; copying a manifest"):
        manifests.latest_manifest(storage)
