"""A streaming FASTA reader with one stated policy, over bytes.

Skipped: a UTF-8 byte order mark, blank lines, white space inside sequences, gaps (`-`, `.`), a `*`
at the end. Lower case becomes upper case. A `*` further inside is an unknown residue, `X`. Headers
are UTF-8; bytes that are not become U+FFFD. All of these but white space and case are counted.
Refused, with file and line: anything before the first `>`, an empty file, a record without id or
without residues, a byte in a sequence that is neither letter nor one of the above, FASTQ, UTF-16.
Gzip, bzip2, xz and zstd are told by their first bytes, whatever the file is called.

Every library that was tried is silent about one of these; none would be faster where it matters.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn, cast

import zstandard

from atoll.core.config import StorageOptions
from atoll.core.errors import Corrupt, InvalidInput
from atoll.core.files import read_failure, reading
from atoll.storage import local_path
from atoll.vectors.sources.files import find_file

STDIN = "-"
_CHUNK_BYTES = 1 << 20
_ZSTD_BYTES = 4096
MAX_RECORD_BYTES = 1 << 26
_DNA_SAMPLE_RECORDS = 1000
_DNA_MIN_RESIDUES = 50
_DNA_LETTERS = b"ACGTUN"
_BLANKS = b" \t\r\n\v\f"
_GAPS = b"-."
_LETTERS = bytes(range(ord("A"), ord("Z") + 1))
_UPPER = bytes(range(256)).upper()
_BOM = b"\xef\xbb\xbf"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_MAGIC_BYTES = 6


class Record(NamedTuple):
    """One sequence of a FASTA file.

    Attributes:
        id: the first word of the header.
        description: the rest of the header; empty where there is none.
        sequence: upper-case letters.
        file: the file as it was named by the caller, "stdin" for `-`.
        line: the line of the header, from 1.
    """

    id: str
    description: str
    sequence: str
    file: str
    line: int


@dataclass
class FastaStats:
    """What a reader met, added up over the files it is given for.

    Attributes:
        records, residues: read, after the policy was applied.
        gaps: gap characters dropped.
        end_stops: trailing `*` dropped.
        inner_stops: `*` inside sequences, read as unknown residues.
        undecodable: headers with bytes that are not UTF-8.
        dna_files: files whose first sequences hold nothing but A C G T U N.
    """

    records: int = 0
    residues: int = 0
    gaps: int = 0
    end_stops: int = 0
    inner_stops: int = 0
    undecodable: int = 0
    dna_files: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Say in words what was changed or looks wrong; empty where nothing is."""
        told = [
            (self.gaps, "gap characters dropped"),
            (self.end_stops, "'*' dropped at the end of a sequence"),
            (self.inner_stops, "'*' inside a sequence read as an unknown residue"),
            (self.undecodable, "headers with bytes that are not UTF-8, which became U+FFFD"),
        ]
        notes = [f"{what}: {count:,}" for count, what in told if count]
        return notes + [
            f"{file} looks like DNA, not protein: its first sequences hold only A C G T U N"
            for file in self.dna_files
        ]


def read_fasta(
    source: str | Path,
    *,
    options: StorageOptions | None = None,
    stats: FastaStats | None = None,
    stdin: BinaryIO | None = None,
) -> Iterator[Record]:
    """Read the records of a FASTA file in order, in memory that does not grow with the file.

    Args:
        source: a path, a storage URL, or "-" for standard input; plain, gzip, bzip2, xz or zstd.
        options: how to reach the store of a URL.
        stats: added up while reading.
        stdin: what "-" reads instead of this process's standard input.

    Yields:
        Records as the policy at the top of this module leaves them.

    Raises:
        InvalidInput: the file breaks the policy; the message names file and line. Or a file of a
            store changed meanwhile.
        NotFound, Forbidden, Unavailable: the file cannot be read.
        Corrupt: a compressed file is damaged or cut short; says how many records were read.
    """
    stats = stats if stats is not None else FastaStats()
    with _opened(str(source), options or StorageOptions(), stdin) as (name, raw):
        before = stats.records
        try:
            yield from _Reader(name, stats).records(_decompressed(name, raw))
        except (
            EOFError,
            zlib.error,
            gzip.BadGzipFile,
            lzma.LZMAError,
            zstandard.ZstdError,
        ) as error:
            raise _damaged(name, stats.records - before, error) from error
        except OSError as error:
            # bz2 says "Invalid data stream" through an OSError without a number.
            if error.errno is None:
                raise _damaged(name, stats.records - before, error) from error
            raise read_failure(error, name) from error


