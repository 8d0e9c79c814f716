"""Config as text: the JSON of a Head folder, `path=value` overrides, and what differs between two configs.

All three speak of a setting by its path: `seed`, `prior.model`, or, for a stage, `geometry.steps`. Settings of a
stage's only term are named as the stage's own, `geometry.objective.cfg_scale`; of several terms by number from 0,
`geometry.terms.1.weight`.
"""

import ast
import json
import types
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from math import isclose
from typing import Any, Union, get_args, get_origin

from headartist.config.bounds import plain, require_choice, require_kind
from headartist.config.config import Config
from headartist.config.migration import FORMAT, migrate
from headartist.config.schedules import Constant
from headartist.config.stage import Stage, Term
from headartist.system.errors import HeadArtistError, did_you_mean, shown
from headartist.system.json_files import parse_json

NOT_THE_HEAD = ("run", "exports")
"""Settings of a Config that do not change the head."""
_OF_A_TERM = tuple(item.name for item in fields(Term))
LONGEST_VALUE = 500
"""Characters of a value that is written as in Python."""


def to_json(config: Config) -> str:
    """Return the config as JSON text; `from_json` gives back an equal config."""
    return json.dumps({"format": FORMAT, **_encode(config)}, indent=2) + "\n"


def from_json(text: str, source: str = "The config") -> Config:
    """Return a config from its JSON text; settings that are not named have their defaults.

    Args:
        text: what `to_json` wrote, of this release or an earlier one.
        source: what errors call it, such as the file's path.

    Raises:
        HeadArtistError: text that is not JSON, of a later format, unknown settings, or values of the wrong kind or out
            of range.
    """
    config: Config = _decode(Config, migrate(parse_json(text, source), source), "")
    return config


def override(config: Config, assignments: Iterable[str]) -> Config:
    """Return the config with `path=value` assignments, all made at once: only the result must be in range.

    Their order does not matter, but for two of the same path, where the last holds. A setting that is given whole
    (`texture.objective=Ssd(5)`) is so before its parts (`texture.objective.anchor=0.3`).

    A value is a number, a word, a tuple `3,3.5`, or a loss or schedule written as in Python:
    `texture.t_max=Linear(0.98, 0.7, begin=0.25, end=0.75)`.

    Raises:
        HeadArtistError: unknown paths, values of the wrong kind or out of range.
    """
    changed: Config = _assigned(config, [_parse_assignment(assignment) for assignment in assignments])
    return changed


def differences(old: Config, new: Config) -> list[str]:
    """Return what differs in the head that two configs ask for, as "texture.objective.cfg_scale 7.5 -> 10"."""
    return list(_compare(_encode(old, NOT_THE_HEAD), _encode(new, NOT_THE_HEAD), ""))


def _encode(value: Any, skip: tuple[str, ...] = ()) -> Any:
    match value:
        case Constant():
            return value.value
        case tuple():
            return [_encode(item) for item in value]
        case _ if is_dataclass(value):
            named = {item.name: _encode(getattr(value, item.name)) for item in fields(value) if item.name not in skip}
            return {"type": type(value).__name__, **named}
    return value


def _decode(kind: Any, value: Any, path: str) -> Any:
    """`value`, as JSON has it, as an instance of the type `kind`."""
    kind = plain(kind)
    origin, choices = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _decode_union(choices, value, path)
    if origin is tuple:
        return _decode_tuple(choices, value, path)
    if is_dataclass(kind):
        return _decode_dataclass(kind, value, path)
    require_kind(kind, value, path)
    return float(value) if kind is float else value


def _decode_union(choices: tuple[Any, ...], value: Any, path: str) -> Any:
    """Return one of several dataclasses by its `type`; a bare number where Constant is among them."""
    named = _dataclasses(choices)
    if types.NoneType in choices and value in (None, "none"):
        return None
    if isinstance(value, dict):
        require_choice(value.get("type"), tuple(named), path)
        return _decode(named[value["type"]], value, path)
    if "Constant" in named:
        return Constant(_decode(float, value, path))
    raise HeadArtistError(f"{path} must be one of {', '.join(named)} (got {shown(value)}).")


def _dataclasses(choices: tuple[Any, ...]) -> dict[str, Any]:
    return {choice.__name__: choice for choice in choices if isinstance(choice, type) and is_dataclass(choice)}


