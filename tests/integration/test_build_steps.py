"""A create or an add in steps, each a process of its own, is what one process makes."""

import json
import random
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import lance
import numpy as np
import pytest
from commandline import atoll as atoll_here
from commandline import ended, kill_midway, must, start, steps_of
from vectordata import clustered, names, settings, write_fasta, write_h5, write_parquet

import atoll
from atoll.storage import open_storage
from atoll.vectors import blobs, manifests, partitiontrials

DIM, ROWS = 16, 900
SKIPPING = ("--on-invalid", "skip", "--on-duplicate", "skip")
KINDS = {
    # Lance's index is calibrated in steps by the same code, ten times as long.
    "rabitq": ("--num-partitions", 5, "--calibrate"),
    "ivf_pq": ("--index", "ivf_pq", "--num-partitions", 5, "--num-sub-vectors", 4),
}


class World:
    """Where sources and collections are, and how processes reach them."""

    def __init__(self, folder, url, server=None):
        self.folder, self.url = folder, url
        self.reach = settings(folder / "scratch")
        self.environment = {}
        if server is not None:
            self.reach = replace(self.reach, storage=server.options())
            self.environment = {
                "ATOLL_ENDPOINT": server.endpoint,
                "ATOLL_ALLOW_HTTP": "true",
                "AWS_ACCESS_KEY_ID": server.access_key_id,
                "AWS_SECRET_ACCESS_KEY": server.secret_access_key,
            }
        self.storage = open_storage(url, self.reach.storage)
        vectors = clustered(ROWS, DIM)
        vectors[[3, 450]] = np.nan
        self.sources = [
            self.put(write_h5(folder / "a.h5", vectors[:600])),
            # Its first fifty ids were met in the file before.
            self.put(write_parquet(folder / "b.parquet", vectors[600:], names(300, 550))),
        ]

    def put(self, path):
        self.storage.put_file(f"sources/{path.name}", path)
        return f"{self.url}/sources/{path.name}"

    def place(self, name):
        return f"{self.url}/{name}"

    def create(self, place, *options):
        return ("create", place, *self.sources, "--bucket-rows", 300, "--threads", 2, *options)

    def run(self, *words, **environment):
        return ended(self.start(*words, **environment))

    def start(self, *words, **environment):
        return start(*words, **self.environment, **environment)

    def must(self, *words, **environment):
        done = self.run(*words, **environment)
        assert done.code == 0, done.err
        return json.loads(done.out)

    def open(self, place):
        return atoll.open(place, settings=self.reach)

    def content(self, place):
        """All that a collection is but for times and the names of its files."""
        storage = open_storage(place, self.reach.storage)
        manifest = manifests.latest_manifest(storage)
        if manifest is None:
            return None
        tables = {}
        for bucket in manifest.buckets:
            table = lance.dataset(
                storage.lance_uri(f"{bucket.name}.lance"),
                version=bucket.version,
                storage_options=storage.lance_options(),
            )
            offsets = blobs.get_layout(storage, bucket.layout).offsets.tolist()
            tables[bucket.name] = table.to_table().to_pylist(), offsets
        facts = replace(
            manifest,
            created_at="",
            calibration=None,
            buckets=tuple(replace(bucket, layout=None) for bucket in manifest.buckets),
        )
        return facts, tables, self.recall(storage, manifest)

    def recall(self, storage, manifest):
        if manifest.calibration is None:
            return None
        found = blobs.get_calibration(storage, manifest.calibration)
        return replace(found, created_at="", cpu_s=0.0)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("local", marks=pytest.mark.nightly),
        pytest.param("ceph", marks=pytest.mark.ceph),
    ],
)
def world(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    if request.param == "local":
        (folder / "store").mkdir()
        return World(folder, str(folder / "store"))
    server = request.getfixturevalue("ceph")
    return World(folder, server.new_bucket(), server)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    (folder / "store").mkdir()
    return World(folder, str(folder / "store"))


def in_steps(world, words):
    """Do all steps, those of the buckets at once, each in a process that shares nothing."""
    buckets = world.must(*words, "--step", "plan", "--json")["buckets"]
    assert buckets > 1
    running = [
        world.start(*words, "--step", "build", "--json", AWS_BATCH_JOB_ARRAY_INDEX=str(index))
        for index in range(buckets)
    ]
    for index, process in enumerate(running):
        done = ended(process)
        assert done.code == 0, done.err
        assert json.loads(done.out)["bucket"] == index
    return world.must(*words, "--step", "commit", "--json")


@pytest.mark.parametrize("kind", KINDS)
def test_steps_make_the_collection_that_one_process_makes(world, kind):
    one, many = world.place(f"{kind}-one"), world.place(f"{kind}-many")
    options = (*SKIPPING, *KINDS[kind])
    world.must(*world.create(one, *options), "--json")
    info = in_steps(world, world.create(many, *options))
    assert (info["rows"], len(info["buckets"])) == (848, 3)
    assert world.content(many) == world.content(one)
    assert (world.content(many)[2] is not None) == ("--calibrate" in options)
    assert world.open(many).verify().is_clean


def test_tables_are_those_of_one_process(local):
    one, many = local.place("bytes-one"), local.place("bytes-many")
    must(*local.create(one, *SKIPPING, "--num-partitions", 3))
    for step in (["plan"], *(["build", "--step-index", i] for i in range(3)), ["commit"]):
        must(*local.create(many, *SKIPPING, "--num-partitions", 3), "--step", *step)

    def digests(place):
        # Of every column. The files may differ: Lance's threads lay pages in any order.
        buckets = atoll.open(local.storage.root / place.rsplit("/", 1)[1]).buckets
        return {bucket.name: bucket.digest for bucket in buckets}

    assert digests(many) == digests(one) != {}


def test_what_is_added_in_steps_is_what_one_process_adds(world):
    one, many = world.place("add-one"), world.place("add-many")
    for place in (one, many):
        world.must(*world.create(place, *SKIPPING, "--num-partitions", 3), "--json")
    more = world.put(
        write_parquet(world.folder / "more.parquet", clustered(500, DIM, seed=3), names(500, 700))
    )

    def words(place):
        return ("add", place, more, "--bucket-rows", 250, "--on-duplicate", "skip")

    world.must(*words(one), "--json")
    assert in_steps(world, words(many))["rows"] == 848 + 350
    assert world.content(many) == world.content(one)
    # Carried out once more, each step finds its work done.
    assert world.must(*words(many), "--step", "plan", "--json")["is_live"]
    told = world.must(*words(many), "--step", "build", "--step-index", 1, "--json")
    assert (told["table"], told["why"]) == (None, "it is live already")
    assert world.must(*words(many), "--step", "commit", "--json")["version"] == 2


@pytest.fixture(scope="module")
def undisturbed(local):
    """What is to come out, and how each step changes the disk meanwhile."""
    place = local.place("undisturbed")
    words = local.create(place, *SKIPPING, *KINDS["ivf_pq"], "-q")
    folder = local.storage.root / "undisturbed"
    steps = {
        step: steps_of(folder, *words, "--step", *step.split())
        for step in ("plan", "build --step-index 0", "build --step-index 1",
                     "build --step-index 2", "commit")
    }  # fmt: skip
    return SimpleNamespace(content=local.content(place), steps=steps)


def test_a_step_killed_anywhere_is_taken_up_by_the_same_command(local, undisturbed, kill_seed):
    name = f"killed-{kill_seed}"
    place, folder = local.place(name), local.storage.root / name
    words = local.create(place, *SKIPPING, *KINDS["ivf_pq"], "-q")
    for step, changes in undisturbed.steps.items():
        given = (*words, "--step", *step.split())
        kill_midway(folder, changes, kill_seed, *given)
        if step != "commit":
            assert local.content(place) is None
        done = local.run(*given)
        assert done.code == 0, done.err
    assert local.content(place) == undisturbed.content
    assert local.open(place).verify().is_clean


@pytest.mark.ceph
def test_steps_killed_on_an_object_store_are_taken_up(ceph, tmp_path_factory):
    world = World(tmp_path_factory.mktemp("killed"), ceph.new_bucket(), ceph)
    one, many = world.place("one"), world.place("many")
    options = (*SKIPPING, *KINDS["rabitq"], "-q")
    began = time.monotonic()
    world.must(*world.create(one, *options), "--json")
    seconds, draw = time.monotonic() - began, random.Random(7)
    words = world.create(many, *options)
    for step in ("plan", *(f"build --step-index {i}" for i in range(3)), "commit"):
        process = world.start(*words, "--step", *step.split())
        time.sleep(draw.uniform(0.3, 1) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done = world.run(*words, "--step", *step.split())
        assert done.code == 0, done.err
    assert world.content(many) == world.content(one)


def test_one_bucket_is_built_by_two_processes_at_once(local):
    place = local.place("twice")
    words = local.create(place, *SKIPPING, *KINDS["rabitq"])
    must(*words, "--step", "plan")
    both = [local.start(*words, "--step", "build", "--step-index", 1, "--json") for _ in range(2)]
    told = [json.loads(ended(process).out) for process in both]
    assert told[0] == told[1]
    for index in (0, 2):
        must(*words, "--step", "build", "--step-index", index)
    must(*words, "--step", "commit")
    assert local.open(place).verify().is_clean


def test_an_index_beyond_the_plan_ends_well(local):
    words = local.create(local.place("beyond"), *SKIPPING)
    must(*words, "--step", "plan")
    told = json.loads(must(*words, "--step", "build", "--step-index", 3, "--json"))
    assert (told["bucket"], told["table"]) == (3, None)
    assert told["why"] == "the plan has 3 buckets, from 0"
    assert "nothing to build" in must(*words, "--step", "build", "--step-index", 99)
    assert not list((local.storage.root / "beyond").glob("*.lance"))


def test_buckets_that_are_not_built_are_named_and_nothing_is_committed(local):
    place = local.place("unbuilt")
    words = local.create(place, *SKIPPING)
    must(*words, "--step", "plan")
    must(*words, "--step", "build", "--step-index", 1)
    done = atoll_here(*words, "--step", "commit")
    assert done.code == 1
    assert "2 of 3 buckets" in done.err
    assert "not built: 0, 2; give --step build --step-index 0" in done.err
    assert local.content(place) is None


@pytest.mark.parametrize("step", [("build", "--step-index", 0), ("commit",)])
def test_steps_before_the_plan_are_refused(local, step):
    words = local.create(local.place("unplanned"), *SKIPPING)
    done = atoll_here(*words, "--step", *step)
    assert done.code == 1
    assert "give the same command with --step plan first" in done.err


@pytest.mark.parametrize("step", [("build", "--step-index", 0), ("commit",)])
def test_sources_that_changed_are_named(local, tmp_path, step):
    source = write_parquet(tmp_path / "x.parquet", clustered(50, DIM))
    other = write_parquet(tmp_path / "y.parquet", clustered(50, DIM), names(50, 100))
    words = ("create", tmp_path / "c", source, other)
    must(*words, "--step", "plan")
    write_parquet(source, clustered(60, DIM, seed=4))
    done = atoll_here(*words, "--step", *step)
    assert done.code == 1
    assert f"{source} has changed; give --step plan again" in done.err
    assert str(other) not in done.err
    done = atoll_here(*words[:3], "--step", *step)
    assert f"{other} is gone" in done.err
    done = atoll_here("create", tmp_path / "c", other, "--seed", 5, "--step", *step)
    assert f"{source} is gone" in done.err
    must(*words, "--step", "plan")
    must(*words, "--step", "build", "--step-index", 0)
    must(*words, "--step", "commit")
    assert len(atoll.open(tmp_path / "c")) == 110


def test_other_options_are_another_plan(tmp_path):
    source = write_parquet(tmp_path / "x.parquet", clustered(50, DIM))
    must("create", tmp_path / "c", source, "--step", "plan")
    done = atoll_here(
        "create", tmp_path / "c", source, "--dtype", "float16", "--step", "build",
        "--step-index", 0,
    )  # fmt: skip
    assert done.code == 1
    assert "the options, or the index of the collection, are others" in done.err


def test_ids_are_compared_by_the_plan_step_alone(local, monkeypatch):
    place = local.place("ids")
    words = local.create(place, *KINDS["rabitq"], "--on-invalid", "skip")
    done = atoll_here(*words, "--step", "plan")
    assert done.code == 1
    assert "50 duplicate ids" in done.err
    words = local.create(place, *KINDS["rabitq"], *SKIPPING)
    told = json.loads(must(*words, "--step", "plan", "--json"))
    assert (told["rows"], told["left_out"]) == (900, 50)
    monkeypatch.setattr("atoll.vectors.buildsteps.duplicate_rows", None)
    must(*words, "--step", "plan")
    for index in range(3):
        must(*words, "--step", "build", "--step-index", index)
    must(*words, "--step", "commit")
    assert len(local.open(place)) == 848


def test_the_number_of_partitions_is_chosen_by_the_plan_step_alone(tmp_path, monkeypatch):
    source = write_parquet(tmp_path / "x.parquet", clustered(3000, DIM))
    words = ("create", tmp_path / "c", source, "--bucket-rows", 1500, "--num-partitions", "auto")
    must(*words, "--step", "plan")
    monkeypatch.setattr(partitiontrials, "choose_count", None)
    must(*words, "--step", "plan")
    for index in range(2):
        must(*words, "--step", "build", "--step-index", index)
    must(*words, "--step", "commit")
    one = atoll.open(tmp_path / "c")
    assert one.partition_choice.num_partitions == one.spec.index.num_partitions
    assert one.partition_choice.rows == 3000


def test_a_bucket_of_which_no_row_can_be_searched_is_left_out(tmp_path):
    rows = np.full((200, DIM), np.nan, np.float32)
    rows[:100] = clustered(100, DIM)
    files = [write_parquet(tmp_path / f"{i}.parquet", rows[i * 100 :][:100], names(100, i * 100))
             for i in range(2)]  # fmt: skip
    words = ("create", tmp_path / "c", *files, "--bucket-rows", 100)
    for options in ((), SKIPPING):
        must(*words, *options, "--step", "plan")
        must(*words, *options, "--step", "build", "--step-index", 0)
    done = atoll_here(*words, "--step", "build", "--step-index", 1)
    assert done.code == 1
    assert "100 rows cannot be searched" in done.err
    told = must(*words, *SKIPPING, "--step", "build", "--step-index", 1)
    assert "no row of it can be searched" in told
    must(*words, *SKIPPING, "--step", "commit")
    assert len(atoll.open(tmp_path / "c")) == 100


def test_a_place_that_is_taken_is_refused_by_each_step_that_would_replace_it(tmp_path):
    first = write_parquet(tmp_path / "x.parquet", clustered(50, DIM))
    second = write_parquet(tmp_path / "y.parquet", clustered(60, DIM))
    must("create", tmp_path / "c", first)
    words = ("create", tmp_path / "c", second)
    for step in ("plan", "commit"):
        done = atoll_here(*words, "--step", step)
        assert done.code == 1
    done = atoll_here(*words, "--step", "plan")
    assert "is a collection already" in done.err
    must(*words, "--force", "--step", "plan")
    must(*words, "--force", "--step", "build", "--step-index", 0)
    assert len(atoll.open(tmp_path / "c")) == 50
    must(*words, "--force", "--step", "commit")
    assert len(atoll.open(tmp_path / "c")) == 60


class Adding:
    """An add that was planned and built; then something else happens."""

    def __init__(self, folder):
        self.place = folder / "c"
        first = write_parquet(folder / "x.parquet", clustered(90, DIM))
        self.second = write_parquet(folder / "y.parquet", clustered(40, DIM, seed=1), names(40, 90))
        must("create", self.place, first, "--num-partitions", 2)
        self.words = ("add", self.place, self.second)
        must(*self.words, "--step", "plan")
        must(*self.words, "--step", "build", "--step-index", 0)

    def commit(self, *options):
        return atoll_here(*self.words, *options, "--step", "commit")


@pytest.fixture
def adding(tmp_path):
    return Adding(tmp_path)


def test_an_add_by_others_meanwhile_does_no_harm(adding, tmp_path):
    other = write_parquet(tmp_path / "z.parquet", clustered(30, DIM, seed=2), names(30, 200))
    must("add", adding.place, other)
    assert adding.commit().code == 0
    assert len(atoll.open(adding.place)) == 160


def test_ids_that_others_added_meanwhile_are_refused(adding, tmp_path):
    other = write_parquet(tmp_path / "z.parquet", clustered(30, DIM, seed=2), names(30, 100))
    must("add", adding.place, other)
    done = adding.commit()
    assert done.code == 1
    assert "30 duplicate ids" in done.err
    assert len(atoll.open(adding.place)) == 120


def test_ids_that_others_added_meanwhile_are_left_out_after_another_plan(adding, tmp_path):
    other = write_parquet(tmp_path / "z.parquet", clustered(30, DIM, seed=2), names(30, 100))
    skip = ("--on-duplicate", "skip")
    words = (*adding.words, *skip)
    must(*words, "--step", "plan")
    must(*words, "--step", "build", "--step-index", 0)
    must("add", adding.place, other)
    done = adding.commit(*skip)
    assert done.code == 1
    assert "the collection has changed since it was planned" in done.err
    must(*words, "--step", "plan")
    must(*words, "--step", "build", "--step-index", 0)
    must(*words, "--step", "commit")
    assert len(atoll.open(adding.place)) == 130


@pytest.mark.parametrize(
    ("partitions", "why"),
    [(2, "was trained anew since it was planned"), (3, "index of the collection, are others")],
)
def test_a_model_that_was_trained_anew_meanwhile_is_noticed(adding, partitions, why):
    atoll.open(adding.place).retrain(num_partitions=partitions, seed=1)
    done = adding.commit()
    assert done.code == 1
    assert why in done.err


def test_what_gc_took_between_steps_is_planned_again(adding):
    must("gc", adding.place)
    done = adding.commit()
    assert done.code == 1
    assert "`gc` has removed what it left" in done.err
    must(*adding.words, "--step", "plan")
    assert "1 of 1 bucket" in adding.commit().err
    must(*adding.words, "--step", "build", "--step-index", 0)
    assert adding.commit().code == 0
    assert atoll.open(adding.place).verify().is_clean


@pytest.mark.parametrize("damaged", ["plan.json", "left-out-*", "model.json"])
def test_what_the_plan_step_left_is_checked(local, damaged):
    name = f"damaged-{damaged[:4]}"
    words = local.create(local.place(name), *SKIPPING, *KINDS["rabitq"])
    must(*words, "--step", "plan")
    (path, *_) = (local.storage.root / name).glob(f"_atoll/builds/*/{damaged}")
    if damaged == "model.json":
        path = local.storage.root / name / json.loads(path.read_text())["path"]
    path.write_bytes(b"\xff" + path.read_bytes()[1:])
    index = 1 if damaged != "left-out-*" else int(path.name.split("-")[2])
    done = atoll_here(*words, "--step", "build", "--step-index", index)
    assert done.code == 1
    assert path.name in done.err
    assert done.err.startswith("atoll: ")


def test_a_refused_build_beside_leaves_what_the_steps_need(local, tmp_path):
    place = local.place("beside")
    words = local.create(place, *SKIPPING, *KINDS["rabitq"])
    must(*words, "--step", "plan")
    must(*words, "--step", "build", "--step-index", 0)
    bad = write_parquet(tmp_path / "bad.parquet", np.full((60, DIM), np.nan, np.float32))
    done = atoll_here("create", place, bad, "--index", "flat")
    assert "60 rows cannot be searched" in done.err
    for index in (1, 2):
        must(*words, "--step", "build", "--step-index", index)
    must(*words, "--step", "commit")
    must("gc", place)
    assert local.open(place).verify().is_clean
    kept = [path.name for path in (local.storage.root / "beside").glob("_atoll/builds/*/*")]
    assert [name for name in kept if not name.startswith(("bucket_", "model.json"))] == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--step", "build"], "--step build needs --step-index"),
        (["--step-index", 1], "--step-index goes with --step build"),
        (["--step", "plan", "--step-index", 1], "--step-index goes with --step build"),
        (["--step", "plan", "--via", "batch"], "give it or --step"),
        (["--buckets", 2], "--buckets goes with --via batch"),
        (["--wait"], "go with --via batch"),
        (["--via", "batch", "--after", "job"], "--after needs --buckets"),
    ],
)
def test_options_that_do_not_fit_together_are_usage_errors(local, options, why):
    done = atoll_here(*local.create(local.place("usage")), *options)
    assert done.code == 2
    assert why in done.err


