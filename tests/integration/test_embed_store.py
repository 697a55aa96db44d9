"""Embedding into an object store: any machine goes on where another stopped."""

import json
import signal
import threading
import time
from contextlib import contextmanager

import pytest
from commandline import DEADLINE_SECONDS, ended, start
from s3_servers import moto_server
from vectordata import settings, write_fasta

import atoll
from atoll.core.errors import Conflict, Corrupt, InvalidInput
from atoll.storage import open_storage
from atoll.vectors.embed.service import EmbedOptions, embed
from atoll.vectors.sources import open_sources

PROTEINS = 100


class Store:
    """A folder in a bucket, what it holds, and how it is reached."""

    def __init__(self, server, scratch):
        self.server = server
        self.url = f"{server.new_bucket()}/shards"
        self.reach = settings(scratch, storage=server.options())
        self.storage = open_storage(self.url, self.reach.storage)

    def embed(self, source, *, part=(1, 1), **options):
        asked = EmbedOptions(**{"shard_rows": 30, "part": part} | options)
        return embed(source, self.url, options=asked, settings=self.reach)

    def shards(self):
        return {
            entry.path: self.storage.get(entry.path)
            for entry in self.storage.list()
            if entry.path.endswith(".h5")
        }

    def record(self, name):
        return json.loads(self.storage.get(f"{name}.json"))

    def start(self, *words):
        """Start `atoll embed` into the store, in a process of its own."""
        environment = {
            "ATOLL_ENDPOINT": self.server.endpoint, "ATOLL_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testsecret",
            "ATOLL_SCRATCH": str(self.reach.scratch),
        }  # fmt: skip
        return start("embed", *words, "-o", self.url, "--json", **environment)


class Gate:
    """Holds one request that writes an object, until it is let go; notes all that are written."""

    def __init__(self):
        self.is_held, self.may_go = threading.Event(), threading.Event()
        self.written = []
        self.which = None

    def around(self, app):
        def answer(environ, start_response):
            if environ["REQUEST_METHOD"] == "PUT":
                name = environ["PATH_INFO"].rpartition("/")[2]
                self.written.append(name)
                if (name, self.written.count(name)) == self.which:
                    self.is_held.set()
                    assert self.may_go.wait(DEADLINE_SECONDS)
            return app(environ, start_response)

        return answer

    @contextmanager
    def holding(self, name, time, start):
        """Hold the process that writes an object for the so-manyth time, until the block ends."""
        self.written.clear()
        self.is_held.clear()
        self.may_go.clear()
        self.which = name, time
        process = start()
        try:
            assert self.is_held.wait(DEADLINE_SECONDS), ended(process)
            self.which = None
            yield
        finally:
            self.may_go.set()
            done = ended(process)
        assert done.code == 0, done.err


@pytest.fixture(scope="module")
def gate():
    return Gate()


@pytest.fixture(scope="module")
def server(gate):
    with moto_server(gate.around) as found:
        yield found


@pytest.fixture
def store(server, tmp_path):
    return Store(server, tmp_path / "scratch")


@pytest.fixture
def fasta(tmp_path):
    return write_fasta(tmp_path / "in.fasta", PROTEINS)


def local_shards(source, folder, parts=1):
    for part in range(parts):
        asked = EmbedOptions(shard_rows=30, part=(part + 1, parts))
        embed(source, folder, options=asked, settings=settings(folder.parent / "local-scratch"))
    return {path.name: path.read_bytes() for path in folder.glob("*.h5")}


@pytest.mark.parametrize("parts", [1, 3])
def test_the_files_are_those_of_a_local_folder(store, fasta, tmp_path, parts):
    reports = [store.embed(fasta, part=(part + 1, parts)) for part in range(parts)]
    assert store.shards() == local_shards(fasta, tmp_path / "out", parts)
    assert sum(report.rows for report in reports) == PROTEINS
    names = sorted(file for report in reports for file in report.files)
    assert names == [f"{store.url}/{name}" for name in sorted(store.shards())]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_killed_part_goes_on_after_its_last_whole_file(store, tmp_path):
    source = write_fasta(tmp_path / "long.fasta", 3000)
    words = (source, "--shard-rows", 100)
    process = store.start(*words)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(store.shards()) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = store.record("part-00001-of-00001")
    assert kept["state"] == "running"
    with pytest.raises(InvalidInput, match="part 1 of 1 is unfinished"):
        open_sources([store.url], storage_options=store.reach.storage)
    done = ended(store.start(*words))
    assert done.code == 0, done.err
    assert json.loads(done.out)["resumed_rows"] == kept["rows"] >= 200
    whole = embed(
        source, tmp_path / "whole", options=EmbedOptions(shard_rows=100), settings=store.reach
    )
    assert store.shards() == {path.name: path.read_bytes() for path in whole.files}


