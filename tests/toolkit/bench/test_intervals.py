"""Bootstrap over seeds and prompts: against what is known of means, and where a curve crosses a level."""

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.bench.intervals import Interval, crossing, difference, interval, mean

RNG = numpy.random.default_rng(3)


def test_a_constant_has_no_width():
    found = interval([numpy.full((3, 20), 0.25)], mean)
    assert (found.value, found.low, found.high) == (0.25, 0.25, 0.25)


def test_width_of_independent_pictures_is_that_of_the_normal_law():
    """With many seeds and prompts both drawn, the variance of a mean of noise is about s²/n (1 + 1 + 1)."""
    values = RNG.normal(size=(40, 50))
    found = interval([values], mean)
    expected = 2 * 1.96 * math.sqrt(3 / values.size)
    assert found.high - found.low == pytest.approx(expected, rel=0.25)


def test_a_shift_that_every_picture_shares_is_clear_however_much_pictures_differ():
    pictures = RNG.normal(scale=10, size=(3, 30))
    found = interval([pictures + 0.5, pictures], difference)
    assert found.low == pytest.approx(0.5)
    same = interval([pictures, pictures], difference)
    assert same.low <= 0 <= same.high


def test_seeds_that_disagree_make_it_wide_although_prompts_agree():
    seeds = numpy.repeat(numpy.array([[0.0], [1.0], [2.0]]), 50, axis=1)
    found = interval([seeds], mean)
    assert (found.low, found.high) == (0.0, 2.0)


def test_the_same_data_give_the_same_interval():
    values = RNG.normal(size=(3, 10))
    assert interval([values], mean) == interval([values], mean)
    assert str(Interval(0.1, -0.05, 0.25)) == "+0.100 [-0.050, +0.250]"


@given(st.floats(0.01, 0.99), st.floats(0.1, 10))
def test_a_straight_line_is_crossed_where_it_says(level, slope):
    places = [0.0, 1.0, 4.0, 10.0]
    values = [place * slope / 10 for place in places]
    assert crossing(places, values, level * slope) == pytest.approx(10 * level)


def test_the_first_crossing_counts_and_a_level_too_high_is_never_reached():
    assert crossing([0, 10, 20, 30], [0.0, 1.0, 0.0, 1.0], 0.5) == 5
    assert crossing([0, 10], [0.4, 0.5], 0.4) == 0
    assert crossing([0, 10], [0.0, 1.0], 1.5) == math.inf
