"""`embed` from FASTA to HDF5: what is in the files, what resumes, what is refused."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace

import h5py
import numpy as np
import pytest

from atoll.core.config import Settings
from atoll.core.errors import Conflict, Forbidden, InvalidInput, Unavailable
from atoll.core.progress import Progress
from atoll.vectors.embed import service, shards
from atoll.vectors.embed.models import REGISTRY, Registered, load_model
from atoll.vectors.embed.parts import embedded_shards
from atoll.vectors.embed.service import EmbedOptions, embed
from atoll.vectors.model import Embedder
from atoll.vectors.sources import open_sources

SETTINGS = Settings(threads=2, memory_bytes=1 << 28)


def fasta(path, count, seed=0, longest=60):
    rng = random.Random(seed)
    records = {
        f"p{i}": "".join(rng.choices("ACDEFGHIKLMNPQRSTVWY", k=rng.randint(5, longest)))
        for i in range(count)
    }
    path.write_text("".join(f">{k} protein {k}\n{v}\n" for k, v in records.items()))
    return records


def read(*paths):
    found = {}
    for path in paths:
        with h5py.File(path) as h5:
            found |= dict(zip(h5["id"].asstr()[:], h5["embedding"][:], strict=True))
    return found


def run(source, target, **options):
    return embed(source, target, options=EmbedOptions(**options), settings=SETTINGS)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.fasta"
    fasta(path, 50)
    return path


def test_file_holds_each_protein_with_what_made_it(tmp_path):
    records = fasta(tmp_path / "in.fasta", 30)
    report = run(tmp_path / "in.fasta", tmp_path / "out.h5")
    expected = load_model("randconv").embed(list(records.values()))
    with h5py.File(tmp_path / "out.h5") as h5:
        assert list(h5["id"].asstr()) == list(records)
        assert h5["description"].asstr()[3] == "protein p3"
        assert np.array_equal(h5["embedding"], expected)
        assert h5["embedding"].chunks == (30, 960)
        assert dict(h5.attrs) == {
            "model": "randconv",
            "revision": "1",
            "pooling": "max-whitened",
            "dim": 960,
            "precision": "float32",
        }
    assert (report.rows, report.proteins, report.skipped, report.notes) == (30, 30, 0, ())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.fasta", "out.h5"]


def test_description_is_left_out_where_no_header_has_one(tmp_path):
    (tmp_path / "in.fasta").write_text(">a\nMKV\n>b\nMKL\n")
    run(tmp_path / "in.fasta", tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as h5:
        assert set(h5) == {"embedding", "id"}


def test_long_and_non_ascii_ids_come_back_whole(tmp_path):
    names = ["é" * 5, "x" * 500]
    (tmp_path / "in.fasta").write_text("".join(f">{name}\nMKV\n" for name in names))
    run(tmp_path / "in.fasta", tmp_path / "out.h5")
    assert list(read(tmp_path / "out.h5")) == names


def test_several_files_and_standard_input_follow_one_another(tmp_path):
    (tmp_path / "a.fa.gz").write_bytes(gzip.compress(b">a\nMKV\n"))
    report = embed(
        [tmp_path / "a.fa.gz", "-"],
        tmp_path / "out.h5",
        settings=SETTINGS,
        stdin=io.BytesIO(b">b\nMKL\n"),
    )
    assert list(read(*report.files)) == ["a", "b"]


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_any_number_of_parts_gives_the_same_vectors(tmp_path, source, parts):
    expected = read(*run(source, tmp_path / "whole.h5").files)
    for index in range(1, parts + 1):
        run(source, tmp_path / "out", part=(index, parts), shard_rows=4)
    files = embedded_shards(tmp_path / "out")
    found = read(*files)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert all(len(read(path)) <= 4 for path in files)


def test_folder_says_which_parts_are_missing_or_unfinished(tmp_path, source):
    run(source, tmp_path / "out", part=(2, 3))
    with pytest.raises(InvalidInput, match="part 1 of 3 is missing; part 3 of 3 is missing"):
        open_sources([tmp_path / "out"])
    record = tmp_path / "out" / "part-00002-of-00003.json"
    record.write_text(record.read_text().replace('"finished"', '"running"'))
    with pytest.raises(InvalidInput, match="part 2 of 3 is unfinished"):
        embedded_shards(tmp_path / "out")


def test_tiles_carry_protein_and_residues(tmp_path):
    (tmp_path / "in.fasta").write_text(">p some text\nMKVLAGERTIDP\n>q\nMKV\n")
    run(tmp_path / "in.fasta", tmp_path / "out.h5", tile=5, tile_overlap=2)
    with h5py.File(tmp_path / "out.h5") as h5:
        assert list(h5["id"].asstr()) == ["p/1-5", "p/4-8", "p/7-11", "p/8-12", "q/1-3"]
        assert list(h5["protein"].asstr()) == ["p", "p", "p", "p", "q"]
        assert [*zip(h5["start"], h5["end"], strict=True)][1] == (4, 8)
        assert (h5.attrs["tile"], h5.attrs["tile_overlap"]) == (5, 2)
        expected = load_model("randconv").embed(["LAGER"])
        assert np.array_equal(h5["embedding"][1], expected[0])


def test_duplicate_id_is_refused_with_both_places_or_skipped(tmp_path):
    (tmp_path / "a.fa").write_text(">a\nMKV\n>b\nMKL\n")
    (tmp_path / "b.fa").write_text(">c\nMKV\n\n>a\nGGG\n")
    inputs = [tmp_path / "a.fa", tmp_path / "b.fa"]
    with pytest.raises(InvalidInput, match=r"b\.fa:4: id 'a' was met before at .*a\.fa:1"):
        run(inputs, tmp_path / "out.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.fa", "b.fa"]
    report = run(inputs, tmp_path / "out.h5", on_duplicate="skip")
    assert (report.rows, report.skipped) == (3, 1)
    assert np.array_equal(read(tmp_path / "out.h5")["a"], load_model("randconv").embed(["MKV"])[0])


def test_bad_record_leaves_nothing_behind(tmp_path):
    (tmp_path / "in.fasta").write_text(">a\nMKV\n>b\nMK1\n")
    with pytest.raises(InvalidInput, match=r"in\.fasta:4: character b'1'"):
        run(tmp_path / "in.fasta", tmp_path / "out.h5")
    with pytest.raises(InvalidInput, match=r"in\.fasta:4"):
        run(tmp_path / "in.fasta", tmp_path / "out", shard_rows=10)
    assert [p.name for p in tmp_path.iterdir()] == ["in.fasta"]


def test_existing_output_is_replaced_only_by_force(tmp_path, source):
    run(source, tmp_path / "out.h5")
    before = (tmp_path / "out.h5").read_bytes()
    with pytest.raises(Conflict, match=r"out\.h5 is there already.*--force"):
        run(source, tmp_path / "out.h5", tile=20)
    assert (tmp_path / "out.h5").read_bytes() == before
    run(source, tmp_path / "out.h5", tile=20, force=True)
    assert (tmp_path / "out.h5").read_bytes() != before


def test_finished_part_is_replaced_only_by_force(tmp_path, source):
    run(source, tmp_path / "out", shard_rows=10)
    with pytest.raises(Conflict, match="is there already"):
        run(source, tmp_path / "out", shard_rows=10)
    run(source, tmp_path / "out", shard_rows=30, force=True)
    assert len(embedded_shards(tmp_path / "out")) == 2


def test_part_of_another_command_is_refused_by_its_differences(tmp_path, source):
    run(source, tmp_path / "out", part=(1, 2), shard_rows=10)
    with pytest.raises(Conflict, match="shard_rows was 10, now 20"):
        run(source, tmp_path / "out", part=(2, 2), shard_rows=20)
    with pytest.raises(Conflict, match=r"part was \[1, 2\], now \[1, 3\]"):
        run(source, tmp_path / "out", part=(3, 3), shard_rows=10)


class Stopped(Exception):
    pass


def stop_after(rows):
    def on_progress(progress: Progress):
        if progress.done >= rows:
            raise Stopped

    return on_progress


@pytest.fixture
def small_steps(monkeypatch):
    """Windows of 8 and pieces of 5 rows, so that every boundary is crossed."""
    monkeypatch.setattr(service, "CHECKPOINT_ROWS", 5)
    monkeypatch.setattr("atoll.vectors.embed.randconv.RandConv.window_rows", 8)


@pytest.mark.parametrize("options", [{}, {"shard_rows": 12}, {"tile": 20}])
def test_stopped_run_goes_on_and_gives_the_same_bytes(tmp_path, source, small_steps, options):
    whole = run(
        source, tmp_path / "whole" if "shard_rows" in options else tmp_path / "w.h5", **options
    )
    target = tmp_path / "out" if "shard_rows" in options else tmp_path / "out.h5"
    for rows in (9, 30):
        with pytest.raises(Stopped):
            embed(
                source,
                target,
                options=EmbedOptions(**options),
                settings=SETTINGS,
                on_progress=stop_after(rows),
            )
    report = run(source, target, **options)
    assert report.resumed_rows >= 25
    assert [p.read_bytes() for p in report.files] == [p.read_bytes() for p in whole.files]


def test_unfinished_run_of_another_command_is_refused_by_name(tmp_path, source, small_steps):
    options = EmbedOptions()
    with pytest.raises(Stopped):
        embed(source, tmp_path / "out.h5", settings=SETTINGS, on_progress=stop_after(20))
    with pytest.raises(Conflict, match="tile was None, now 20"):
        run(source, tmp_path / "out.h5", tile=20)
    report = embed(
        source,
        tmp_path / "out.h5",
        options=replace(options, tile=20, force=True),
        settings=SETTINGS,
    )
    assert report.resumed_rows == 0


def test_input_that_changed_meanwhile_is_noticed(tmp_path, source, small_steps):
    with pytest.raises(Stopped):
        embed(source, tmp_path / "out.h5", settings=SETTINGS, on_progress=stop_after(20))
    source.write_text(source.read_text().replace(">p2 ", ">q2 "))
    with pytest.raises(Conflict, match="no longer what the first"):
        run(source, tmp_path / "out.h5")


def test_two_processes_cannot_write_one_output(tmp_path, source):
    def embed_again(_):
        with pytest.raises(Conflict, match="another process is embedding into"):
            run(source, tmp_path / "out.h5")

    embed(source, tmp_path / "out.h5", settings=SETTINGS, on_progress=embed_again)


def test_killed_command_continues_to_the_same_file(tmp_path):
    fasta(tmp_path / "in.fasta", 3000, longest=300)
    expected = run(tmp_path / "in.fasta", tmp_path / "whole.h5").files[0].read_bytes()
    code = (
        "import sys; from atoll.vectors.embed import service; service.CHECKPOINT_ROWS = 200;"
        "from atoll.vectors.embed.randconv import RandConv; RandConv.window_rows = 100;"
        "from atoll.core.config import Settings;"
        "service.embed(sys.argv[1], sys.argv[2], settings=Settings(threads=1))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "in.fasta"), str(tmp_path / "out.h5")]
    state = tmp_path / ".out.h5.embedding" / "progress.json"
    for pieces in (2, 7):
        process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if state.exists() and len(json.loads(state.read_text())["pieces"]) >= pieces:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert json.loads(state.read_text())["pieces"]
    subprocess.run(command, check=True)
    assert (tmp_path / "out.h5").read_bytes() == expected


def test_full_disk_is_said_and_the_run_resumes(tmp_path, source, small_steps, monkeypatch):
    expected = run(source, tmp_path / "whole.h5").files[0].read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(Unavailable, match=r"cannot be written: .*continues where it stopped"):
            run(source, tmp_path / "out.h5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    report = run(source, tmp_path / "out.h5")
    assert report.resumed_rows == 50
    assert (tmp_path / "out.h5").read_bytes() == expected


def test_too_little_room_is_noticed_before_writing(tmp_path, source, monkeypatch):
    usage = shards.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shards.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(Unavailable, match="disk full"):
        run(source, tmp_path / "out.h5")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder_is_named(tmp_path, source):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    with pytest.raises(Forbidden, match=r"closed.*: permission denied"):
        run(source, folder / "out.h5")


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("out.txt", {}, "does not end in .h5"),
        ("in.fasta", {"shard_rows": 5}, "is a file"),
        ("s3://bucket/out.h5", {}, "names a file"),
        ("no/such/out.h5", {}, "make the folder first"),
        ("/proc/out.h5", {}, "/proc/out.h5 cannot be written: nothing can be made there"),
        ("out.h5", {"part": (3, 2)}, "part 3/2 does not exist"),
        ("out.h5", {"tile_overlap": 5}, "--tile-overlap goes with --tile"),
        ("out.h5", {"tile": 5, "tile_overlap": 5}, "cannot overlap by 5"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, source, target, options, message):
    place = target if "://" in target else tmp_path / target
    with pytest.raises(InvalidInput, match=message):
        run(source, place, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["in.fasta"]


class Constant:
    """A model that costs nothing, so that only our own memory and files are left."""

    embedder = Embedder("constant", "1", "none", 256)
    window_rows = 512

    def __init__(self, options):
        pass

    def embed(self, sequences):
        return np.ones((len(sequences), 256), np.float32)


def test_memory_does_not_grow_with_the_input(tmp_path, monkeypatch):
    where = Registered(f"{__name__}:Constant")
    monkeypatch.setitem(REGISTRY, "constant", where)
    monkeypatch.setattr(service, "CHECKPOINT_ROWS", 1024)
    peaks = []
    for count in (5_000, 50_000):
        path = tmp_path / f"{count}.fasta"
        path.write_text("".join(f">identifier_{i}\nMKVLAG\n" for i in range(count)))
        tracemalloc.start()
        embed(path, tmp_path / f"{count}.h5", options=EmbedOptions("constant"), settings=SETTINGS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (tmp_path / "50000.h5").stat().st_size > 50_000_000
    assert peaks[1] - peaks[0] < 10_000_000
