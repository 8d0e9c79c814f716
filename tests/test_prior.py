"""One contract for every prior, whatever it was made of."""

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

import tiny_diffusion
from headartist.objectives.distillation import add_noise, x0_estimate
from headartist.priors import Query, ScorePrior, StableDiffusionPrior, load_prior
from headartist.priors.stable_diffusion import TextCutOff
from headartist.system.errors import HeadArtistError

TEXTS = ("a head of a man, side view", "worst quality, low quality", "a head of a man")


@pytest.fixture(scope="module", params=tiny_diffusion.KINDS)
def prior(request, tiny_prior_folder) -> StableDiffusionPrior:
    return load_prior(tiny_prior_folder(request.param), offline=True)


def random_inputs(prior, views=1, seed=0):
    """Latents, steps, and a query for each of `TEXTS` before one landmark map."""
    generator = torch.Generator().manual_seed(seed)
    z_t = torch.randn(views, *prior.latent_shape, generator=generator)
    t = torch.randint(20, 980, (views,), generator=generator)
    landmark_map = torch.rand(views, 3, prior.landmark_size, prior.landmark_size, generator=generator)
    return z_t, t, [Query(text.expand(views, -1, -1), landmark_map) for text in prior.embed(TEXTS)]


def test_a_diffusion_prior_is_a_score_prior(prior):
    assert isinstance(prior, ScorePrior)
    assert prior.views_at_once == 1


def test_sizes_follow_from_the_networks(prior):
    channels, height, width = prior.latent_shape
    z = prior.encode(torch.rand(2, 3, prior.picture_size, prior.picture_size))
    assert z.shape == (2, channels, height, width)
    assert prior.decode(z).shape == (2, 3, prior.picture_size, prior.picture_size)
    assert prior.landmark_size == 8 * height, "the usual conditioning embedding has four levels"


def test_the_clock_falls_and_noises_nothing_at_its_start(prior):
    assert len(prior.alpha_bar) == 1000
    assert (prior.alpha_bar.diff() < 0).all()
    z, noise = torch.randn(2, 1, *prior.latent_shape, generator=torch.Generator().manual_seed(1))
    z_0 = add_noise(z, noise, torch.tensor([0]), prior.alpha_bar)
    assert (z_0 - z).abs().max() < 0.04 * noise.abs().max()


def test_everything_learned_is_frozen(prior):
    networks = [value for value in vars(prior).values() if isinstance(value, torch.nn.Module)]
    assert len(networks) == 4
    assert not any(weight.requires_grad for network in networks for weight in network.parameters())
    assert not any(module.training for network in networks for module in network.modules())


@pytest.mark.parametrize("views", [1, 2])
def test_the_batched_texts_equal_separate_diffusers_calls(prior, request, tiny_prior_folder, views):
    """The oracle: diffusers' own networks, one text and one view a call, and its scheduler's estimate of x0."""
    folder = tiny_prior_folder(request.node.callspec.params["prior"])
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    controlnet = ControlNetModel.from_pretrained(folder, subfolder="controlnet")
    scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler")
    scheduler.set_timesteps(1000)
    z_t, t, queries = random_inputs(prior, views)
    for predicted, (text, landmark_map, _) in zip(prior.predict_noise(z_t, t, queries), queries, strict=True):
        for view in range(views):
            one = slice(view, view + 1)
            with torch.no_grad():
                down, middle = controlnet(
                    z_t[one], t[one], text[one], landmark_map[one], conditioning_scale=1.0, return_dict=False
                )
                output = unet(
                    z_t[one],
                    t[one],
                    text[one],
                    down_block_additional_residuals=down,
                    mid_block_additional_residual=middle,
                ).sample
            expected = scheduler.step(output, int(t[view]), z_t[one]).pred_original_sample
            found = x0_estimate(z_t[one], predicted[one], t[one], prior.alpha_bar)
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_one_network_call_serves_all_texts(prior, monkeypatch):
    batches = []
    forward = UNet2DConditionModel.forward
    monkeypatch.setattr(
        UNet2DConditionModel,
        "forward",
        lambda self, z, *rest, **named: (batches.append(len(z)), forward(self, z, *rest, **named))[1],
    )
    z_t, t, queries = random_inputs(prior, views=2)
    prior.predict_noise(z_t, t, queries)
    prior.predict_noise(z_t, t, queries[:2])
    assert batches == [6, 4]


def test_text_and_landmarks_both_matter(prior):
    z_t, t, queries = random_inputs(prior)
    noise = prior.predict_noise(z_t, t, queries)
    (other,) = prior.predict_noise(z_t, t, [queries[0]._replace(landmark_map=1 - queries[0].landmark_map)])
    for different in (noise[1], noise[2], other):
        assert (noise[0] - different).abs().max() > 1e-3


