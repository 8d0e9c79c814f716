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

from headartist.config.config import Config, Run, Views, ViewText
from headartist.config.objectives import Refine, Sds, Ssd
from headartist.config.prompts import PromptWarning, view_word
from headartist.config.schedules import Constant, Linear
from headartist.config.stage import Rates, Regularizers, Stage, Term
from headartist.geometry.mesh import Mesh
from headartist.heads import load_template
from headartist.objectives.build import build_objective
from headartist.priors.stable_diffusion import TextCutOff
from headartist.render.shading import Shading
from headartist.runs.watch import watch
from headartist.system.errors import HeadArtistError
from headartist.training.checkpoint import load_checkpoint
from headartist.training.folder import HeadFolder, open_folder
from headartist.training.interrupts import REQUESTS
from headartist.training.loop import train
from headartist.training.problem import Problem, judges
from headartist.training.shot import draw_shots, latent_of, sample_views
from headartist.training.step import Work, train_step
from toys import ToyAvatar, ToyPrior

TEMPLATE = load_template("open")
GEOMETRY = Stage(
    name="geometry",
    terms=(Term("normal", Ssd(15.0), text="a normal map of {subject}"),),
    trains=("sdf",),
    steps=6,
    t_min=Constant(0.1),
    t_max=Linear(0.9, 0.4, end=5 / 6),
    render_size=16,
    views=2,
    regularizers=Regularizers(normal_consistency=Constant(1e-3), laplacian=Constant(1e-3)),
)
TEXTURE = Stage(
    name="texture",
    terms=(Term("color", Ssd(7.5), negative="worst quality"),),
    trains=("color",),
    steps=5,
    render_size=16,
    lit=True,
)
CONFIG = Config(
    prompt="a head of a clown",
    stages=(GEOMETRY, TEXTURE),
    run=Run(checkpoint_every=1000, preview_every=0, log_every=1),
)


def small_problem(config: Config = CONFIG, prior: ToyPrior | None = None) -> Problem:
    """Toys, and what is asked of them."""
    prior = prior or ToyPrior()
    return Problem(config, ToyAvatar(), TEMPLATE, judges(config, lambda _: prior), torch.device("cpu"))


def toy_prior(problem: Problem) -> ToyPrior:
    """The problem's one judge."""
    prior = problem.judges[0][0].prior
    assert isinstance(prior, ToyPrior)
    return prior


def new_folder(path: Path, config: Config = CONFIG) -> HeadFolder:
    folder = HeadFolder(path)
    open_folder(folder, config)
    return folder


def run(problem: Problem, folder: HeadFolder) -> float:
    """Carry the problem out; returns the seconds of its steps."""
    return watch(train(problem, folder, torch.Generator().manual_seed(problem.config.seed)), lambda _: None)


