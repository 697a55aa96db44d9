"""What a Lance table's manifest says of its files, as an open table tells it."""

from types import SimpleNamespace

import pytest

from atoll.storage.lancefiles import refers_outside


def table(*paths, overlay="o.lance", bases=()):
    files = [SimpleNamespace(path=path) for path in paths]
    over = [SimpleNamespace(data_file=SimpleNamespace(path=overlay))]
    fragment = SimpleNamespace(metadata=SimpleNamespace(files=files, overlays=over))
    return SimpleNamespace(base_paths=lambda: dict(bases), get_fragments=lambda: [fragment])


def test_files_below_the_table_are_its_own():
    assert not refers_outside(table("a.lance", "b/c..lance", "..d"))


@pytest.mark.parametrize("path", ["../a", "/etc/a", "s3://lake/a", "b/../../a", "./a", "a//b", ""])
def test_a_path_that_leads_elsewhere_is_told_wherever_it_stands(path):
    assert refers_outside(table("a.lance", path))
    assert refers_outside(table("a.lance", overlay=path))


def test_another_base_is_told_though_no_path_looks_odd():
    assert refers_outside(table("a.lance", bases={1: "s3://lake/secret.lance"}))
