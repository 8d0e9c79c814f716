"""The paper's own path, small, judged by both Stable Diffusions: warm-up, geometry, texture, refinement."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import trimesh
from torch import Tensor

from headartist import generate
from headartist.avatars.avatar import TrainableAvatar
from headartist.config.avatars import TetConfig
from headartist.config.config import Config, Run
from headartist.config.exports import Exports
from headartist.config.presets import PAPER
from headartist.config.priors import StableDiffusion
from headartist.config.stage import Stage
from headartist.runs.head import Head
from headartist.training import loop
from small_run import FIELD, PROMPT

STEPS = 2
STAGES = [stage.name for stage in PAPER.stages]


def _small_paper(prior: Path) -> Config:
    """The paper's preset with every size made small; losses, schedules and weights are its own."""
    return replace(
        PAPER,
        prior=StableDiffusion(model=str(prior)),
        avatar=TetConfig(resolution=10, shape=FIELD, color=FIELD, sdf_base=PAPER.avatar.sdf_base, fit_steps=60),
        stages=tuple(replace(stage, steps=STEPS, render_size=32) for stage in PAPER.stages),
        run=Run(device="cpu", threads=1, preview_every=0, log_every=1),
        exports=Exports(formats=("glb",), texture_size=64, rig=False, video_views=0),
    )


@dataclass(frozen=True)
class Made:
    """A head, and the avatar's tensors before its first stage and after each."""

    head: Head
    states: tuple[dict[str, Tensor], ...]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_prior_folder: Callable[[str], Path]) -> dict[str, Made]:
    """What each of the two priors made of one start."""

    def run(kind: str) -> Made:
        states = []
        make_optimizer = loop.make_optimizer

        def note_the_state(avatar: TrainableAvatar, stage: Stage) -> torch.optim.AdamW:
            states.append({name: tensor.clone() for name, tensor in avatar.state_dict().items()})
            return make_optimizer(avatar, stage)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(loop, "make_optimizer", note_the_state)
            out = tmp_path_factory.mktemp(kind) / "head"
            head = generate(PROMPT, _small_paper(tiny_prior_folder(kind)), out=out, progress=False)
        return Made(head, (*states, head.avatar.state_dict()))

    return {kind: run(kind) for kind in ("sd21", "sd15")}


def _changed_parts(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Which of "sdf", "offset" and "color" differ in any bit."""
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    return changed & {"sdf", "offset", "color"}


def test_the_papers_stages_are_these():
    assert STAGES == ["warm_up", "geometry", "texture", "refinement"]
    assert [stage.term.draws for stage in PAPER.stages] == ["normal_opacity_latent", "normal", "color", "color"]
    assert PAPER.avatar.sdf_base == "fit"


@pytest.mark.parametrize("kind", ["sd21", "sd15"])
@pytest.mark.parametrize(
    ("stage", "moved"),
    [
        ("warm_up", {"sdf", "offset"}),
        ("geometry", {"sdf", "offset"}),
        ("texture", {"color"}),
        ("refinement", {"color"}),
    ],
)
def test_each_stage_moves_its_parts_and_leaves_the_others_bit_for_bit(made, kind, stage, moved):
    before, after = made[kind].states[STAGES.index(stage) :][:2]
    assert _changed_parts(before, after) == moved


def test_the_judge_moves_the_shape_in_the_warm_up(made):
    """From one start, with the same draws, regularizers and decay, two judges come to two shapes."""
    (start, warmed, *_), (other_start, other_warmed, *_) = (made[kind].states for kind in ("sd21", "sd15"))
    assert _changed_parts(start, other_start) == set()
    assert "sdf" in _changed_parts(warmed, other_warmed)


@pytest.mark.parametrize("kind", ["sd21", "sd15"])
def test_the_paper_path_ends_in_a_textured_head(made, kind):
    folder = made[kind].head.folder
    (mesh,) = trimesh.load(folder / "head.glb").geometry.values()
    assert len(mesh.faces) > 100
    assert mesh.visual.material.baseColorTexture.size == (64, 64)
    assert {path.name for path in folder.iterdir()} >= {
        "config.json",
        "contact.png",
        "head.glb",
        "head.safetensors",
        "metrics.jsonl",
        "provenance.json",
    }
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["stage"], row["step"]) for row in rows] == [(name, step) for name in STAGES for step in range(STEPS)]
    assert all(row["grad_norm"] > 0 for row in rows)
