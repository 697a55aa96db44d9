"""Laws of the FASTA reader, against a line-by-line oracle and any cut into chunks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.vectors.embed.fasta import FastaStats, _Reader

LETTERS = st.text("ACDEFGHIKLMNPQRSTVWYXacgt", min_size=1, max_size=30)
RECORDS = st.lists(st.tuples(st.text("abc|_1", min_size=1), LETTERS), min_size=1, max_size=8)


def written(records, width, end):
    lines = []
    for name, sequence in records:
        lines.append(f">{name} some text")
        lines += [sequence[i : i + width] for i in range(0, len(sequence), width)] + [""]
    return end.join(lines).encode()


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.integers(1, 9), st.sampled_from(["\n", "\r\n"]), st.integers(1, 40))
def test_any_wrapping_and_any_cut_into_chunks_reads_the_same(records, width, end, chunk):
    data = written(records, width, end)
    chunks = (data[i : i + chunk] for i in range(0, len(data), chunk))
    read = list(_Reader("x", FastaStats()).records(chunks))
    assert [(r.id, r.sequence) for r in read] == [(name, seq.upper()) for name, seq in records]
    headers = [n for n, line in enumerate(data.decode().split(end), 1) if line.startswith(">")]
    assert [r.line for r in read] == headers
