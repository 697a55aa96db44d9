"""The benches run and report completely; what they measure is nobody's business here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lancedb", reason="the baseline is LanceDB: install atoll[dev]")

pytestmark = pytest.mark.nightly
ROOT = Path(__file__).parents[2]
# That of an object store is apart.
BENCHES = (
    "ingest", "create", "index", "partitions", "search", "contract", "query", "batch", "wide",
    "fanout", "cold", "randconv", "huge", "allocator", "spottraces", "meshsearch",
    "meshgrants", "meshaudit", "meshload", "meshstart",
)  # fmt: skip
COLUMNS = {
    "bench",
    "what",
    "ours",
    "baseline",
    "unit",
    "ratio",
    "bar",
    "goal",
    "is_met",
    "reaches_goal",
    "note",
}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Standard output of one smoke run, and what it wrote by bench."""
    return _run(BENCHES, tmp_path_factory.mktemp("bench"), tmp_path_factory.mktemp("scratch"))


def _run(names, out, scratch):
    command = [sys.executable, "-m", "bench", "--quick", "--out", out, "--scratch", scratch]
    command += [word for name in names for word in ("--only", name)]
    # The sets are drawn by products of matrices, whose second thread waits by burning a processor.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    written = {path.stem: json.loads(path.read_text()) for path in out.iterdir()}
    return done.stdout, written, list(scratch.iterdir())


def test_every_bench_leaves_one_complete_json(smoke):
    _, written, _ = smoke
    assert set(written) == set(BENCHES)
    for name, facts in written.items():
        assert facts["bench"] == name
        assert {"cpu", "cores", "load"} <= facts["machine"].keys()
        assert {"atoll", "pylance", "lancedb", "commit"} <= facts["versions"].keys()
        assert facts["rows"]
        assert all(set(row) == COLUMNS for row in facts["rows"])


def test_the_table_shows_every_row_and_judges_no_smoke_run(smoke):
    shown, written, _ = smoke
    for facts in written.values():
        for row in facts["rows"]:
            assert f"| {row['what']} " in shown
            assert row["is_met"] is row["reaches_goal"] is None
    assert "the figures mean nothing" in shown


def test_every_row_that_is_asked_for_names_its_bar_and_goal(smoke):
    _, written, _ = smoke
    asked = {name: [row for row in facts["rows"] if row["bar"]] for name, facts in written.items()}
    for name in ("ingest", "index", "partitions", "contract", "query", "wide", "fanout", "cold"):
        assert any(row["goal"] for row in asked[name]), name
    assert "| goal " in smoke[0]


def test_a_peer_that_is_not_installed_is_skipped_by_name(smoke):
    _, written, _ = smoke
    rows = [row for row in written["query"]["rows"] if row["what"].startswith("peer ")]
    assert len(rows) == 7
    assert all(row["ours"] or "not installed" in row["note"] for row in rows)


def test_the_projection_is_written_out_step_by_step(smoke):
    assert "9. Together:" in smoke[0]


def test_data_sets_that_are_absent_are_named_as_skipped(smoke):
    _, written, _ = smoke
    skipped = [row["note"] for row in written["randconv"]["rows"] if row["ours"] is None]
    assert any("scope40_201.fasta.gz" in note for note in skipped)


def test_a_bench_removes_its_vectors_and_tables(smoke):
    _, _, left = smoke
    assert left == []


@pytest.mark.timeout(3600)
@pytest.mark.ceph
def test_the_bench_of_an_object_store_leaves_one_complete_json(tmp_path):
    (tmp_path / "scratch").mkdir()
    shown, written, left = _run(["remote"], tmp_path / "out", tmp_path / "scratch")
    assert set(written) == {"remote"}
    assert all(f"| {row['what']} " in shown for row in written["remote"]["rows"])
    assert left == []
