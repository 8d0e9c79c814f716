"""Schedules: numbers that may change during a stage, as pure functions of its step, or of a point within one."""

from dataclasses import dataclass
from typing import Annotated

from headartist.config.bounds import Within, check_settings
from headartist.system.errors import HeadArtistError

_Moment = Annotated[int, Within(0, 10**15)]


@dataclass(frozen=True)
class Constant:
    """The same `value` at every step."""

    value: float

    def __post_init__(self) -> None:
        check_settings(self, "A schedule's ")

    def __call__(self, step: int | float) -> float:  # noqa: ARG002 - all schedules are called alike
        """The value at `step`."""
        return self.value


@dataclass(frozen=True)
class Linear:
    """`first` until step `begin`, `last` from step `end` on, a straight line between."""

    first: float
    last: float
    begin: _Moment
    end: _Moment

    def __post_init__(self) -> None:
        check_settings(self, "Linear's ")
        if not self.begin < self.end:
            raise HeadArtistError(
                f"Linear needs begin < end (got begin={self.begin}, end={self.end}): "
                "use Step(before, after, at) for a jump."
            )

    def __call__(self, step: int | float) -> float:
        """The value at `step`; the two ends are met exactly."""
        if step <= self.begin:
            return self.first
        if step >= self.end:
            return self.last
        return self.first + (self.last - self.first) * (step - self.begin) / (self.end - self.begin)


@dataclass(frozen=True)
class Step:
    """`before` up to step `at`, `after` from step `at` on."""

    before: float
    after: float
    at: _Moment

    def __post_init__(self) -> None:
        check_settings(self, "Step's ")

    def __call__(self, step: int | float) -> float:
        """The value at `step`."""
        return self.before if step < self.at else self.after


Schedule = Constant | Linear | Step


def extremes(schedule: Schedule) -> tuple[float, float]:
    """The lowest and the highest value that a schedule ever takes."""
    match schedule:
        case Constant(value):
            return value, value
        case Linear(first, last) | Step(first, last):
            return min(first, last), max(first, last)


def stretched(schedule: Schedule, old: int, new: int) -> Schedule:
    """The same course over `new` steps that `schedule` takes over `old`; at least a step lies between a line's ends."""
    match schedule:
        case Constant():
            return schedule
        case Linear(first, last, begin, end):
            start = round(begin * new / old)
            return Linear(first, last, begin=start, end=max(start + 1, round(end * new / old)))
        case Step(before, after, at):
            return Step(before, after, at=round(at * new / old))
