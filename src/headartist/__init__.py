"""A sentence becomes a 3D head: text-conditioned head generation with Self Score Distillation.

The names in `__all__` are the supported ones (`docs/api.md`). Each is imported when it is first asked for: until then
this package costs nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # unknown names are errors for type checkers too
    from headartist.avatars.avatar import Avatar, TrainableAvatar
    from headartist.config import presets
    from headartist.config.avatars import FieldConfig, TetConfig
    from headartist.config.config import Config, Run, Views
    from headartist.config.exports import Exports
    from headartist.config.objectives import Refine, Sds, Ssd, Vsd
    from headartist.config.presets import preset
    from headartist.config.priors import StableDiffusion
    from headartist.config.schedules import Constant, Linear, Piecewise
    from headartist.config.stage import Stage
    from headartist.export.head import export_head
    from headartist.heads.load import load_template
    from headartist.heads.template import HeadTemplate
    from headartist.objectives.objective import Objective, Shot
    from headartist.priors.load import load_prior
    from headartist.priors.prior import Query, ScorePrior
    from headartist.runs.editing import edit, edit_config
    from headartist.runs.generation import generate
    from headartist.runs.head import Head, load_head
    from headartist.runs.sweep import generate_seeds
    from headartist.system.errors import HeadArtistError
    from headartist.training.loop import train
    from headartist.training.problem import Problem
    from headartist.training.progress import Progress
    from headartist.viewer.page import view
else:
    _HOMES = {
        "Avatar": "avatars.avatar",
        "Config": "config.config",
        "Constant": "config.schedules",
        "Exports": "config.exports",
        "FieldConfig": "config.avatars",
        "Head": "runs.head",
        "HeadArtistError": "system.errors",
        "HeadTemplate": "heads.template",
        "Linear": "config.schedules",
        "Objective": "objectives.objective",
        "Problem": "training.problem",
        "Progress": "training.progress",
        "Query": "priors.prior",
        "Refine": "config.objectives",
        "Run": "config.config",
        "ScorePrior": "priors.prior",
        "Sds": "config.objectives",
        "Shot": "objectives.objective",
        "Ssd": "config.objectives",
        "StableDiffusion": "config.priors",
        "Stage": "config.stage",
        "Piecewise": "config.schedules",
        "TetConfig": "config.avatars",
        "TrainableAvatar": "avatars.avatar",
        "Views": "config.config",
        "Vsd": "config.objectives",
        "edit": "runs.editing",
        "edit_config": "runs.editing",
        "export_head": "export.head",
        "generate": "runs.generation",
        "generate_seeds": "runs.sweep",
        "load_head": "runs.head",
        "load_prior": "priors.load",
        "load_template": "heads.load",
        "preset": "config.presets",
        "presets": "config",
        "train": "training.loop",
        "view": "viewer.page",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(__import__(f"{__name__}.{_HOMES[name]}", fromlist=[name]), name)
        return found


__all__ = [
    "Avatar",
    "Config",
    "Constant",
    "Exports",
    "FieldConfig",
    "Head",
    "HeadArtistError",
    "HeadTemplate",
    "Linear",
    "Objective",
    "Piecewise",
    "Problem",
    "Progress",
    "Query",
    "Refine",
    "Run",
    "ScorePrior",
    "Sds",
    "Shot",
    "Ssd",
    "StableDiffusion",
    "Stage",
    "TetConfig",
    "TrainableAvatar",
    "Views",
    "Vsd",
    "edit",
    "edit_config",
    "export_head",
    "generate",
    "generate_seeds",
    "load_head",
    "load_prior",
    "load_template",
    "preset",
    "presets",
    "train",
    "view",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
