"""A stage may go on with an avatar and judges of its own; without, it goes on with what there is."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from headartist.avatars.build import begin_avatar
from headartist.avatars.tet import TetAvatar
from headartist.config.avatars import TetConfig
from headartist.config.priors import StableDiffusion
from headartist.config.text import from_json, override, to_json
from headartist.geometry.distance import SignedDistance
from headartist.heads import load_template
from headartist.runs.editing import edit_config
from headartist.runs.head import load_head
from headartist.runs.watch import watch
from headartist.system.errors import HeadArtistError
from headartist.training.folder import HeadFolder, open_folder
from headartist.training.loop import train
from headartist.training.problem import Problem, judges
from small_run import FIELD
from test_loop import CONFIG, GEOMETRY, TEXTURE
from toys import ToyPrior

TEMPLATE = load_template("open")
COARSE = TetConfig(resolution=10, shape=FIELD, color=FIELD, sdf_base="template", refresh=2)
FINE = replace(COARSE, resolution=14)
SIZE = {"render_size": 16, "views": 1, "steps": 2}
STAGES = (
    replace(GEOMETRY, **SIZE),
    replace(TEXTURE, **SIZE),
    replace(GEOMETRY, name="finer", avatar=FINE, **SIZE),
    replace(TEXTURE, name="again", **SIZE),
)
GROWING = replace(CONFIG, avatar=COARSE, stages=STAGES, run=replace(CONFIG.run, checkpoint_every=1))
CALLS = sum(stage.steps for stage in STAGES)


class Stopped(Exception):
    """The run was stopped from outside."""


class StoppingPrior(ToyPrior):
    """Stops the run at one of its calls."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.left = last

    def predict_noise(self, *question):
        if not self.left:
            raise Stopped
        self.left -= 1
        return super().predict_noise(*question)


def _carry_out(folder: HeadFolder, prior: ToyPrior) -> None:
    generator = torch.Generator().manual_seed(0)
    avatar = begin_avatar(GROWING.avatar, TEMPLATE, generator=generator)
    jury = judges(GROWING, lambda _: prior)
    watch(train(Problem(GROWING, avatar, TEMPLATE, jury, torch.device("cpu")), folder, generator), lambda _: None)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> HeadFolder:
    folder = HeadFolder(tmp_path_factory.mktemp("unbroken") / "head")
    open_folder(folder, GROWING)
    _carry_out(folder, ToyPrior())
    return folder


@pytest.mark.parametrize("call", range(CALLS))
def test_stopped_at_any_step_and_resumed_equals_the_unbroken_run_bit_for_bit(
    unbroken: HeadFolder, tmp_path: Path, call: int
):
    folder = HeadFolder(tmp_path / "head")
    open_folder(folder, GROWING)
    with pytest.raises(Stopped):
        _carry_out(folder, StoppingPrior(call))
    if call:  # an unfinished head opens as the avatar of its stage
        assert load_head(folder.path).avatar.config == (FINE if call > 4 else COARSE)
    _carry_out(folder, ToyPrior())
    assert folder.weights.read_bytes() == unbroken.weights.read_bytes()


def test_the_finished_head_is_of_the_last_avatar(unbroken: HeadFolder):
    head = load_head(unbroken.path)
    assert head.avatar.config == FINE
    assert edit_config(unbroken.path, "with a beard").avatars == (FINE,)


def test_an_avatar_begins_with_the_surface_and_the_colors_of_the_one_before():
    generator = torch.Generator().manual_seed(0)
    before = begin_avatar(COARSE, TEMPLATE, generator=generator)
    before.sdf_base += 0.05  # a smaller head than the template
    after = begin_avatar(FINE, TEMPLATE, generator=generator, before=before)
    surface = before.to_mesh()
    cell = 2 * FINE.radius / FINE.resolution
    assert SignedDistance(surface)(after.to_mesh().verts).abs().max() < cell
    points = surface.verts[::50]
    assert torch.equal(after.material_at(points).color, before.material_at(points).color)
    other = begin_avatar(replace(FINE, radius=1.2), TEMPLATE, generator=generator, before=before)
    assert not torch.equal(other.material_at(points).color, before.material_at(points).color)


def test_an_avatar_without_a_surface_cannot_be_gone_on_with():
    before = TetAvatar.empty(COARSE)
    before.sdf_base += 1
    with pytest.raises(HeadArtistError, match="no surface to go on from: start again with another --seed"):
        begin_avatar(FINE, TEMPLATE, generator=torch.Generator(), before=before)


def test_stages_and_terms_are_judged_by_their_own_prior():
    one, two, three = (StableDiffusion(model=name) for name in ("sd15", "sd21", "embedded"))
    geometry, texture, finer, again = STAGES
    stages = (geometry, replace(texture, prior=two), finer.with_term(prior=three), again)
    config = replace(GROWING, prior=one, stages=stages)
    assert [config.priors_at(index) for index in range(4)] == [(one,), (two,), (three,), (two,)]
    assert config.priors == (one, two, three)
    priors = {asked: ToyPrior() for asked in config.priors}
    found = judges(config, priors.__getitem__)
    assert [judge.prior for (judge,) in found] == [priors[asked] for asked in (one, two, three, two)]
    assert from_json(to_json(config)) == config


def test_an_edit_is_judged_by_the_priors_of_the_stages_it_goes_on_with(unbroken: HeadFolder):
    two = StableDiffusion(model="sd15")
    base = replace(GROWING, stages=(*STAGES[:3], replace(STAGES[3], prior=two)))
    edited = edit_config(unbroken.path, "with a beard", base=base)
    assert [stage.name for stage in edited.stages] == ["edit_finer", "edit_texture", "edit_again"]
    assert [edited.priors_at(index) for index in range(3)] == [(base.prior,), (base.prior,), (two,)]


def test_an_avatar_and_a_prior_are_set_by_path():
    changed = override(GROWING, ["finer.avatar.resolution=20", "again.prior=StableDiffusion(sd15)"])
    assert changed.avatar_at(3) == replace(FINE, resolution=20)
    assert changed.priors_at(3) == (StableDiffusion("sd15"),)
    assert override(changed, ["finer.avatar=none"]).avatars == (COARSE,)


@pytest.mark.parametrize("name", ["coulor", "offsets"])
def test_a_part_that_no_avatar_has_is_refused_with_the_nearest(name: str):
    with pytest.raises(HeadArtistError) as caught:
        override(GROWING, [f"finer.trains={name}"])
    nearest = "color" if name == "coulor" else "offset"
    assert str(caught.value) == f"finer.trains cannot be '{name}': did you mean '{nearest}'?"
