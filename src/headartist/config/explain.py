"""A config explained: every setting by its path, with its value as `--set` takes it and what it is."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from types import UnionType
from typing import Any, Union, get_origin

from headartist.config.bounds import plain

_ATTRIBUTE = re.compile(r"(?ms)^    (\w+): (.*?)(?=^    \w+: |^\S|\Z)")
_SENTENCE = re.compile(r".*?\.(?=\s[A-Z]|\Z)|.+")  # "Eq. 6" goes on


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        path: what `--set` calls it.
        value: what it is set to, as `--set` takes it.
        meaning: what it is, in a sentence.
    """

    path: str
    value: str
    meaning: str


def explain(config: Any, preset: Any) -> str:
    """Write one line for each setting of a config, with a star where a preset has another value.

    Given together to `--set`, the assignments of all lines make the config out of any other with stages of those names.
    """
    usual = {setting.path: setting.value for setting in settings(preset)}
    return "".join(
        f"{' ' if usual.get(setting.path) == setting.value else '*'} "
        f"{setting.path} = {setting.value}  # {setting.meaning}\n"
        for setting in settings(config)
    )


def settings(value: Any, path: str = "") -> Iterator[Setting]:
    """Walk the settings of a dataclass, nested ones too, in the order of its fields.

    Members of a tuple of dataclasses are called by their own names, or by their places; an only one without a name
    gives its settings to its owner, but for those of a name that the owner has. Of a setting that may be one of several
    dataclasses the choice comes first, as a call without arguments, and its parts after it. Functions, such as
    schedules, are one value.

    Args:
        value: an instance.
        path: its own, empty at the top.
    """
    meanings = attributes(type(value))
    for item in fields(value):
        held, below = getattr(value, item.name), f"{path}.{item.name}" if path else item.name
        if _is_open(held):
            if get_origin(plain(item.type)) in (Union, UnionType):
                yield Setting(below, f"{type(held).__name__}()", meanings[item.name])
            yield from settings(held, below)
        elif isinstance(held, tuple) and held and all(map(_is_open, held)):
            for number, member in enumerate(held):
                name = getattr(member, "name", "")
                named = f"{path}.{name}" if path else name
                inner = named if name else f"{below}.{number}"
                told = (each for each in settings(member, inner) if each.path != f"{inner}.name")
                yield from told if name or len(held) > 1 else _given_to_owner(told, value, path, inner)
        else:
            yield Setting(below, written(held), meanings[item.name])


def _given_to_owner(told: Iterable[Setting], owner: Any, path: str, inner: str) -> Iterator[Setting]:
    """Call the settings of an only member as if they were its owner's, where that has none of the name."""
    taken = {item.name for item in fields(owner)}
    for each in told:
        rest = each.path.removeprefix(f"{inner}.")
        yield each if rest.split(".")[0] in taken else replace(each, path=f"{path}.{rest}")


def attributes(kind: type) -> Mapping[str, str]:
    """Read what each field of a dataclass is, from the Attributes section of its docstring.

    A field that is not there has the docstring's first sentence.
    """
    text = inspect.getdoc(kind) or ""
    first, _, section = text.partition("\nAttributes:\n")
    told = {name: _sentence(words) for name, words in _ATTRIBUTE.findall(section)}
    return {item.name: told.get(item.name, _sentence(first)) for item in fields(kind)}


def written(value: Any) -> str:
    """A value as `--set` takes it: words without quotes, tuples without brackets, functions as calls."""
    if isinstance(value, bool):
        return str(value).lower()
    if is_dataclass(value) and not isinstance(value, type):
        named = {item.name: written(getattr(value, item.name)) for item in fields(value)}
        if len(named) == 1:  # Constant
            return next(iter(named.values()))
        return f"{type(value).__name__}({', '.join(f'{name}={held}' for name, held in named.items())})"
    if isinstance(value, tuple):
        return ",".join(map(written, value)) or "()"
    return str(value)


def _is_open(value: Any) -> bool:
    """Whether it is a dataclass whose settings are told one by one."""
    return is_dataclass(value) and not callable(value)


def _sentence(text: str) -> str:
    """The first sentence of a text, in one line."""
    found = _SENTENCE.match(" ".join(text.split()))
    return found.group().rstrip(".") if found else ""