def test_parts_are_embedded_then_built_each_by_a_process_of_its_own(world):
    fasta = world.put(write_fasta(world.folder / "in.fasta", 120))
    parts, one = world.place("parts"), world.place("whole")
    embed = ("embed", fasta, "-o", parts, "--parts", 2, "--shard-rows", 40, "-q")
    running = [world.start(*embed, AWS_BATCH_JOB_ARRAY_INDEX=str(part)) for part in range(2)]
    codes = [ended(process) for process in running]
    assert [done.code for done in codes] == [0, 0], codes
    # Batch may try a finished part once more: in a store it is compared, on a disk it is kept.
    assert world.run(*embed, ATOLL_STEP_INDEX="1").code == (0 if world.environment else 1)
    words = ("create", world.place("chain"), parts, "--bucket-rows", 60)
    assert in_steps(world, words)["rows"] == 120
    done = world.run("embed", fasta, "-o", one, "--shard-rows", 1000, "-q")
    assert done.code == 0, done.err
    chain = world.open(world.place("chain"))
    whole = atoll.create(world.place("whole-c"), one, settings=world.reach)
    ids = [f"q{i}" for i in (0, 7, 119)]
    vector = chain.spec.vector_column
    assert chain.get(ids, [vector]).equals(whole.get(ids, [vector]))
    assert sorted(chain.get([f"q{i}" for i in range(120)])["id"].to_pylist()) == sorted(
        f"q{i}" for i in range(120)
    )