def count_records(path: Path) -> int:
    """Count the header lines of a local file, ten times quicker than reading it; 0 if damaged."""
    count, before = 0, b"\n"
    try:
        with path.open("rb") as raw:
            for chunk in _decompressed(str(path), raw):
                count += (before + chunk).count(b"\n>")
                before = chunk[-1:]
    except (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, InvalidInput):
        return 0
    return count


def _damaged(name: str, records: int, error: Exception) -> Corrupt:
    return Corrupt(
        f"{name} is damaged or cut short ({error}): {records} complete records were read before"
        " the fault; fetch the file again",
        file=name,
        records=records,
    )


class _Reader:
    """Splits one file into records."""

    def __init__(self, name: str, stats: FastaStats) -> None:
        self._name = name
        self._stats = stats
        self._line = 1
        self._sampled = 0
        self._sampled_residues = 0
        self._dna_so_far = True

    def records(self, chunks: Iterator[bytes]) -> Iterator[Record]:
        """Yield the records; `_line` is the line of the text at hand."""
        start, held = self._start(chunks), b""
        for chunk in chain([start], chunks):
            # A header mark may lie across two chunks: search from the last byte held.
            parts = (held[-1:] + chunk).split(b"\n>")
            parts[0] = held[:-1] + parts[0]
            held = parts.pop()
            for part in parts:
                yield self._record(part)
            if len(held) > MAX_RECORD_BYTES:
                self._refuse(
                    f"a record of more than {MAX_RECORD_BYTES >> 20} MiB: is this a protein?"
                )
        yield self._record(held)
        self._judge_dna()

    def _start(self, chunks: Iterator[bytes]) -> bytes:
        """Skip mark and blank lines; return what follows the first `>`, and some way on."""
        held = b""
        for chunk in chunks:
            held += chunk
            if held.startswith((b"\xff\xfe", b"\xfe\xff")):
                self._refuse("UTF-16 text; save it as UTF-8 or plain ASCII")
            text = held.removeprefix(_BOM)
            kept = text.lstrip(_BLANKS)
            self._line += text[: len(text) - len(kept)].count(b"\n")
            held = kept
            # One byte more than the mark itself: the search for `\n>` keeps the last byte back.
            if len(held) > max(1, len(_BOM)):
                break
        if not held:
            raise InvalidInput(
                f"{self._name} is empty: there is no sequence in it", file=self._name
            )
        if held.startswith(b"@"):
            self._refuse("this is FASTQ (it starts with '@'): give protein sequences as FASTA")
        if not held.startswith(b">"):
            self._refuse(
                "text before the first '>': every sequence needs a header line such as '>id'"
            )
        return held[1:]

    def _record(self, text: bytes) -> Record:
        header, _, body = text.partition(b"\n")
        line = self._line
        name, description = self._header(header)
        sequence = self._sequence(body, name)
        self._line = line + text.count(b"\n") + 1
        self._stats.records += 1
        self._stats.residues += len(sequence)
        if self._sampled < _DNA_SAMPLE_RECORDS:
            self._sample(sequence)
        return Record(name, description, sequence.decode("ascii"), self._name, line)

    def _header(self, header: bytes) -> tuple[str, str]:
        text = header.decode("utf-8", "replace")
        if "\ufffd" in text:
            self._stats.undecodable += 1
        name, *rest = text.split(None, 1) or [""]
        if not name:
            self._refuse("a header without an id; write '>id'")
        if "\r" in header.decode("latin-1").rstrip("\r"):
            self._refuse("a carriage return inside a header: convert the line ends (CR) to LF")
        if not name.isprintable():
            self._refuse(f"id {name!r} holds a control character")
        return name, rest[0].strip().replace("\x00", "\ufffd") if rest else ""

    def _sequence(self, body: bytes, name: str) -> bytes:
        """Apply the policy; plain sequences, nearly all, take two passes in C."""
        sequence = body.translate(_UPPER, _BLANKS)
        if sequence.translate(None, _LETTERS):
            sequence = self._mended(sequence, body, name)
        if not sequence:
            self._refuse(f"sequence {name!r} is empty: remove the record or give its residues")
        return sequence

    def _mended(self, sequence: bytes, body: bytes, name: str) -> bytes:
        ungapped = sequence.translate(None, _GAPS)
        self._stats.gaps += len(sequence) - len(ungapped)
        ended = ungapped.rstrip(b"*")
        self._stats.end_stops += len(ungapped) - len(ended)
        self._stats.inner_stops += ended.count(b"*")
        if strange := ended.translate(None, _LETTERS + b"*"):
            at = min(body.index(byte) for byte in set(strange))
            self._line += 1 + body.count(b"\n", 0, at)
            what = "non-ASCII byte" if body[at] > 126 else "character"
            self._refuse(
                f"{what} {bytes([body[at]])!r} in sequence {name!r}: only letters, gaps and '*' may"
                " stand there"
            )
        return ended.replace(b"*", b"X")

    def _sample(self, sequence: bytes) -> None:
        self._sampled += 1
        self._sampled_residues += len(sequence)
        self._dna_so_far = self._dna_so_far and not sequence.translate(None, _DNA_LETTERS)
        if self._sampled == _DNA_SAMPLE_RECORDS:
            self._judge_dna()

    def _judge_dna(self) -> None:
        enough = self._sampled_residues >= _DNA_MIN_RESIDUES
        if self._dna_so_far and enough and self._name not in self._stats.dna_files:
            self._stats.dna_files.append(self._name)

    def _refuse(self, why: str) -> NoReturn:
        raise InvalidInput(f"{self._name}:{self._line}: {why}", file=self._name, line=self._line)


