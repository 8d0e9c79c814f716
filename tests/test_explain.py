"""A config explained: every line says what a setting is, and all of them together are the config."""

from dataclasses import dataclass, replace

import pytest

from headartist.config.config import Config
from headartist.config.explain import attributes, explain, settings
from headartist.config.presets import EMBEDDED, PAPER, PRESETS
from headartist.config.text import override

CHANGES = (
    "seed=3",
    "prompt=a head of a clown, smiling",
    "view_text=none",
    "views.radius=2.5,3.5",
    "exports.formats=glb",
    "run.preview_every=0",
    "geometry.objective=Vsd(7.5, rank=2)",
    "geometry.trains=offset",
    "texture.t_max=Linear(0.9, 0.5, begin=0.3, end=0.9)",
    "texture.objective=Refine()",
    "texture.lit=false",
    "refinement.t_max=Piecewise(0.5, 0.4, at=0.5)",
)


def assignments(config: Config) -> list[str]:
    return [f"{setting.path}={setting.value}" for setting in settings(config)]


@pytest.mark.parametrize("config", [*PRESETS.values(), override(EMBEDDED, CHANGES)])
def test_all_lines_together_are_the_config(config):
    other = replace(config, stages=tuple(replace(PAPER.stages[-1], name=stage.name) for stage in config.stages))
    other = override(other, CHANGES[:6])
    assert other != config
    assert override(other, assignments(config)) == config


@pytest.mark.parametrize("config", [*PRESETS.values(), override(EMBEDDED, CHANGES)])
def test_every_setting_is_told_once_with_its_meaning(config):
    told = list(settings(config))
    assert all(setting.meaning and "\n" not in setting.meaning for setting in told)
    assert len({setting.path for setting in told}) == len(told)


def test_a_star_marks_what_differs_from_the_preset():
    changed = override(EMBEDDED, CHANGES)
    starred = {line.split()[1] for line in explain(changed, EMBEDDED).splitlines() if line.startswith("*")}
    assert {"seed", "geometry.objective", "geometry.objective.rank", "texture.t_max", "refinement.t_max"} <= starred
    assert {"template", "texture.steps", "geometry.steps"}.isdisjoint(starred)
    assert {line[0] for line in explain(EMBEDDED, EMBEDDED).splitlines()} == {" "}


@dataclass(frozen=True)
class Lamp:
    """Where the lamp stands (Eq. 3 of a book). It is lit.

    Attributes:
        height: over the floor,
            in metres. Not in feet.
        kind: "plain": a bulb; or another one.
    """

    height: float = 2.0
    kind: str = "plain"
    color: int = 3


def test_meanings_are_the_first_sentences_of_a_docstring():
    assert attributes(Lamp) == {
        "height": "over the floor, in metres",
        "kind": '"plain": a bulb; or another one',
        "color": "Where the lamp stands (Eq. 3 of a book)",
    }
