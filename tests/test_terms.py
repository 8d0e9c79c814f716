"""A stage judges one picture, or several in one step."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from headartist.config.config import Config
from headartist.config.objectives import Refine, Sds, Ssd, Vsd
from headartist.config.schedules import Constant
from headartist.config.stage import Stage, Term
from headartist.config.text import differences, from_json, override, to_json
from headartist.system.errors import HeadArtistError
from test_loop import CONFIG, GEOMETRY, TEXTURE, first_step, interrupt_at, new_folder, run, small_problem, toy_prior
from test_vsd import TrainablePrior
from toys import ToyAvatar

NORMAL, COLOR = GEOMETRY.term, TEXTURE.term
BOTH = replace(TEXTURE, name="both", terms=(NORMAL, replace(COLOR, weight=0.5)), trains=("sdf", "color"), steps=4)
LEARNING = replace(BOTH, terms=(replace(NORMAL, objective=Vsd(rate=0.01)), replace(COLOR, objective=Vsd(rate=0.02))))


def _after_a_step(stage: Stage) -> ToyAvatar:
    """The avatar after the first step of gradient descent, whose size follows the gradient's."""
    problem = small_problem()
    parameters = [problem.avatar.sdf, problem.avatar.color]
    first_step(problem, stage, torch.optim.SGD([{"params": parameters, "rate": Constant(1.0)}]))
    return problem.avatar


def test_two_terms_of_one_objective_whose_weights_sum_to_one_are_one_term():
    """The toy prior's own noise cancels in SSD, so that each term may draw its own."""
    halves = tuple(replace(COLOR, weight=weight) for weight in (0.3, 0.7))
    stage = replace(TEXTURE, lit=False)
    one, two = _after_a_step(stage), _after_a_step(replace(stage, terms=halves))
    torch.testing.assert_close(two.color, one.color, rtol=1e-5, atol=1e-7)
    assert not torch.equal(one.color, ToyAvatar().color)


def test_a_stage_judges_normals_and_colors_in_one_step():
    plain = replace(BOTH, terms=(NORMAL, COLOR), lit=False)
    both = _after_a_step(plain)
    shaped = _after_a_step(replace(plain, terms=(NORMAL,)))
    torch.testing.assert_close(both.sdf, shaped.sdf, rtol=1e-5, atol=1e-6)
    colored = _after_a_step(replace(plain, terms=(COLOR,)))
    torch.testing.assert_close(both.color, colored.color, rtol=1e-5, atol=1e-6)
    assert not torch.equal(both.sdf, ToyAvatar().sdf)
    assert not torch.equal(both.color, ToyAvatar().color)


def test_terms_share_cameras_and_noise_levels_and_have_their_own_noise_and_texts(tmp_path: Path):
    problem = small_problem(replace(CONFIG, stages=(BOTH,)))
    run(problem, new_folder(tmp_path))
    prior = toy_prior(problem)
    assert len(prior.asked) == 2 * BOTH.steps
    for (z_normal, t_normal, normal), (z_color, t_color, color) in zip(*[iter(prior.asked)] * 2, strict=True):
        assert torch.equal(t_normal, t_color)
        assert not torch.equal(z_normal, z_color)
        assert prior.text_of(normal[0].text)[0].startswith("a normal map of a clown, ")
        assert prior.text_of(color[1].text) == ["worst quality"]
    cameras = problem.avatar.seen
    assert all(torch.equal(one.azimuth_deg, other.azimuth_deg) for one, other in zip(*[iter(cameras)] * 2, strict=True))


def test_a_term_with_fewer_losses_than_another_ends_earlier(tmp_path: Path):
    refined = replace(COLOR, objective=Refine(perceptual=0.0, inner_steps=3))
    problem = small_problem(replace(CONFIG, stages=(replace(BOTH, terms=(NORMAL, refined), steps=1),)))
    run(problem, new_folder(tmp_path))
    assert int(problem.avatar.drawn) == 1 + 3  # gradient steps on normals and on colors


