"""Schedules are pure functions of the step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headartist.config.schedules import Constant, Linear, Schedule, Step, extremes, stretched
from headartist.system.errors import HeadArtistError

values = st.floats(-1e6, 1e6)
steps = st.integers(0, 10**6)
spans = st.tuples(steps, steps).filter(lambda span: span[0] != span[1]).map(sorted)
schedules = st.one_of(
    st.builds(Constant, values),
    st.builds(Step, values, values, steps),
    st.builds(lambda first, last, span: Linear(first, last, *span), values, values, spans),
)


@given(values, values, spans, steps)
def test_linear_is_constant_outside_its_span_and_meets_both_ends(first, last, span, step):
    begin, end = span
    schedule = Linear(first, last, begin=begin, end=end)
    assert (schedule(begin), schedule(end)) == (first, last)
    assert schedule(begin + end + step) == last
    assert schedule(max(0, begin - step)) == first


@given(values, values, steps)
def test_step_changes_at_its_step(before, after, at):
    schedule = Step(before, after, at=at)
    assert schedule(at) == after
    if at:
        assert schedule(at - 1) == before


def test_linear_is_a_straight_line_between():
    schedule = Linear(1.0, 3.0, begin=10, end=20)
    assert [schedule(step) for step in range(10, 21, 5)] == [1.0, 2.0, 3.0]


@given(schedules, steps)
def test_no_value_leaves_the_extremes(schedule: Schedule, step: int):
    low, high = extremes(schedule)
    slack = 1e-9 * (abs(low) + abs(high))
    assert low - slack <= schedule(step) <= high + slack


@pytest.mark.parametrize(("begin", "end"), [(5, 5), (6, 5)])
def test_a_span_that_is_none_is_refused(begin: int, end: int):
    with pytest.raises(HeadArtistError, match="begin < end"):
        Linear(0.0, 1.0, begin=begin, end=end)


def test_a_stretched_schedule_takes_the_same_course_over_other_steps():
    for schedule in (Linear(1.0, 0.2, begin=20, end=80), Step(1.0, 0.5, at=40), Constant(3.0)):
        longer = stretched(schedule, 100, 300)
        assert [longer(3 * step) for step in range(0, 100, 10)] == [schedule(step) for step in range(0, 100, 10)]
        assert stretched(schedule, 100, 100) == schedule
        assert stretched(schedule, 100, 0)(0) in (schedule(0), schedule(99))  # legal, where there is no step at all
    assert stretched(Linear(0.98, 0.7, begin=5_000, end=5_001), 20_000, 20) == Linear(0.98, 0.7, begin=5, end=6)
