"""Laws of made-up tables: rows depend on seed and number alone, chosen rows are exactly as many."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_plant import recipes, rows_of

from atoll.mesh.plant.draws import Draws
from atoll.mesh.plant.model import Rows
from atoll.mesh.plant.texts import digits, modulo, padded

RECIPES = recipes()
SEEDS = st.integers(0, 2**63 - 1)


@pytest.mark.parametrize("name", RECIPES)
@settings(max_examples=8)
@given(st.data())
def test_any_range_in_any_pieces_is_part_of_the_whole(name, data):
    recipe = RECIPES[name]
    last = min(recipe.rows, 3000)
    start = data.draw(st.integers(0, last))
    stop = data.draw(st.integers(start, last))
    most = data.draw(st.integers(1, 1000) if stop - start < 300 else st.integers(100, 5000))
    whole = rows_of(recipe, 0, last)
    assert rows_of(recipe, start, stop, most) == whole.slice(start, stop - start)


@given(SEEDS, st.integers(1, 5000), st.data())
def test_exactly_as_many_rows_are_chosen_as_asked(seed, rows, data):
    count = data.draw(st.integers(1, rows))
    draws, numbers = Draws(seed, "t"), np.arange(rows)
    places = draws.places("x", numbers, rows, count)
    chosen = numbers[places >= 0]
    assert places[places >= 0].tolist() == list(range(count))
    assert chosen.tolist() == draws.spots("x", np.arange(count), rows, count).tolist()


@given(SEEDS, st.lists(st.integers(1, 50), min_size=1, max_size=4), st.data())
def test_no_row_has_two_kinds_of_dirt_and_each_kind_is_counted(seed, counts, data):
    total = data.draw(st.integers(sum(counts), 3000))
    dirty = {f"kind {number}": count for number, count in enumerate(counts)}
    rows = Rows(Draws(seed, "t"), np.arange(total), total, dirty)
    found = [rows.is_dirty(name) for name in dirty]
    assert [int(one.sum()) for one in found] == counts
    assert np.sum(found, axis=0).max() == 1


@given(SEEDS, st.integers(-(2**40), 2**40), st.integers(1, 2**40))
def test_whole_numbers_stay_within_their_bounds(seed, low, width):
    drawn = Draws(seed, "t").integers("x", np.arange(500), low, low + width)
    assert low <= drawn.min() <= drawn.max() < low + width


@given(SEEDS)
def test_draws_are_spread_as_they_should_be(seed):
    draws, numbers = Draws(seed, "t"), np.arange(4000)
    even, normal = draws.uniform("x", numbers), draws.normal("x", numbers)
    assert abs(even.mean() - 0.5) < 0.03
    assert np.abs(np.quantile(even, (0.1, 0.9)) - (0.1, 0.9)).max() < 0.04
    assert abs(normal.mean()) < 0.1
    assert abs(normal.std() - 1) < 0.08
    assert np.isfinite(normal).all()


@given(st.lists(st.integers(0, 10**12 - 1), min_size=1), st.integers(12, 17))
def test_numbers_are_padded_as_python_pads_them(numbers, width):
    made = padded(np.array(numbers), width, "A-", "!")
    assert made.to_pylist() == [f"A-{number:0{width}}!" for number in numbers]
    assert made.type == pa.string()


@given(st.lists(st.integers(0, 10**15), min_size=1), st.integers(1, 1000))
def test_remainders_are_those_of_python(numbers, divisor):
    found = modulo(digits(np.array(numbers), 16), divisor)
    assert found.tolist() == [number % divisor for number in numbers]
