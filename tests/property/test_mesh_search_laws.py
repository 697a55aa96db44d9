"""Searches, held against a search in plain Python over the same few hundred listings."""

import base64
import json
from contextlib import suppress
from dataclasses import replace

import mesh_listings as ours
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.core.errors import InvalidInput
from atoll.mesh.discovery import Index, Put, Query, Remove
from atoll.mesh.discovery.model import SORTS

LISTINGS = ours.listings(300)
LETTERS = st.sampled_from([word for word in ours.WORDS if word.isalpha()])
MISTYPED = ["wel", "drehm", "wedl", "torqeu", "batery", "drehmomnet", "qantity", "nahtt", "eld"]
TYPED = st.sampled_from((*ours.WORDS, *MISTYPED)) | st.tuples(LETTERS, LETTERS).map("".join)
PHRASE = st.lists(st.sampled_from(ours.WORDS), min_size=1, max_size=2).map(tuple)
VISIBLE = st.none() | st.frozensets(st.sampled_from((*ours.CLASSES, "none such")))
SCORES = st.none() | st.sampled_from((0.0, 0.5, 0.9, 1.0))


def choices(facet):
    there = sorted(ours.counts(LISTINGS, facet))
    return st.frozensets(st.sampled_from((*there, "none such")), max_size=3)


FILTERS = st.dictionaries(st.sampled_from(ours.ALL_FACETS), st.none(), max_size=3).flatmap(
    lambda chosen: st.fixed_dictionaries({facet: choices(facet) for facet in chosen})
)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """All listings in one segment."""
    with Index.open(tmp_path_factory.mktemp("index")) as made:
        made.rebuild((each.entry for each in LISTINGS), position=1)
        yield made


@pytest.fixture(scope="module")
def scattered(tmp_path_factory):
    """The same in many segments, after other content."""
    with Index.open(tmp_path_factory.mktemp("scattered")) as made:
        for start in range(0, len(LISTINGS), 60):
            some = LISTINGS[start : start + 60]
            made.apply((Put(replace(each.entry, name="old")) for each in some), position=start)
        for start in range(0, len(LISTINGS), 37):
            some = reversed(LISTINGS[start : start + 37])
            made.apply((Put(each.entry) for each in some), position=1000 + start)
        yield made


def visible_in(listings, visible):
    return [one for one in listings if visible is None or one.entry.visibility in visible]


def ids(page):
    return [hit.id for hit in page.hits]


def pages(index, query):
    while True:
        page = index.search(query)
        yield page
        if page.next is None:
            return
        query = replace(query, cursor=page.next)


@given(VISIBLE, st.lists(TYPED, min_size=1, max_size=3), FILTERS, SCORES, SCORES)
def test_what_is_found_and_how_often_each_value_is_as_the_oracle_says(
    index, visible, words, filters, least, most
):
    query = Query(visible, " ".join(words), filters, (least, most), ours.ALL_FACETS, 1000)
    page = index.search(query)
    matching = [e for e in visible_in(LISTINGS, visible) if ours.score(e, words) is not None]
    found = [each for each in matching if ours.passes(each, filters, (least, most))]
    assert page.total == len(found)
    for facet in ours.ALL_FACETS:
        others = [e for e in matching if ours.passes(e, filters, (least, most), but=facet)]
        assert {each.value: each.entries for each in page.facets[facet]} == ours.counts(
            others, facet
        )


@given(
    st.lists(TYPED, max_size=1), st.lists(PHRASE, max_size=2), st.lists(PHRASE, max_size=2), VISIBLE
)
def test_phrases_stand_in_a_row_and_what_is_excluded_is_not_there(
    index, words, phrases, excluded, visible
):
    quoted = [f'"{" ".join(phrase)}"' for phrase in phrases]
    text = " ".join([*words, *quoted, *(f'-"{" ".join(phrase)}"' for phrase in excluded)])
    assert sorted(id for page in pages(index, Query(visible, text)) for id in ids(page)) == sorted(
        each.entry.id
        for each in visible_in(LISTINGS, visible)
        if all(ours.has_row(each, phrase) for phrase in phrases)
        and not any(ours.has_row(each, phrase) for phrase in excluded)
        and (not words or ours.score(each, words) is not None)
    )


