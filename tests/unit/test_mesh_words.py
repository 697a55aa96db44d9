"""How text becomes words, on both sides of a search."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.errors import InvalidInput
from atoll.mesh.discovery.words import MAX_WORD_CHARS, edits_forgiven, readings, wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("weld torque", "weld torque"),
        ("weldTorque_2024", "weld torque 2024"),
        ("WeldTorque", "weld torque"),
        ("XMLFile.v2-final", "xml file v 2 final"),
        ("AI4I", "ai 4 i"),
        ("OEE", "oee"),
        ("plant/line:7", "plant line 7"),
        ("Größe", "grosse"),
        ("PRÜFUNG", "prufung"),
        ("café naïve Ångström", "cafe naive angstrom"),
        ("Łódź Ørsted Þór", "lodz orsted thor"),
        ("\ufb01nal \uff21\uff22\uff23 \uff11\uff12", "final abc 12"),
        ("cafe\u0301", "cafe"),
        ("we\u200bld to\u00adrque \u202eabc", "weld torque abc"),
        ("Жизнь ΣΊΣΥΦΟΣ", "жизнь σισυφοσ"),
        ("数据 目录", "数据 目录"),
        ("a\x00b\x1bc\ud800d", "a b c d"),
    ],
)
def test_text_is_folded_and_taken_apart(text, words):
    assert readings(text)[0] == tuple(words.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Größe", "groesse"),
        ("PRÜFUNG", "pruefung"),
        ("Übung", "uebung"),
        ("schweißNähte", "schweiss naehte"),
    ],
)
def test_umlauts_are_written_out_too(text, words):
    assert tuple(words.split()) in readings(text)


def test_an_acronym_is_read_whole_before_small_letters():
    assert readings("OEEtrend of IDs")[-1] == ("oee", "id")


@pytest.mark.parametrize("text", ["", " \t", "???", "_", "\x00\x1b", "😀", "\ud800"])
def test_what_has_no_word_has_no_reading(text):
    assert readings(text) == ()


@given(st.text())
def test_words_are_made_of_themselves(text):
    for reading in readings(text):
        assert all(0 < len(word) <= MAX_WORD_CHARS for word in reading)
        for word in reading:
            assert " " not in word
            "".join(reading).encode()


@given(st.text(st.characters(codec="latin-1")))
def test_folding_what_is_folded_changes_nothing(text):
    for reading in readings(text):
        for word in reading:
            assert readings(word)[0] == (word,) or len(readings(word)[0]) > 1


def test_phrases_and_exclusions_are_read():
    read = wanted('weld "paint line" -scrap -"spare parts" x-ray')
    assert read.words == (frozenset({"weld"}), frozenset({"x"}), frozenset({"ray"}))
    assert read.phrases == (frozenset({("paint", "line")}),)
    assert read.excluded == (frozenset({("scrap",)}), frozenset({("spare", "parts")}))


def test_a_quote_that_is_left_open_ends_with_the_text():
    assert wanted('weld "paint line').phrases == (frozenset({("paint", "line")}),)


def test_a_word_is_asked_for_in_each_spelling():
    assert wanted("Nähte").words == (frozenset({"nahte", "naehte"}),)


@pytest.mark.parametrize("text", ["???", '""', "-", "- -", '"', '-"!"'])
def test_text_without_a_word_asks_for_nothing(text):
    assert wanted(text).is_nothing
    assert not wanted(" ").is_nothing


def test_a_page_of_text_is_no_search():
    with pytest.raises(InvalidInput, match="17 words"):
        wanted("a " * 17)


@pytest.mark.parametrize(
    ("word", "edits"),
    [("oee", 0), ("weld", 1), ("torques", 1), ("drehmoment", 2), ("2024", 0), ("sensor7", 0)],
)
def test_typing_errors_are_forgiven_by_length(word, edits):
    assert edits_forgiven(word) == edits
