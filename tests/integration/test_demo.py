"""The demo, as a newcomer runs it."""

import re

import pyarrow.csv
import pytest
from commandline import atoll, must

import atoll as library


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    return folder, must("demo", "--out", folder)


@pytest.mark.slow
def test_demo_finds_relatives_by_name(demo):
    folder, _ = demo
    hits = pyarrow.csv.read_csv(folder / "hits.csv").to_pylist()
    assert len(hits) == 200
    first = {hit["query_id"]: hit["description"] for hit in hits if hit["rank"] == 1}
    assert len(first) == 20
    assert "methyltransferase" in first["sp|Q98Q98|TRMD_MYCPU"]
    assert "pentraxin" in first["tr|E9PZM8|E9PZM8_MOUSE"]


@pytest.mark.slow
def test_demo_measures_recall_that_grows_with_probes(demo):
    _, said = demo
    rows = re.findall(r"^refine factor \d+ +([\d. ]+)$", said, re.MULTILINE)
    recalls = [[float(cell) for cell in row.split()] for row in rows]
    assert len(recalls) == 3
    assert all(row == sorted(row) for row in recalls)
    assert recalls[-1][-1] > 0.95


@pytest.mark.slow
def test_demo_leaves_pictures_a_page_and_a_whole_collection(demo):
    folder, _ = demo
    assert (folder / "recall.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "hits.html").read_text()
    assert page.count("<table>") == 20
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page.split("</style>")[1].split("<footer>")[0]
    collection = library.open(folder / "collection")
    assert (len(collection), len(collection.buckets)) == (4000, 4)
    assert collection.verify().is_clean


@pytest.mark.slow
def test_demo_replaces_a_demo_and_nothing_else(demo, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    refused = atoll("demo", "--out", tmp_path)
    assert (refused.code, (tmp_path / "mine.txt").read_text()) == (1, "mine")
    assert "is not empty and no earlier demo" in refused.err
