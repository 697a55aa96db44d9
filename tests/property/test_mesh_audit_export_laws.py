"""An exported audit record that was cut or changed anywhere is refused, or found (48)."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_chains import KEY, NEXT_KEY, chains, rotated_chain

from atoll.core.errors import Corrupt, InvalidInput
from atoll.mesh.audit.export import export, read_export, verify_export

KEYS = [KEY, NEXT_KEY]
KINDS = st.sampled_from(["jsonl", "parquet"])


def exported(events, kind):
    file = io.BytesIO()
    export(events, file, NEXT_KEY, kind)
    return file.getvalue()


WRITTEN = {kind: exported(rotated_chain(), kind) for kind in ("jsonl", "parquet")}


def is_refused(data):
    try:
        return verify_export(io.BytesIO(data), KEYS).problem is not None
    except (Corrupt, InvalidInput):
        return True


@settings(max_examples=50)
@given(chains(least=0), KINDS)
def test_an_export_gives_back_the_very_events(events, kind):
    file = io.BytesIO(exported(events, kind))
    manifest, read = read_export(file)
    assert list(read) == events
    assert manifest.events == len(events)
    verdict = verify_export(file, KEYS)
    assert (verdict.problem, verdict.head) == (None, manifest.head)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_export_cut_anywhere_is_refused(kind):
    data = WRITTEN[kind]
    assert not is_refused(data)
    assert all(is_refused(data[:cut]) for cut in range(len(data)))


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_export_cut_off_in_front_is_refused(kind):
    data = WRITTEN[kind]
    assert all(is_refused(data[cut:]) for cut in range(1, len(data)))


def test_any_changed_byte_of_json_lines_is_found():
    data = WRITTEN["jsonl"]
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        assert is_refused(bytes(changed)), place


@given(st.data())
def test_a_changed_byte_of_parquet_never_gives_other_events(data):
    written = bytearray(WRITTEN["parquet"])
    written[data.draw(st.integers(0, len(written) - 1))] ^= data.draw(st.integers(1, 255))
    # Some bytes mean nothing, as who wrote the file.
    if not is_refused(bytes(written)):
        _, read = read_export(io.BytesIO(written))
        assert list(read) == rotated_chain()


@given(st.data())
def test_lines_taken_out_doubled_or_swapped_are_found(data):
    lines = WRITTEN["jsonl"].splitlines(keepends=True)
    one, two = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    assert is_refused(b"".join(lines[:one] + lines[one + 1 :]))
    assert is_refused(b"".join([*lines[:one], lines[two], *lines[one:]]))
    if one != two:
        lines[one], lines[two] = lines[two], lines[one]
        assert is_refused(b"".join(lines))


@given(st.binary(max_size=200), KINDS)
def test_garbage_is_refused(data, kind):
    head = WRITTEN[kind][:4]
    assert is_refused(data)
    assert is_refused(head + data)
    assert is_refused(WRITTEN[kind] + data + b"\n")