def first_step(problem: Problem, stage: Stage, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The row of a stage's first step, with an optimizer of one's own."""
    prior, generator = toy_prior(problem), torch.Generator().manual_seed(1)
    (jury,) = judges(replace(problem.config, stages=(stage,)), lambda _: prior)
    objectives = tuple(build_objective(term.objective, prior, generator) for term in stage.terms)
    work = Work(stage, problem.avatar, optimizer, jury, objectives)
    return train_step(problem, work, 0, generator)


def _rows(folder: HeadFolder) -> list[tuple[str, int]]:
    lines = folder.metrics.read_text(encoding="utf-8").splitlines()
    return [(row["stage"], row["step"]) for row in map(json.loads, lines)]


def interrupt_at(problem: Problem, call: int, number: int = signal.SIGINT) -> None:
    """A request to stop in the middle of a step: while the prior thinks."""
    prior = toy_prior(problem)
    think = prior.predict_noise

    def predict_noise(*question):
        if len(prior.asked) == call:
            signal.raise_signal(number)
        return think(*question)

    prior.predict_noise = predict_noise  # type: ignore[method-assign]


def test_every_stage_runs_its_steps_and_the_head_is_saved(tmp_path: Path):
    folder = new_folder(tmp_path)
    run(small_problem(), folder)
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    assert (checkpoint.position.stage, checkpoint.position.step) == (2, 0)
    assert _rows(folder) == [("geometry", step) for step in range(6)] + [("texture", step) for step in range(5)]
    assert folder.weights.exists()


def test_parts_that_a_stage_does_not_train_stay_bit_identical(tmp_path: Path):
    before = ToyAvatar().state_dict()
    only_colour = small_problem(replace(CONFIG, stages=(TEXTURE,)))
    run(only_colour, new_folder(tmp_path / "color"))
    only_shape = small_problem(replace(CONFIG, stages=(GEOMETRY,)))
    run(only_shape, new_folder(tmp_path / "shape"))
    assert torch.equal(only_colour.avatar.sdf, before["sdf"])
    assert torch.equal(only_shape.avatar.color, before["color"])
    assert not torch.equal(only_colour.avatar.color, before["color"])
    assert not torch.equal(only_shape.avatar.sdf, before["sdf"])


@settings(max_examples=8)
@given(call=st.integers(0, 10))
def test_interrupted_anywhere_and_resumed_equals_the_unbroken_run_bit_for_bit(tmp_path_factory, call: int):
    unbroken, broken = (new_folder(tmp_path_factory.mktemp(name)) for name in ("unbroken", "broken"))
    straight = small_problem()
    run(straight, unbroken)

    first = small_problem()
    interrupt_at(first, call)
    with pytest.raises(KeyboardInterrupt):
        run(first, broken)
    second = small_problem()
    run(second, broken)

    for name, tensor in straight.avatar.state_dict().items():
        assert torch.equal(second.avatar.state_dict()[name], tensor), name
    assert _rows(broken) == _rows(unbroken)
    assert broken.weights.read_bytes() == unbroken.weights.read_bytes()


@pytest.mark.parametrize("number", REQUESTS, ids=lambda number: number.name)
def test_an_interrupt_waits_for_the_end_of_the_step_and_the_handler_of_before_comes_back(tmp_path: Path, number: int):
    folder, problem, before = new_folder(tmp_path), small_problem(), signal.getsignal(number)
    interrupt_at(problem, 3, number)
    with pytest.raises(KeyboardInterrupt) as stopped:
        run(problem, folder)
    assert stopped.value.args == (number,)
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    assert (checkpoint.position.stage, checkpoint.position.step) == (0, 4)
    assert signal.getsignal(number) is before


def test_metrics_written_after_the_last_checkpoint_are_not_there_twice(tmp_path: Path):
    config = replace(CONFIG, run=replace(CONFIG.run, checkpoint_every=4))
    folder, problem = new_folder(tmp_path, config), small_problem(config)
    problem.avatar.sdf.register_hook(lambda grad: grad * (float("nan") if len(toy_prior(problem).asked) == 6 else 1.0))
    advice = r"not finite: start again with --overwrite --set geometry\.objective\.cfg_scale=7\.5, or"
    with pytest.raises(HeadArtistError, match=rf"Step 5 of geometry gave a gradient that is {advice}"):
        run(problem, folder)
    folder.metrics.open("a").write('{"stage": "geometry", "st')  # as a kill leaves it
    run(small_problem(config), folder)
    assert _rows(folder) == [("geometry", step) for step in range(6)] + [("texture", step) for step in range(5)]


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path):
    folder = new_folder(tmp_path)
    run(small_problem(), folder)
    again = small_problem()
    run(again, folder)
    assert not toy_prior(again).asked
    assert len(_rows(folder)) == 11


def test_noise_levels_stay_in_the_schedule(tmp_path: Path):
    problem = small_problem(replace(CONFIG, stages=(replace(GEOMETRY, steps=40, views=4),)))
    run(problem, new_folder(tmp_path))
    for step, (_, t, _) in enumerate(toy_prior(problem).asked):
        assert 100 <= int(t.min()) <= int(t.max()) <= 1000 * GEOMETRY.t_max(step / 40)


def test_the_guided_text_says_where_the_camera_stands_and_the_plain_one_does_not(tmp_path: Path):
    problem = small_problem(replace(CONFIG, stages=(replace(GEOMETRY, steps=10), TEXTURE)))
    run(problem, new_folder(tmp_path))
    prior = toy_prior(problem)
    for index, ((_, _, shown), cameras) in enumerate(zip(prior.asked, problem.avatar.seen, strict=True)):
        text = "a normal map of a clown" if index < 10 else "a head of a clown"
        angles = zip(cameras.azimuth_deg.tolist(), cameras.elevation_deg.tolist(), strict=True)
        cond, uncond, plain = shown
        assert prior.text_of(cond.text) == [f"{text}, {view_word(*angle)}" for angle in angles]
        assert set(prior.text_of(plain.text)) == {text}
        assert set(prior.text_of(uncond.text)) == {"" if index < 10 else "worst quality"}
        assert all(query.landmark_map.shape == (len(cameras), 3, 16, 16) for query in shown)


@pytest.mark.parametrize("view_text", get_args(ViewText))
def test_no_text_comes_up_that_was_not_embedded_before(tmp_path: Path, view_text: ViewText):
    problem = small_problem(replace(CONFIG, view_text=view_text))
    toy_prior(problem).freed = True
    run(problem, new_folder(tmp_path))
    assert len(toy_prior(problem).asked) == 11


@pytest.mark.parametrize(
    "changes",
    [
        {"view_text": "none"},
        {"stages": (TEXTURE.with_term(objective=Sds(50.0)),)},
        {"stages": (TEXTURE.with_term(objective=Refine(perceptual=0.0)),)},
    ],
)
def test_a_plain_text_that_is_not_needed_costs_nothing(tmp_path: Path, changes):
    problem = small_problem(replace(CONFIG, **changes))
    run(problem, new_folder(tmp_path))
    assert {len(shown) for _, _, shown in toy_prior(problem).asked} == {2}


def test_sds_is_ssd_with_anchor_one():
    results = []
    for loss in (Sds(20.0), Ssd(20.0, anchor=1.0)):
        problem, stage = small_problem(), TEXTURE.with_term(objective=loss)
        optimizer = torch.optim.SGD([{"params": [problem.avatar.color], "rate": Constant(1.0)}])
        first_step(problem, stage, optimizer)
        results.append(problem.avatar.color.detach())
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


def test_hash_tables_and_networks_learn_at_their_own_rates(tmp_path: Path):
    rates = Rates(grid=Constant(0.25), mlp=Constant(0.5))
    problem = small_problem(replace(CONFIG, stages=(replace(TEXTURE, steps=1, rates=rates),)))
    before = {name: value.clone() for name, value in problem.avatar.state_dict().items()}
    run(problem, new_folder(tmp_path))
    # Adam's first step has the size of its rate, whatever the gradient.
    for name, rate in (("encoding.table", 0.25), ("color", 0.5)):
        step = (problem.avatar.state_dict()[name] - before[name]).abs()
        torch.testing.assert_close(step, torch.full((3,), rate), rtol=1e-4, atol=0)


def test_the_gradient_that_is_written_down_is_of_all_that_learns():
    problem = small_problem()
    both = [{"params": [problem.avatar.encoding.table, problem.avatar.color], "rate": Constant(0.0)}]
    row = first_step(problem, TEXTURE, torch.optim.SGD(both))
    gradients = torch.cat([problem.avatar.encoding.table.grad, problem.avatar.color.grad])
    assert row["grad_norm"] == pytest.approx(float(gradients.norm()), rel=1e-5)
    assert row["grad_norm"] > 0


@pytest.mark.parametrize("stage", [GEOMETRY, TEXTURE])
def test_a_surface_that_has_vanished_ends_the_run_with_what_to_change(tmp_path: Path, stage: Stage):
    problem, folder = small_problem(), new_folder(tmp_path)
    whole = problem.avatar.to_mesh()

    def surface() -> Mesh:
        asked = len(toy_prior(problem).asked) - (0 if stage is GEOMETRY else GEOMETRY.steps)
        return Mesh(whole.verts, whole.faces[:0]) if asked == 3 else whole

    problem.avatar.surface = surface
    with pytest.raises(HeadArtistError) as caught:
        run(problem, folder)
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
    stages = (TEXTURE, replace(TEXTURE.with_term(text="oh {prompt}", negative="not one of those"), name="again"))
    config = replace(CONFIG, prompt="an old grey man", stages=stages)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        judges(config, lambda _: _Talkative())
    assert [(warning.category, str(warning.message)) for warning in caught] == [
        (ResourceWarning, "the network is slow"),
        (PromptWarning, "of 4 tokens of text the prior reads 2: 'grey man' is cut off, and so are other texts"),
    ]


def test_normals_and_opacity_stand_in_the_latents_place():
    problem, stage = small_problem(), GEOMETRY.with_term(draws="normal_opacity_latent")
    cameras = sample_views(Views(), 2, torch.Generator())
    frame = problem.avatar.render(cameras, 16, Shading(color=False), torch.zeros(3))
    latent = latent_of(stage.term.draws, frame)
    assert latent is not None
    torch.testing.assert_close(latent, torch.cat([frame.normal, frame.opacity], dim=1))
    (jury,) = judges(replace(CONFIG, stages=(stage,)), lambda _: toy_prior(problem))
    ((shot, _),) = draw_shots(problem, problem.avatar, stage, jury, 0, torch.Generator().manual_seed(0))
    assert shot.latent(jury[0].prior).shape == (2, 4, 4, 4)


def test_a_latent_that_cannot_hold_four_channels_is_refused_before_the_first_step():
    prior = ToyPrior()
    prior.latent_shape = (3, 4, 4)
    config = replace(CONFIG, stages=(GEOMETRY.with_term(draws="normal_opacity_latent"),))
    with pytest.raises(HeadArtistError, match=r"latent has 3: use --set geometry.draws=normal"):
        judges(config, lambda _: prior)


def test_a_run_tells_how_far_it_is_and_how_long_the_rest_takes(tmp_path: Path):
    config = replace(CONFIG, stages=(replace(GEOMETRY, steps=4), replace(TEXTURE, steps=6)))
    problem = small_problem(config)
    told = list(train(problem, new_folder(tmp_path, config), torch.Generator().manual_seed(0)))
    places = [(one.stage, one.stage_number, one.stage_count, one.step, one.steps) for one in told]
    assert places == [("geometry", 1, 2, k + 1, 4) for k in range(4)] + [("texture", 2, 2, k + 1, 6) for k in range(6)]
    seconds = [one.seconds for one in told]
    assert seconds == sorted(seconds)
    assert told[-1].seconds_left == 0 < told[0].seconds_left
    assert set(told[0].metrics) >= {"loss", "grad_norm", "laplacian"}
    assert told[0].preview().shape == (3, 256, 512)


@settings(max_examples=6)
@given(call=st.integers(1, 11))
def test_a_run_from_python_may_be_left_between_steps_and_goes_on_bit_for_bit(tmp_path_factory, call: int):
    whole, left = (new_folder(tmp_path_factory.mktemp(name)) for name in ("whole", "left"))
    straight = small_problem()
    run(straight, whole)
    steps = train(small_problem(), left, torch.Generator().manual_seed(0))
    for done, _ in enumerate(steps, start=1):
        if done == call:
            break
    steps.close()
    again = small_problem()
    run(again, left)
    for name, tensor in straight.avatar.state_dict().items():
        assert torch.equal(again.avatar.state_dict()[name], tensor), name


def test_a_stage_for_a_part_that_the_head_lacks_is_refused(tmp_path: Path):
    problem = small_problem(replace(CONFIG, stages=(replace(GEOMETRY, trains=("offset",)),)))
    with pytest.raises(HeadArtistError, match=r"trains offset, but the head has only sdf, color"):
        run(problem, new_folder(tmp_path))


def test_a_share_of_the_views_looks_at_the_face():
    count = 4000
    cameras = sample_views(Views(front_share=0.5), count, torch.Generator().manual_seed(0))
    frontal = float((cameras.azimuth_deg.abs() <= 60).float().mean())
    assert abs(frontal - (0.5 + 0.5 / 3)) < 0.03
    assert float(cameras.azimuth_deg.abs().max()) > 170


@given(st.floats(-180, 0), st.floats(0, 180))
def test_views_of_the_face_keep_to_the_range_that_was_asked(low: float, high: float):
    cameras = sample_views(Views(azimuth_deg=(low, high), front_share=1.0), 20, torch.Generator().manual_seed(0))
    assert low / 3 - 1e-3 <= float(cameras.azimuth_deg.min()) <= float(cameras.azimuth_deg.max()) <= high / 3 + 1e-3
