"""Collections of an object store that were warmed: searches that ask it for nothing at all."""

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commandline import atoll as command
from commandline import ended, kill_midway, must, start, steps_of
from s3_proxy import proxied
from vectordata import clustered, gaussian, hit_ids, settings, write_parquet

import atoll
from atoll.core.errors import InvalidInput, Unavailable
from atoll.storage import count_usage
from atoll.vectors import byteranges, layout, service, warming
from atoll.vectors import collection as collections

ROWS, DIM = 800, 24
VECTORS = clustered(ROWS, DIM)
NOVEL = gaussian(12, DIM, seed=9)
HOUR = 3600.0
KINDS = {
    "rabitq": {"index": "rabitq"},
    "int8": {"index": "rabitq", "dtype": "int8"},
    "flat": {"index": "flat"},
}


@pytest.fixture(scope="module")
def server(moto_s3):
    """A store behind a proxy that counts by itself."""
    with proxied(moto_s3) as found:
        yield found


@pytest.fixture(scope="module")
def made(server, tmp_path_factory):
    """The same collection in the store and in a folder, rows deleted, of each kind of index."""
    scratch = tmp_path_factory.mktemp("made")
    reach = settings(scratch, storage=server[0].options())
    source = write_parquet(scratch / "x.parquet", VECTORS)
    found = {}
    for kind, options in KINDS.items():
        pair = server[0].new_bucket() + "/c", scratch / kind
        for place in pair:
            atoll.create(
                place, source, bucket_rows=200, workers=1, settings=reach, calibrate=False,
                **({"num_partitions": 8} if kind != "flat" else {}), **options,
            ).delete(["p00003", "p00777"])  # fmt: skip
        found[kind] = pair
    return found, reach


@pytest.fixture
def far(made, tmp_path):
    """Where the one by our own index is, and settings with a cache of its own."""
    places, reach = made
    return places["rabitq"][0], replace(
        reach, disk_cache=tmp_path / "kept", read_consistency_s=HOUR
    )


def warmed(url, reach):
    """A handle of a process that finds the cache warm."""
    atoll.open(url, settings=reach).warm(vectors=True)
    return atoll.open(url, settings=reach)


def answers(collection, **options):
    """What novel queries find, each asked alone: all but how long it took."""
    found = [collection.search(query[None], **{"k": 7} | options) for query in NOVEL]
    return [hits.replace_schema_metadata(None).to_pydict() for hits in found]


