"""Configs of earlier releases, made today's before they are read. Nothing here needs torch.

A config.json says its format's number; release 0.1.0 wrote none. There schedules counted steps of their stage, which
today are fractions of its steps.
"""

from collections.abc import Mapping
from typing import Any

from headartist.system.errors import HeadArtistError, shown

FORMAT = 2
"""The number of the format that is written today."""

_Schedule = Mapping[str, Any]
_NAMES: Mapping[str, str] = {
    "loss": "objective",
    "regularisers": "regularizers",
    "hash_grid": "grid",
    "colour": "color",
    "relative": "residual",
    "facing": "facing_power",
    "fits": "inner_steps",
    "fit_views": "views_per_inner_step",
    "x0_steps": "ddim_steps",
}
"""What settings were called in release 0.1.0."""


def migrate(data: Any, source: str) -> Any:
    """Return the parsed JSON of a config in today's format, without its format's number.

    Values that no release wrote are handed on as they are, for the decoder to complain of.

    Args:
        data: what the file holds.
        source: what errors call it.

    Raises:
        HeadArtistError: the file is of a format that is not known yet.
    """
    if not isinstance(data, dict):
        return data
    known = {name: value for name, value in data.items() if name != "format"}
    match data.get("format", 1):
        case bool():
            pass
        case 1:
            return _from_first(known)
        case 2:
            return known
    raise HeadArtistError(
        f"{source} has format {shown(data['format'])}, and this release reads up to {FORMAT}: use a newer headartist."
    )


def _from_first(config: dict[str, Any]) -> dict[str, Any]:
    config = _reworded(config)
    stages = config.get("stages")
    return config | {"stages": [_stage(stage) for stage in stages]} if isinstance(stages, list) else config


def _reworded(value: Any) -> Any:
    """Say all names of settings, types and choices as today."""
    match value:
        case dict():
            return {_NAMES.get(name, name): _said(name, inner) for name, inner in value.items()}
        case list():
            return [_reworded(inner) for inner in value]
    return value


def _said(name: str, value: Any) -> Any:
    match name, value:
        case ("draws", "rgb"):
            return "color"
        case ("type", "Regularisers"):
            return "Regularizers"
        case ("trains", list()):
            return ["color" if part == "colour" else part for part in value]
    return _reworded(value)


def _stage(stage: Any) -> Any:
    if not (isinstance(stage, dict) and isinstance(stage.get("steps"), int)) or "terms" in stage:
        return stage  # one with terms was written by hand today, without the format's number
    stage = {name: _in_progress(value, max(stage["steps"], 1)) for name, value in stage.items()}
    term = {name: stage.pop(name) for name in ("draws", "objective", "text", "negative") if name in stage}
    return {**stage, "terms": [{"type": "Term", **term}]}


def _in_progress(value: Any, steps: int) -> Any:
    """Turn every schedule within a value from steps to progress."""
    match value:
        case {"type": "Linear", "first": float() | int(), "last": float() | int(), "begin": int(), "end": int()}:
            return _line(value, steps)
        case {"type": "Step", "before": before, "after": after, "at": int(at)}:
            if at > steps:
                return before
            return {"type": "Piecewise", "before": before, "after": after, "at": at / steps}
        case dict():
            return {name: _in_progress(inner, steps) for name, inner in value.items()}
    return value


def _line(line: _Schedule, steps: int) -> Any:
    """Turn a line from steps to progress; what lies behind the stage's end is cut off."""
    first, last, begin, end = (line[name] for name in ("first", "last", "begin", "end"))
    if begin >= steps:
        return first
    if end > begin and end > steps:
        last, end = first + (last - first) * (steps - begin) / (end - begin), steps
    return {"type": "Linear", "first": first, "last": last, "begin": begin / steps, "end": end / steps}