@contextmanager
def _opened(
    source: str, options: StorageOptions, stdin: BinaryIO | None
) -> Iterator[tuple[str, BinaryIO]]:
    if source == STDIN:
        yield "stdin", stdin or sys.stdin.buffer
        return
    path = local_path(source)
    if path is not None:
        # Pipes of a shell, too: a source file would be held to size and time.
        with reading(source):
            local = path.open("rb")
        with local as file:
            yield source, file
        return
    found = find_file(source, options)
    with found.open() as remote:
        yield source, cast("BinaryIO", remote)
    # It came in many requests.
    found.check_unchanged()


def _decompressed(name: str, raw: BinaryIO) -> Iterator[bytes]:
    """Read the text of a file chunk by chunk, whatever it is packed in."""
    head = _read_head(raw)
    packed = cast("BinaryIO", io.BufferedReader(_Rejoined(head, raw), _CHUNK_BYTES))
    if head.startswith(b"PK\x03\x04"):
        raise InvalidInput(f"{name} is a zip archive: unpack it first", file=name)
    if head.startswith(_ZSTD_MAGIC):
        yield from _unzstd(packed)
        return
    text: BinaryIO = packed
    if head.startswith(b"\x1f\x8b"):
        text = cast("BinaryIO", gzip.GzipFile(fileobj=packed))
    elif head.startswith(b"BZh"):
        text = cast("BinaryIO", bz2.BZ2File(packed))
    elif head.startswith(b"\xfd7zXZ\x00"):
        text = cast("BinaryIO", lzma.LZMAFile(packed))  # noqa: SIM115 - reads `packed`
    while chunk := text.read(_CHUNK_BYTES):
        yield chunk


def _read_head(raw: BinaryIO) -> bytes:
    head = b""
    while len(head) < _MAGIC_BYTES and (more := raw.read(_MAGIC_BYTES - len(head))):
        head += more
    return head


class _Rejoined(io.RawIOBase):
    """A stream with its first bytes put back; standard input cannot seek."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)


def _unzstd(packed: BinaryIO) -> Iterator[bytes]:
    """Decompress zstd frames; the library's own stream reader is silent about a cut file."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    is_open = False
    # Little at a time: a few kilobytes may unfold into megabytes.
    while data := packed.read(_ZSTD_BYTES):
        while data:
            if frame.eof:
                frame = zstandard.ZstdDecompressor().decompressobj()
            is_open = True
            if text := frame.decompress(data):
                yield text
            data = frame.unused_data if frame.eof else b""
            is_open = not frame.eof
    if is_open:
        raise EOFError("zstd frame ended before its end mark")
