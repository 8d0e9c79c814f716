"""The loop: what is drawn, shown and learned at every step, and how it stops."""

import json
import signal
import warnings
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headartist.cameras import look
from headartist.checkpoint import Progress, load_checkpoint
from headartist.conditions import Scene, conditions_of, draw_cameras, embed_texts, latent_of
from headartist.config import Config, Rates, Regularisers, Run, Stage, Views, ViewText
from headartist.errors import HeadArtistError
from headartist.folder import HeadFolder, open_folder
from headartist.geometry.mesh import Mesh
from headartist.heads import load_template
from headartist.interrupts import REQUESTS
from headartist.loss_config import Refine, Sds, Ssd
from headartist.priors.stable_diffusion import TextCutOff
from headartist.prompts import PromptWarning, view_mix, view_word
from headartist.schedules import Constant, Linear
from headartist.step import train_step
from headartist.trainer import train
from toys import ToyAvatar, ToyPrior

TEMPLATE = load_template("open")
GEOMETRY = Stage(
    name="geometry",
    trains=("sdf",),
    draws="normal",
    loss=Ssd(15.0),
    steps=6,
    t_min=Constant(0.1),
    t_max=Linear(0.9, 0.4, begin=0, end=5),
    render_size=16,
    views=2,
    text="a normal map of {subject}",
    regularisers=Regularisers(normal_consistency=Constant(1e-3), laplacian=Constant(1e-3)),
)
TEXTURE = Stage(
    name="texture",
    trains=("colour",),
    draws="rgb",
    loss=Ssd(7.5),
    steps=5,
    render_size=16,
    negative="worst quality",
    lit=True,
)
CONFIG = Config(
    prompt="a head of a clown",
    stages=(GEOMETRY, TEXTURE),
    run=Run(checkpoint_every=1000, preview_every=0, log_every=1),
)


def _scene(config: Config = CONFIG) -> Scene:
    return Scene(config, ToyAvatar(), TEMPLATE, ToyPrior(), torch.device("cpu"))


def _folder(path: Path, config: Config = CONFIG) -> HeadFolder:
    folder = HeadFolder(path)
    open_folder(folder, config)
    return folder


def _run(scene: Scene, folder: HeadFolder) -> Progress:
    return train(scene, folder, torch.Generator().manual_seed(scene.config.seed), progress=False)


def _rows(folder: HeadFolder) -> list[tuple[str, int]]:
    lines = folder.metrics.read_text(encoding="utf-8").splitlines()
    return [(row["stage"], row["step"]) for row in map(json.loads, lines)]


def _interrupt_at(scene: Scene, call: int, number: int = signal.SIGINT) -> None:
    """A request to stop in the middle of a step: while the prior thinks."""
    think = scene.prior.predict_noise

    def predict_noise(*question):
        if len(scene.prior.asked) == call:
            signal.raise_signal(number)
        return think(*question)

    scene.prior.predict_noise = predict_noise  # type: ignore[method-assign]


def test_every_stage_runs_its_steps_and_the_head_is_saved(tmp_path: Path):
    folder = _folder(tmp_path)
    done = _run(_scene(), folder)
    assert (done.stage, done.step) == (2, 0)
    assert _rows(folder) == [("geometry", step) for step in range(6)] + [("texture", step) for step in range(5)]
    assert folder.weights.exists()


def test_parts_that_a_stage_does_not_train_stay_bit_identical(tmp_path: Path):
    before = ToyAvatar().state_dict()
    only_colour = _scene(replace(CONFIG, stages=(TEXTURE,)))
    _run(only_colour, _folder(tmp_path / "colour"))
    only_shape = _scene(replace(CONFIG, stages=(GEOMETRY,)))
    _run(only_shape, _folder(tmp_path / "shape"))
    assert torch.equal(only_colour.avatar.sdf, before["sdf"])
    assert torch.equal(only_shape.avatar.colour, before["colour"])
    assert not torch.equal(only_colour.avatar.colour, before["colour"])
    assert not torch.equal(only_shape.avatar.sdf, before["sdf"])


