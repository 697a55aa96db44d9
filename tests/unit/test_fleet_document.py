"""Texts in JSON and YAML: what is read, and what is refused before it costs anything."""

import json

import pytest

from atoll.core.errors import InvalidInput
from atoll.fleet.spec.document import LARGEST_BYTES, read_document


def test_numbers_stay_as_they_are_written():
    assert read_document("a: 7.10\nb: 010\nc: 1e3", "x") == {"a": "7.10", "b": "010", "c": "1e3"}
    assert read_document('{"a": 7.10, "b": -3}', "x") == {"a": "7.10", "b": "-3"}


def test_words_that_yaml_takes_for_truth_values_or_dates_stay_words():
    found = read_document("a: no\nb: 2026-11-26\nc: 12:30\nd: ~", "x")
    assert found == {"a": "no", "b": "2026-11-26", "c": "12:30", "d": None}


def test_an_alias_stands_for_its_anchor():
    assert read_document("a: &t {m: 1}\nb: *t", "x") == {"a": {"m": "1"}, "b": {"m": "1"}}


def test_short_forms_of_functions_are_read_as_the_long_ones():
    text = "a: !Ref x\nb: !GetAtt c.d.e\nc: !Sub ['${x}', {x: 1}]\nd: !Condition f"
    assert read_document(text, "x", functions=True) == {
        "a": {"Ref": "x"},
        "b": {"Fn::GetAtt": ["c", "d.e"]},
        "c": {"Fn::Sub": ["${x}", {"x": "1"}]},
        "d": {"Condition": "f"},
    }


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b": }', "mine, line 2, column 7: is not JSON"),
        ('{"a": 1, "a": 2}', "mine: the key 'a' is there twice"),
        (
            "{" + "".join(f'"{n}": 1, ' for n in range(30_000)) + '"x": 1, "x": 2}',
            "mine: the key 'x' is there twice",
        ),
        ('{"a": NaN}', "mine: NaN is no number"),
        ("a: 1\nb: [2", "mine, line 2, column 6: is not YAML"),
        ("a: 1\n\tb: 2", "mine, line 2, column 1: is not YAML"),
        ("a: 1\na: 2", "mine, line 2, column 1: the key 'a' is there twice"),
        ("a: !Ref b", "mine, line 1, column 4: the tag '!Ref' is not taken here"),
        ("a: !!python/object/apply:os.getcwd []", "the tag 'tag:yaml.org,2002:python/object"),
        ("a: &b {c: 1}\nd:\n  <<: *b", "merge keys are not taken"),
        ("? [a]\n: b", "this key is no text"),
        ("a: &a [*a]", "mine is nested deeper than 40 levels"),
        (BOMB, "mine stands for more than 10,000 values, aliases counted"),
        ("[" * 5000, "mine is nested deeper"),
        ('{"a":' * 5000, "mine is nested deeper"),
        ('{"a":' * 50 + "1" + "}" * 50, "mine is nested deeper"),
        ("- a\n" * 10_001, "mine stands for more than 10,000 values"),
        ("a" * (LARGEST_BYTES + 1), "mine has 1,000,001 bytes; 1,000,000 are the most"),
        ("a: \x07", "a character that is not allowed at position 3"),
        ('a: "\\U99999999"', "mine is not YAML: "),
        (b"\xff\xfe", "mine is not UTF-8 (byte 0)"),
        ("", "mine is empty"),
        ("a: 1\n---\nb: 2", "mine, line 2, column 1: is not YAML"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text, message):
    with pytest.raises(InvalidInput) as caught:
        read_document(text, "mine")
    assert message in caught.value.message


def test_a_wide_document_of_json_is_refused():
    with pytest.raises(InvalidInput, match="more than 10,000 values"):
        read_document(json.dumps({"a": [1] * 10_001}), "mine")


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert read_document(b"\xef\xbb\xbfa: 1", "x") == read_document("\ufeffa: 1", "x")
