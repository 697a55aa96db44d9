"""Collections under kills, races and broken places: the old state or the new one, never a mix."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import lance
import numpy as np
import pytest
from commandline import (
    DEADLINE_SECONDS,
    PROGRAM,
    atoll,
    children_of,
    ended,
    kill_midway,
    must,
    start,
    steps_of,
)
from s3_servers import moto_server
from vectordata import clustered, gaussian, names, objects_of, write_h5

DIM = 64
FILES, FILE_ROWS = 4, 2000


class Sample:
    """Source files, what a collection of them must hold, and the steps of create and add."""

    def __init__(self, folder):
        self.files = []
        for number in range(FILES + 1):
            vectors = clustered(FILE_ROWS, DIM, seed=number)
            ids = names(FILE_ROWS, number * FILE_ROWS)
            self.files.append(write_h5(folder / f"{number}.h5", vectors, ids))
        self.queries = folder / "q.npy"
        np.save(self.queries, clustered(5, DIM, seed=99))
        self.model = folder / "undisturbed"
        self.create_steps = steps_of(self.model, *self.create(self.model))
        self.created = self.content(self.model)
        self.before_add = folder / "before-add"
        shutil.copytree(self.model, self.before_add)
        self.add_steps = steps_of(self.model, *self.add(self.model))
        self.added = self.content(self.model)

    def create(self, place, *options):
        return ("create", place, *self.files[:FILES], "--bucket-rows", FILE_ROWS,
                "--batch-rows", 500, "--workers", 1, "-q", *options)  # fmt: skip

    def add(self, place, *options):
        return ("add", place, self.files[FILES], "--bucket-rows", FILE_ROWS // 2,
                "--batch-rows", 500, "--workers", 1, "-q", *options)  # fmt: skip

    def content(self, place):
        """All rows of the live tables by id, read by stock Lance, and the hits of a search."""
        rows = {}
        for table in must("info", place, "--tables").split():
            found = lance.dataset(table.removeprefix("file://")).to_table(["id", "embedding"])
            vectors = np.array(found["embedding"].combine_chunks().values).reshape(-1, DIM)
            rows |= {
                name: vector.tobytes()
                for name, vector in zip(found["id"].to_pylist(), vectors, strict=True)
            }
        return rows, self.hits(place)

    def hits(self, place, *options):
        found = json.loads(must("search", place, self.queries, "--json", "-q", *options))
        return [(hit["query_id"], hit["rank"], hit["id"]) for hit in found]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return Sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture
def place(tmp_path):
    """Where a collection will be."""
    return tmp_path / "c"


@pytest.fixture
def whole(sample, place):
    """A collection of the first files."""
    shutil.copytree(sample.before_add, place)
    return place


def rows_of(place):
    """How many rows are live; None where there is no collection."""
    done = atoll("info", place, "--json")
    assert done.code in (0, 1)
    if done.code:
        assert "is no collection" in done.err
        return None
    return json.loads(done.out)["rows"]


def whole_tables(place):
    """Data files of tables that are committed, with the time of their last change."""
    return {
        path: path.stat().st_mtime_ns
        for table in place.glob("*.lance")
        if any(table.glob("_versions/*.manifest"))
        for path in table.glob("data/*")
    }


def await_(condition, process):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def forge_lease(place, kind, expires_in_s):
    path = place / "_atoll" / "leases" / "forged.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lease = {"kind": kind, "holder": "a ghost", "expires_at": time.time() + expires_in_s}
    path.write_text(json.dumps(lease))


def age_leases(place):
    """Let the leases of the dead expire, as time would."""
    for path in place.glob("_atoll/leases/*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"expires_at": 0}))


def size_of(place):
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def collect(place):
    """Collect garbage; what is said to be freed is what the disk got back."""
    age_leases(place)
    before = size_of(place)
    freed = json.loads(must("gc", place, "--json"))["size_bytes"]
    # Lance may have to write a version's few bytes to get rid of a later one.
    assert freed - 20_000 < before - size_of(place) <= freed


def assert_whole(sample, place, expected):
    """The collection is what it would be had nothing happened, and gc leaves no more than that."""
    assert sample.content(place) == expected
    must("verify", place)
    collect(place)
    live = {Path(table).name for table in must("info", place, "--tables").split()}
    assert {path.name for path in place.glob("*.lance")} == live
    assert all(len(list((place / name / "data").iterdir())) == 1 for name in live)
    manifest = max((place / "_atoll" / "manifests").iterdir()).read_text()
    kept = [*place.glob("_atoll/blobs/*"), *place.glob("_atoll/models/*")]
    assert [path for path in kept if path.name not in manifest] == []
    assert not list(place.glob("_atoll/leases/*"))
    assert not list(place.glob("_atoll/probe-*"))
    assert sample.content(place) == expected


def and_slow(values, usual):
    """All values; those beyond the usual ones only where slow tests run."""
    slow = pytest.mark.slow
    parts = [value if isinstance(value, tuple) else (value,) for value in values]
    return [
        pytest.param(*part, marks=[] if value in usual else slow)
        for value, part in zip(values, parts, strict=True)
    ]


# -- killed ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_create_killed_at_any_time_is_not_there_and_finishes(sample, place, kill_seed, workers):
    command = sample.create(place, "--workers", workers)
    kill_midway(place, sample.create_steps, kill_seed, *command)
    assert rows_of(place) in (None, FILES * FILE_ROWS)
    finished = whole_tables(place)
    must(*command)
    assert finished.items() <= whole_tables(place).items()
    assert_whole(sample, place, sample.created)


@pytest.mark.slow
def test_add_killed_at_any_time_leaves_the_old_version_and_finishes(sample, whole, kill_seed):
    old = objects_of(whole)
    kill_midway(whole, sample.add_steps, kill_seed, *sample.add(whole))
    rows = rows_of(whole)
    assert sample.content(whole) == (sample.added if rows > FILES * FILE_ROWS else sample.created)
    finished = whole_tables(whole)
    must(*sample.add(whole))
    assert finished.items() <= whole_tables(whole).items()
    now = objects_of(whole)
    assert [path for path in old if path != "_atoll/hint" and now[path] != old[path]] == []
    assert_whole(sample, whole, sample.added)


# Dies in front of the n-th change of an object (Lance's own writes come between them).
DYING = """
import os, signal, sys
from atoll.storage import Storage
left = int(sys.argv.pop(1))
def dying(change):
    def act(*words, **more):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return change(*words, **more)
    return act
