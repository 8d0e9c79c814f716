"""Bounds: what a setting may be, said beside its type and checked where a config is made. Nothing here needs torch."""

import re
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from math import isfinite
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from headartist.system.errors import HeadArtistError, did_you_mean, shown

LONGEST_TEXT = 10_000
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # what no file, network or tokeniser takes
_KINDS: dict[Any, str] = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}


@dataclass(frozen=True)
class Within:
    """The numbers from `low` to `high`; of a schedule or a tuple, those that it holds.

    Attributes:
        low: the least.
        high: the greatest.
    """

    low: int | float
    high: int | float

    def __str__(self) -> str:
        return f"within {_written(self.low)} and {_written(self.high)}"


Count = Annotated[int, Within(0, 1_000_000)]
Period = Annotated[int, Within(1, 1_000_000_000)]
Share = Annotated[float, Within(0, 1)]


def plain(kind: Any) -> Any:
    """Return a type without its bounds."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def check_settings(settings: Any, owner: str = "") -> None:
    """Refuse values of a dataclass that are of another type than its fields', or out of their bounds.

    Args:
        settings: an instance.
        owner: what a sentence calls it, before the name of the field.

    Raises:
        HeadArtistError: for the first such value.
    """
    for item in fields(settings):
        name, value = owner + item.name, getattr(settings, item.name)
        require_kind(item.type, value, name)
        for bounds in getattr(item.type, "__metadata__", ()):
            for number in _numbers(value):
                if not bounds.low <= number <= bounds.high:
                    raise HeadArtistError(f"{name} must lie {bounds} (got {shown(number)}).")


def require_kind(kind: Any, value: Any, name: str) -> None:
    """Refuse a value that is not of a field's type.

    Raises:
        HeadArtistError: in that case; it calls the value `name`.
    """
    kind = plain(kind)
    origin, choices = get_origin(kind), get_args(kind)
    if origin is Literal:
        require_choice(value, choices, name)
    elif origin is tuple:
        _require_tuple(choices, value, name)
    elif origin in (Union, types.UnionType) or is_dataclass(kind):
        known = choices or (kind,)
        if not isinstance(value, known):
            names = ["none" if each is types.NoneType else each.__name__ for each in known]
            raise HeadArtistError(f"{name} must be one of {', '.join(names)} (got {shown(value)}).")
    elif not _is_a(kind, value):
        raise HeadArtistError(f"{name} must be {_KINDS[kind]} (got {shown(value)}).")
    elif kind is str:
        _require_text(value, name)


def require_choice(value: Any, choices: tuple[Any, ...], name: str) -> None:
    """Refuse what is none of some words.

    Raises:
        HeadArtistError: in that case; it calls the value `name`.
    """
    if not (isinstance(value, str) and value in choices):
        hint = did_you_mean(value if isinstance(value, str) else shown(value), choices)
        raise HeadArtistError(f"{name} cannot be {shown(value)}: {hint}")


def _require_tuple(kinds: tuple[Any, ...], value: Any, name: str) -> None:
    if not isinstance(value, tuple):
        raise HeadArtistError(f"{name} must be several values (got {shown(value)}).")
    if kinds[-1] is not Ellipsis and len(value) != len(kinds):
        raise HeadArtistError(f"{name} takes {len(kinds)} values (got {len(value)}).")
    for kind, item in zip(kinds if kinds[-1] is not Ellipsis else kinds[:1] * len(value), value, strict=True):
        require_kind(kind, item, name)


def _is_a(kind: Any, value: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _is_finite(value: int | float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def _require_text(value: str, name: str) -> None:
    if len(value) > LONGEST_TEXT:
        raise HeadArtistError(f"{name} has {len(value):,} characters: use {LONGEST_TEXT:,} or fewer.")
    if _NO_TEXT.search(value):
        raise HeadArtistError(f"{name} holds characters that are no text (got {shown(value)}): leave them out.")


def _numbers(value: Any) -> Iterator[int | float]:
    """The numbers of a value: itself, those of a tuple, or those that a schedule takes, its floats without bounds."""
    if is_dataclass(value):
        yield from (getattr(value, item.name) for item in fields(value) if item.type is float)
    elif isinstance(value, tuple):
        yield from value
    else:
        yield value


def _written(number: int | float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


def require(holds: bool, sentence: str) -> None:
    """Refuse a setting that breaks a rule.

    Raises:
        HeadArtistError: with the sentence, unless the rule holds.
    """
    if not holds:
        raise HeadArtistError(sentence)
