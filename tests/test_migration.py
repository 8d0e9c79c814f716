"""Heads of release 0.1.0 load, go on and are edited; tests/data/release_0_1_0 holds two, one of them half made."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headartist.avatars.tet import TetAvatar
from headartist.config.migration import FORMAT
from headartist.config.objectives import Refine
from headartist.config.presets import SMOKE
from headartist.config.schedules import Constant, Linear, Piecewise
from headartist.config.text import differences, from_json, to_json
from headartist.heads import load_template
from headartist.runs.editing import edit_config
from headartist.runs.head import load_head
from headartist.runs.watch import watch
from headartist.system.errors import HeadArtistError
from headartist.training.checkpoint import load_checkpoint
from headartist.training.folder import HeadFolder, check_folder
from headartist.training.loop import train
from headartist.training.problem import Problem, judges
from toys import ToyPrior

OLD = Path(__file__).parent / "data" / "release_0_1_0"


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    shutil.copytree(OLD, tmp_path / "heads")
    return tmp_path / "heads"


@pytest.mark.parametrize("name", ["half", "done"])
def test_an_old_head_loads_with_the_parameters_that_it_had(heads: Path, name: str):
    head = load_head(heads / name)
    assert len(head.avatar.to_mesh().faces) > 1_000
    assert [stage.name for stage in head.config.stages] == ["geometry", "texture"]
    assert differences(from_json(to_json(head.config)), head.config) == []
    assert check_folder(heads / name, head.config).path == heads / name


def test_an_old_head_that_is_half_made_goes_on(heads: Path):
    folder = HeadFolder(heads / "half")
    config, before = folder.read_config(), load_checkpoint(folder)
    assert before is not None
    assert any(name.startswith("optimizer.") for name in before.tensors)
    avatar = TetAvatar.empty(config.avatar)
    problem = Problem(config, avatar, load_template("open"), judges(config, lambda _: ToyPrior()), torch.device("cpu"))
    watch(train(problem, folder, torch.Generator().manual_seed(config.seed)), lambda _: None)
    rows = [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()]
    assert [(row["stage"], row["step"]) for row in rows] == [(s.name, k) for s in config.stages for k in range(6)]
    made = load_head(folder.path).avatar.state_dict()
    assert torch.equal(made["sdf.mlp.0.weight"], before.tensors["avatar.sdf.mlp.0.weight"])  # geometry was done
    assert not torch.equal(made["color.encoding.table"], before.tensors["avatar.color.encoding.table"])


def test_an_old_head_can_be_edited(heads: Path):
    config = edit_config(heads / "done", "with a beard")
    assert [stage.trains for stage in config.stages] == [("offset",), ("color",)]
    assert config.avatar == load_head(heads / "done").config.avatar


def _old(**changes: object) -> dict[str, object]:
    """A stage of ten steps as the first release wrote it."""
    stage = {"type": "Stage", "name": "one", "trains": ["sdf", "colour"], "draws": "rgb", "steps": 10}
    return stage | {"loss": {"type": "Ssd"}} | changes


def test_settings_that_were_renamed_are_read():
    refine = {"type": "Refine", "relative": True, "facing": 2.0, "fits": 7, "fit_views": 3, "x0_steps": 5}
    rates = {"type": "Rates", "hash_grid": 0.5, "mlp": 0.25}
    energies = {"type": "Regularisers", "laplacian": 3.0}
    stage = from_json(json.dumps({"stages": [_old(loss=refine, rates=rates, regularisers=energies)]})).stages[0]
    assert stage.term.objective == Refine(
        residual=True, facing_power=2.0, inner_steps=7, views_per_inner_step=3, ddim_steps=5
    )
    assert (stage.trains, stage.term.draws) == (("sdf", "color"), "color")
    assert (stage.rates.grid, stage.rates.mlp) == (Constant(0.5), Constant(0.25))
    assert stage.regularizers.laplacian == Constant(3.0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (0.5, Constant(0.5)),
        ({"type": "Linear", "first": 1.0, "last": 0.5, "begin": 2, "end": 8}, Linear(1.0, 0.5, begin=0.2, end=0.8)),
        ({"type": "Linear", "first": 1.0, "last": 0.5, "begin": 0, "end": 20}, Linear(1.0, 0.75)),
        ({"type": "Linear", "first": 1.0, "last": 0.5, "begin": 10, "end": 20}, Constant(1.0)),
        ({"type": "Step", "before": 1.0, "after": 0.5, "at": 5}, Piecewise(1.0, 0.5, at=0.5)),
        ({"type": "Step", "before": 1.0, "after": 0.5, "at": 11}, Constant(1.0)),
    ],
)
def test_schedules_in_steps_become_schedules_in_progress(old: object, new: object):
    assert from_json(json.dumps({"stages": [_old(t_max=old)]})).stages[0].t_max == new


@given(st.integers(1, 500), st.integers(0, 600), st.integers(1, 600), st.floats(0, 1), st.floats(0, 1))
def test_a_line_in_steps_has_the_values_it_had(steps: int, begin: int, length: int, first: float, last: float):
    line = {"type": "Linear", "first": first, "last": last, "begin": begin, "end": begin + length}
    schedule = from_json(json.dumps({"stages": [_old(steps=steps, t_min=0.0, t_max=line)]})).stages[0].t_max
    for step in range(0, steps, max(steps // 7, 1)):
        along = min(max((step - begin) / length, 0.0), 1.0)
        assert schedule(step / steps) == pytest.approx(first + (last - first) * along, rel=1e-9, abs=1e-9)


def test_a_format_of_tomorrow_is_told_in_one_sentence():
    data = json.loads(to_json(SMOKE))
    assert data["format"] == FORMAT
    with pytest.raises(HeadArtistError) as caught:
        from_json(json.dumps(data | {"format": 3}), source="heads/x/config.json")
    assert str(caught.value) == (
        "heads/x/config.json has format 3, and this release reads up to 2: use a newer headartist."
    )


def test_what_is_equal_but_for_rounding_is_no_difference():
    geometry, *others = SMOKE.stages
    one, two, three = (
        replace(SMOKE, stages=(replace(geometry, t_max=Constant(value)), *others)) for value in (0.3, 0.1 + 0.2, 0.31)
    )
    assert one != two
    assert differences(one, two) == []
    assert differences(one, three) == ["geometry.t_max 0.3 -> 0.31"]
