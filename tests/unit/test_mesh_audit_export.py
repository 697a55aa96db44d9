"""Audit records as files (45, 48)."""

import io
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mesh_chains import KEY, NEXT_KEY, STRANGE_KEY, anchor_of, chain_of, event, rotated_chain
from msgspec.structs import replace as rewritten

from atoll.core.errors import Corrupt, InvalidInput
from atoll.mesh.audit import export as module
from atoll.mesh.audit.chain import extend, head_after
from atoll.mesh.audit.export import export, read_export, verify_export
from atoll.mesh.audit.model import GENESIS
from atoll.mesh.audit.verify import Fault

both_kinds = pytest.mark.parametrize("kind", ["jsonl", "parquet"])


def exported(events, kind="jsonl", key=KEY, **options):
    file = io.BytesIO()
    export(events, file, key, kind, **options)
    return file


def test_json_lines_are_an_event_a_line_and_the_manifest():
    events = chain_of(2)
    *lines, last = exported(events).getvalue().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2]
    assert json.loads(lines[0])["policies"] == []
    manifest = json.loads(last)["manifest"]
    assert (manifest["events"], manifest["key_id"]) == (2, KEY.id)
    assert manifest["head"]["hash"] == events[1].hash


def test_parquet_has_a_row_for_each_event_and_its_time_as_one():
    table = pq.read_table(exported(chain_of(3), "parquet"))
    assert table["seq"].to_pylist() == [1, 2, 3]
    assert table.schema.field("at").type == pa.timestamp("us", "UTC")
    assert str(table["at"][0].as_py()) == "2023-11-14 22:13:20+00:00"


@both_kinds
def test_a_part_of_a_chain_is_verified_on_its_own(kind):
    events = chain_of(6)
    file = exported(events[2:4], kind, after=head_after(events[1]))
    anchors = [anchor_of(events[number]) for number in (0, 1, 3, 5)]
    verdict = verify_export(file, [KEY], anchors)
    assert (verdict.problem, verdict.events, verdict.anchors) == (None, 2, 2)
    assert verdict.head == head_after(events[3])


@both_kinds
def test_an_export_of_nothing_is_whole(kind):
    after = head_after(chain_of(3)[2])
    verdict = verify_export(exported([], kind, after=after), [KEY])
    assert (verdict.problem, verdict.events, verdict.head) == (None, 0, after)


@both_kinds
def test_a_part_that_leaves_events_out_is_found(kind):
    one, _, three = chain_of(3)
    problem = verify_export(exported([one, three], kind), [KEY]).problem
    assert (problem.seq, problem.fault) == (2, Fault.MISSING)


@both_kinds
def test_an_export_that_contradicts_an_anchor_is_found(kind):
    events = chain_of(3)
    anew, _ = extend(GENESIS, [event()] * 3, 1, KEY)
    problem = verify_export(exported(anew, kind), [KEY], [anchor_of(events[1])]).problem
    assert (problem.seq, problem.fault) == (2, Fault.REWRITTEN)


def test_events_taken_from_the_end_or_put_there_are_found():
    *lines, last = exported(chain_of(3)).getvalue().splitlines(keepends=True)
    problem = verify_export(io.BytesIO(b"".join([*lines[:2], last])), [KEY]).problem
    assert (problem.seq, problem.fault) == (3, Fault.TRUNCATED)
    *more, _ = exported(chain_of(4)).getvalue().splitlines(keepends=True)
    problem = verify_export(io.BytesIO(b"".join([*more, last])), [KEY]).problem
    assert (problem.seq, problem.fault) == (4, Fault.INSERTED)


@both_kinds
def test_the_manifest_needs_its_key_and_its_signature(kind):
    file = exported(rotated_chain(), kind, key=STRANGE_KEY)
    assert verify_export(file, [KEY, NEXT_KEY, STRANGE_KEY]).problem is None
    with pytest.raises(InvalidInput, match=f"signed with key {STRANGE_KEY.id}, which was not"):
        verify_export(file, [KEY, NEXT_KEY])
    manifest, _ = read_export(file)
    with pytest.raises(Corrupt, match="not as it was signed"):
        verify_export(io.BytesIO(signed_anew(manifest)), [STRANGE_KEY])


def signed_anew(manifest):
    changed = replace(manifest, events=manifest.events + 1)
    return module.msgspec.json.encode(module._LastLine(changed)) + b"\n"


LARGE = [b"[" * 100_000 + b"\n", b"x" * 3_000_000]


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"{}\n", b"null\n", b"\xff\n", b'{"manifest":{}}\n', b"PAR1", b"PAR1PAR1", *LARGE],
)
def test_other_files_are_refused(data):
    with pytest.raises(Corrupt):
        verify_export(io.BytesIO(data), [KEY])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"seq":1,', b'{"seq": 1,'),
        (b'{"seq":1,', b'{"seq":2,"seq":1,'),
        (b'{"seq":1,', b'{"note":"x","seq":1,'),
        (b'{"seq":1,', b'{"s\\u0065q":1,'),
        (b'"policies":[]', b'"policies":["' + b"x" * (1 << 20) + b'"]'),
    ],
)
def test_a_line_that_other_readers_could_take_otherwise_is_refused(old, new):
    data = exported(chain_of(1)).getvalue()
    assert old in data
    with pytest.raises(Corrupt, match="line 1 of the file"):
        verify_export(io.BytesIO(data.replace(old, new, 1)), [KEY])


def test_parquet_without_a_manifest_or_with_other_columns_is_refused():
    table = pq.read_table(exported(chain_of(2), "parquet"))
    bare, renamed = io.BytesIO(), io.BytesIO()
    pq.write_table(table, bare)
    metadata = pq.read_metadata(exported(chain_of(2), "parquet")).metadata
    other = table.rename_columns([f"{name}_" for name in table.column_names])
    pq.write_table(other.replace_schema_metadata(metadata), renamed)
    for file in (bare, renamed):
        with pytest.raises(Corrupt, match="is no export of the audit record"):
            verify_export(file, [KEY])


def test_an_export_that_broke_off_is_no_export():
    file = io.BytesIO()

    def broken():
        yield from chain_of(2)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        export(broken(), file, KEY, "parquet")
    with pytest.raises(Corrupt):
        verify_export(file, [KEY])


def test_an_event_with_bytes_for_text_is_said_while_parquet_is_written():
    one, two = chain_of(2)
    with pytest.raises(Corrupt, match="of audit events 1 to 2 one has a field of a wrong type"):
        exported([one, rewritten(two, principal=7)], "parquet")


@both_kinds
def test_exports_are_written_and_read_in_pieces(kind, monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 4)
    taken = 0

    def counted():
        nonlocal taken
        for one in chain_of(20):
            taken += 1
            yield one

    file = io.BytesIO()
    export(counted(), file, KEY, kind)
    assert taken == 20
    assert verify_export(file, [KEY]).events == 20
    if kind == "parquet":
        assert pq.ParquetFile(file).num_row_groups == 5