@given(VISIBLE, st.lists(TYPED, min_size=1, max_size=3), FILTERS, st.integers(5, 100))
def test_pages_by_relevance_have_each_entry_once_the_best_first(
    index, visible, words, filters, limit
):
    query = Query(visible, " ".join(words), filters, facets=(), limit=limit)
    found = [id for page in pages(index, query) for id in ids(page)]
    scores = {
        each.entry.id: ours.score(each, words)
        for each in visible_in(LISTINGS, visible)
        if ours.passes(each, filters)
    }
    assert sorted(found) == sorted(id for id, score in scores.items() if score is not None)
    assert [scores[id] for id in found] == sorted((scores[id] for id in found), reverse=True)


@given(st.lists(TYPED, max_size=2), st.sampled_from(SORTS))
@settings(max_examples=50)
def test_the_layout_of_segments_changes_no_answer(index, scattered, words, sort):
    query = Query(frozenset(ours.CLASSES), " ".join(words), sort=sort, limit=60)
    for one, other in zip(pages(index, query), pages(scattered, query), strict=True):
        assert one == other


@given(VISIBLE, st.sampled_from(("updated", "quality", "name")))
def test_sorts_are_what_they_say(index, visible, sort):
    query = Query(visible, sort=sort, facets=(), limit=100)
    found = [id for page in pages(index, query) for id in ids(page)]
    by_id = {each.entry.id: each for each in visible_in(LISTINGS, visible)}
    keys = {
        "updated": lambda each: -each.entry.updated_at.timestamp(),
        "quality": lambda each: -(-1 if (q := each.entry.quality_score) is None else round(q, 6)),
        "name": lambda each: [
            word.zfill(12) if word.isdigit() else word for word in each.words[0][0]
        ],
    }
    assert sorted(found) == sorted(by_id)
    in_order = [keys[sort](by_id[id]) for id in found]
    assert in_order == sorted(in_order)


@given(st.text(max_size=60), VISIBLE)
def test_any_text_is_answered_or_too_long(index, text, visible):
    there = {each.entry.id for each in visible_in(LISTINGS, visible)}
    with suppress(InvalidInput):
        assert set(ids(index.search(Query(visible, text, limit=100)))) <= there


@given(st.text(max_size=6), VISIBLE)
def test_a_suggestion_is_the_name_of_something_visible(index, text, visible):
    names = {each.entry.name for each in visible_in(LISTINGS, visible)}
    assert set(index.suggest(text, visible)) <= names


@given(st.sampled_from(ours.WORDS), st.integers(1, 9), VISIBLE)
def test_a_begun_word_is_completed_to_a_name(index, word, length, visible):
    begun = word[:length]
    names = {
        e.entry.name
        for e in visible_in(LISTINGS, visible)
        if any(each.startswith(begun) for each in e.words[0][0])
    }
    suggested = index.suggest(begun, visible, limit=5)
    assert len(suggested) >= min(5, len(names))


RANKS = st.integers() | st.text() | st.floats() | st.none()


@given(st.sampled_from(SORTS), st.tuples(st.integers() | st.integers(0, 100), RANKS, st.integers()))
def test_a_forged_cursor_is_refused_or_shows_what_may_be_seen(index, sort, forged):
    cursor = base64.urlsafe_b64encode(json.dumps([sort, *forged]).encode()).decode()
    with suppress(InvalidInput):
        page = index.search(Query(frozenset({"open"}), "weld", sort=sort, cursor=cursor))
        assert {hit.id for hit in page.hits} <= {
            each.entry.id for each in visible_in(LISTINGS, {"open"})
        }


CHANGES = st.lists(
    st.lists(st.tuples(st.integers(0, 11), st.booleans(), st.sampled_from(LISTINGS)), max_size=8),
    max_size=6,
)


@given(CHANGES)
@settings(max_examples=15)
def test_changes_leave_what_a_dictionary_would_hold(tmp_path_factory, batches):
    held = {}
    with Index.open(tmp_path_factory.mktemp("changing")) as index:
        for position, batch in enumerate(batches, 1):
            changes = []
            for number, is_put, listing in batch:
                made = replace(listing, entry=replace(listing.entry, id=f"id {number}"))
                changes.append(Put(made.entry) if is_put else Remove(f"id {number}"))
                held.pop(f"id {number}", None)
                held |= {f"id {number}": made} if is_put else {}
            index.apply(changes, position=position)
            page = index.search(Query(frozenset(ours.CLASSES), limit=100))
            assert index.position == position
            assert sorted((hit.id, hit.payload) for hit in page.hits) == sorted(
                (id, each.entry.payload) for id, each in held.items()
            )
            assert {each.value: each.entries for each in page.facets["term"]} == ours.counts(
                held.values(), "term"
            )
