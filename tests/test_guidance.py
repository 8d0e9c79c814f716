"""Laws of guidance: how a prior's answers become one prediction, and what it is asked for that."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from headartist.config.prompts import view_mix
from headartist.guidance import Guided, StageTexts, classifier_free, perp_neg, predict
from headartist.priors import Query, load_prior
from known_priors import draws
from toys import ToyPrior

WEIGHT = torch.tensor([[-1.5, -0.2], [-0.4, -2.0]], dtype=torch.float64)


def noises(count: int, seed: int = 6) -> tuple[Tensor, ...]:
    """Random predictions for two views."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, 3, 4, 4, generator=generator, dtype=torch.float64).unbind()


def inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-3, -2, -1))


def guided(**settings: object) -> Guided:
    """A guided prediction by Perp-Neg, of which only the combination is looked at."""
    queries = [Query(torch.zeros(2, 1, 1)) for _ in range(4)]
    perp = Guided(queries[0], queries[1], 7.5, other_views=tuple(queries[2:]), other_weights=WEIGHT)
    return replace(perp, **settings)


def test_guidance_at_one_is_the_conditional_and_at_zero_the_unconditional_prediction():
    cond, uncond = noises(2)
    assert torch.equal(classifier_free(cond, uncond, 1.0), cond)
    assert torch.equal(classifier_free(cond, uncond, 0.0), uncond)
    torch.testing.assert_close(classifier_free(cond, uncond, 7.5), uncond + 7.5 * (cond - uncond))


def test_perp_neg_without_weight_is_classifier_free_guidance():
    predictions = noises(4)
    for cfg_scale in (0.0, 1.0, 7.5):
        found = guided(cfg_scale=cfg_scale, other_weights=torch.zeros_like(WEIGHT)).combined(predictions)
        torch.testing.assert_close(found, classifier_free(*predictions[:2], cfg_scale), rtol=0, atol=1e-14)


def test_perp_neg_takes_nothing_from_the_text():
    cond, uncond, *others = noises(4)
    change = perp_neg(cond, uncond, others, WEIGHT)
    torch.testing.assert_close(inner(change, cond - uncond), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)
    assert (inner(change, change) > 1).all()


def test_perp_neg_leaves_the_landmarks_their_part():
    cond, uncond, first, second, no_landmarks = noises(5)
    by_landmarks = guided(cond_no_landmarks=Query(torch.zeros(2, 1, 1)), landmark_scale=3.0)
    both = by_landmarks.combined((cond, uncond, first, second, no_landmarks))
    text = guided().combined((cond, uncond, first, second))
    torch.testing.assert_close(both - text, 2 * (cond - no_landmarks))


def test_landmark_guidance_moves_away_from_the_prediction_without_landmarks():
    cond, uncond, no_landmarks = (torch.full((1, 4, 2, 2), value) for value in (3.0, 1.0, 2.5))
    query = Query(torch.zeros(1, 1, 1))
    landmarks = Guided(query, query, 2.0, cond_no_landmarks=query, landmark_scale=5.0)
    found = landmarks.combined((cond, uncond, no_landmarks))
    assert torch.equal(found, torch.full_like(cond, 1 + 2 * 2 + 4 * 0.5))
    without = replace(landmarks, landmark_scale=1.0).combined((cond, uncond, no_landmarks))
    assert torch.equal(without, classifier_free(cond, uncond, 2.0))


def test_perp_neg_moves_away_from_what_is_not_the_text():
    """Its weights are negative, so along what another view adds at right angles to the text it goes backwards."""
    cond, uncond, other = noises(3)
    assert (inner(perp_neg(cond, uncond, [other], WEIGHT[:1]), other - uncond) < 0).all()


def test_another_view_that_says_the_same_as_the_text_changes_nothing():
    cond, uncond = noises(2)
    change = perp_neg(cond, uncond, [uncond + 3 * (cond - uncond)], WEIGHT[:1])
    torch.testing.assert_close(change, torch.zeros_like(cond), rtol=0, atol=1e-12)


def test_where_the_text_says_nothing_perp_neg_is_finite():
    _, uncond, *others = noises(4)
    away = (WEIGHT[..., None, None, None] * (torch.stack(others) - uncond)).sum(0)
    torch.testing.assert_close(perp_neg(uncond, uncond, others, WEIGHT), away)


def test_an_entry_that_is_not_finite_spoils_no_other_under_perp_neg():
    cond, uncond, *others = noises(4)
    broken = cond.clone()
    broken[:, 0, 0, 0] = torch.inf
    assert perp_neg(broken, uncond, others, WEIGHT)[:, 1:].isfinite().all()


@pytest.mark.parametrize(("view_text", "asked"), [("append", 3), ("perp_neg", 5), ("none", 2)])
def test_a_query_that_occurs_twice_is_asked_once_and_all_in_one_call(view_text: str, asked: int):
    prior = ToyPrior()
    drawn = draws()
    texts = StageTexts.embed(prior, "a clown", "bad", view_text)  # type: ignore[arg-type]
    shot = replace(drawn.shot(), texts=texts)
    target = shot.target(7.5)
    predict(prior, torch.zeros(2, 4, 4, 4), drawn.t, target, shot.cond_no_view(target))
    assert [len(queries) for _, _, queries in prior.asked] == [asked]


def test_texts_say_where_the_camera_stands():
    prior = ToyPrior()
    angles = torch.tensor([10.0, -100.0, 180.0]), torch.zeros(3)
    told = StageTexts.embed(prior, "a clown", "", "append").of_views(*angles)
    assert prior.text_of(told[0]) == [f"a clown, {word} view" for word in ("front", "side", "back")]
    assert told[1].shape[0] == told[2].shape[0] == 0
    silent = StageTexts.embed(prior, "a clown", "", "none").of_views(*angles)
    assert prior.text_of(silent[0]) == ["a clown"] * 3


def test_perp_neg_mixes_the_words_of_views_and_names_those_to_move_away_from():
    prior = ToyPrior()
    azimuth = torch.tensor([30.0, 180.0])
    text, away, weight = StageTexts.embed(prior, "a clown", "", "perp_neg").of_views(azimuth, torch.zeros(2))
    front, side, back = (prior.embed((f"a clown, {words} view",))[0] for words in ("front", "side", "back"))
    torch.testing.assert_close(text, torch.stack([2 / 3 * front + 1 / 3 * side, back]))
    torch.testing.assert_close(away, torch.stack([torch.stack([word, word]) for word in (front, side)]))
    weights = [[weight for _, weight in view_mix(angle, 0.0).away] for angle in (30.0, 180.0)]
    torch.testing.assert_close(weight, torch.tensor(weights).T)


def test_indexing_views_keeps_what_queries_share(tiny_prior_folder):
    """One landmark map for all texts stays one, so that a prior embeds it once."""
    prior = load_prior(tiny_prior_folder("sd21"), offline=True)
    shown = torch.rand(3, 3, prior.landmark_size, prior.landmark_size)
    texts = prior.embed(("a hat", "a man"))
    whole = Guided(*(Query(text.expand(3, -1, -1), shown) for text in texts), 7.5)
    some = whole.of(slice(1, 3))
    assert some.cond.landmark_map is some.uncond.landmark_map
    z_t, t = torch.randn(3, *prior.latent_shape), torch.tensor([100, 300, 600])
    (expected,), (found,) = predict(prior, z_t, t, whole), predict(prior, z_t[1:], t[1:], some)
    torch.testing.assert_close(found, expected[1:], rtol=1e-4, atol=1e-4)