for name in ("put", "put_new", "put_file", "delete"):
    setattr(Storage, name, dying(getattr(Storage, name)))
from atoll.app.main import main
main()
"""


def dies_before_change(number, *words):
    """Run a command that is killed in front of its n-th change, if there are so many."""
    process = subprocess.run(
        [sys.executable, "-c", DYING, str(number), *map(str, words)],
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert process.returncode in (0, -signal.SIGKILL), process.stderr
    return process.returncode != 0


# Lease, probe (3), model (2), then per bucket names, begun layout, ids, record, layout, claim;
# manifest, hint, lease. Lance commits a table between record and layout.
FIRST, EACH, RECORD = 6, 6, 3
COMMIT = FIRST + FILES * EACH
CREATE_STEPS = [1, 5, *range(FIRST, FIRST + EACH + 1), 17, COMMIT, COMMIT + 1, COMMIT + 2]


@pytest.mark.parametrize("step", and_slow(CREATE_STEPS, [5, 8, 9, 10, 11, COMMIT, COMMIT + 1]))
def test_create_killed_before_any_step_is_not_there_and_finishes(sample, place, step):
    command = sample.create(place)
    assert dies_before_change(step, *command)
    assert rows_of(place) == (None if step <= COMMIT else FILES * FILE_ROWS)
    finished = whole_tables(place)
    assert len(finished) == min(FILES, max(0, step - FIRST + EACH - RECORD - 1) // EACH)
    must(*command)
    assert finished.items() <= whole_tables(place).items()
    assert_whole(sample, place, sample.created)


def test_killed_create_is_garbage_that_gc_frees(sample, place):
    assert dies_before_change(COMMIT, *sample.create(place))
    assert len(whole_tables(place)) == FILES
    refused = atoll("gc", place)
    assert refused.code == 1
    assert "is in use" in refused.err
    collect(place)
    assert [path for path in place.rglob("*") if path.is_file()] == []
    must(*sample.create(place))
    assert_whole(sample, place, sample.created)


def test_gc_frees_what_writers_killed_in_the_middle_of_an_object_left(sample, whole):
    table = Path(new_table(whole)).name
    folders = [
        "_atoll/blobs",
        "_atoll/builds/1234",
        "_atoll/leases",
        "_atoll/manifests",
        f"{table}/data",
        "bucket_00009_0a1b2c3d.lance/data",
    ]
    for folder in folders:
        (whole / folder).mkdir(parents=True, exist_ok=True)
        (whole / folder / "0123#1").write_bytes(b"cut")
    an_hour_ago = time.time() - 3600
    os.utime(whole / "_atoll" / "leases" / "0123#1", (an_hour_ago, an_hour_ago))
    (whole / "_atoll" / "leases" / "4567#1").write_bytes(b"may go on")
    before = size_of(whole)
    assert json.loads(must("gc", whole, "--json"))["size_bytes"] == 18 == before - size_of(whole)
    (left,) = whole.rglob("*#*")
    assert left.read_bytes() == b"may go on"
    left.unlink()
    assert_whole(sample, whole, sample.created)


@contextmanager
def searching(sample, place):
    """Search all the time; every answer must be whole."""
    stop, wrong = threading.Event(), []

    def loop():
        while not stop.is_set():
            process = subprocess.run(
                [*PROGRAM, "search", str(place), str(sample.queries), "--json", "-q"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            found = json.loads(process.stdout or "[]")
            hits = [(hit["query_id"], hit["rank"], hit["id"]) for hit in found]
            if hits != sample.created[1]:
                wrong.append(process.stderr or hits)

    thread = threading.Thread(target=loop)
    thread.start()
    yield
    stop.set()
    thread.join()
    assert wrong == []


def test_searches_answer_while_gc_frees_a_killed_add(sample, whole):
    assert dies_before_change(9, *sample.add(whole))
    with searching(sample, whole):
        collect(whole)
        for _ in range(5):
            must("gc", whole)
    must("verify", whole)


def new_table(place):
    return must("info", place, "--tables").split()[-1]


@pytest.mark.parametrize("step", [1, 4, 7])
def test_gc_killed_midway_is_finished_by_the_next(sample, whole, step):
    dropped = Path(new_table(whole)).stem
    must("drop-bucket", whole, dropped)
    left = sample.hits(whole)
    assert dies_before_change(step, "gc", whole)
    assert sample.hits(whole) == left
    must("verify", whole)
    collect(whole)
    assert not (whole / f"{dropped}.lance").exists()
    assert sample.hits(whole) == left
    must("add", whole, sample.files[FILES - 1], "-q", "--workers", 1)
    assert_whole(sample, whole, sample.created)


# Before it writes its lease, the manifest, the hint.
@pytest.mark.parametrize(("step", "is_done"), [(0, False), (1, False), (2, True)])
def test_drop_bucket_killed_midway_is_done_or_not(sample, whole, step, is_done):
    dropped = Path(new_table(whole)).stem
    assert dies_before_change(step, "drop-bucket", whole, dropped)
    assert rows_of(whole) == (FILES - is_done) * FILE_ROWS
    must("verify", whole)
    if not is_done:
        must("drop-bucket", whole, dropped)
    assert rows_of(whole) == (FILES - 1) * FILE_ROWS


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_create_ends_with_130_and_finishes(sample, place, workers):
    command = sample.create(place, "--workers", workers)
    process = start(*command)
    await_(lambda: any(place.glob("*.lance/data/*")), process)
    process.send_signal(signal.SIGINT)
    done = ended(process)
    assert done.code == 130
    assert done.err.strip() == "atoll: interrupted; the same command continues where it stopped"
    assert rows_of(place) is None
    finished = whole_tables(place)
    must(*command)
    assert finished.items() <= whole_tables(place).items()
    assert_whole(sample, place, sample.created)


def test_bucket_whose_worker_is_killed_is_tried_again(sample, place):
    process = start(*sample.create(place, "--workers", 2))
    await_(lambda: any(place.glob("*.lance/data/*")), process)
    for worker in children_of(process):
        os.kill(worker, signal.SIGKILL)
    done = ended(process)
    assert done.code == 0, done.err
    assert_whole(sample, place, sample.created)


# -- at once --------------------------------------------------------------------------------------


def stopped_while_building(place, *command):
    """Start a command and stop it (SIGSTOP) as soon as its lease is there."""
    before = set(place.glob("_atoll/leases/*.json"))
    process = start(*command)
    await_(lambda: set(place.glob("_atoll/leases/*.json")) - before, process)
    process.send_signal(signal.SIGSTOP)
    return process


def stopped_with_a_table_to_commit(place, *command):
    """Start a create and stop it while its first table has files and no version; try till it is."""
    while True:
        process = start(*command)
        await_(lambda: any(place.glob("*.lance/data/*")), process)
        process.send_signal(signal.SIGSTOP)
        if not any(place.glob("*.lance/_versions/*")):
            return process
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        shutil.rmtree(place)


def resumed(process):
    process.send_signal(signal.SIGCONT)
    return ended(process)


def test_two_creators_of_one_plan_both_end_well(sample, place):
    processes = [start(*sample.create(place)) for _ in range(2)]
    ends = [ended(process) for process in processes]
    assert [done.code for done in ends] == [0, 0], ends
    assert len(list(place.glob("_atoll/manifests/*"))) == 1
    assert_whole(sample, place, sample.created)


def test_table_that_two_creators_wrote_is_kept_once(sample, place):
    slow = stopped_with_a_table_to_commit(place, *sample.create(place))
    must(*sample.create(place))
    assert resumed(slow).code == 0
    assert len(list(place.glob("*.lance/data/*"))) == FILES + 1
    assert_whole(sample, place, sample.created)
    assert "note" not in must("verify", place)


def test_of_two_creators_of_different_plans_the_second_has_written_nothing_live(sample, place):
    slow = stopped_while_building(place, *sample.create(place, "--seed", 7))
    must(*sample.create(place))
    done = resumed(slow)
    assert done.code == 1
    assert "ended first" in done.err
    assert "Use `atoll add`, another place, or --force" in done.err
    assert_whole(sample, place, sample.created)


def test_two_adders_of_different_files_are_both_in(sample, place, tmp_path):
    must("create", place, *sample.files[:2], "--workers", 1, "-q")
    slow = stopped_while_building(place, "add", place, sample.files[2], "--workers", 1)
    must("add", place, sample.files[3], "--workers", 1, "-q")
    done = resumed(slow)
    assert done.code == 0, done.err
    assert rows_of(place) == 4 * FILE_ROWS
    assert sample.content(place)[0] == sample.created[0]
    must("verify", place)


def test_two_adders_of_the_same_file_add_it_once(sample, whole):
    slow = stopped_while_building(whole, *sample.add(whole))
    must(*sample.add(whole))
    done = resumed(slow)
    assert done.code == 0, done.err
    assert_whole(sample, whole, sample.added)


def test_adder_of_ids_that_another_added_meanwhile_is_refused(sample, whole, tmp_path):
    twin = tmp_path / "twin.h5"
    shutil.copy(sample.files[FILES], twin)
    slow = stopped_while_building(whole, "add", whole, twin, "--workers", 1)
    must(*sample.add(whole))
    done = resumed(slow)
    assert done.code == 1
    assert f"{FILE_ROWS:,} duplicate ids" in done.err
    assert_whole(sample, whole, sample.added)


def test_gc_is_refused_while_a_build_runs(sample, whole):
    slow = stopped_while_building(whole, *sample.add(whole))
    done = atoll("gc", whole)
    assert done.code == 1
    assert "is in use" in done.err
    assert "build" in done.err
    assert resumed(slow).code == 0
    assert_whole(sample, whole, sample.added)


@pytest.mark.parametrize("expires_in_s", [100, -30])
def test_build_is_refused_while_gc_runs(sample, whole, expires_in_s):
    forge_lease(whole, "gc", expires_in_s)
    before = objects_of(whole)
    done = atoll(*sample.add(whole))
    assert done.code == 1
    assert "a ghost" in done.err
    assert objects_of(whole) == before


def test_lease_of_the_dead_blocks_gc_only_until_it_expires(sample, whole):
    forge_lease(whole, "build", 100)
    assert atoll("gc", whole).code == 1
    forge_lease(whole, "build", -3600)
    must("gc", whole)
    assert not list(whole.glob("_atoll/leases/*"))
    assert sample.content(whole) == sample.created


# -- object stores --------------------------------------------------------------------------------


@pytest.fixture
def keys(monkeypatch, tmp_path):
    """Let the command take keys for S3 from the environment, as users do."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def use(server, secret=None):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret or server.secret_access_key)
        monkeypatch.setenv("ATOLL_ENDPOINT", server.endpoint)
        monkeypatch.setenv("ATOLL_ALLOW_HTTP", "1")
        monkeypatch.setenv("ATOLL_RETRIES", "0")

    return use


