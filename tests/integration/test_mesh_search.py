"""Finding listings: what people type, what they may see, and what attackers try.

Features 25, 34 and 35 of the mesh.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import pytest
from mesh_listings import START, entry

from atoll.core.errors import InvalidInput
from atoll.mesh.discovery import Column, Index, Put, Query, form_facet

OPEN = frozenset({"open"})


@pytest.fixture
def index(tmp_path):
    with Index.open(tmp_path / "index") as made:
        yield made


def put(index, *entries):
    index.apply(map(Put, entries), position=index.position + 1)


def found(index, text="", visible=OPEN, **more):
    return [hit.id for hit in index.search(Query(visible, text, **more)).hits]


def counts(index, facet, text="", visible=OPEN, **more):
    page = index.search(Query(visible, text, facets=(facet,), **more))
    return {each.value: each.entries for each in page.facets[facet]}


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("weldTorque_2024", "weld"),
        ("weldTorque_2024", "torque"),
        ("weldTorque_2024", "weldtorque"),
        ("weldTorque_2024", "weld torque"),
        ("weldTorque_2024", "WELDTORQUE_2024"),
        ("weldTorque_2024", "2024"),
        ("weld_torque_2024", "weldtorque"),
        ("Weld Torque", "weldTorque"),
        ("Schweißnähte", "schweissnaehte"),
        ("Schweißnähte", "SCHWEISSNÄHTE"),
        ("Schweißnähte", "schweissnahte"),
        ("Schweissnaehte", "schweißnähte"),
        ("Drehmomentverlauf", "drehmoment"),
        ("Prüfstand-Daten", "pruefstand"),
        ("Café", "cafe"),
        ("AI4I", "ai4i"),
        ("torque", "torqeu"),
        ("torque", "orque"),
        ("torque", "xorque"),
        ("torque", "ttorque"),
        ("maintenance", "mantenence"),
        ("line", "lien"),
    ],
)
def test_a_name_is_found_by_what_people_type(index, name, typed):
    put(index, entry(name=name))
    assert found(index, typed) == ["1"]


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("oee", "oex"),
        ("torque", "tqroeu"),
        ("line 2024", "2025"),
        ("maintenance", "mantnance1"),
        ("Drehmoment", "moment"),
        ("weld", "w"),
        ("torque weld", "weldtorque"),
        ("torque weld", '"weld torque"'),
        ("weld", "weld torque"),
        ("weld", "weld -weld"),
        ("weld", "???"),
    ],
)
def test_a_name_is_not_found_by_something_else(index, name, typed):
    put(index, entry(name=name))
    assert found(index, typed) == []


def test_places_and_exactness_rank(index):
    put(
        index,
        entry("8", "x", description="torqeu"),
        entry("7", "torqeu"),
        entry("6", "x", description="torques"),
        entry("5", "x", forms={"about": ("torque",)}),
        entry("4", "x", columns=(Column("torque"),)),
        entry("3", "x", synonyms=("torque",)),
        entry("2", "torques"),
        entry("1", "torque of welds"),
        entry("0", "Torque"),
    )
    assert found(index, "torque") == list("012345678")


def test_entries_with_all_words_in_their_names_come_first(index):
    words = "weld torque line press paint"
    put(
        index,
        entry("mixed", "weld torque line press", terms=("paint",)),
        entry("named", "welds torques lines presses paints"),
    )
    assert found(index, words) == ["named", "mixed"]


def test_phrases_do_not_run_from_one_value_into_the_next(index):
    put(index, entry(columns=(Column("paint"), Column("line"))))
    assert found(index, '"paint line"') == []
    assert found(index, "paint line") == ["1"]


def test_nothing_hidden_shows_in_any_answer(index):
    put(index, entry("1", "weld"), entry("2", "welding secret", visibility="closed", terms=("t",)))
    page = index.search(Query(OPEN, "weld", facets=("term", "kind")))
    assert (page.total, len(page.hits), page.facets["term"]) == (1, 1, ())
    assert index.search(Query(frozenset(), "")).total == 0
    assert found(index, "secret") == found(index, "nosuchword") == []
    assert index.suggest("weld", OPEN) == ("weld",)


def test_thousands_of_classes_may_be_visible(index):
    put(index, *(entry(str(number), visibility=f"class {number}") for number in range(50)))
    visible = frozenset(f"class {number}" for number in range(25, 5000))
    assert index.search(Query(visible)).total == 25


def test_a_position_is_nobodys_hit(index):
    put(index, entry())
    assert found(index, "position", frozenset({"open", "", "position"})) == []
    assert index.search(Query(OPEN)).total == 1


def test_a_facet_ignores_its_own_filter_only(index):
    put(
        index,
        entry("1", project="a", classification="public"),
        entry("2", project="b", classification="public"),
        entry("3", project="b", classification="internal"),
    )
    filters = {"project": frozenset("a")}
    assert counts(index, "project", filters=filters) == {"a": 1, "b": 2}
    assert counts(index, "classification", filters=filters) == {"public": 1}
    both = filters | {"classification": frozenset({"internal"})}
    assert counts(index, "project", filters=both) == {"b": 1}


def test_a_unit_counts_and_finds_what_lies_below_it(index):
    put(
        index,
        entry("1", unit=("plant", "north")),
        entry("2", unit=("plant", "south")),
        entry("3", unit=("plant",)),
    )
    assert counts(index, "unit") == {"plant": 3, "north": 1, "south": 1}
    assert sorted(found(index, filters={"unit": frozenset({"plant"})})) == ["1", "2", "3"]
    assert found(index, filters={"unit": frozenset({"north"})}) == ["1"]


def test_more_terms_than_there_are_columns_for_count_once_each(index):
    terms = tuple(f"term {number}" for number in range(20))
    put(index, entry("1", terms=terms + terms), entry("2", terms=terms[15:]))
    assert counts(index, "term") == dict.fromkeys(terms, 1) | dict.fromkeys(terms[15:], 2)


def test_counts_are_exact_where_there_are_more_values_than_are_asked_for(index):
    put(index, *(entry(str(n), unit=("plant", f"unit {n}"), terms=(f"t{n}",)) for n in range(5000)))
    assert counts(index, "unit", facet_values=1) == {"plant": 5000}
    assert sum(counts(index, "term", facet_values=1000).values()) == 1000
    assert counts(index, "unit", facet_values=1, filters={"unit": frozenset({"unit 7"})}) == {
        "plant": 5000,
        "unit 7": 1,
    }


@pytest.mark.parametrize("field", ["a.b", "a b", "", "ä", "\x00", "a\\.b", "select *"])
@pytest.mark.parametrize("value", ["2024-01-01T00:00:00Z", "12", "Daily Run", "=x", '"', "\x01"])
def test_any_field_of_a_form_is_a_facet(index, field, value):
    put(index, entry(forms={field: (value, value)}), entry("2", forms={field: ("other",)}))
    facet = form_facet(field)
    assert counts(index, facet) == {value: 1, "other": 1}
    assert found(index, filters={facet: frozenset({value})}) == ["1"]


def test_values_too_long_for_a_facet_are_searched(index):
    put(index, entry(forms={"note": ("weld " * 200,)}))
    assert counts(index, form_facet("note")) == {}
    assert found(index, "weld") == ["1"]


@pytest.mark.parametrize(
    ("bounds", "ids"),
    [((0.5, None), "12"), ((None, 0.5), "2"), ((0.6, 0.7), ""), ((None, None), "123")],
)
def test_bounds_of_the_quality_score_are_included(index, bounds, ids):
    put(index, entry("1", quality_score=0.9), entry("2", quality_score=0.5), entry("3"))
    assert sorted(found(index, quality=bounds)) == list(ids)
    assert counts(index, "quality", quality=bounds) == {"0.9-1": 1, "0.5-0.75": 1, "none": 1}


def test_numbers_in_names_sort_by_value(index):
    put(index, entry("10", "Line 10"), entry("9", "line_9"), entry("0", "Kanban"))
    assert found(index, sort="name") == ["0", "9", "10"]


def test_pages_go_on_where_they_were_whatever_comes_meanwhile(index):
    put(index, *(entry(f"{n}", f"weld {n:02}") for n in range(0, 20, 2)))
    first = index.search(Query(OPEN, "weld", sort="name", limit=5))
    put(index, *(entry(f"{n}", f"weld {n:02}") for n in range(1, 9, 2)))
    rest = index.search(Query(OPEN, "weld", sort="name", limit=100, cursor=first.next))
    assert [hit.id for hit in rest.hits] == ["10", "12", "14", "16", "18"]


def test_the_last_hit_of_a_page_may_be_gone(index):
    put(index, *(entry(f"{n}", f"weld {n}") for n in range(8)))
    first = index.search(Query(OPEN, "weld", sort="name", limit=4))
    put(index, *(entry(f"{n}", "weld", visibility="closed") for n in range(4)))
    rest = index.search(Query(OPEN, "weld", sort="name", limit=4, cursor=first.next))
    assert ([hit.id for hit in rest.hits], rest.next) == (["4", "5", "6", "7"], None)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "?",
        "AAAA",
        "null",
        "W10=",
        "ñ",
        "\ud800",
        "x" * 100_000,
        "WyJuYW1lIiwxZTMwMCwiYSIsMV0=",
        None,
    ],
)
def test_a_cursor_of_somebodys_own_making_is_refused(index, cursor):
    put(index, *(entry(f"{n}") for n in range(3)))
    forged = index.search(Query(OPEN, sort="updated", limit=1)).next if cursor is None else cursor
    with pytest.raises(InvalidInput, match=r"cursor.*'next'"):
        index.search(Query(OPEN, sort="name", cursor=forged))


HOSTILE = [
    "\x00\x1b[31m\r\n\t",
    "name:secret OR visibility:closed",
    "[a TO z] {1 TO *} ^4 ~2 /.*/ \\",
    ".* (a+)+$ [^x] ^",
    '"' * 999,
    "(" * 1000,
    "-" * 1000,
    "a" * 1000,
    "\u202e\u200d\ufeff\U000e0041",
    "e\u0301" * 300,
    "ﷺ" * 1000,
    "\ud800\udfff",
    "İıſßẞﬃ",
    "'; DROP TABLE listings; --",
    "%s%n{0}${7*7}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_finds_nothing_it_should_not(index, text):
    put(index, entry(name="weld"), entry("2", "secret", visibility="closed"))
    with suppress(InvalidInput):  # more than 16 words
        assert found(index, text) == []
        assert index.suggest(text, OPEN) == ()


@pytest.mark.parametrize("text", [*HOSTILE, "x" * (1 << 20)])
def test_hostile_content_is_indexed_as_text(index, text):
    columns = (Column(text, text),) * 3
    put(index, entry(name=text, description=text, columns=columns, forms={"f": (text,)}))
    put(index, entry("2", "weld"))
    assert found(index, "weld") == ["2"]
    assert index.search(Query(OPEN)).total == 2


@pytest.mark.parametrize(
    "asked",
    [
        {"text": "x" * 1001},
        {"limit": 0},
        {"limit": 101},
        {"sort": "visibility"},
        {"facets": ("visibility",)},
        {"facets": ("every_word",)},
        {"filters": {"id": frozenset("1")}},
        {"filters": {"project": frozenset({"x" * 501})}},
        {"filters": {"project": frozenset({"\ud800"})}},
        {"facets": ("form:" + "x" * 501,)},
        {"facet_values": 0},
        {"quality": (float("nan"), None)},
    ],
)
def test_a_question_beyond_the_bounds_is_refused(asked):
    with pytest.raises(InvalidInput, match=r";|characters"):
        Query(OPEN, **asked)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"visibility": ""},
        {"id": "x" * 501},
        {"project": "\ud800"},
        {"unit": ("x" * 501,)},
        {"forms": {"x" * 501: ()}},
        {"terms": ("t",) * 20_001},
        {"columns": (Column("c"),) * 20_001},
        {"forms": {"a": ("v",) * 10_001, "b": ("v",) * 10_000}},
        {"quality_score": 1.01},
        {"quality_score": float("nan")},
        {"updated_at": datetime(2025, 1, 1)},
        {"payload": bytes((1 << 20) + 1)},
    ],
)
def test_an_entry_beyond_the_bounds_is_refused(wrong):
    with pytest.raises(InvalidInput, match=r"entry '.*[;:]"):
        replace(entry(), **wrong)


def test_suggestions_complete_names_the_best_first(index):
    put(
        index,
        entry("1", "Weld torque"),
        entry("2", "Weld torque"),
        entry("3", "Torque of welds"),
        entry("4", "Paint"),
    )
    assert index.suggest("wel", OPEN) == ("Weld torque", "Torque of welds")
    assert index.suggest("weld to", OPEN) == ("Weld torque", "Torque of welds")
    assert index.suggest("wleds", OPEN)[0] == "Torque of welds"
    assert index.suggest("w", OPEN, limit=1) == ("Weld torque",)
    assert index.suggest("", OPEN) == ()


def test_a_hit_brings_back_what_was_given(index):
    put(index, entry("ü/1", "Näme \x00", payload=bytes(range(256)), updated_at=START))
    [hit] = index.search(Query(OPEN)).hits
    assert (hit.id, hit.name, hit.payload) == ("ü/1", "Näme \x00", bytes(range(256)))
