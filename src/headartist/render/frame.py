"""Frame: what a renderer draws, as one value."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from headartist.geometry.mesh import Mesh


@dataclass(frozen=True)
class Frame:
    """One drawn batch of views, antialiased at silhouettes.

    Attributes:
        color: in [0, 1] over the background it was drawn with.
        normal: camera-space unit normals in [-1, 1] (x right, y up, z towards the viewer), 0 where nothing is.
        opacity: coverage in [0, 1].
        depth: view depth in world units at the pixel's centre, 0 where nothing is; not antialiased.
        latent: what a prior judges in the place of the encoded picture, where the avatar draws latents.
        surface: the mesh that was drawn, with its gradient; None where no mesh was.
    """

    color: Float[Tensor, "b 3 h w"]
    normal: Float[Tensor, "b 3 h w"]
    opacity: Float[Tensor, "b 1 h w"]
    depth: Float[Tensor, "b 1 h w"]
    latent: Float[Tensor, "b c h w"] | None = None
    surface: Mesh | None = None

    @property
    def normal_picture(self) -> Float[Tensor, "b 3 h w"]:
        """Normals as colours in [0, 1].

        The empty background is mid grey.
        """
        return self.normal * 0.5 + 0.5