def ignoring_if_none_match(app):
    def careless(environ, start_response):
        environ.pop("HTTP_IF_NONE_MATCH", None)
        return app(environ, start_response)

    return careless


def test_store_without_conditional_put_is_refused_by_writers(sample, keys):
    with moto_server(ignoring_if_none_match) as server:
        keys(server)
        bucket = server.new_bucket()
        done = atoll(*sample.create(f"{bucket}/c"))
        assert done.code == 1
        assert "lets a second writer replace" in done.err
        listed = server.client().list_objects_v2(Bucket=bucket.removeprefix("s3://"))
        assert listed["KeyCount"] == 0


@pytest.mark.parametrize("words", ["create {} {}", "add {} {}", "search {} {}", "info {}", "gc {}"])
def test_unreachable_endpoint_is_named(sample, keys, monkeypatch, words):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    options = ["--endpoint", "http://127.0.0.1:9", "--allow-http", "--retries", 0]
    words = [word.format("s3://b/c") for word in words.split() if word != "{}"]
    place = ["s3://b/c", *([sample.files[0]] if words[0] in ("create", "add", "search") else [])]
    done = atoll(words[0], *place, *options)
    assert (done.code, done.out) == (1, "")
    assert "http://127.0.0.1:9 did not serve the request" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.ceph