@pytest.mark.parametrize("call", [0, 3, 6])
def test_terms_that_learn_are_resumed_bit_for_bit(tmp_path: Path, call: int):
    config = replace(CONFIG, stages=(LEARNING, TEXTURE))
    straight = small_problem(config, TrainablePrior())
    run(straight, new_folder(tmp_path / "straight", config))
    first, folder = small_problem(config, TrainablePrior()), new_folder(tmp_path / "broken", config)
    interrupt_at(first, call)
    with pytest.raises(KeyboardInterrupt):
        run(first, folder)
    second = small_problem(config, TrainablePrior())
    run(second, folder)
    for name, tensor in straight.avatar.state_dict().items():
        assert torch.equal(second.avatar.state_dict()[name], tensor), name


TWO = replace(CONFIG, stages=(BOTH,))


def test_terms_survive_json_and_are_told_apart():
    assert from_json(to_json(TWO)) == TWO
    assert differences(TWO, override(TWO, ["both.terms.1.weight=0.25"])) == ["both.terms.1.weight 0.5 -> 0.25"]


@pytest.mark.parametrize(
    ("config", "assignments", "terms"),
    [
        (CONFIG, ["texture.weight=2"], (replace(COLOR, weight=2.0),)),
        (CONFIG, ["texture.terms.0.weight=2", "texture.negative=dull"], (replace(COLOR, weight=2.0, negative="dull"),)),
        (TWO, ["both.terms.1.objective=Sds(50)"], (NORMAL, replace(BOTH.terms[1], objective=Sds(50.0)))),
        (TWO, ["both.terms.1.objective.cfg_scale=3"], (NORMAL, replace(BOTH.terms[1], objective=Ssd(3.0)))),
        (TWO, ["both.terms=Term(color, Ssd(5))", "both.text=clown"], (Term("color", Ssd(5.0), text="clown"),)),
        (
            CONFIG,
            ["texture.terms=Term(normal, Ssd(5)), Term(color, Sds(4), weight=0.5)", "texture.terms.0.weight=2"],
            (Term("normal", Ssd(5.0), weight=2.0), Term("color", Sds(4.0), weight=0.5)),
        ),
    ],
)
def test_terms_are_set_by_number_or_where_there_is_one_without(config: Config, assignments: list[str], terms):
    assert override(config, assignments).stages[-1].terms == terms


@pytest.mark.parametrize(
    ("config", "assignment", "sentence"),
    [
        (
            TWO,
            "both.objective.cfg_scale=3",
            "--set both.objective.cfg_scale may be of any of the 2 terms of both: say which, as in "
            "both.terms.0.objective.cfg_scale.",
        ),
        (TWO, "both.terms.2.weight=3", "--set both.terms.2.weight names no term: both has terms 0 and 1."),
        (TWO, "both.terms.x=3", "--set both.terms.x names no term: both has terms 0 and 1."),
        (CONFIG, "texture.terms.1.weight=3", "--set texture.terms.1.weight names no term: texture has terms 0."),
        (CONFIG, "texture.terms=", "texture.terms must be written as Term(...) (got '')."),
        (CONFIG, "texture.objectiv=3", "--set texture.objectiv names no setting: did you mean 'objective'?"),
        (CONFIG, "texture.weight=-1", "term.weight must lie within 0 and 1,000,000 (got -1.0)."),
    ],
)
def test_a_mistaken_term_is_told_in_one_sentence(config: Config, assignment: str, sentence: str):
    with pytest.raises(HeadArtistError) as caught:
        override(config, [assignment])
    assert str(caught.value) == sentence


def test_a_stage_without_terms_is_refused():
    with pytest.raises(HeadArtistError) as caught:
        replace(TEXTURE, terms=())
    assert str(caught.value) == "Stage texture has 1 to 100 terms (got 0)."
