"""`atoll embed` as people type it."""

from __future__ import annotations

import json

import h5py
import pytest
from click.testing import CliRunner

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.vectors.embed.cli import embed


@pytest.fixture
def atoll_embed(tmp_path):
    def run(*arguments, stdin=None, quiet=False):
        settings = Settings(threads=1, memory_bytes=1 << 28, quiet=quiet)
        return CliRunner().invoke(
            embed, [str(a) for a in arguments], input=stdin, obj=settings, catch_exceptions=True
        )

    return run


def test_standard_input_becomes_a_file_and_a_sentence(tmp_path, atoll_embed):
    result = atoll_embed("-", "-o", tmp_path / "out.h5", stdin=b">a\nMKV\n>b\nM-KL*\n")
    assert result.exit_code == 0, result.output
    assert "2 vectors of 960 from 2 proteins" in result.stdout
    assert "note: gap characters dropped: 1" in result.stderr
    with h5py.File(tmp_path / "out.h5") as h5:
        assert h5["embedding"].shape == (2, 960)


def test_json_goes_to_stdout_alone(tmp_path, atoll_embed):
    result = atoll_embed("-", "-o", tmp_path / "out.h5", "--json", stdin=b">a\nMK*V\n")
    facts = json.loads(result.stdout)
    assert (facts["rows"], facts["embedder"]["name"]) == (1, "randconv")
    assert facts["files"] == [str(tmp_path / "out.h5")]


def test_part_fills_a_folder(tmp_path, atoll_embed):
    (tmp_path / "in.fa").write_text("".join(f">p{i}\nMKV\n" for i in range(20)))
    for part in ("1/2", "2/2"):
        arguments = ("-o", tmp_path / "out", "--shard-rows", 5, "--part", part)
        assert atoll_embed(tmp_path / "in.fa", *arguments).exit_code == 0
    assert (tmp_path / "out" / "part-00002-of-00002.json").exists()


def test_quiet_says_nothing_more(tmp_path, atoll_embed):
    result = atoll_embed("-", "-o", tmp_path / "out.h5", stdin=b">a\nMKV\n", quiet=True)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("part", ["3", "a/b", "1/2/3"])
def test_part_that_cannot_be_read_is_a_usage_error(tmp_path, atoll_embed, part):
    result = atoll_embed("-", "-o", tmp_path / "out", "--part", part)
    assert result.exit_code == 2
    assert "is not like 3/7" in result.output


def test_our_errors_reach_main(tmp_path, atoll_embed):
    result = atoll_embed("-", "-o", tmp_path / "out.h5", stdin=b"MKV\n")
    assert isinstance(result.exception, InvalidInput)
    assert "stdin:1: text before the first '>'" in result.exception.message


def test_one_of_each_is_told_in_the_singular(tmp_path, atoll_embed):
    result = atoll_embed("-", "-o", tmp_path / "out.h5", stdin=b">a\nMKV\n")
    assert "1 vector of 960 from 1 protein in" in result.stdout
    assert "(1 file, randconv 1, float32)" in result.stdout
