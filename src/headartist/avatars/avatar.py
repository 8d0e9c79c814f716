"""Avatar: the object that is optimised, whatever represents it."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from torch import Tensor
from torch.nn import Parameter

from headartist.cameras import Cameras
from headartist.geometry.mesh import Mesh
from headartist.render.frame import Frame


class Avatar(Protocol):
    """A head that can be drawn, trained by parts, saved and turned into a mesh."""

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