@pytest.mark.parametrize("views", [1, 2])
def test_every_query_has_landmarks_of_its_own(prior, views):
    """Answered together or alone, before this map, another, a black one or none, a query's answer is the same."""
    z_t, t, (first, second, third) = random_inputs(prior, views)
    black = torch.zeros_like(first.landmark_map)
    asked = [
        first,
        second._replace(landmark_map=None),
        third._replace(landmark_map=1 - first.landmark_map),
        first._replace(landmark_map=black),
        first._replace(landmark_map=None),
    ]
    answers = prior.predict_noise(z_t, t, asked)
    for query, answer in zip(asked, answers, strict=True):
        torch.testing.assert_close(answer, prior.predict_noise(z_t, t, [query])[0], rtol=1e-4, atol=1e-5)
    for index in (3, 4):
        assert (answers[0] - answers[index]).abs().max() > 1e-3


def test_a_query_without_landmarks_is_answered_by_the_network_without_its_controlnet(prior, request, tiny_prior_folder):
    unet = UNet2DConditionModel.from_pretrained(
        tiny_prior_folder(request.node.callspec.params["prior"]), subfolder="unet"
    )
    z_t, t, (query, *_) = random_inputs(prior)
    (found,) = prior.predict_noise(z_t, t, [query._replace(landmark_map=None)])
    with torch.no_grad():
        expected = prior._as_noise(unet(z_t, t, query.text).sample, z_t, t)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_picture_is_not_asked_of_a_prior_that_takes_none(prior):
    z_t, t, (query, *_) = random_inputs(prior)
    with pytest.raises(HeadArtistError, match="not conditioned on pictures: leave image out"):
        prior.predict_noise(z_t, t, [query._replace(image=torch.zeros(1, 3, 8, 8))])


def test_predictions_carry_no_graph(prior):
    z_t, t, queries = random_inputs(prior)
    assert not any(noise.requires_grad for noise in prior.predict_noise(z_t.requires_grad_(), t, queries))


@pytest.mark.parametrize("size", [48, 64, 100])
def test_the_gradient_passes_through_encoding_at_every_size(prior, size):
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(2), requires_grad=True)
    prior.encode(image).sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert (image.grad.abs().amax(1) > 0).float().mean() > 0.9, "every pixel is seen"


def test_encoding_is_the_posterior_mean_unless_a_generator_asks_for_a_sample(prior):
    image = torch.rand(1, 3, prior.picture_size, prior.picture_size, generator=torch.Generator().manual_seed(3))
    mean = prior.encode(image)
    assert torch.equal(mean, prior.encode(image))
    first, second = (prior.encode(image, torch.Generator().manual_seed(seed)) for seed in (0, 0))
    assert torch.equal(first, second)
    assert not torch.allclose(first, mean)


def test_pictures_pass_through_the_vae_scaled_as_it_was_trained(prior, request, tiny_prior_folder):
    folder = tiny_prior_folder(request.node.callspec.params["prior"])
    vae = AutoencoderKL.from_pretrained(folder, subfolder="vae")
    image = torch.rand(2, 3, prior.picture_size, prior.picture_size, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = vae.encode(2 * image - 1).latent_dist.mode() * vae.config.scaling_factor
        seen = (vae.decode(expected / vae.config.scaling_factor).sample + 1) / 2
    torch.testing.assert_close(prior.encode(image), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prior.decode(expected), seen.clamp(0, 1), rtol=1e-4, atol=1e-5)


def test_text_features_are_the_text_encoders_last_layer(prior, request, tiny_prior_folder):
    folder = tiny_prior_folder(request.node.callspec.params["prior"])
    tokens = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")(
        list(TEXTS), padding="max_length", return_tensors="pt"
    )
    encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder").float()
    with torch.no_grad():
        expected = encoder(tokens.input_ids).last_hidden_state
    torch.testing.assert_close(prior.embed(TEXTS), expected, rtol=1e-4, atol=1e-5)


def test_texts_are_computed_once_and_survive_the_text_encoder(tiny_prior_folder):
    prior = load_prior(tiny_prior_folder("sd21"), offline=True)
    features = prior.embed(TEXTS)
    assert features.shape[:2] == (3, 77)
    assert torch.equal(features[1:2], prior.embed(TEXTS[1:2]))
    prior.free_text_encoder()
    assert torch.equal(features, prior.embed(TEXTS))
    with pytest.raises(HeadArtistError, match="text 'a hat' is new but the text encoder was freed"):
        prior.embed(("a hat",))


def test_what_is_cut_off_is_shown_short_and_without_halves_of_characters(tiny_prior_folder):
    prior = load_prior(tiny_prior_folder("embedded"))
    for text in ("漢" * 40, "a" + "漢" * 40, "ab" + "漢" * 40, "👩" * 200):
        with pytest.warns(TextCutOff) as caught:
            prior.embed((text,))
        told = str(caught[0].message)
        assert "\ufffd" not in told
        assert len(told) < 150


def test_a_text_that_is_too_long_is_cut_aloud(tiny_prior_folder):
    prior = load_prior(tiny_prior_folder("embedded"), offline=True)
    with pytest.warns(UserWarning, match="^of 33 tokens of text the prior reads 30: 'with red hair' is cut off$"):
        prior.embed(("old man " * 15 + "with red hair",))
