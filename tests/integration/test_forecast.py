"""`atoll bench-here` measures a machine, `atoll plan` says what a build takes on it."""

import json
import shutil

import pytest
from commandline import atoll as command
from commandline import must
from vectordata import clustered, write_h5

from atoll.vectors import benchhere, forecast
from atoll.vectors.machine import this_machine
from atoll.vectors.rates import STAGES


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATOLL_RATES", str(tmp_path / "cache" / "rates.json"))
    monkeypatch.setenv("ATOLL_SCRATCH", str(tmp_path / "scratch"))
    return write_h5(tmp_path / "a.h5", clustered(3000, 32))


QUICK = {
    "DIMS": (8, 24),
    "PARTITIONS": (16, 64),
    "VALUES": 1 << 15,
    "REPEATS": 2,
    "TRAIN_ROWS": 512,
    "TRAIN_PARTITIONS": 32,
    "STORE_BYTES": 1 << 16,
}


@pytest.fixture
def quickest(monkeypatch):
    """For those who need that it measures, not how often."""
    for name, value in (QUICK | {"DIMS": (8,), "REPEATS": 1, "VALUES": 1 << 13}).items():
        monkeypatch.setattr(benchhere, name, value)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The file of rates that one `bench-here` has left."""
    path = tmp_path_factory.mktemp("kept") / "rates.json"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK.items():
            patch.setattr(benchhere, name, value)
        patch.setenv("ATOLL_RATES", str(path))
        assert this_machine() in must("bench-here")
    return path


@pytest.fixture
def rates(source, kept, tmp_path):
    """A copy of it, where commands look."""
    (tmp_path / "cache").mkdir()
    return shutil.copy(kept, tmp_path / "cache" / "rates.json")


def planned(*words):
    return json.loads(must("plan", "c", "a.h5", *words, "--json"))["forecast"]


def test_plan_prints_sizes_and_asks_to_measure(source):
    said = must("plan", "c", source)
    assert "run `atoll bench-here`" in said
    assert "written" in said
    assert planned()["places"][0]["times"] is None


def test_plan_projects_from_what_bench_here_measured(source, quickest):
    assert this_machine() in must("bench-here", "--dim", 32)
    found = planned("--workers", 16)
    assert [each["place"]["name"] for each in found["places"]] == [
        "this machine", "16 workers", "i4i.8xlarge",
    ]  # fmt: skip
    for each in found["places"]:
        total = each["times"]["total_s"]
        assert 0 < total["low"] <= total["mid"] <= total["high"]
        stages = each["times"]["wall_s"].values()
        assert total["mid"] == pytest.approx(sum(stage["mid"] for stage in stages))
        assert {"start", "train", "read", "rest"} <= each["times"]["wall_s"].keys()
    assert found["rates"]["machine"] == this_machine()
    assert "at worst" in must("plan", "c", source)


def test_bench_here_leaves_nothing_but_the_rates(source, quickest, tmp_path):
    must("bench-here", "--uri", tmp_path / "store")
    assert not list((tmp_path / "scratch").iterdir())
    assert not (tmp_path / "store").exists() or not list((tmp_path / "store").iterdir())
    kept = json.loads((tmp_path / "cache" / "rates.json").read_text())
    stages = {timing["stage"] for timing in kept[this_machine()]["timings"]}
    assert stages == set(STAGES) - {"start", "train"}


def test_rates_of_another_machine_are_kept_but_not_used(rates, quickest):
    rates.write_text(rates.read_text().replace(this_machine(), "another machine"))
    assert planned()["rates"] is None
    must("bench-here")
    assert set(json.loads(rates.read_text())) == {this_machine(), "another machine"}


def test_damaged_rates_are_measured_again(source, quickest, tmp_path):
    path = tmp_path / "cache" / "rates.json"
    path.parent.mkdir()
    path.write_text("{")
    assert "run `atoll bench-here`" in must("plan", "c", source)
    must("bench-here")
    assert planned()["rates"]["machine"] == this_machine()


def test_what_was_not_measured_is_said(source, rates):
    assert "`atoll bench-here --dim 32` measures them" in must("plan", "c", source)
    said = must("plan", "s3://b/c", source, "--allow-http", "--endpoint", "http://127.0.0.1:1")
    assert "`atoll bench-here --uri s3://b/c` measures it" in said


def test_a_build_too_large_for_this_machine_is_warned_of(source, monkeypatch):
    monkeypatch.setattr(forecast, "available_memory", lambda: 1 << 20)
    monkeypatch.setattr(
        forecast.shutil, "disk_usage", lambda path: forecast.shutil._ntuple_diskusage(1, 1, 1)
    )
    said = must("plan", "c", source)
    assert "WARNING" in said
    assert "of memory do not fit here" in said
    assert "choose another place" in said


def test_projected_bytes_are_what_a_build_writes(source, tmp_path):
    expected = planned()["places"][0]["sizes"]["written"]
    must("create", "c", source)
    written = sum(path.stat().st_size for path in (tmp_path / "c").rglob("*") if path.is_file())
    assert expected == pytest.approx(written, rel=0.2)


def test_bench_here_refuses_a_store_that_cannot_be_written(source, quickest):
    done = command("bench-here", "--uri", source)
    assert done.code == 1
