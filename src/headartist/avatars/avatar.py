"""Avatar: the object that is optimised, whatever represents it."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

from headartist.cameras import Cameras
from headartist.geometry.mesh import Mesh
from headartist.render.frame import Frame


@runtime_checkable
class Avatar(Protocol):
    """A head that can be drawn and turned into a coloured mesh; its parts can be told apart."""

    def render(self, cameras: Cameras, size: int, background: Tensor, *, colour: bool) -> Frame:
        """Draw square views of `size` pixels.

        Args:
            cameras: the views.
            size: height and width in pixels.
            background: RGB in [0, 1], shape `3`.
            colour: whether `rgb` is wanted; without it the frame's `rgb` is the bare background, which saves time.
        """
        ...

    def parts(self) -> Mapping[str, Iterable[Parameter]]:
        """Trainable parameters by part: "sdf", "offset", "colour"; a part that a representation lacks is absent."""
        ...

    def to_mesh(self) -> Mesh:
        """The surface as it stands, without gradient."""
        ...

    def colour_at(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """RGB in [0, 1] at world points."""
        ...


@runtime_checkable
class TrainableAvatar(Avatar, Protocol):
    """An avatar that can be optimised and saved: also a torch module whose surface carries gradient."""

    def surface(self) -> Mesh:
        """The surface as it stands, with gradient to the parts that train."""
        ...

    def named_parameters(self) -> Any:
        """Parameters with their names, as `torch.nn.Module` has it."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers, as `torch.nn.Module` has it."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> Any:
        """Take over parameters and buffers, as `torch.nn.Module` has it."""
        ...