@settings(max_examples=8)
@given(call=st.integers(0, 10))
def test_interrupted_anywhere_and_resumed_equals_the_unbroken_run_bit_for_bit(tmp_path_factory, call: int):
    unbroken, broken = (_folder(tmp_path_factory.mktemp(name)) for name in ("unbroken", "broken"))
    straight = _scene()
    _run(straight, unbroken)

    first = _scene()
    _interrupt_at(first, call)
    with pytest.raises(KeyboardInterrupt):
        _run(first, broken)
    second = _scene()
    _run(second, broken)

    for name, tensor in straight.avatar.state_dict().items():
        assert torch.equal(second.avatar.state_dict()[name], tensor), name
    assert _rows(broken) == _rows(unbroken)
    assert broken.weights.read_bytes() == unbroken.weights.read_bytes()


@pytest.mark.parametrize("number", REQUESTS, ids=lambda number: number.name)
def test_an_interrupt_waits_for_the_end_of_the_step_and_the_handler_of_before_comes_back(tmp_path: Path, number: int):
    folder, scene, before = _folder(tmp_path), _scene(), signal.getsignal(signal.SIGINT)
    _interrupt_at(scene, 3, number)
    with pytest.raises(KeyboardInterrupt) as stopped:
        _run(scene, folder)
    assert stopped.value.args == (number,)
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    assert (checkpoint.progress.stage, checkpoint.progress.step) == (0, 4)
    assert signal.getsignal(signal.SIGINT) is before


def test_metrics_written_after_the_last_checkpoint_are_not_there_twice(tmp_path: Path):
    config = replace(CONFIG, run=replace(CONFIG.run, checkpoint_every=4))
    folder, scene = _folder(tmp_path, config), _scene(config)
    scene.avatar.sdf.register_hook(lambda grad: grad * (float("nan") if len(scene.prior.asked) == 6 else 1.0))
    advice = r"not finite: start again with --overwrite --set geometry\.loss\.cfg_scale=7\.5, or"
    with pytest.raises(HeadArtistError, match=rf"Step 5 of geometry gave a gradient that is {advice}"):
        _run(scene, folder)
    folder.metrics.open("a").write('{"stage": "geometry", "st')  # as a kill leaves it
    _run(_scene(config), folder)
    assert _rows(folder) == [("geometry", step) for step in range(6)] + [("texture", step) for step in range(5)]


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path):
    folder = _folder(tmp_path)
    _run(_scene(), folder)
    again = _scene()
    _run(again, folder)
    assert not again.prior.asked
    assert len(_rows(folder)) == 11


def test_noise_levels_stay_in_the_schedule(tmp_path: Path):
    scene = _scene(replace(CONFIG, stages=(replace(GEOMETRY, steps=40, views=4),)))
    _run(scene, _folder(tmp_path))
    for step, (_, t, _) in enumerate(scene.prior.asked):
        assert 100 <= int(t.min()) <= int(t.max()) <= 1000 * GEOMETRY.t_max(step)


def test_the_guided_text_says_where_the_camera_stands_and_the_plain_one_does_not(tmp_path: Path):
    scene = _scene(replace(CONFIG, stages=(replace(GEOMETRY, steps=10), TEXTURE)))
    _run(scene, _folder(tmp_path))
    for index, ((_, _, shown), cameras) in enumerate(zip(scene.prior.asked, scene.avatar.seen, strict=True)):
        plain = "a normal map of a clown" if index < 10 else "a head of a clown"
        angles = zip(cameras.azimuth_deg.tolist(), cameras.elevation_deg.tolist(), strict=True)
        assert scene.prior.text_of(shown.text) == [f"{plain}, {view_word(*angle)}" for angle in angles]
        assert set(scene.prior.text_of(shown.plain)) == {plain}
        assert set(scene.prior.text_of(shown.negative)) == {"" if index < 10 else "worst quality"}
        assert shown.landmark_map.shape == (len(cameras), 3, 16, 16)


