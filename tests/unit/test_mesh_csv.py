"""CSV as people write it, and what is only called so."""

import re
from contextlib import suppress

import pytest
from mesh_files import csv_bytes, found, plant_table, refused

from atoll.core.errors import InvalidInput
from atoll.mesh.harvest import csvfiles
from atoll.mesh.harvest.dialect import NO_DELIMITER, decode, find_delimiter


def written(folder, content, name="t.csv"):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def types(table):
    return {one.name: one.type for one in table.columns}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    table = found(written(tmp_path, csv_bytes(plant_table(), delimiter)))
    assert table.details == {"encoding": "utf-8", "delimiter": delimiter, "decimal_point": "."}
    assert (table.rows, table.rows_estimate, table.files) == (60, None, 1)
    assert types(table) == {
        "udi": "int64",
        "product": "string",
        "type": "string",
        "torque [Nm]": "double",
        "failure": "bool",
        "at": "timestamp[s]",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Temp, C;Druck, bar\n21,5;1,2\n", {"Temp, C": "double", "Druck, bar": "double"}),
        ("a;b\n1,5;x\n2;y\n", {"a": "double", "b": "string"}),
        ('a,b\n"1,5",2\n', {"a": "double", "b": "int64"}),
        ("a\n1,5\n2,5\n", {"a": "double"}),
        ("a;b\n1,5;2.5\n", {"a": "string", "b": "double"}),
        ("a;b\n1,5;x\nn. a.;y\n", {"a": "string", "b": "string"}),
    ],
)
def test_a_decimal_comma_is_no_delimiter(tmp_path, text, expected):
    assert types(found(written(tmp_path, text))) == expected


@pytest.mark.parametrize(
    ("mark", "encoding", "named"),
    [
        ("\ufeff", "utf-8", "utf-8-sig"),
        ("\ufeff", "utf-16-le", "utf-16"),
        ("\ufeff", "utf-16-be", "utf-16"),
        ("\ufeff", "utf-32-le", "utf-32"),
        ("", "utf-16-le", "utf-16-le"),
        ("", "utf-16-be", "utf-16-be"),
        ("", "cp1252", "cp1252"),
        ("", "utf-8", "utf-8"),
    ],
)
def test_the_encoding_is_found(tmp_path, mark, encoding, named):
    text = f"{mark}Werk;Größe\nMünchen;3\nÉvora;4\n"
    table = found(written(tmp_path, text.encode(encoding)))
    assert table.details["encoding"] == named
    assert (tmp_path / "t.csv").read_bytes().decode(named) == text.removeprefix(mark)
    assert types(table) == {"Werk": "string", "Größe": "int64"}


def test_one_column_needs_no_delimiter(tmp_path):
    table = found(written(tmp_path, "name\nanna\nbert, carl\n"))
    assert (types(table), table.rows) == ({"name": "string"}, 2)
    assert table.details["delimiter"] == NO_DELIMITER


def test_numbers_that_begin_with_zeros_are_text(tmp_path):
    table = found(written(tmp_path, "material,n,empty\n000123,0,\n,,\n45,1,\n"))
    assert types(table) == {"material": "string", "n": "int64", "empty": "string"}


def test_quotes_hold_delimiters_and_line_breaks(tmp_path):
    table = found(written(tmp_path, 'a,b\r\n1,"x,\r\ny"\r\n2,"say ""hi"""\r\n'))
    assert (types(table), table.rows) == ({"a": "int64", "b": "string"}, 2)


