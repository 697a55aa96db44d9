"""Builders, readers and collectors of one collection at the same time."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest
from vectordata import clustered, gaussian, names, objects_of, settings, tables_of, write_h5

import atoll
from atoll.storage import open_storage
from atoll.vectors import build, garbage, leases, manifests, planning, store


def created(folder, source, **options):
    options = {"workers": 1, "bucket_rows": 100, "settings": settings(folder / "s")} | options
    return atoll.create(folder / "c", source, **options)


def at_once(*actions):
    """Run actions in threads that start together; return what each returned or raised."""
    results, gate = [None] * len(actions), threading.Barrier(len(actions))

    def run(number, action):
        gate.wait()
        try:
            results[number] = action()
        except atoll.AtollError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=item) for item in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def let_writers_meet(monkeypatch):
    """Hold writes of tables until two writers are about to commit the same one."""
    gate, original = threading.Barrier(2), store.commit_table

    def wait_for_the_other(*arguments):
        if not gate.broken:
            with suppress(threading.BrokenBarrierError):
                gate.wait(5)
        return original(*arguments)

    monkeypatch.setattr(store, "commit_table", wait_for_the_other)


@pytest.mark.parametrize("index", ["rabitq", "ivf_pq", "flat"])
def test_two_creators_of_one_plan_both_end_well_with_one_result(tmp_path, monkeypatch, index):
    source = write_h5(tmp_path / "x.h5", clustered(300, 16))
    let_writers_meet(monkeypatch)
    one, two = at_once(*[lambda: created(tmp_path, source, index=index)] * 2)
    assert not [each for each in (one, two) if isinstance(each, Exception)]
    assert one.version == two.version == 1
    assert [b.version for b in one.buckets] == [b.version for b in two.buckets]
    assert len(tables_of(tmp_path / "c")) == 3
    for bucket in one.buckets:
        tags = store.open_table(one._storage, bucket.name).tags.list()
        assert tags[f"atoll-{bucket.version}"]["version"] == bucket.version
    assert one.verify().is_clean
    assert one.search(clustered(300, 16)[:1], k=1)["id"].to_pylist() == ["p00000"]
    assert not list(tmp_path.glob("c/_atoll/leases/*"))


def test_of_two_creators_of_different_plans_one_wins_and_nothing_of_the_other_is_live(tmp_path):
    vectors = clustered(300, 16)
    one = write_h5(tmp_path / "1.h5", vectors)
    two = write_h5(tmp_path / "2.h5", vectors[:150], names(150, 500))
    found = at_once(lambda: created(tmp_path, one), lambda: created(tmp_path, two))
    (winner,) = [each for each in found if isinstance(each, atoll.Collection)]
    (loser,) = [each for each in found if isinstance(each, atoll.AtollError)]
    assert isinstance(loser, atoll.Conflict)
    assert len(winner) in (150, 300)
    assert winner.verify().is_clean
    atoll.open(tmp_path / "c").gc()
    assert sorted(bucket.name for bucket in winner.buckets) == tables_of(tmp_path / "c")
    assert winner.verify().is_clean


def test_the_loser_of_a_race_is_told_that_nothing_of_it_is_live(tmp_path, monkeypatch):
    """The other's manifest is committed after this create has looked for one."""
    vectors = clustered(300, 16)
    two = write_h5(tmp_path / "2.h5", vectors, names(300, 500))
    original = manifests.commit_manifest

    def after_the_other(storage, manifest):
        monkeypatch.setattr(manifests, "commit_manifest", original)
        created(tmp_path, write_h5(tmp_path / "1.h5", vectors), force=True)
        return original(storage, manifest)

    monkeypatch.setattr(manifests, "commit_manifest", after_the_other)
    with pytest.raises(atoll.Conflict, match=r"ended first.*what this one made is not"):
        created(tmp_path, two)
    assert atoll.open(tmp_path / "c").get(["p00299"])["id"].to_pylist() == ["p00299"]


