"""Objects of a collection that were cut, altered or lost: named, and the rest still answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from vectordata import clustered, names, settings, write_h5

import atoll
from atoll.core.records import decoded
from atoll.storage import open_storage
from atoll.vectors import blobs, byteranges
from atoll.vectors.model import Issue, Manifest

ROWS, DIM = 300, 16
ATOLL = str(Path(sys.executable).with_name("atoll"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound collection of three buckets, to be copied and damaged."""
    folder = tmp_path_factory.mktemp("sound")
    return atoll.create(
        folder / "c",
        write_h5(folder / "x.h5", clustered(ROWS, DIM)),
        bucket_rows=100,
        num_partitions=4,
        workers=1,
        settings=settings(folder / "scratch"),
    )


@pytest.fixture
def place(sound, tmp_path):
    return Path(shutil.copytree(sound.uri.removeprefix("file://"), tmp_path / "c"))


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Waiting between attempts proves nothing here."""
    monkeypatch.setattr("atoll.vectors.mapreduce.RETRY_SECONDS", 0)


def data_file(place, bucket):
    (path,) = (place / f"{bucket.name}.lance" / "data").iterdir()
    return path


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def forget_versions(path):
    shutil.rmtree(path.parent.parent / "_versions")


def remove_table(path):
    shutil.rmtree(path.parent.parent)


DAMAGES = [truncate, empty, Path.unlink, forget_versions, remove_table]


@pytest.mark.parametrize("damage", [d for d in DAMAGES if d is not forget_versions])
@pytest.mark.parametrize("options", [{}, {"exact": True}, {"where": "id > 'p'"}])
def test_a_bucket_that_cannot_be_read_is_named_and_the_others_answer(place, sound, damage, options):
    victim = sound.buckets[1]
    damage(data_file(place, victim))
    collection = atoll.open(place)
    with pytest.raises(atoll.Incomplete, match=victim.name) as error:
        collection.search(clustered(2, DIM), k=ROWS, **options)
    assert error.value.exit_code == 3
    assert error.value.details == {"buckets": [victim.name], "rows": 100}
    partial = collection.search(clustered(2, DIM), k=ROWS, allow_partial=True, **options)
    assert partial.num_rows == 400
    assert partial.equals(error.value.partial)
    facts = json.loads(partial.schema.metadata[b"atoll"])
    assert list(facts["failed_buckets"]) == [victim.name]


def test_a_table_without_versions_still_answers_but_for_predicates_and_columns(place, sound):
    victim = sound.buckets[1]
    forget_versions(data_file(place, victim))
    collection = atoll.open(place)
    assert collection.search(clustered(1, DIM), k=ROWS).num_rows == ROWS
    with pytest.raises(atoll.Incomplete, match=victim.name):
        collection.search(clustered(1, DIM), k=ROWS, where="id > 'p'")


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_names_the_bucket_that_cannot_be_read(place, sound, damage):
    victim = sound.buckets[1]
    damage(data_file(place, victim))
    report = atoll.open(place).verify()
    assert not report.is_clean
    assert {issue.bucket for issue in report.issues} == {victim.name}


def test_verify_finds_a_single_altered_bit(place, sound):
    victim = sound.buckets[2]
    path = data_file(place, victim)
    data = bytearray(path.read_bytes())
    vector = atoll.open(place).get([names(ROWS)[299]])["embedding"].combine_chunks().flatten()
    at = data.index(np.asarray(vector).tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    (issue,) = atoll.open(place).verify().issues
    assert issue.bucket == victim.name
    assert "'embedding' is not what was written" in issue.what


def test_verify_finds_rows_that_are_not_there(place, sound):
    """A manifest that promises more than its table holds."""
    path = sorted((place / "_atoll" / "manifests").iterdir())[-1]
    manifest = json.loads(path.read_text())
    manifest["buckets"][0]["stored_rows"] += 1
    path.write_text(json.dumps(manifest))
    (issue,) = atoll.open(place).verify().issues
    assert (issue.bucket, "holds 100 rows, the manifest says 101") == (
        sound.buckets[0].name,
        issue.what,
    )


@pytest.mark.parametrize(
    ("damage", "words"), [(Path.unlink, "is missing"), (truncate, "has changed")]
)
def test_a_lost_or_altered_layout_fails_its_bucket(place, sound, damage, words):
    victim = sound.buckets[0]
    damage(place / victim.layout.path)
    collection = atoll.open(place)
    with pytest.raises(atoll.Incomplete, match=f"{victim.layout.path} {words}"):
        collection.search(clustered(1, DIM))
    for exact in (False, True):
        found = collection.search(clustered(1, DIM), k=ROWS, exact=exact, allow_partial=True)
        assert found.num_rows == 200
    (issue,) = collection.verify().issues
    assert victim.layout.path in issue.what


@pytest.mark.parametrize(
    ("damage", "words"), [(Path.unlink, "is missing"), (truncate, "has changed")]
)
def test_a_lost_or_altered_model_is_named(place, sound, damage, words):
    (model,) = sound._manifest.models.values()
    damage(place / model.path)
    collection = atoll.open(place)
    with pytest.raises(atoll.Corrupt, match=f"{model.path} {words}"):
        collection.search(clustered(1, DIM))
    assert collection.search(clustered(1, DIM), k=ROWS, exact=True).num_rows == ROWS
    assert [issue.bucket for issue in collection.verify().issues] == [""]


def test_a_lost_id_index_is_named_by_get_and_verify(place, sound):
    (place / sound.buckets[1].ids.path).unlink()
    collection = atoll.open(place)
    with pytest.raises((atoll.NotFound, atoll.Corrupt), match=sound.buckets[1].ids.path):
        collection.get(["p00000"])
    assert len(collection.verify().issues) == 1


def altered(place, **changes):
    """Name other objects in the first bucket's entry: sound ones, of another bucket."""
    path = sorted((place / "_atoll" / "manifests").iterdir())[-1]
    manifest = decoded(path.read_bytes(), Manifest)
    first, *others = manifest.buckets
    manifest = replace(manifest, buckets=(replace(first, **changes), *others))
    path.write_bytes(msgspec.json.encode(manifest))


