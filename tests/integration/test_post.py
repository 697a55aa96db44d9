"""`make post`, small: the whole post with Atoll's own commands, and nothing left running."""

import csv
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTEINS, BUCKET_ROWS = 240, 120
pytestmark = [pytest.mark.ceph, pytest.mark.slow]


# The commands differ in one word of `create`; functions search both in test_search_on_aws.py.
INDEXES = ["rabitq", pytest.param("ivf_pq", marks=pytest.mark.nightly)]


@pytest.fixture(scope="module")
def post(request, tmp_path_factory):
    """What it printed, the folder of its results, and its session, which its processes share."""
    out = tmp_path_factory.mktemp("post")
    command = [sys.executable, "-m", "bench.post", "--out", out, "--proteins", PROTEINS]
    command += ["--bucket-rows", BUCKET_ROWS, "--repeats", 1]
    if not request.config.getoption("--nightly"):
        command += ["--index", "rabitq"]
    process = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    printed, said = process.communicate()
    assert process.returncode == 0, said
    return printed, out, process.pid


@pytest.mark.parametrize("index", INDEXES)
def test_the_post_ends_in_a_csv_of_the_nearest_proteins(post, index):
    with (post[1] / f"{index}.csv").open() as file:
        hits = list(csv.DictReader(file))
    assert len(hits) == 20 * 10
    assert {hit["rank"] for hit in hits} == {str(rank) for rank in range(1, 11)}
    assert all(hit["id"].startswith(("sp|", "tr|")) for hit in hits)


@pytest.mark.parametrize("index", INDEXES)
def test_the_post_tells_time_cold_and_warm_recall_bill_and_place(post, index):
    times = rf"{index}: p50 of 1 searches.*cold [\d.]+ s, warm [\d.]+ s; recall@10 ([\d.]+) "
    said = re.search(rf"{times}.*{index}.csv(?s:.*?)in all \$", post[0])
    assert said, post[0]
    assert float(said[1]) > 0.5


def test_the_post_says_what_of_it_is_emulated(post):
    assert "Emulated, by ministack" in post[0]


def test_the_post_leaves_no_process_behind(post):
    assert post[2] not in set(sessions())


def sessions():
    """The session of every process there is."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it may end while it is looked at
            # The name, in brackets, may hold anything; the fields follow the last bracket.
            yield int(path.read_text().rpartition(")")[2].split()[3])