def test_wrong_keys_are_told_apart_from_no_collection(sample, keys, ceph):
    keys(ceph, secret="wrong")
    place = f"{ceph.new_bucket()}/c"
    for command in (sample.create(place), ("search", place, sample.queries), ("info", place)):
        done = atoll(*command)
        assert (done.code, done.out) == (1, "")
        assert f"{ceph.endpoint} refused the credentials" in done.err


@pytest.mark.ceph
def test_create_killed_on_a_real_object_store_finishes(sample, keys, ceph):
    keys(ceph)
    place = f"{ceph.new_bucket()}/c"
    for step in (9, COMMIT - 6):
        assert dies_before_change(step, *sample.create(place))
        assert rows_of(place) is None
    must(*sample.create(place))
    assert sample.hits(place) == sample.created[1]
    must("verify", place)


# -- disks ----------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(disk, leave_bytes):
    """Take room away; delete the file to give it back."""
    path = disk / "filler"
    with path.open("wb") as file:
        file.truncate(0)
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - leave_bytes)
    return path


@pytest.mark.parametrize(
    "leave_bytes", and_slow([4096, 100_000, 600_000, 1_300_000, 2_000_000], [100_000, 1_300_000])
)
def test_full_disk_under_the_collection_is_told_and_the_create_finishes(
    sample, small_disk, leave_bytes
):
    filler = fill(small_disk, leave_bytes)
    command = sample.create(place := small_disk / "c")
    done = atoll(*command)
    assert (done.code, done.out) == (1, "")
    assert re.search(r"free some (room|space)", done.err), done.err
    assert done.err.count("\n") == 1
    assert rows_of(place) is None
    finished = whole_tables(place)
    filler.unlink()
    must(*command)
    assert finished.items() <= whole_tables(place).items()
    assert_whole(sample, place, sample.created)


