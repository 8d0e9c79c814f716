"""Avatar: the object that is optimised, whatever represents it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

from headartist.geometry.cameras import Cameras
from headartist.geometry.mesh import Mesh
from headartist.heads.template import HeadTemplate
from headartist.render.frame import Frame
from headartist.render.shading import Shading

Kind = Literal["grid", "mlp", "coefficients"]
"""What a parameter is: a table of features, a network's weight, or a number that stands for itself."""
Parts = Mapping[str, Mapping[Kind, list[Parameter]]]


class Material(NamedTuple):
    """What a surface is made of at some points.

    Attributes:
        color: its albedo, sRGB in [0, 1].
        roughness: in [0, 1]; None where the avatar knows none, and so below.
        metallic: in [0, 1].
    """

    color: Float[Tensor, "n 3"]
    roughness: Float[Tensor, "n 1"] | None = None
    metallic: Float[Tensor, "n 1"] | None = None


@runtime_checkable
class Avatar(Protocol):
    """A head that can be drawn and turned into a colored mesh; its parts can be told apart."""

    def render(self, cameras: Cameras, size: int, shading: Shading, background: Float[Tensor, "3"]) -> Frame:
        """Draw square views, with gradient to the parts that learn.

        Args:
            cameras: the views.
            size: height and width in pixels.
            shading: whether colors are wanted, and how they are lit.
            background: RGB in [0, 1].
        """
        ...

    def parameters_by_part(self) -> Parts:
        """Return trainable parameters by the part they belong to, and by what they are."""
        ...

    def to_mesh(self) -> Mesh:
        """Return the surface as it stands, without gradient."""
        ...

    def material_at(self, points: Float[Tensor, "n 3"]) -> Material:
        """Return the material at world points."""
        ...


@runtime_checkable
class TrainableAvatar(Avatar, Protocol):
    """An avatar that can be optimised and saved."""

    def train_parts(self, names: Sequence[str]) -> None:
        """Let these parts learn and hold all others still, bit for bit."""
        ...

    def energies(self, frame: Frame) -> Mapping[str, Float[Tensor, ""]]:
        """Energies that keep the head in order, by name, of what a frame has drawn."""
        ...

    def landmarks(self) -> HeadTemplate | None:
        """Tell whose landmark sites are projected now; None while the template's stay where they are."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return parameters and buffers, as `torch.nn.Module` has it."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> Any:
        """Take over parameters and buffers, as `torch.nn.Module` has it."""
        ...
