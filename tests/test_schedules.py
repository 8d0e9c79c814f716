"""Schedules are pure functions of a stage's progress."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headartist.config.schedules import Constant, Linear, Piecewise, Schedule, extremes
from headartist.system.errors import HeadArtistError

values = st.floats(-1e6, 1e6)
moments = st.floats(0, 1)
spans = st.tuples(moments, moments).filter(lambda span: span[0] != span[1]).map(sorted)
schedules = st.one_of(
    st.builds(Constant, values),
    st.builds(Piecewise, values, values, moments),
    st.builds(lambda first, last, span: Linear(first, last, *span), values, values, spans),
)


@given(values, values, spans, moments)
def test_linear_is_constant_outside_its_span_and_meets_both_ends(first, last, span, share):
    begin, end = span
    schedule = Linear(first, last, begin=begin, end=end)
    assert (schedule(begin), schedule(end)) == (first, last)
    assert schedule(end + share * (1 - end)) == last
    assert schedule(share * begin) == first


@given(values, values, moments)
def test_piecewise_changes_at_its_moment(before, after, at):
    schedule = Piecewise(before, after, at=at)
    assert schedule(at) == after
    if at:
        assert schedule(at * 0.999) == (before if at * 0.999 < at else after)


def test_linear_is_a_straight_line_between():
    schedule = Linear(1.0, 3.0, begin=0.25, end=0.75)
    assert [schedule(quarter / 4) for quarter in range(5)] == [1.0, 1.0, 2.0, 3.0, 3.0]
    assert [Linear(1.0, 3.0)(quarter / 4) for quarter in range(5)] == [1.0, 1.5, 2.0, 2.5, 3.0]


@given(schedules, moments)
def test_no_value_leaves_the_extremes(schedule: Schedule, progress: float):
    low, high = extremes(schedule)
    slack = 1e-9 * (abs(low) + abs(high))
    assert low - slack <= schedule(progress) <= high + slack


@pytest.mark.parametrize(("begin", "end"), [(0.5, 0.5), (0.6, 0.5)])
def test_a_span_that_is_none_is_refused(begin: float, end: float):
    with pytest.raises(HeadArtistError, match="begin < end"):
        Linear(0.0, 1.0, begin=begin, end=end)
