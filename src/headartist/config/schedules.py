"""Schedules: numbers that may change during a stage, as pure functions of its progress. Nothing here needs torch.

Progress is 0 at a stage's first step and would be 1 after its last, so that a stage of another length takes the same
course.
"""

from dataclasses import dataclass
from typing import Annotated

from headartist.config.bounds import Within, check_settings
from headartist.system.errors import HeadArtistError

_Moment = Annotated[float, Within(0, 1)]


@dataclass(frozen=True)
class Constant:
    """The same `value` all the time."""

    value: float

    def __post_init__(self) -> None:
        check_settings(self, "A schedule's ")

    def __call__(self, progress: int | float) -> float:  # noqa: ARG002 - all schedules are called alike
        """Return the value at a progress within 0 and 1."""
        return self.value


@dataclass(frozen=True)
class Linear:
    """`first` until progress `begin`, `last` from `end` on, a straight line between."""

    first: float
    last: float
    begin: _Moment = 0.0
    end: _Moment = 1.0

    def __post_init__(self) -> None:
        check_settings(self, "Linear's ")
        if not self.begin < self.end:
            raise HeadArtistError(
                f"Linear needs begin < end (got begin={self.begin:g}, end={self.end:g}): "
                "use Piecewise(before, after, at) for a jump."
            )

    def __call__(self, progress: int | float) -> float:
        """Return the value at a progress within 0 and 1; the two ends are met exactly."""
        if progress <= self.begin:
            return self.first
        if progress >= self.end:
            return self.last
        return self.first + (self.last - self.first) * (progress - self.begin) / (self.end - self.begin)


@dataclass(frozen=True)
class Piecewise:
    """`before` up to progress `at`, `after` from there on."""

    before: float
    after: float
    at: _Moment

    def __post_init__(self) -> None:
        check_settings(self, "Piecewise's ")

    def __call__(self, progress: int | float) -> float:
        """Return the value at a progress within 0 and 1."""
        return self.before if progress < self.at else self.after


Schedule = Constant | Linear | Piecewise


def extremes(schedule: Schedule) -> tuple[float, float]:
    """Return the lowest and the highest value that a schedule ever takes."""
    match schedule:
        case Constant(value):
            return value, value
        case Linear(first, last) | Piecewise(first, last):
            return min(first, last), max(first, last)
