"""The steps of a search under other schedulers: Snakemake runs them here, Nextflow cannot run."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from commandline import DEADLINE_SECONDS, must
from vectordata import clustered, settings, write_parquet

import atoll
from atoll.vectors.options import STEPS

WORKFLOWS = Path(__file__).parents[2] / "workflows"
ROWS, DIM, BUCKETS = 600, 16, 3
ASKED = "-k 7 --nprobes 3 --where 'length < 700'"
# An `atoll` of ours on the path: it notes each call, and does to some what a test wants.
PROGRAM = """#!{python}
import os, signal, sys
with open({calls!r}, "a") as file:
    print(*sys.argv[1:], file=file, flush=True)
from atoll.vectors.distributed import grouping, steps
{first}
from atoll.app.main import main
main()
"""
A_TREE = "grouping.MAX_PARTS = grouping.GROUP = 2"
KILL_ONCE = """
if sys.argv[1:3] == ["step", "search"] and "2" in sys.argv and not os.path.exists({mark!r}):
    open({mark!r}, "w").close()
    steps.search_bucket = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""
WAIT_ONCE = """
if sys.argv[1:3] == ["step", "search"] and not os.path.exists({mark!r}):
    open({mark!r}, "w").close()
    steps.search_bucket = lambda *_: signal.pause()
"""
GONE = """
if sys.argv[1:3] == ["step", "refine"]:
    import glob
    for part in glob.glob({gone!r}):
        os.unlink(part)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A collection, a file of queries, and what one process answers."""
    folder = tmp_path_factory.mktemp("world")
    source = write_parquet(folder / "x.parquet", clustered(ROWS, DIM), length=np.arange(ROWS))
    atoll.create(
        folder / "c", source, settings=settings(folder / "scratch"), bucket_rows=ROWS // BUCKETS,
        workers=1, num_partitions=4, calibrate=False,
    )  # fmt: skip
    np.save(folder / "q.npy", clustered(20, DIM, seed=8))
    asked = shlex.split(ASKED)
    must("search", folder / "c", folder / "q.npy", *asked, "-o", folder / "hits.csv", "-q")
    return folder


class Workflow:
    """Snakemake in a folder of its own, with an `atoll` of ours."""

    def __init__(self, world, folder, first=""):
        self.world, self.folder = world, folder
        self.mark, self.calls = folder / "mark", folder / "calls"
        (folder / "bin").mkdir()
        self.program(first.format(mark=str(self.mark)))

    def program(self, first):
        text = PROGRAM.format(python=sys.executable, calls=str(self.calls), first=first)
        (self.folder / "bin" / "atoll").write_text(text)
        (self.folder / "bin" / "atoll").chmod(0o755)

    def start(self, *words, cores=2):
        given = {
            "collection": str(self.world / "c"), "queries": str(self.world / "q.npy"),
            "run": str(self.folder / "run"), "options": ASKED, "scratch": str(self.folder),
        }  # fmt: skip
        (self.folder / "search.json").write_text(json.dumps(given))
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "snakemake", "-s", WORKFLOWS / "snakemake" / "Snakefile"),
                *("--cores", str(cores), "--directory", self.folder, *words),
                *("--configfile", self.folder / "search.json"),
            ],
            env=os.environ | {
                "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(self.folder),
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def must(self, *words):
        process = self.start(*words)
        try:
            said, _ = process.communicate(timeout=DEADLINE_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 0, said

    def done(self):
        """Each step that was called, with its number."""
        found = []
        for line in self.calls.read_text().splitlines():
            index = re.search(r"--index (\d+)", line)
            found.append((re.match(r"batch-search|step \w+", line)[0], index and int(index[1])))
        return found

    def hits(self):
        return (self.folder / "run" / "hits.csv").read_bytes()


def test_snakemake_writes_the_file_that_one_process_writes(world, tmp_path):
    workflow = Workflow(world, tmp_path)
    workflow.must()
    assert workflow.hits() == (world / "hits.csv").read_bytes()
    searches = [("step search", bucket) for bucket in range(BUCKETS)]
    done = [("batch-search", None), *searches, ("step refine", None)]
    assert Counter(workflow.done()) == Counter(done)


def test_snakemake_folds_where_the_plan_says_so(world, tmp_path):
    workflow = Workflow(world, tmp_path, A_TREE)
    workflow.must()
    assert workflow.hits() == (world / "hits.csv").read_bytes()
    assert {("step fold", 0), ("step fold", 1)} <= set(workflow.done())


def test_a_killed_search_job_is_tried_again(world, tmp_path):
    workflow = Workflow(world, tmp_path, KILL_ONCE)
    workflow.must()
    assert workflow.hits() == (world / "hits.csv").read_bytes()
    assert workflow.done().count(("step search", 2)) == 2


def test_a_killed_workflow_goes_on_with_what_is_left(world, tmp_path):
    workflow = Workflow(world, tmp_path, WAIT_ONCE)
    process = workflow.start(cores=2)
    deadline = time.monotonic() + DEADLINE_SECONDS
    # One job waits for ever; the other core does the rest.
    while len(list(tmp_path.glob("steps/search/*.json"))) < BUCKETS - 1:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = workflow.done()
    workflow.calls.unlink()
    workflow.must("--unlock")
    workflow.must("--rerun-incomplete")
    assert workflow.hits() == (world / "hits.csv").read_bytes()
    again = workflow.done()
    assert {step for step, _ in again} == {"step search", "step refine"}
    assert set(again) - {("step refine", None)} < set(before)


def test_a_bucket_that_is_missing_ends_the_workflow_by_name(world, tmp_path):
    gone = tmp_path / "run" / "_run" / "parts" / "*" / "0" / "1"
    workflow = Workflow(world, tmp_path, GONE.format(gone=str(gone)))
    process = workflow.start()
    said, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1, said
    assert re.search(r"bucket 1 of \S+ \(bucket_00001_\w+\) has neither answered nor", said), said


def test_nextflow_has_the_same_steps_and_says_that_nobody_ran_it():
    graphs = [
        (WORKFLOWS / name).read_text() for name in ("snakemake/Snakefile", "nextflow/main.nf")
    ]
    for text in graphs:
        assert set(re.findall(r"^ *atoll step (\w+)", text, re.MULTILINE)) == {
            step for step in STEPS if step not in ("plan", "filter", "measure")
        }
        # It plans, and filters before that where there is a predicate; searches measure at once.
        assert re.search(r"^ *atoll batch-search .* --plan-only", text, re.MULTILINE)
    assert "NEVER RUN" in graphs[1]