@pytest.mark.parametrize("view_text", get_args(ViewText))
def test_no_text_comes_up_that_was_not_embedded_before(tmp_path: Path, view_text: ViewText):
    scene = _scene(replace(CONFIG, view_text=view_text))
    embed_texts(scene.config, scene.prior)
    scene.prior.freed = True
    _run(scene, _folder(tmp_path))
    assert len(scene.prior.asked) == 11


@pytest.mark.parametrize(
    "changes",
    [
        {"view_text": "none"},
        {"stages": (replace(TEXTURE, loss=Sds(50.0)),)},
        {"stages": (replace(TEXTURE, loss=Refine(perceptual=0.0)),)},
    ],
)
def test_a_plain_text_that_is_not_needed_costs_nothing(tmp_path: Path, changes):
    scene = _scene(replace(CONFIG, **changes))
    _run(scene, _folder(tmp_path))
    assert all(shown.plain is None for _, _, shown in scene.prior.asked)


def test_perp_neg_shows_the_prior_the_mixed_words_and_the_words_to_move_away_from():
    scene = _scene(replace(CONFIG, view_text="perp_neg"))
    shown = conditions_of(scene, TEXTURE, look(torch.tensor([30.0, 180.0])))
    front, side, back = (
        scene.prior.embed((f"a head of a clown, {words} view",))[0] for words in ("front", "side", "back")
    )
    torch.testing.assert_close(shown.text, torch.stack([2 / 3 * front + 1 / 3 * side, back]))
    torch.testing.assert_close(shown.others.text, torch.stack([torch.stack([word, word]) for word in (front, side)]))
    weights = [[weight for _, weight in view_mix(azimuth, 0.0).away] for azimuth in (30.0, 180.0)]
    torch.testing.assert_close(shown.others.weight, torch.tensor(weights).T)
    assert set(scene.prior.text_of(shown.plain)) == {"a head of a clown"}


def test_sds_is_ssd_with_anchor_one():
    results = []
    for loss in (Sds(20.0), Ssd(20.0, anchor=1.0)):
        scene, stage = _scene(), replace(TEXTURE, loss=loss)
        optimiser = torch.optim.SGD([{"params": [scene.avatar.colour], "rate": Constant(1.0)}])
        scene.prior.embed(("a head of a clown",))
        train_step(scene, stage, 0, optimiser, torch.Generator().manual_seed(1))
        results.append(scene.avatar.colour.detach())
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


def test_hash_tables_and_networks_learn_at_their_own_rates(tmp_path: Path):
    rates = Rates(hash_grid=Constant(0.25), mlp=Constant(0.5))
    scene = _scene(replace(CONFIG, stages=(replace(TEXTURE, steps=1, rates=rates),)))
    before = {name: value.clone() for name, value in scene.avatar.state_dict().items()}
    _run(scene, _folder(tmp_path))
    # Adam's first step has the size of its rate, whatever the gradient.
    for name, rate in (("encoding.table", 0.25), ("colour", 0.5)):
        step = (scene.avatar.state_dict()[name] - before[name]).abs()
        torch.testing.assert_close(step, torch.full((3,), rate), rtol=1e-4, atol=0)


def test_the_gradient_that_is_written_down_is_of_all_that_learns():
    scene = _scene()
    both = [{"params": [scene.avatar.encoding.table, scene.avatar.colour], "rate": Constant(0.0)}]
    row = train_step(scene, TEXTURE, 0, torch.optim.SGD(both), torch.Generator().manual_seed(1))
    gradients = torch.cat([scene.avatar.encoding.table.grad, scene.avatar.colour.grad])
    assert row["grad_norm"] == pytest.approx(float(gradients.norm()), rel=1e-5)
    assert row["grad_norm"] > 0