def test_two_adders_at_once_are_both_there(tmp_path):
    collection = created(tmp_path, write_h5(tmp_path / "0.h5", clustered(100, 16)))
    more = [write_h5(tmp_path / f"{n}.h5", gaussian(50, 16, n), names(50, n * 100)) for n in (1, 2)]
    handles = [atoll.open(tmp_path / "c", settings=settings(tmp_path / "s")) for _ in more]
    results = at_once(
        *[lambda h=h, f=f: h.add(f, workers=1) for h, f in zip(handles, more, strict=True)]
    )
    assert not [each for each in results if isinstance(each, Exception)]
    collection.refresh()
    assert (collection.version, len(collection)) == (3, 200)
    assert collection.get([*names(50, 100), *names(50, 200)]).num_rows == 100


def test_a_thread_that_is_overtaken_while_it_looks_does_not_go_back(tmp_path, monkeypatch):
    reader = created(tmp_path, write_h5(tmp_path / "0.h5", clustered(100, 16)))
    writer = atoll.open(tmp_path / "c", settings=settings(tmp_path / "s"))
    look = manifests.latest_manifest

    def overtaken(*given):
        found = look(*given)
        monkeypatch.setattr(manifests, "latest_manifest", look)
        writer.delete(names(1))
        reader.refresh()
        return found

    writer.delete(names(1, 1))
    monkeypatch.setattr(manifests, "latest_manifest", overtaken)
    reader.refresh()
    assert (reader.version, len(reader)) == (3, 98)


def test_two_adders_of_the_same_file_add_it_once(tmp_path, monkeypatch):
    collection = created(tmp_path, write_h5(tmp_path / "0.h5", clustered(100, 16)), index="flat")
    more = write_h5(tmp_path / "1.h5", gaussian(50, 16), names(50, 100))
    handles = [atoll.open(tmp_path / "c", settings=settings(tmp_path / "s")) for _ in range(2)]
    let_writers_meet(monkeypatch)
    results = at_once(*[lambda handle=handle: handle.add(more, workers=1) for handle in handles])
    assert not [each for each in results if isinstance(each, Exception)]
    collection.refresh()
    assert (collection.version, len(collection)) == (2, 150)


@pytest.mark.parametrize("on_duplicate", ["error", "skip"])
def test_an_adder_looks_again_at_ids_that_another_added_meanwhile(
    tmp_path, monkeypatch, on_duplicate
):
    collection = created(tmp_path, write_h5(tmp_path / "0.h5", clustered(100, 16)))
    one = write_h5(tmp_path / "1.h5", gaussian(30, 16), names(30, 100))
    two = write_h5(tmp_path / "2.h5", gaussian(30, 16), names(30, 120))
    original = manifests.commit_manifest

    def after_the_other(storage, manifest):
        monkeypatch.setattr(manifests, "commit_manifest", original)
        atoll.open(tmp_path / "c").add(one, workers=1)
        return original(storage, manifest)

    monkeypatch.setattr(manifests, "commit_manifest", after_the_other)
    if on_duplicate == "error":
        with pytest.raises(atoll.InvalidInput, match="10 duplicate ids"):
            collection.add(two, workers=1)
        assert len(atoll.open(tmp_path / "c")) == 130
    else:
        collection.add(two, workers=1, on_duplicate="skip")
        assert len(collection) == 150
        assert collection.get(names(150))["id"].to_pylist() == names(150)
    assert atoll.open(tmp_path / "c").verify().is_clean


def test_garbage_is_not_collected_while_a_build_runs_and_the_other_way_round(tmp_path):
    source = write_h5(tmp_path / "x.h5", clustered(100, 16))
    collection = created(tmp_path, source)
    before = objects_of(tmp_path / "c")
    more = write_h5(tmp_path / "y.h5", gaussian(9, 16), names(9, 900))
    for kind, excluded in (("build", collection.gc), ("gc", lambda: collection.add(more))):
        with (
            leases.hold(collection._storage, kind),
            pytest.raises(atoll.Conflict, match=f"is in use by {kind}, process"),
        ):
            excluded()
    after = objects_of(tmp_path / "c")
    assert after == before


