"""Sizes of the embedded prior's networks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PriorSize:
    """Set the sizes of the networks.

    Attributes:
        picture: pixels of the pictures.
        vae: channels by level; every level but the first halves the picture. `linear_encoder.install` wants the last
            one wider than the one before it, eight to a group, and those before it at least 48 and 12 wide.
        latent_channels: of the latent; the paper's warm-up, which takes normals and opacity for one, would need 4.
        unet: channels by level; all but the first attend to the text.
        heads: width of an attention head.
        text: width of the text encoder.
        text_layers: its depth.
        tokens: the longest text.
        landmark_embedding: channels of the ControlNet's landmark encoder; every level but the first halves the map.
        groups: channels are normalised in that many groups.
    """

    picture: int = 128
    vae: tuple[int, ...] = (16, 48, 64)
    latent_channels: int = 12
    unet: tuple[int, ...] = (64, 128, 192)
    heads: int = 32
    text: int = 128
    text_layers: int = 3
    tokens: int = 32
    landmark_embedding: tuple[int, ...] = (16, 32, 64)
    groups: int = 8

    @property
    def latent(self) -> int:
        """Height and width of the latent."""
        return self.picture >> (len(self.vae) - 1)

    @property
    def landmark(self) -> int:
        """Height and width of the landmark map."""
        return self.latent << (len(self.landmark_embedding) - 1)