def test_a_finished_part_is_compared_and_stays(store, fasta):
    store.embed(fasta)
    before = store.shards()
    report = store.embed(fasta)
    assert (report.rows, report.resumed_rows) == (PROTEINS, PROTEINS)
    assert store.shards() == before
    with fasta.open("a") as file:
        file.write(">more\nMKV\n")
    with pytest.raises(Conflict, match="no longer what the 100 vectors"):
        store.embed(fasta)
    assert store.shards() == before


def test_an_input_that_changed_is_noticed(store, fasta):
    store.embed(fasta)
    fasta.write_text(fasta.read_text().replace(">q3\n", ">other\n"))
    with pytest.raises(Conflict, match="no longer what the 100 vectors"):
        store.embed(fasta)
    assert store.embed(fasta, force=True).resumed_rows == 0


RECORD = "part-00001-of-00001.json"


def test_of_two_machines_at_a_part_the_one_that_fails_takes_nothing_away(
    store, gate, fasta, tmp_path
):
    wanted = local_shards(fasta, tmp_path / "out")
    # The first shard is there, the record does not tell of it yet.
    with gate.holding(RECORD, 2, lambda: store.start(fasta, "--shard-rows", 30)):
        (tmp_path / "bad.fasta").write_text("MKV\n")
        (tmp_path / "bad.fasta").replace(fasta)
        with pytest.raises(InvalidInput, match="text before the first"):
            store.embed(fasta)
    assert store.shards() == wanted
    assert store.record("part-00001-of-00001")["state"] == "finished"


def test_of_two_machines_at_a_part_the_slower_one_does_not_undo_what_is_recorded(
    store, gate, fasta
):
    name = "part-00001-of-00001-00001.h5"
    with gate.holding(name, 1, lambda: store.start(fasta, "--shard-rows", 30)):
        store.embed(fasta)
        before, told = store.shards(), store.record("part-00001-of-00001")
        gate.written.clear()
    assert told["state"] == "finished"
    assert gate.written.count(RECORD) == 1
    assert (store.shards(), store.record("part-00001-of-00001")) == (before, told)


def test_a_recorded_file_that_is_gone_is_made_again(store, fasta):
    store.embed(fasta)
    before = store.shards()
    store.storage.delete("part-00001-of-00001-00001.h5")
    assert store.embed(fasta).resumed_rows == 0
    assert store.shards() == before


def test_other_options_are_refused_until_forced(store, fasta):
    store.embed(fasta)
    with pytest.raises(Conflict, match=r"of another command .*shard_rows was 30, now 40"):
        store.embed(fasta, shard_rows=40)
    store.embed(fasta, shard_rows=60, force=True)
    assert [shard["rows"] for shard in store.record("part-00001-of-00001")["shards"]] == [60, 40]
    assert len(store.shards()) == 2


def test_parts_of_another_command_are_refused(store, fasta):
    store.embed(fasta, part=(1, 2))
    with pytest.raises(Conflict, match="part-00001-of-00002 of another command"):
        store.embed(fasta, part=(2, 2), tile=20)


def test_files_that_no_record_tells_of_are_not_replaced(store, fasta):
    store.storage.put("part-00001-of-00001-00007.h5", b"mine")
    with pytest.raises(Conflict, match=r"00007\.h5 is there already"):
        store.embed(fasta)
    store.embed(fasta, force=True)
    assert "part-00001-of-00001-00007.h5" not in store.shards()


def test_an_error_at_the_first_rows_leaves_nothing(store, tmp_path):
    (tmp_path / "bad.fasta").write_text("MKV\n")
    with pytest.raises(InvalidInput, match="text before the first"):
        store.embed(tmp_path / "bad.fasta")
    assert list(store.storage.list()) == []


def test_a_folder_is_read_when_all_its_parts_are_whole(store, fasta, tmp_path):
    store.embed(fasta, part=(1, 2))
    with pytest.raises(InvalidInput, match="part 2 of 2 is missing"):
        atoll.create(tmp_path / "c", store.url, settings=store.reach)
    store.embed(fasta, part=(2, 2))
    # What no record names is no part of it.
    store.storage.put("stray.h5", b"nothing")
    assert len(atoll.create(tmp_path / "c", store.url, settings=store.reach)) == PROTEINS
    store.storage.delete("part-00002-of-00002-00000.h5")
    with pytest.raises(InvalidInput, match=r"part-00002-of-00002-00000\.h5 is missing"):
        atoll.create(tmp_path / "d", store.url, settings=store.reach)


def test_a_damaged_record_is_named(store, fasta):
    store.embed(fasta)
    store.storage.put("part-00001-of-00001.json", b"{}")
    with pytest.raises(Corrupt, match=r"part-00001-of-00001\.json is no record"):
        store.embed(fasta)


def test_a_part_without_proteins_is_finished_too(store, tmp_path):
    (tmp_path / "one.fasta").write_text(">a\nMKV\n")
    for _ in range(2):
        for part in range(3):
            store.embed(tmp_path / "one.fasta", part=(part + 1, 3))
    (source,) = open_sources([store.url], storage_options=store.reach.storage)
    assert source.rows == 1