@pytest.mark.parametrize("stage", [GEOMETRY, TEXTURE])
def test_a_surface_that_has_vanished_ends_the_run_with_what_to_change(tmp_path: Path, stage: Stage):
    scene, folder = _scene(), _folder(tmp_path)
    whole = scene.avatar.to_mesh()

    def surface() -> Mesh:
        asked = len(scene.prior.asked) - (0 if stage is GEOMETRY else GEOMETRY.steps)
        return Mesh(whole.verts, whole.faces[:0]) if asked == 3 else whole

    scene.avatar.surface = surface
    with pytest.raises(HeadArtistError) as caught:
        _run(scene, folder)
    assert str(caught.value) == (
        f"Step 3 of {stage.name} finds no surface left: start again with --overwrite and another --seed, or smaller "
        "learning rates such as --set geometry.rates.mlp=0.0005."
    )
    assert not folder.weights.exists()


class _Talkative(ToyPrior):
    """Reads two words of a text, and has something else to say."""

    def embed(self, texts: tuple[str, ...]) -> torch.Tensor:
        warnings.warn("the network is slow", ResourceWarning, stacklevel=1)
        for text in texts:
            words = text.split()
            if len(words) > 2:
                warnings.warn(TextCutOff(text, " ".join(words[2:]), tokens=len(words), read=2), stacklevel=1)
        return super().embed(texts)


def test_what_a_prior_warns_of_is_passed_on_and_texts_that_are_cut_off_are_told_of_once():
    stages = (TEXTURE, replace(TEXTURE, name="again", text="oh {prompt}", negative="not one of those"))
    config = replace(CONFIG, prompt="an old grey man", stages=stages)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        embed_texts(config, _Talkative())
    assert [(warning.category, str(warning.message)) for warning in caught] == [
        (ResourceWarning, "the network is slow"),
        (PromptWarning, "of 4 tokens of text the prior reads 2: 'grey man' is cut off, and so are other texts"),
    ]


def test_normals_and_opacity_stand_in_the_latents_place():
    scene = _scene()
    frame = scene.avatar.render(draw_cameras(Views(), 2, torch.Generator()), 16, torch.zeros(3), colour=False)
    latent = latent_of(replace(GEOMETRY, draws="normal_opacity_latent"), frame, scene.prior)
    assert latent.shape == (2, 4, 4, 4)
    torch.testing.assert_close(latent[:, :3], frame.normal[..., :4, :4])
    assert torch.equal(latent[:, 3], torch.ones(2, 4, 4))


def test_a_latent_that_cannot_hold_four_channels_is_refused():
    scene = _scene()
    scene.prior.latent_shape = (3, 4, 4)
    frame = scene.avatar.render(draw_cameras(Views(), 1, torch.Generator()), 16, torch.zeros(3), colour=False)
    with pytest.raises(HeadArtistError, match=r"latent has 3: use --set geometry.draws=normal"):
        latent_of(replace(GEOMETRY, draws="normal_opacity_latent"), frame, scene.prior)


def test_a_stage_for_a_part_that_the_head_lacks_is_refused(tmp_path: Path):
    scene = _scene(replace(CONFIG, stages=(replace(GEOMETRY, trains=("offset",)),)))
    with pytest.raises(HeadArtistError, match=r"trains offset, but the head has only sdf, colour"):
        _run(scene, _folder(tmp_path))


def test_a_share_of_the_views_looks_at_the_face():
    count = 4000
    cameras = draw_cameras(Views(front_share=0.5), count, torch.Generator().manual_seed(0))
    frontal = float((cameras.azimuth_deg.abs() <= 60).float().mean())
    assert abs(frontal - (0.5 + 0.5 / 3)) < 0.03
    assert float(cameras.azimuth_deg.abs().max()) > 170


@given(st.floats(-180, 0), st.floats(0, 180))
def test_views_of_the_face_keep_to_the_range_that_was_asked(low: float, high: float):
    cameras = draw_cameras(Views(azimuth_deg=(low, high), front_share=1.0), 20, torch.Generator().manual_seed(0))
    assert low / 3 - 1e-3 <= float(cameras.azimuth_deg.min()) <= float(cameras.azimuth_deg.max()) <= high / 3 + 1e-3