@pytest.mark.parametrize("leave_bytes", [50_000, 400_000])
def test_full_scratch_disk_is_told_and_the_create_finishes(sample, small_disk, place, leave_bytes):
    filler = fill(small_disk, leave_bytes)
    command = sample.create(place, "--scratch", small_disk, "--memory", "1M")
    done = atoll(*command)
    assert (done.code, done.out) == (1, "")
    assert re.search(rf"{small_disk}.*another( scratch)? folder", done.err), done.err
    assert rows_of(place) is None
    assert list(small_disk.iterdir()) == [filler]
    filler.unlink()
    must(*command)
    assert list(small_disk.iterdir()) == []
    assert_whole(sample, place, sample.created)


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_full_disk_under_the_output_leaves_no_part_of_it(sample, whole, small_disk, suffix):
    filler = fill(small_disk, 4096)
    command = ("search", whole, sample.queries, "-k", 500, "--with-vectors", "-o",
               small_disk / f"hits.{suffix}")  # fmt: skip
    done = atoll(*command)
    assert (done.code, done.out) == (1, "")
    assert re.search(rf"hits\.{suffix} .*cannot be written.*free some", done.err), done.err
    assert list(small_disk.iterdir()) == [filler]
    filler.unlink()
    must(*command)


@contextmanager
def without_root():
    """Run commands as somebody whom file modes bind."""
    if os.geteuid():
        yield []
        return
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is needed to give up root's rights")
    drop = "-dac_override,-dac_read_search,-fowner"
    yield ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}"]