def _decode_tuple(choices: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        value = [value]
    if len(choices) == 2 and choices[1] is Ellipsis:
        return tuple(_decode(choices[0], item, path) for item in value)
    if len(value) != len(choices):
        raise HeadArtistError(f"{path} takes {len(choices)} values (got {len(value)}).")
    return tuple(_decode(kind, item, path) for kind, item in zip(choices, value, strict=True))


def _decode_dataclass(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise HeadArtistError(f"{path or 'A config'} must be written as {kind.__name__}(...) (got {shown(value)}).")
    require_choice(value.get("type", kind.__name__), (kind.__name__,), path or "A config's type")
    known = {item.name: item for item in fields(kind)}
    given = {name: entry for name, entry in value.items() if name != "type"}
    for name in given:
        if name not in known:
            raise HeadArtistError(f"{path or 'A config'} has no setting {shown(name)}: {did_you_mean(name, known)}")
    for name, item in known.items():
        if name not in given and item.default is MISSING and item.default_factory is MISSING:
            raise HeadArtistError(f"{_join(path, name)} is missing: {kind.__name__} needs it.")
    return kind(**{name: _decode(known[name].type, entry, _join(path, name)) for name, entry in given.items()})


@dataclass(frozen=True)
class _Assignment:
    """A value for the setting that lies at `below` in what is being changed; `path` is the whole path as typed."""

    path: str
    below: tuple[str, ...]
    text: str


def _parse_assignment(assignment: str) -> _Assignment:
    path, equals, text = (part.strip() for part in assignment.partition("="))
    if not equals:
        raise HeadArtistError(f"--set {shown(assignment)} has no value: write path=value, as in geometry.steps=300.")
    return _Assignment(path, tuple(path.split(".")), text)


def _assigned(value: Any, assignments: Iterable[_Assignment], **changes: Any) -> Any:
    """Copy the dataclass `value` with every assignment made, and the changes."""
    known = {item.name: item.type for item in fields(value) if item.name != "stages"}
    stages = {stage.name: stage for stage in value.stages} if isinstance(value, Config) else {}
    groups: dict[str, list[_Assignment]] = {}
    for assignment in assignments:
        groups.setdefault(assignment.below[0], []).append(replace(assignment, below=assignment.below[1:]))
    for name, group in groups.items():
        if name in stages:
            stages[name] = _assigned_stage(stages[name], group)
        elif name in known:
            changes[name] = _assigned_setting(name, known[name], getattr(value, name), group)
        else:
            hint = did_you_mean(name, (*stages, *known, *(_OF_A_TERM if isinstance(value, Stage) else ())))
            raise HeadArtistError(f"--set {group[0].path} names no setting: {hint}")
    if stages:
        changes["stages"] = tuple(stages.values())
    return replace(value, **changes)


def _assigned_stage(stage: Stage, group: Sequence[_Assignment]) -> Stage:
    for path in (assignment.path for assignment in group if not assignment.below):
        raise HeadArtistError(f"--set {path} is a whole stage: name one of its settings, as in {path}.steps=300.")
    terms = [one for one in group if one.below[0] == "terms" or one.below[0] in _OF_A_TERM]
    if not terms:
        whole: Stage = _assigned(stage, group)
        return whole
    rest = [one for one in group if one not in terms]
    changed: Stage = _assigned(stage, rest, terms=_assigned_terms(stage, terms))
    return changed


def _assigned_terms(stage: Stage, group: Sequence[_Assignment]) -> tuple[Term, ...]:
    """Return the stage's terms after the assignments to them, by number or, where there is one, without."""
    terms, parts = list(stage.terms), []
    for one in group:
        if one.below == ("terms",):
            kind = tuple[Term, ...]
            terms = list(_decode(kind, _parse(kind, one.text, one.path), one.path))
    for one in group:
        if one.below[0] == "terms":
            parts.append(replace(one, below=one.below[1:]))
        elif len(terms) == 1:
            parts.append(replace(one, below=("0", *one.below)))
        else:
            way = ".".join((stage.name, "terms", "0", *one.below))
            raise HeadArtistError(
                f"--set {one.path} may be of any of the {len(terms)} terms of {stage.name}: say which, as in {way}."
            )
    for number in dict.fromkeys(part.below[0] for part in parts if part.below):
        own = [replace(part, below=part.below[1:]) for part in parts if part.below and part.below[0] == number]
        if number not in map(str, range(len(terms))):
            numbers = " and ".join(map(str, dict.fromkeys((0, len(terms) - 1))))
            raise HeadArtistError(f"--set {own[0].path} names no term: {stage.name} has terms {numbers}.")
        terms[int(number)] = _assigned_setting(f"terms.{number}", Term, terms[int(number)], own)
    return tuple(terms)


def _assigned_setting(name: str, kind: Any, value: Any, group: Sequence[_Assignment]) -> Any:
    """Return a setting after its group of assignments: the last that gives it whole, then those of its parts."""
    for assignment in group:
        if not assignment.below:
            value = _decode(kind, _parse(kind, assignment.text, assignment.path), assignment.path)
    parts = [assignment for assignment in group if assignment.below]
    if not parts:
        return value
    if not is_dataclass(value):
        raise HeadArtistError(
            f"--set {parts[0].path} goes too deep: {name} is {shown(value)} and has no settings of its own."
        )
    return _assigned(value, parts)


def _parse(kind: Any, text: str, path: str) -> Any:
    """Return the JSON value that `text` stands for where `kind` is wanted; words need no quotes."""
    kind = plain(kind)
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if len(text) > LONGEST_VALUE:
        raise HeadArtistError(f"{path} has a value of {len(text):,} characters: use {LONGEST_VALUE} or fewer.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own, of what only looks like Python
            return _literal(kind, ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # a word; the parser gives up on deep ones
        return [part.strip() for part in text.split(",")] if get_origin(kind) is tuple else text


def _literal(kind: Any, node: ast.expr) -> Any:
    """Return a Python literal or a call of a dataclass's name, as JSON would have it."""
    match node:
        case ast.Name(name):
            return name
        case ast.Tuple(items) | ast.List(items):
            return [_literal(kind, item) for item in items]
        case ast.Constant(value) if isinstance(value, bool | int | float | str | None):
            return value
        case ast.UnaryOp(ast.USub(), ast.Constant(value)) if isinstance(value, int | float):
            return -value
        case ast.Call(ast.Name(name), arguments, keywords):
            named = _dataclasses(get_args(kind) or (kind,))
            kinds = {item.name: plain(item.type) for item in fields(named[name])} if name in named else {}
            order = list(kinds)
            # An argument too many gets a name that no setting has, and the decoder complains of it.
            names = (*order, *(f"({index + 1}. argument)" for index in range(len(order), len(arguments))))
            given = [*zip(names, arguments, strict=False), *((word.arg or "**", word.value) for word in keywords)]
            if len({"type", *(setting for setting, _ in given)}) <= len(given):
                raise HeadArtistError(f"{shown(ast.unparse(node))} says a setting twice: leave one of them out.")
            return {"type": name, **{setting: _literal(kinds.get(setting, kind), value) for setting, value in given}}
    raise ValueError("no literal")


def _compare(before: Any, after: Any, path: str) -> Iterable[str]:
    """Return every difference of two encoded values; a value of another type is shown as a whole."""
    if isinstance(before, dict) and isinstance(after, dict) and before["type"] == after["type"]:
        for name in before:
            yield from _compare(before[name], after[name], _join(path, name))
    elif path == "stages" and [stage["name"] for stage in before] == [stage["name"] for stage in after]:
        for old, new in zip(before, after, strict=True):
            yield from _compare(old, new, old["name"])
    elif path.endswith(".terms") and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _compare(old, new, path.removesuffix(".terms") if len(after) == 1 else f"{path}.{index}")
    elif before != after and not _by_rounding(before, after):
        yield f"{path} {_shown(before)} -> {_shown(after)}"


def _by_rounding(before: Any, after: Any) -> bool:
    """Tell whether two numbers are one: an earlier release may have computed it in another order."""
    return isinstance(before, float) and isinstance(after, float) and isclose(before, after, rel_tol=1e-12)


def _shown(value: Any) -> str:
    match value:
        case {"type": "Stage", "name": name}:
            return str(name)
        case {"type": kind, **settings}:
            return f"{kind}({', '.join(f'{name}={_shown(setting)}' for name, setting in settings.items())})"
        case list():
            return f"({', '.join(_shown(item) for item in value)})"
        case float():
            return f"{value:g}"
    return repr(value)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
