"""One contract for every prior, whatever it was made of."""

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

import tiny_diffusion
from headartist.distillation import add_noise, x0_estimate
from headartist.errors import HeadArtistError
from headartist.priors import Conditions, Noise, StableDiffusionPrior, load_prior
from headartist.priors.stable_diffusion import TextCutOff

TEXTS = ("a head of a man, side view", "worst quality, low quality", "a head of a man")


@pytest.fixture(scope="module", params=tiny_diffusion.KINDS)
def prior(request, tiny_prior_folder) -> StableDiffusionPrior:
    return load_prior(tiny_prior_folder(request.param), offline=True)


def random_inputs(prior, views=1, seed=0, *, plain=True):
    generator = torch.Generator().manual_seed(seed)
    z_t = torch.randn(views, *prior.latent_shape, generator=generator)
    t = torch.randint(20, 980, (views,), generator=generator)
    landmark_map = torch.rand(views, 3, prior.landmark_size, prior.landmark_size, generator=generator)
    view, negative, same = (feature.expand(views, -1, -1) for feature in prior.embed(TEXTS)[:, None])
    return z_t, t, Conditions(view, negative, same if plain else None, landmark_map)


def test_guidance_at_one_is_the_conditional_and_at_zero_the_unconditional_prediction(prior):
    noise = prior.predict_noise(*random_inputs(prior))
    assert torch.equal(noise.guided(1.0), noise.cond)
    assert torch.equal(noise.guided(0.0), noise.uncond)
    assert torch.allclose(noise.guided(7.5), noise.uncond + 7.5 * (noise.cond - noise.uncond))


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
    z_t, t, conditions = random_inputs(prior, views)
    noise = prior.predict_noise(z_t, t, conditions)
    pairs = ((noise.cond, conditions.text), (noise.uncond, conditions.negative), (noise.plain, conditions.plain))
    for predicted, text in pairs:
        for view in range(views):
            one = slice(view, view + 1)
            with torch.no_grad():
                down, middle = controlnet(
                    z_t[one], t[one], text[one], conditions.landmark_map[one], conditioning_scale=1.0, return_dict=False
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
    prior.predict_noise(*random_inputs(prior))
    prior.predict_noise(*random_inputs(prior, plain=False))
    assert batches == [3, 2]


def test_without_a_plain_text_the_plain_prediction_is_the_conditional_one(prior):
    noise = prior.predict_noise(*random_inputs(prior, plain=False))
    assert torch.equal(noise.plain, noise.cond)


def test_text_and_landmarks_both_matter(prior):
    z_t, t, conditions = random_inputs(prior)
    other_map = Conditions(conditions.text, conditions.negative, conditions.plain, 1 - conditions.landmark_map)
    noise, other = prior.predict_noise(z_t, t, conditions), prior.predict_noise(z_t, t, other_map)
    assert (noise.cond - noise.uncond).abs().max() > 1e-3
    assert (noise.cond - noise.plain).abs().max() > 1e-3
    assert (noise.cond - other.cond).abs().max() > 1e-3


@pytest.mark.parametrize("views", [1, 2])
def test_the_blind_prediction_is_the_texts_before_a_black_map_and_changes_no_other(prior, views):
    z_t, t, conditions = random_inputs(prior, views)
    asked = prior.predict_noise(z_t, t, replace(conditions, blind=True))
    black = replace(conditions, landmark_map=torch.zeros_like(conditions.landmark_map))
    torch.testing.assert_close(asked.blind, prior.predict_noise(z_t, t, black).cond, rtol=1e-4, atol=1e-5)
    usual = prior.predict_noise(z_t, t, conditions)
    assert usual.blind is None
    for name in ("cond", "uncond", "plain"):
        torch.testing.assert_close(getattr(asked, name), getattr(usual, name), rtol=1e-4, atol=1e-5)
    assert (asked.blind - asked.cond).abs().max() > 1e-3


def test_predictions_carry_no_graph(prior):
    z_t, t, conditions = random_inputs(prior)
    noise = prior.predict_noise(z_t.requires_grad_(), t, conditions)
    assert not any(part.requires_grad for part in (noise.cond, noise.uncond, noise.plain))


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


def test_guided_extrapolates_elementwise():
    cond, uncond = torch.full((1, 4, 2, 2), 3.0), torch.full((1, 4, 2, 2), 1.0)
    assert torch.equal(Noise(cond, uncond, cond).guided(100.0), torch.full_like(cond, 201.0))


def test_landmarks_guide_away_from_the_blind_prediction():
    cond, uncond, blind = (torch.full((1, 4, 2, 2), value) for value in (3.0, 1.0, 2.5))
    noise = Noise(cond, uncond, cond, blind=blind)
    assert torch.equal(noise.guided(2.0, 5.0), torch.full_like(cond, 1 + 2 * 2 + 4 * 0.5))
    assert torch.equal(noise.guided(2.0, 1.0), noise.guided(2.0))
    with pytest.raises(HeadArtistError, match=r"Guidance by landmarks wants `Conditions\.blind`"):
        Noise(cond, uncond, cond).guided(2.0, 5.0)