def entries(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_warmed_collection_asks_nothing_and_finds_what_a_folder_finds(
    made, server, tmp_path, monkeypatch, kind, exact
):
    # So that a page makes several chunks, the last one shorter.
    monkeypatch.setattr(layout, "CHUNK_BYTES", 1500)
    (far, near), reach = made[0][kind], made[1]
    collection = warmed(far, replace(reach, disk_cache=tmp_path / "kept", read_consistency_s=HOUR))
    server[1].forget()
    with count_usage() as usage:
        found = answers(collection, exact=exact)
    assert (usage.reads, sum(server[1].requests.values())) == (0, 0)
    assert found == answers(atoll.open(near), exact=exact)


def test_without_an_interval_each_search_looks_once_for_a_newer_version(far, server):
    url, reach = far
    collection = warmed(url, replace(reach, read_consistency_s=0.0))
    server[1].forget()
    answers(collection)
    assert server[1].requests == {"get": len(NOVEL)}


def test_many_queries_of_one_call_ask_nothing_either(far):
    collection = warmed(*far)
    with count_usage() as usage:
        together = hit_ids(collection.search(VECTORS, k=20, nprobes=8, refine_factor=30))
    assert usage.reads == 0
    assert [names[0] for names in together[4:20]] == [f"p{n:05d}" for n in range(4, 20)]


def test_what_is_kept_is_not_read_again(far):
    url, reach = far
    collection = atoll.open(url, settings=reach)
    told = []
    everything = collection.warm(vectors=True, on_progress=told.append).bytes_read
    assert everything > VECTORS.nbytes
    assert [step.done for step in told] == sorted({step.done for step in told})
    assert told[-1].done == told[-1].total > VECTORS.nbytes
    assert collection.warm(vectors=True).bytes_read == 0
    gone = entries(reach.disk_cache)[::2]
    for path in gone:
        path.unlink()
    # Also by a handle that has read some of it before, and holds that in memory.
    again = collection.warm(vectors=True).bytes_read
    assert 0 < again < everything
    assert atoll.open(url, settings=reach).warm(vectors=True).bytes_read == 0
    shutil.rmtree(reach.disk_cache)
    assert collection.warm(vectors=True).bytes_read == everything


def test_no_round_holds_more_pieces_than_the_cache_takes_or_more_bytes_than_fit():
    # The first ones large, so that rounds by bytes and by number begin at different pieces.
    length = np.repeat([48 << 10, 20 << 10], 8000)
    file, start = np.zeros(16_000, np.int64), np.cumsum(length) - length
    pieces = warming._Pieces(["x"], file, start, length)
    rounds = list(pieces.rounds())
    assert max(len(each.length) for each in rounds) <= byteranges.MAX_KEPT_PIECES
    assert max(sum(each.lengths) for each in rounds) <= warming.BYTES_AT_ONCE + length.max()
    assert np.concatenate([each.start for each in rounds]).tolist() == start.tolist()


def test_a_damaged_chunk_is_read_from_the_store_and_mended_by_warming(far):
    url, reach = far
    plain = answers(warmed(url, reach))
    for path in entries(reach.disk_cache):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    collection = atoll.open(url, settings=reach)
    with count_usage() as usage:
        assert answers(collection) == plain
    assert usage.reads > 0
    assert atoll.open(url, settings=reach).warm(vectors=True).gets > 0
    collection = atoll.open(url, settings=reach)
    with count_usage() as usage:
        assert answers(collection) == plain
    assert usage.reads == 0


def test_a_cache_that_may_not_hold_it_all_is_refused_before_anything_is_read(far):
    url, reach = far
    atoll.open(url, settings=reach).warm(vectors=True)
    size = sum(-(-path.stat().st_size // 4096) * 4096 for path in entries(reach.disk_cache))
    shutil.rmtree(reach.disk_cache)
    small = replace(reach, disk_cache_bytes=size)
    with pytest.raises(InvalidInput, match=r"takes .* on disk.* disk_cache_bytes \(ATOLL_") as told:
        atoll.open(url, settings=small).warm(vectors=True)
    assert sum(path.stat().st_size for path in entries(reach.disk_cache)) < VECTORS.nbytes / 4
    enough = replace(reach, disk_cache_bytes=told.value.details["needed_bytes"])
    assert answers(warmed(url, enough)) == answers(atoll.open(url, settings=reach))


def test_a_large_entry_counts_against_the_limit_of_one(far, made, tmp_path):
    url, reach = far
    vectors = gaussian(3000, 128)
    source = write_parquet(tmp_path / "wide.parquet", vectors)
    url = url + "-wide"
    atoll.create(url, source, workers=1, settings=made[1], index="flat", calibrate=False)
    # The whole is 1.5 MB, a single chunk, of which a cache of 8 MB holds no half.
    with pytest.raises(InvalidInput, match="disk_cache_bytes") as told:
        atoll.open(url, settings=replace(reach, disk_cache_bytes=8 << 20)).warm(vectors=True)
    assert told.value.details["needed_bytes"] > 16 * vectors.nbytes


def test_a_disk_without_room_is_refused_and_one_that_fails_is_told(far, monkeypatch):
    url, reach = far
    usage = shutil.disk_usage(Path.cwd())
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
        with pytest.raises(Unavailable, match=r"left for .*free some room"):
            atoll.open(url, settings=reach).warm(vectors=True)

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(Unavailable, match="not in the disk cache"):
        atoll.open(url, settings=reach).warm(vectors=True)


@pytest.mark.parametrize("where", ["here", "off"])
def test_where_nothing_is_kept_vectors_are_not_read(made, where):
    (far, near), reach = made[0]["rabitq"], made[1]
    collection = atoll.open(near if where == "here" else far, settings=reach)
    with pytest.raises(InvalidInput, match="lies on this machine, or disk_cache is off"):
        collection.warm(vectors=True)


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def at_home(far, monkeypatch, tmp_path):
    """The environment of a command that keeps what it reads in a folder of its own."""
    url, reach = far
    options = reach.storage
    for name, value in {
        "HOME": str(tmp_path),
        "ATOLL_ENDPOINT": options.endpoint,
        "ATOLL_ALLOW_HTTP": "1",
        "ATOLL_DISK_CACHE": str(reach.disk_cache),
        "AWS_ACCESS_KEY_ID": options.access_key_id,
        "AWS_SECRET_ACCESS_KEY": options.secret_access_key,
    }.items():
        monkeypatch.setenv(name, value)
    return url, reach


def test_the_command_says_what_it_read_and_what_it_cannot(at_home, monkeypatch):
    url, reach = at_home
    said = must("warm", url, "--vectors")
    assert f"bytes; kept in {reach.disk_cache}" in said
    assert must("warm", url, "--vectors", "-q").startswith("0 reads of 0 bytes")
    monkeypatch.setenv("ATOLL_DISK_CACHE_BYTES", "100K")
    done = command("warm", url, "--vectors")
    assert (done.code, "ATOLL_DISK_CACHE_BYTES" in done.err) == (1, True)


def test_killed_at_any_time_it_goes_on_and_keeps_it_all(at_home, kill_seed):
    url, reach = at_home
    words = ("warm", url, "--vectors", "-q")
    undisturbed = steps_of(reach.disk_cache, *words)
    plain = answers(atoll.open(url, settings=reach))
    shutil.rmtree(reach.disk_cache)
    kill_midway(reach.disk_cache, undisturbed, f"warm{kill_seed}", *words)
    assert ended(start(*words)).code == 0
    assert must(*words).startswith("0 reads of 0 bytes")
    collection = atoll.open(url, settings=reach)
    with count_usage() as usage:
        assert answers(collection) == plain
    assert usage.reads == 0


# -- how new what is read must be -----------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """The time as handles see it; a list of one number."""
    now = [1000.0]
    for module in (collections, service):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def here(tmp_path):
    source = write_parquet(tmp_path / "x.parquet", VECTORS[:100])
    atoll.create(tmp_path / "c", source, index="flat", workers=1, settings=settings(tmp_path))
    return tmp_path / "c"


def looks(collection, read=lambda it: it.search(NOVEL[:1], 1)):
    """How many times a read looked for a newer version."""
    found = []
    look = collections.manifests.latest_manifest
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            collections.manifests, "latest_manifest", lambda *of: found.append(1) or look(*of)
        )
        read(collection)
    return len(found)


def handle(here, seconds):
    return atoll.open(here, settings=settings(here.parent, read_consistency_s=seconds))


def test_a_newer_version_is_seen_after_the_interval(here, clock):
    resting, looking = handle(here, 60.0), handle(here, 0.0)
    resting.refresh()
    handle(here, 0.0).delete(["p00007"])
    assert len(looking.search(VECTORS[7], 100)) == 99
    clock[0] += 59.9
    assert len(resting.search(VECTORS[7], 100)) == 100
    assert (resting.count(), len(resting.get(["p00007"])), looks(resting)) == (100, 1, 0)
    clock[0] += 0.1
    assert looks(resting) == 1
    assert (looks(resting), resting.count(), resting.version) == (0, 99, 2)


def test_the_clock_starts_when_a_collection_is_opened(here):
    opened = handle(here, HOUR)
    assert looks(opened) == 0
    assert looks(opened, lambda it: it.refresh()) == 1
    made = atoll.create(
        here, here.parent / "x.parquet", index="flat", workers=1,
        settings=settings(here.parent, read_consistency_s=HOUR),
    )  # fmt: skip
    assert (looks(made), looks(made)) == (1, 0)


def test_what_is_written_through_a_handle_is_seen_at_once(here):
    mine = handle(here, HOUR)
    mine.delete(["p00001"])
    assert mine.count() == len(mine.search(NOVEL[0], 100)) == 99
    # Whoever writes goes by the newest version, and so does what describes it.
    handle(here, 0.0).delete(["p00002"])
    assert mine.count() == 99
    mine.delete(["p00003"])
    assert mine.count() == 97
    handle(here, 0.0).delete(["p00004"])
    assert mine.info()["rows"] == mine.count() == 96


def test_what_gc_took_meanwhile_is_looked_for_in_the_newest_version(here):
    resting, other = handle(here, HOUR), handle(here, 0.0)
    other.delete(["p00001"])
    other.compact(buckets=[bucket.name for bucket in other.buckets])
    other.gc()
    assert hit_ids(resting.search(VECTORS[5], 1)) == [["p00005"]]
    assert resting.version == other.version


def test_what_is_gone_from_the_newest_version_too_is_told_after_one_look(here):
    resting = handle(here, HOUR)
    for table in here.glob("*.lance"):
        shutil.rmtree(table / "data")
    with pytest.raises(atoll.Corrupt, match="is missing; restore the object"):
        resting.search(VECTORS[5], 1)
    with pytest.raises(atoll.NotFound, match="has no row with the id"):
        resting.get(["nobody"])


def test_a_newer_version_that_is_damaged_is_searched_once(here, monkeypatch):
    mine, searched = handle(here, 0.0), []
    handle(here, 0.0).delete(["p00001"])
    for table in here.glob("*.lance"):
        shutil.rmtree(table / "data")
    search = collections.View.search
    monkeypatch.setattr(
        collections.View, "search", lambda *given: searched.append(1) or search(*given)
    )
    with pytest.raises(atoll.Corrupt):
        mine.search(VECTORS[5], 1)
    assert (mine.version, len(searched)) == (2, 1)


def test_gc_of_a_handle_leaves_it_at_the_newest_version(here):
    mine = handle(here, HOUR)
    handle(here, 0.0).delete(["p00001"])
    mine.gc()
    assert mine.version == 2


def test_a_write_that_changes_nothing_does_not_take_a_handle_back(here, monkeypatch):
    mine, compact = handle(here, HOUR), collections.compact.compact

    def slow(*given, **options):
        done = compact(*given, **options)
        # Another thread of the same handle sees a newer version meanwhile.
        handle(here, 0.0).delete(["p00001"])
        mine.refresh()
        return done

    monkeypatch.setattr(collections.compact, "compact", slow)
    mine.compact(dry_run=True)
    assert (mine.version, mine.count()) == (2, 99)


def test_a_look_that_fails_does_not_count(here, clock, monkeypatch):
    def fail(*_):
        raise Unavailable("away")

    opened = handle(here, HOUR)
    clock[0] += HOUR
    with monkeypatch.context() as away:
        away.setattr(collections.manifests, "latest_manifest", fail)
        with pytest.raises(Unavailable):
            opened.search(NOVEL[:1], 1)
    assert looks(opened) == 1


def test_threads_of_one_handle_share_its_looks(here, clock):
    shared = handle(here, 60.0)
    shared.refresh()

    def search(collection):
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda n: collection.search(VECTORS[n], 1), range(64)))

    assert looks(shared, search) == 0
    clock[0] += 60
    # Those that begin before the first look has ended look, too.
    assert 1 <= looks(shared, search) <= 8
    assert looks(shared, search) == 0