def test_verify_finds_an_id_index_that_is_sound_but_of_other_rows(place, sound):
    first, second, _ = sound.buckets
    altered(place, ids=second.ids)
    assert atoll.open(place).verify().issues == (
        Issue(first.name, "its id index does not lead to its rows"),
    )


def test_verify_finds_kept_ids_that_are_sound_but_of_other_rows(place, sound):
    first, second, _ = sound.buckets
    storage = open_storage(place)
    mine, other = (blobs.get_layout(storage, bucket.layout) for bucket in (first, second))
    layout = blobs.put_layout(storage, replace(mine, names=other.names))
    altered(place, names=second.names, layout=layout)
    assert atoll.open(place).verify().issues == (
        Issue(first.name, "the ids kept for searches are not its rows', first of row 0"),
    )


def test_where_no_bucket_answers_the_reason_is_the_error(place, sound):
    for bucket in sound.buckets:
        data_file(place, bucket).unlink()
    for allow_partial in (False, True):
        with pytest.raises(atoll.Corrupt, match=r"\.lance"):
            atoll.open(place).search(clustered(1, DIM), allow_partial=allow_partial)


def test_a_failure_that_passes_is_not_noticed(place, monkeypatch):
    failures, original = iter([1, 2]), byteranges.get_rows

    def fail_twice(*given):
        if next(failures, None):
            raise atoll.Unavailable("the store hiccuped")
        return original(*given)

    monkeypatch.setattr(byteranges, "get_rows", fail_twice)
    assert atoll.open(place).search(clustered(1, DIM), k=5).num_rows == 5


def test_the_command_line_writes_the_partial_answer_and_exits_with_3(place, sound, tmp_path):
    np.save(tmp_path / "q.npy", clustered(1, DIM))
    data_file(place, sound.buckets[1]).unlink()
    for allowed, code in (([], 3), (["--allow-partial"], 0)):
        done = subprocess.run(
            [ATOLL, "search", place, tmp_path / "q.npy", "-k", "500", *allowed],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        assert len(done.stdout.splitlines()) == 201
        assert sound.buckets[1].name in done.stderr
    done = subprocess.run([ATOLL, "verify", place], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"FAULT {sound.buckets[1].name}" in done.stdout