@pytest.mark.parametrize("what", ["create", "add", "output", "drop-bucket"])
def test_folder_that_may_not_be_written_is_named(sample, whole, tmp_path, what):
    (closed := tmp_path / "closed").mkdir()
    shutil.move(whole, closed / "c")
    command = {
        "create": sample.create(closed / "new"),
        "add": sample.add(closed / "c"),
        "output": ("search", closed / "c", sample.queries, "-o", closed / "hits.csv"),
        "drop-bucket": ("drop-bucket", closed / "c", Path(new_table(closed / "c")).stem),
    }[what]
    before = objects_of(closed)
    folders = [closed, *(path for path in closed.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o500)
    try:
        with without_root() as prefix:
            done = subprocess.run([*prefix, *PROGRAM, *map(str, command)], capture_output=True,
                                  text=True, check=False, timeout=DEADLINE_SECONDS)  # fmt: skip
    finally:
        for folder in folders:
            folder.chmod(0o700)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(r"atoll: \S*closed\S*.* [Pp]ermission denied", done.stderr), done.stderr
    assert objects_of(closed) == before


# -- damaged --------------------------------------------------------------------------------------


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def alter(path):
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(byte ^ 0xFF for byte in data[middle : middle + 64])
    path.write_bytes(data)


class Damaged:
    """A small collection of three buckets, and the objects of the second."""

    def __init__(self, folder, index):
        self.place, self.vectors = folder / "c", gaussian(900, 16)
        np.save(folder / "x.npy", self.vectors)
        self.queries = folder / "q.npy"
        np.save(self.queries, gaussian(3, 16, seed=5))
        options = () if index == "flat" else ("--num-partitions", 4)
        must("create", self.place, folder / "x.npy", "--bucket-rows", 300, "--workers", 1, "-q",
             "--index", index, *options)  # fmt: skip
        self.manifest = self.place / "_atoll" / "manifests" / f"{1:020d}.json"
        said = json.loads(self.manifest.read_text())
        bucket = said["buckets"][1]
        self.bucket, self.table = bucket["name"], self.place / f"{bucket['name']}.lance"
        self.objects = {
            "data": next(self.table.glob("data/*")),
            "versions": max(self.table.glob("_versions/*.manifest"), key=lambda p: -int(p.stem)),
            "ids": self.place / bucket["ids"]["path"],
            "tag": self.table / "_refs" / "tags" / f"atoll-{bucket['version']}.json",
        }
        if index != "flat":
            self.objects["layout"] = self.place / bucket["layout"]["path"]
            self.objects["names"] = self.place / bucket["names"]["path"]
            self.objects["model"] = self.place / next(iter(said["models"].values()))["path"]
        if index == "ivf_pq":
            self.objects["index"] = next(self.table.glob("_indices/*/auxiliary.idx"))

    def search(self, *options):
        return atoll("search", self.place, self.queries, "--json", *options)

    def faults(self):
        done = atoll("verify", self.place, "--json")
        found = json.loads(done.out)
        assert done.code == (0 if found["clean"] else 1)
        return found["issues"]


def test_bytes_over_which_lance_stumbles_stop_their_bucket_only(tmp_path):
    damaged = Damaged(tmp_path, "rabitq")
    path = damaged.objects["versions"]
    data = bytearray(path.read_bytes())
    data[650:714] = bytes(byte ^ 0xFF for byte in data[650:714])
    path.write_bytes(data)
    assert damaged.search().code == 0  # reads codes, vectors and ids, but no table
    where = ("--where", "id IS NOT NULL")
    assert damaged.search(*where).code == 3
    assert damaged.search(*where, "--allow-partial").code == 0
    assert [issue["bucket"] for issue in damaged.faults()] == [damaged.bucket]


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_model_that_is_damaged_is_named_by_add(tmp_path, damage):
    damaged = Damaged(tmp_path, "rabitq")
    damage(path := damaged.objects["model"])
    before = objects_of(damaged.place)
    assert damaged.search("--exact").code == 0
    done = atoll("add", damaged.place, damaged.queries)
    assert (done.code, done.out) == (1, "")
    assert str(path) in done.err
    after = objects_of(damaged.place)
    assert {name: after[name] for name in before} == before


def test_missing_id_index_is_named_by_those_who_need_it(tmp_path):
    damaged = Damaged(tmp_path, "rabitq")
    damaged.objects["ids"].unlink()
    np.save(tmp_path / "more.npy", gaussian(9, 16))
    for words in (("search", damaged.place, "--id", "x.npy:3"),
                  ("add", damaged.place, tmp_path / "more.npy")):  # fmt: skip
        done = atoll(*words)
        assert (done.code, done.out) == (1, "")
        assert re.search(rf"{damaged.objects['ids']} is missing; restore", done.err)


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_index_of_lance_that_is_damaged_is_found(tmp_path, damage):
    damaged = Damaged(tmp_path, "ivf_pq")
    damage(damaged.objects["index"])
    assert damaged.search().code == 3
    assert damaged.search("--allow-partial").code == 0
    assert [issue["bucket"] for issue in damaged.faults()] == [damaged.bucket]


def test_tag_that_is_gone_is_told_and_put_back_by_gc(tmp_path):
    damaged = Damaged(tmp_path, "flat")
    damaged.objects["tag"].unlink()
    lance.dataset(str(damaged.table)).delete("id = 'x.npy:300'")
    assert "tag" in must("verify", damaged.place)
    must("gc", damaged.place)
    assert damaged.faults() == []
    assert damaged.search("-k", 900).code == 0
    assert damaged.objects["tag"].exists()


@pytest.mark.parametrize("damage", [cut, alter])
def test_damaged_manifest_is_named(tmp_path, damage):
    damaged = Damaged(tmp_path, "flat")
    damage(damaged.manifest)
    before = objects_of(damaged.place)
    for words in ("info", "verify", "gc", "search", "add", "create"):
        more = [damaged.queries] if words in ("search", "add", "create") else []
        done = atoll(words, damaged.place, *more)
        assert (done.code, done.out) == (1, "")
        assert f"{damaged.manifest} is not a manifest" in done.err
    assert objects_of(damaged.place) == before


def test_manifest_of_a_later_format_is_refused_by_name(tmp_path):
    damaged = Damaged(tmp_path, "flat")
    said = json.loads(damaged.manifest.read_text())
    damaged.manifest.write_text(json.dumps(said | {"format_version": 99, "news": {}}))
    done = damaged.search()
    assert (done.code, done.out) == (1, "")
    assert re.search(rf"{damaged.manifest} has format 99, .* install a newer", done.err)


def test_newest_manifest_that_is_gone_is_told_by_verify(tmp_path):
    damaged = Damaged(tmp_path, "flat")
    must("drop-bucket", damaged.place, damaged.bucket)
    assert damaged.faults() == []
    (damaged.place / "_atoll" / "manifests" / f"{2:020d}.json").unlink()
    assert "version 2 was committed" in damaged.faults()[0]["what"]