def test_garbage_collection_that_was_killed_midway_is_no_trouble(tmp_path, monkeypatch):
    """The table goes first, so that its claim outlives it; the next build must see through that."""
    source = write_h5(tmp_path / "x.h5", clustered(100, 16))
    collection = created(tmp_path, source)
    collection.drop_bucket(collection.buckets[0].name)

    class Killed(BaseException):
        pass

    deleted, original = [], type(collection._storage).delete

    def die_after_the_table(storage, path):
        if path.startswith("_atoll/b"):
            raise Killed
        deleted.append(path)
        original(storage, path)

    with monkeypatch.context() as patch:
        patch.setattr(type(collection._storage), "delete", die_after_the_table)
        with pytest.raises(Killed):
            garbage.collect(collection._storage, dry_run=False)
    assert any(path.startswith("bucket_") for path in deleted)
    collection.add(source, workers=1)
    assert collection.verify().is_clean
    assert collection.search(clustered(100, 16)[:1], k=1)["id"].to_pylist() == ["p00000"]


def test_a_handle_sees_what_others_add_and_drop(tmp_path):
    reader = created(tmp_path, write_h5(tmp_path / "x.h5", clustered(100, 16)))
    writer = atoll.open(tmp_path / "c")
    far = write_h5(tmp_path / "y.h5", gaussian(1, 16) * 100, ["far"])
    writer.add(far, workers=1)
    assert reader.search(gaussian(1, 16), k=1)["id"].to_pylist() == ["far"]
    writer.drop_bucket(writer.buckets[-1].name)
    assert "far" not in reader.search(gaussian(1, 16), k=100)["id"].to_pylist()


def test_searches_go_on_while_buckets_are_added(tmp_path):
    vectors = clustered(400, 16)
    collection = created(tmp_path, write_h5(tmp_path / "0.h5", vectors[:100]))
    reader, seen, done = atoll.open(tmp_path / "c"), [], threading.Event()

    def search():
        while not done.is_set():
            seen.append(reader.search(vectors[:2], k=500).num_rows)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        for at in (100, 200, 300):
            file = write_h5(tmp_path / f"{at}.h5", vectors[at : at + 100], names(100, at))
            collection.add(file, workers=1)
    finally:
        done.set()
        thread.join()
    assert set(seen) <= {200, 400, 600, 800}
    assert seen == sorted(seen)


def test_a_commit_is_refused_once_the_builds_lease_has_lapsed(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", -1.0)
    with pytest.raises(atoll.Unavailable, match="run the same command again"):
        created(tmp_path, write_h5(tmp_path / "x.h5", clustered(50, 16)))
    monkeypatch.undo()
    assert manifests.latest_manifest(open_storage(tmp_path / "c")) is None
    assert created(tmp_path, tmp_path / "x.h5").version == 1


def test_add_does_not_put_its_buckets_into_another_collection(tmp_path):
    """A collection replaced while an add went on has another schema, distance and model."""
    first = write_h5(tmp_path / "x.h5", clustered(100, 16))
    more = write_h5(tmp_path / "y.h5", clustered(50, 16, seed=1), names(50, 1000))
    collection = created(tmp_path, first)
    before, spec = collection._manifest, collection.spec
    options = atoll.BuildOptions(workers=1)
    mine = settings(tmp_path / "s")
    planned = planning.plan(tmp_path / "c", [more], options=options, settings=mine, into=spec)
    created(tmp_path, first, distance_type="l2", force=True)
    with pytest.raises(atoll.Conflict, match="was replaced by another collection"):
        build.add(planned, before, settings=mine, executor=None, on_progress=print)
    found = atoll.open(tmp_path / "c")
    assert (found.version, len(found), found.spec.distance_type) == (2, 100, "l2")