def test_a_file_with_a_header_only_has_no_rows_and_nothing_that_tells_it_apart(tmp_path):
    for text in ("a,b", "a,b\n", "\n\na,b\n\n"):
        table = found(written(tmp_path, text))
        assert (table.rows, types(table)) == (0, {"a": "string", "b": "string"})
        assert table.fingerprint.content is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no first line"),
        (b"\n\n\n", "no first line"),
        (b"a,b\n1,2\n3\n", r"row 3 \(the header is row 1\) has 1 field where the header has 2"),
        (b"a,b,c\n" + b"1,2\n" * 9, "not as many fields as its first line"),
        (b"a,b\n1,\x00\n", "control characters"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "control characters"),
        (b"a,b\n\x81\x8d,\xff\n", "no text in UTF-8"),
        (b"\xff\xfea\x00,\x00\x00\xd8", "no text in UTF-8"),
        (b"a,a\n1,2\n", "1 name of columns occur twice"),
        (b"a,,\n1,2,3\n", "occur twice"),
        (b"1,2,3\n4,5,6\n", "looks like data"),
        (b"Anna;1970-01-01;5000,50\nBert;1980-02-02;4000,10\n", "looks like data"),
        (b"x" * (1 << 20), "does not end within"),
        (b"a,b\n1," + b"y" * (1 << 20), "does not end within"),
        (b",".join(b"c%d" % n for n in range(10_001)), "10,000 are the most"),
    ],
)
def test_what_is_no_table_is_said_so(tmp_path, content, reason):
    one = refused(written(tmp_path, content))
    assert one.code == "invalid_input"
    assert re.search(reason, one.reason)


def test_reasons_never_quote_rows(tmp_path):
    for text in ("name,pay\nanna secret,1,2\n", 'name,pay\n"anna secret'):
        outcome = refused(written(tmp_path, text * 3)).reason
        assert "secret" not in outcome


@pytest.mark.parametrize("header", ["country,2019,2020", "part,2024-01-01,2024-01-02"])
def test_years_and_dates_may_be_column_names(tmp_path, header):
    assert found(written(tmp_path, f"{header}\nPT,5,6.5\n")).rows == 1


def test_two_thousand_columns_are_found(tmp_path):
    names = [f"c{number}" for number in range(2000)]
    row = ",".join(["x" * 100] * 2000)
    table = found(written(tmp_path, f"{','.join(names)}\n{row}\n"))
    assert [one.name for one in table.columns] == names


def large(folder, monkeypatch, text):
    monkeypatch.setattr(csvfiles, "WHOLE_BYTES", 10_000)
    monkeypatch.setattr(csvfiles, "SAMPLE_BYTES", 3_000)
    return found(written(folder, text))


def test_a_large_file_is_judged_by_its_beginning_and_says_so(tmp_path, monkeypatch):
    table = large(tmp_path, monkeypatch, "a,b\n" + '"1\n2",ü\n' * 20_000)
    assert (table.rows, types(table)) == (None, {"a": "string", "b": "string"})
    assert table.rows_estimate == pytest.approx(20_000, rel=0.05)
    assert table.remarks == ("types and the number of rows are those of the first 2.9 KiB",)


def test_copies_of_a_large_file_are_found_and_others_are_not(tmp_path, monkeypatch):
    text = "a,b\n" + "1,2\n" * 20_000
    one = large(tmp_path, monkeypatch, text).fingerprint
    assert large(tmp_path, monkeypatch, text).fingerprint == one
    for other in (text + "1,2\n", text[:-2] + "3\n", text.replace("1,2", "2,2", 1)):
        assert large(tmp_path, monkeypatch, other).fingerprint.content != one.content
        assert large(tmp_path, monkeypatch, other).fingerprint.schema == one.schema


def test_a_large_file_of_one_line_is_refused_after_its_beginning(tmp_path):
    with (tmp_path / "t.csv").open("wb") as file:
        file.write(b"a,b\n")
        file.truncate(100 << 20)
    assert "control characters" in refused(tmp_path / "t.csv").reason
    (tmp_path / "t.csv").write_bytes(b"a" * (100 << 20))
    assert "does not end within" in refused(tmp_path / "t.csv").reason


def test_text_that_is_cut_inside_a_character_is_still_text():
    assert decode("aü".encode()[:-1], is_whole=False) == ("a", "utf-8")
    with pytest.raises(InvalidInput):
        decode(b"\xff\xfea\x00b", is_whole=True)


def test_whatever_text_it_is_the_delimiter_is_found_or_refused():
    for text in ('"', '"a\n"b"c,d\n', ";;;\n,,,\n", "\t", "a\r\rb\r", '"a,b\n1,2\n'):
        with suppress(InvalidInput):
            assert find_delimiter(text, is_whole=True) in "\t;|,\x1f"
