"""The embedded prior's networks, plain diffusers and transformers classes."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from headartist.priors.files.layout import TOKENIZER_FILES, WEIGHTS
from headartist_foundry.train.sizes import PriorSize
from headartist_foundry.train.tokens import tokenize

SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "steps_offset": 0,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}
"""Zero terminal SNR (Lin et al. 2024): samples do not share the brightness blob of their starting noise."""

HEAD_START = 0.3
"""Gain of the ControlNet's output convolutions; trained from scratch and jointly, zeros would only learn late."""


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a prior folder."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder)


class PriorModels(nn.Module):
    """Hold the trainable parts of a prior."""

    def __init__(self, size: PriorSize, tokenizer_folder: Path, seed: int) -> None:
        super().__init__()
        from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        torch.manual_seed(seed)  # the libraries' initialisers know no generator
        levels = len(size.unet)
        shared: dict[str, Any] = {
            "in_channels": size.latent_channels,
            "block_out_channels": size.unet,
            "layers_per_block": 1,
            "cross_attention_dim": size.text,
            "attention_head_dim": tuple(max(1, width // size.heads) for width in size.unet),
            "use_linear_projection": True,
            "norm_num_groups": size.groups,
            "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (levels - 1),
            "addition_embed_type": "text",
            "addition_embed_type_num_heads": 4,
        }
        self.unet: Any = UNet2DConditionModel(
            sample_size=size.latent,
            out_channels=size.latent_channels,
            up_block_types=("CrossAttnUpBlock2D",) * (levels - 1) + ("UpBlock2D",),
            **shared,
        )
        self.controlnet: Any = ControlNetModel(conditioning_embedding_out_channels=size.landmark_embedding, **shared)
        depth = len(size.vae)
        self.vae: Any = AutoencoderKL(
            block_out_channels=size.vae,
            down_block_types=("DownEncoderBlock2D",) * depth,
            up_block_types=("UpDecoderBlock2D",) * depth,
            latent_channels=size.latent_channels,
            layers_per_block=1,
            norm_num_groups=size.groups,
            sample_size=size.picture,
            mid_block_add_attention=False,
        )
        self.tokenizer: Any = load_tokenizer(tokenizer_folder)
        self.text_encoder: Any = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(self.tokenizer),
                hidden_size=size.text,
                intermediate_size=4 * size.text,
                num_hidden_layers=size.text_layers,
                num_attention_heads=max(1, size.text // 32),
                max_position_embeddings=size.tokens,
                hidden_act="gelu",
                projection_dim=size.text,
                bos_token_id=self.tokenizer.bos_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        )
        self._head_start()

    def _head_start(self) -> None:
        """Let the ControlNet speak from the first step."""
        outputs = [*self.controlnet.controlnet_down_blocks, self.controlnet.controlnet_mid_block]
        for convolution in (*outputs, self.controlnet.controlnet_cond_embedding.conv_out):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="linear")
            with torch.no_grad():
                convolution.weight.mul_(HEAD_START)

    def start_from(self, folder: Path) -> dict[str, list[str]]:
        """Take from a prior folder whatever fits.

        It fits by name and shape, and comes in half precision as its weights are there. Words that both vocabularies
        know keep their embedding, whatever their numbers are, and of position embeddings as many are taken as both
        have.

        Returns:
            By part, the names of weights that were not taken, or not wholly.
        """
        left: dict[str, list[str]] = {}
        for part, file_stem in WEIGHTS.items():
            module = getattr(self, part)
            prefix = "text_model." if part == "text_encoder" else ""
            bare = not any(name.startswith(prefix) for name in module.state_dict())
            weights = load_file(folder / part / f"{file_stem}.safetensors")
            given = {name.removeprefix(prefix) if bare else name: value.float() for name, value in weights.items()}
            own = module.state_dict()
            left[part] = [name for name, value in own.items() if name not in given or given[name].shape != value.shape]
            if part == "text_encoder":
                left[part] += self._take_words(own, given, folder / "tokenizer" / TOKENIZER_FILES[0])
            fitting = {name: given[name] for name in own if name not in left[part]}
            module.load_state_dict(own | fitting)
        settings = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))
        self.vae.register_to_config(scaling_factor=settings["scaling_factor"])
        return left

    def _take_words(self, own: dict[str, Tensor], given: dict[str, Tensor], vocabulary: Path) -> list[str]:
        """Copy the embeddings of shared words and positions.

        They go into `own`; returns names whose rows mean other words.
        """
        words = json.loads(vocabulary.read_text(encoding="utf-8"))
        mine = self.tokenizer.get_vocab()
        (name,) = (name for name in own if name.endswith("token_embedding.weight"))
        (places,) = (name for name in own if name.endswith("position_embedding.weight"))
        same_places = min(len(own[places]), len(given[places]))
        if own[places].shape[1] == given[places].shape[1]:
            own[places] = torch.cat([given[places][:same_places], own[places][same_places:]])
        if words == mine:
            return []
        if own[name].shape[1] == given[name].shape[1]:
            shared = [word for word in mine if word in words]
            table = own[name].clone()
            table[[mine[word] for word in shared]] = given[name][[words[word] for word in shared]]
            own[name] = table
        return [name] if own[name].shape == given[name].shape else []

    def denoiser(self) -> nn.ModuleDict:
        """Collect the parts that learn together.

        That is once text encoder and VAE stand.
        """
        return nn.ModuleDict({"unet": self.unet, "controlnet": self.controlnet})

    def tokens(self, captions: list[str]) -> Tensor:
        """Tokenize captions, padded to the longest text, n k."""
        return tokenize(self.tokenizer, captions)

    def predict(self, z_t: Tensor, t: Tensor, tokens: Tensor, landmark_map: Tensor) -> Tensor:
        """Predict velocity for noised latents."""
        with torch.no_grad():
            features = self.text_encoder(tokens)[0]
        down, middle = self.controlnet(
            z_t, t, encoder_hidden_states=features, controlnet_cond=landmark_map, return_dict=False
        )
        velocity: Tensor = self.unet(
            z_t,
            t,
            encoder_hidden_states=features,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        return velocity
