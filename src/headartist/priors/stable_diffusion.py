"""StableDiffusionPrior: any Stable Diffusion folder with a landmark ControlNet as a judge, large or embedded."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from headartist.config.prompts import PromptWarning
from headartist.priors.prior import Query, resized
from headartist.system.errors import HeadArtistError

_SHOWN = 30  # characters of either end of a text that was cut off


class TextCutOff(PromptWarning):
    """A text is longer than the prior reads.

    Attributes:
        text: the whole of it.
        lost: its end, which is not read.
    """

    def __init__(self, text: str, lost: str, *, tokens: int, read: int) -> None:
        shown = lost if len(lost) <= 2 * _SHOWN else f"{lost[:_SHOWN].rstrip()} … {lost[-_SHOWN:].lstrip()}"
        super().__init__(f"of {tokens} tokens of text the prior reads {read}: {shown!r} is cut off")
        self.text, self.lost = text, lost


class StableDiffusionPrior:
    """A frozen latent diffusion model, guided by landmarks, as a `ScorePrior`.

    Everything that differs between Stable Diffusion 2.1, 1.5 and the embedded prior is read from the configuration of
    the parts: sizes, the clock, and whether the network predicts noise or velocity.

    Args:
        unet: a diffusers `UNet2DConditionModel`.
        controlnet: a diffusers `ControlNetModel`, or None for a prior that is not shown landmarks.
        vae: a diffusers `AutoencoderKL`.
        text_encoder: a transformers `CLIPTextModel`; it runs in float32.
        tokenizer: a transformers `CLIPTokenizer`.
        scheduler: a diffusers scheduler: its `alphas_cumprod` is the clock, its config says what is predicted.
        device: where everything runs.
        dtype: of networks and VAE; what comes out is always float32.

    Attributes:
        alpha_bar: the diffusion clock, on `device`.
        picture_size: pixels of the square pictures it was trained on.
        landmark_size: pixels of the square landmark map it wants; 0 for a prior without a ControlNet.
        latent_shape: channels, height and width of its latent.
        views_at_once: 1: it judges every view by itself.
        name: what `load_prior` found it under; empty where it was put together otherwise.
    """

    views_at_once = 1
    name = ""

    def __init__(
        self,
        *,
        unet: nn.Module,
        controlnet: nn.Module | None,
        vae: nn.Module,
        text_encoder: nn.Module,
        tokenizer: Any,
        scheduler: Any,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self._unet = _frozen(unet, self.device, dtype)
        self._vae = _frozen(vae, self.device, dtype)
        self._text_encoder = _frozen(text_encoder, self.device, torch.float32)
        self._tokenizer = tokenizer
        self._embedded: dict[str, Tensor] = {}

        self._predicts = scheduler.config.prediction_type
        if self._predicts not in ("epsilon", "v_prediction"):
            raise HeadArtistError(f"prediction type {self._predicts!r} is not supported: use epsilon or v_prediction")
        self.alpha_bar: Float[Tensor, "steps"] = scheduler.alphas_cumprod.to(self.device, torch.float32)
        latent_size: int = self._unet.config.sample_size
        self.latent_shape = (int(self._unet.config.in_channels), latent_size, latent_size)
        self.picture_size = latent_size * 2 ** (len(self._vae.config.block_out_channels) - 1)
        self.landmark_size = 0
        self._controlnet: Any | None = None
        if controlnet is not None:
            self._controlnet = frozen = _frozen(controlnet, self.device, dtype)
            # The conditioning embedding halves its picture between its levels until it has the latent's size.
            self.landmark_size = latent_size * 2 ** (len(frozen.config.conditioning_embedding_out_channels) - 1)

    def encode(
        self, image: Float[Tensor, "b 3 h w"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c y x"]:
        """Pictures in [0, 1] to latents, differentiably; resized to `picture_size` when needed.

        The latent is the mean of the VAE's posterior, so that equal pictures have equal latents; given a (CPU)
        generator it is a sample of the posterior, as in the paper's code.
        """
        posterior = self._vae.encode(self._as_input(image)).latent_dist
        latent = posterior.mean.float()
        if generator is not None:
            draw = torch.randn(latent.shape, generator=generator).to(self.device)
            latent = latent + posterior.std.float() * draw
        scaled: Tensor = latent * self._vae.config.scaling_factor
        return scaled

    def features(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c y x"], ...]:
        """Return what the VAE's encoder holds of pictures in [0, 1] after each of its levels, fine to coarse."""
        encoder = self._vae.encoder
        levels = [encoder.conv_in(self._as_input(image))]
        for block in encoder.down_blocks:
            levels.append(block(levels[-1]))
        return tuple(level.float() for level in levels[1:])

    def _as_input(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 y x"]:
        """Pictures in [0, 1] as the VAE wants them: in [-1, 1], of its size and dtype."""
        return (resized(image, self.picture_size) * 2 - 1).to(self.dtype)

    def decode(self, latent: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 h w"]:
        """Latents to pictures in [0, 1], differentiably (where they are not clipped)."""
        picture = self._vae.decode((latent / self._vae.config.scaling_factor).to(self.dtype)).sample
        shown: Tensor = (picture.float() * 0.5 + 0.5).clamp(0, 1)
        return shown

    def embed(self, texts: tuple[str, ...]) -> Float[Tensor, "n k d"]:
        """Texts to token features, one row each; every text is computed once and remembered.

        A text longer than the text encoder reads is cut, with a warning that says what was lost.

        Raises:
            HeadArtistError: a new text after `free_text_encoder`.
        """
        for text in texts:
            if text not in self._embedded:
                self._embedded[text] = self._encode_text(text)
        return torch.stack([self._embedded[text] for text in texts])

    def free_text_encoder(self) -> None:
        """Give back the text encoder's memory; texts embedded before stay known, new ones are refused."""
        self._text_encoder = None

    @torch.no_grad()
    def predict_noise(
        self,
        z_t: Float[Tensor, "b c y x"],
        t: Int[Tensor, "b"],
        queries: Sequence[Query],
        pose: Float[Tensor, "b 4 4"] | None = None,  # noqa: ARG002  # it was never told where cameras stand
    ) -> tuple[Float[Tensor, "b c y x"], ...]:
        """Predict the noise under each query, in one batched call and without gradient.

        A query without a landmark map is answered by the network without its ControlNet.

        Raises:
            HeadArtistError: a landmark map for a prior without ControlNet, or a picture.
        """
        copies = len(queries)
        inputs = z_t.to(self.dtype).repeat(copies, 1, 1, 1), t.repeat(copies)
        features = torch.cat([query.text for query in queries]).to(self.dtype)
        residuals = self._residuals(inputs, features, queries)
        predicted = self._unet(*inputs, encoder_hidden_states=features, return_dict=False, **residuals)[0]
        return tuple(self._as_noise(part.float(), z_t.float(), t) for part in predicted.chunk(copies))

    def _residuals(self, inputs: tuple[Tensor, Tensor], features: Tensor, queries: Sequence[Query]) -> dict[str, Any]:
        """What the ControlNet adds to the UNet's features, as arguments of the UNet; nothing where there is no map."""
        if any(query.image is not None for query in queries):
            raise HeadArtistError("the prior is not conditioned on pictures: leave image out of its queries")
        maps = [query.landmark_map for query in queries]
        shown = [landmark_map for landmark_map in maps if landmark_map is not None]
        if not shown:
            return {}
        if len(shown) == len(queries):
            down, middle = self._controlled(inputs, features, shown)
        else:
            down, middle = self._partly_controlled(inputs, features, maps, shown)
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}

    def _controlled(
        self, inputs: tuple[Tensor, ...], features: Tensor, maps: Sequence[Tensor]
    ) -> tuple[Sequence[Tensor], Tensor]:
        """Return the ControlNet's answer to rows that all have a map."""
        if self._controlnet is None:
            raise HeadArtistError("the prior has no ControlNet to show the landmark map to: load it with one")
        # One view's landmarks are embedded once: the network broadcasts a batch of one over its texts.
        alike = len(maps[0]) == 1 and all(landmark_map is maps[0] for landmark_map in maps)
        shown = maps[0] if alike else torch.cat(list(maps))
        added: tuple[Sequence[Tensor], Tensor] = self._controlnet(
            *inputs, encoder_hidden_states=features, controlnet_cond=shown.to(self.dtype), return_dict=False
        )
        return added

    def _partly_controlled(
        self, inputs: tuple[Tensor, Tensor], features: Tensor, maps: Sequence[Tensor | None], shown: Sequence[Tensor]
    ) -> tuple[Sequence[Tensor], Tensor]:
        """The same, with nothing added to the rows of queries without a map."""
        views = len(features) // len(maps)
        has_map = torch.tensor([landmark_map is not None for landmark_map in maps], device=self.device)
        rows = has_map.repeat_interleave(views).nonzero()[:, 0]
        down, middle = self._controlled(tuple(part[rows] for part in inputs), features[rows], shown)

        def spread(part: Tensor) -> Tensor:
            return part.new_zeros(len(features), *part.shape[1:]).index_copy(0, rows, part)

        return tuple(map(spread, down)), spread(middle)

    def _as_noise(self, predicted: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """Velocity to noise, `eps = sqrt(alpha_bar) v + sqrt(1 - alpha_bar) z_t`; noise stays as it is."""
        if self._predicts == "epsilon":
            return predicted
        alpha_bar = self.alpha_bar[t].view(-1, 1, 1, 1)
        return alpha_bar.sqrt() * predicted + (1 - alpha_bar).sqrt() * z_t

    @torch.no_grad()
    def _encode_text(self, text: str) -> Tensor:
        if self._text_encoder is None:
            raise HeadArtistError(f"text {text!r} is new but the text encoder was freed: embed every text before that")
        limit = min(self._tokenizer.model_max_length, self._text_encoder.config.max_position_embeddings)
        tokens = self._tokenizer(text, verbose=False)["input_ids"]
        if len(tokens) > limit:
            # A token may be a part of a character, which cannot be shown.
            lost = self._tokenizer.decode(tokens[limit - 1 : -1]).strip("\ufffd ")
            warnings.warn(TextCutOff(text, lost, tokens=len(tokens) - 2, read=limit - 2), stacklevel=3)
        padded = self._tokenizer(text, padding="max_length", max_length=limit, truncation=True, verbose=False)
        features: Tensor = self._text_encoder(torch.tensor([padded["input_ids"]], device=self.device))[0][0].float()
        return features


def _frozen(module: Any, device: torch.device, dtype: torch.dtype) -> Any:
    # Channels last: convolutions are 1.15 to 1.4 times faster so on CPUs, and on GPUs in half precision too.
    module = module.requires_grad_(False).eval().to(device, memory_format=torch.channels_last)
    # Networks already come in their dtype, and diffusers warns of every further cast.
    return module if all(weight.dtype == dtype for weight in module.parameters()) else module.to(dtype)
