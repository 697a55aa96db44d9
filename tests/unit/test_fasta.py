"""The FASTA policy, line by line."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random

import pytest
import zstandard

from atoll.core.errors import Corrupt, InvalidInput, NotFound
from atoll.storage import open_storage
from atoll.vectors.embed import fasta
from atoll.vectors.embed.fasta import FastaStats, read_fasta

TWO = b">a first one\nMKV\nLLA\n>b\nGGG\n"


@pytest.fixture
def read(tmp_path):
    def read(data, stats=None):
        path = tmp_path / "in.fasta"
        path.write_bytes(data)
        return list(read_fasta(path, stats=stats))

    return read


def refusal(read, data):
    with pytest.raises(InvalidInput) as caught:
        read(data)
    return str(caught.value)


def test_records_carry_id_description_sequence_and_line(read):
    first, second = read(TWO)
    assert first[:3] == ("a", "first one", "MKVLLA")
    assert second[:3] == ("b", "", "GGG")
    assert (first.line, second.line) == (1, 4)
    assert first.file.endswith("in.fasta")


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        bz2.compress,
        lzma.compress,
        zstandard.compress,
        lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
        lambda data: zstandard.compress(data[:9]) + zstandard.compress(data[9:]),
    ],
    ids=["gzip", "bzip2", "xz", "zstd", "two gzip members", "two zstd frames"],
)
def test_packed_files_are_told_by_their_first_bytes(read, pack):
    assert [r[:3] for r in read(pack(TWO))] == [("a", "first one", "MKVLLA"), ("b", "", "GGG")]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_cut_packed_file_is_named_with_the_records_read(read, pack):
    letters = random.Random(0).choices("ACDEFGHIKLMNPQRSTVWY", k=400_000)
    many = "".join(f">{i}\n{''.join(letters[i * 200 : i * 200 + 200])}\n" for i in range(2000))
    with pytest.raises(Corrupt, match=r"in\.fasta is damaged or cut short .* records were read"):
        read(pack(many.encode())[:-40])


def test_byte_order_mark_and_blank_lines_are_skipped(read):
    records = read(b"\xef\xbb\xbf\n \n>a\n\nMK \t V\n\n\n>b\nG\n\n")
    assert [(r.id, r.sequence, r.line) for r in records] == [("a", "MKV", 3), ("b", "G", 8)]


def test_windows_line_ends_leave_no_trace(read):
    assert [r[:3] for r in read(b">a x\r\nMK\r\nV\r\n")] == [("a", "x", "MKV")]


def test_lower_case_gaps_and_end_stop_are_normalised_and_counted(read):
    stats = FastaStats()
    (record,) = read(b">a\nmk-v..L*\n", stats)
    assert record.sequence == "MKVL"
    assert (stats.gaps, stats.end_stops, stats.inner_stops) == (3, 1, 0)
    assert stats.notes()[0] == "gap characters dropped: 3"


def test_stop_inside_a_sequence_is_an_unknown_residue(read):
    stats = FastaStats()
    assert read(b">a\nMK*V**\n", stats)[0].sequence == "MKXV"
    assert (stats.inner_stops, stats.end_stops) == (1, 2)


def test_header_that_is_not_utf8_is_kept_with_replacements(read):
    stats = FastaStats()
    records = read(b">a caf\xe9\nMK\n>b caf\xc3\xa9\nMK\n", stats)
    assert [r.description for r in records] == ["caf\ufffd", "caf\u00e9"]
    assert stats.undecodable == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "in.fasta is empty"),
        (b"\n \n\n", "in.fasta is empty"),
        (b"\nMKV\n>a\nMK\n", r"in.fasta:2: text before the first '>'"),
        (b">a\nMK\n>b\n\n>c\nMK\n", "in.fasta:3: sequence 'b' is empty"),
        (b">a\n*\n", "in.fasta:1: sequence 'a' is empty"),
        (b">a\nMK\n>\nMK\n", "in.fasta:3: a header without an id"),
        (b">a\nMK\nM\xc3\xa9K\n", "in.fasta:3: non-ASCII byte"),
        (b">a\nMK1V\n", "in.fasta:2: character b'1' in sequence 'a'"),
        (b"@r\nACGT\n+\nIIII\n", "in.fasta:1: this is FASTQ"),
        (b"\xff\xfe>\x00a\x00", "in.fasta:1: UTF-16"),
        (b"PK\x03\x04rest", "in.fasta is a zip archive"),
        (b">a\rMK\r>b\rMK\r", "in.fasta:1: a carriage return inside a header"),
        (b">a\x00b\nMK\n", "in.fasta:1: id 'a\\x00b' holds a control character"),
    ],
)
def test_bad_input_names_file_line_and_fault(read, data, message):
    assert message in refusal(read, data)


def test_absent_file_and_folder_are_named(tmp_path):
    with pytest.raises(NotFound, match=r"no\.fasta does not exist"):
        list(read_fasta(tmp_path / "no.fasta"))
    with pytest.raises(InvalidInput, match="is a folder"):
        list(read_fasta(tmp_path))


def test_standard_input_is_read_without_seeking(monkeypatch):
    class Pipe(io.BytesIO):
        def seek(self, *_):
            raise OSError("a pipe cannot seek")

    records = list(read_fasta("-", stdin=Pipe(gzip.compress(TWO))))
    assert [(r.id, r.file) for r in records] == [("a", "stdin"), ("b", "stdin")]


def test_store_is_read_by_ranges_and_must_not_change_meanwhile():
    store = open_storage("memory://fasta-test")
    store.put("x/in.fa.gz", gzip.compress(TWO))
    assert [r.id for r in read_fasta("memory://fasta-test/x/in.fa.gz")] == ["a", "b"]
    with pytest.raises(NotFound, match=r"x/no\.fa does not exist"):
        next(read_fasta("memory://fasta-test/x/no.fa"))
    records = read_fasta("memory://fasta-test/x/in.fa.gz")
    next(records)
    store.put("x/in.fa.gz", gzip.compress(TWO * 2))
    with pytest.raises(InvalidInput, match="was changed since it was planned"):
        list(records)


def test_pipe_of_a_shell_is_read(tmp_path):
    reader, writer = os.pipe()
    os.write(writer, gzip.compress(TWO))
    os.close(writer)
    assert [r.id for r in read_fasta(f"/dev/fd/{reader}")] == ["a", "b"]
    os.close(reader)


def test_nucleotides_are_pointed_out(read):
    stats = FastaStats()
    read(b">a\n" + b"ACGTTGCAUN" * 10 + b"\n", stats)
    assert "looks like DNA" in stats.notes()[0]
    stats = FastaStats()
    read(b">a\n" + b"ACGTTGCAUN" * 10 + b"\n>b\nMKV\n", stats)
    assert stats.notes() == []


def test_endless_record_is_refused_before_memory_fills(read, monkeypatch):
    monkeypatch.setattr(fasta, "MAX_RECORD_BYTES", 1 << 20)
    assert "more than 1 MiB" in refusal(read, b">a\n" + b"MKVL\n" * 700_000)
