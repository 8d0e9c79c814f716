"""Light on a rendered frame: one soft lamp per view.

So that colours may be learned without light and shade.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from headartist.render.frame import Frame

SIDE, HEIGHT, DEPTH = 0.7, (0.05, 0.75), 0.8  # of the lamp before the head, in the camera frame, before it is normed
AMBIENT = (0.38, 0.6)
WRAP = 0.15  # how far the lamp's light reaches round the head
GAMMA = 2.2
DARKEST = 1e-4  # keeps the gradient of the power finite


@dataclass(frozen=True)
class Lamps:
    """A lamp and light from everywhere, for each view.

    Attributes:
        towards: unit directions to the lamps, in the camera frame.
        ambient: the strength of the light from everywhere, more of it from above; the lamp's is 0.9.
    """

    towards: Float[Tensor, "b 3"]
    ambient: Float[Tensor, "b"]

    def __getitem__(self, index: slice | Tensor) -> "Lamps":
        """Index the batch."""
        return Lamps(self.towards[index], self.ambient[index])


@dataclass(frozen=True)
class Shading:
    """How a head is drawn.

    Attributes:
        color: whether colors are wanted; without them a frame's are the bare background, which saves time.
        lamps: a lamp for each view; None draws colors as they are.
    """

    color: bool = True
    lamps: Lamps | None = None


def sample_lamps(count: int, generator: torch.Generator) -> Lamps:
    """Sample lamps before the head and above it.

    As most pictures of the embedded prior's data are lit.
    """
    side, height, ambient = torch.rand(3, count, generator=generator)
    towards = torch.stack(
        [SIDE * (2 * side - 1), HEIGHT[0] + (HEIGHT[1] - HEIGHT[0]) * height, torch.full_like(side, DEPTH)], dim=1
    )
    return Lamps(normalize(towards, dim=1), AMBIENT[0] + (AMBIENT[1] - AMBIENT[0]) * ambient)


def lit(frame: Frame, lamps: Lamps, background: Float[Tensor, "3"]) -> Frame:
    """Light a frame's colours like a dull surface's.

    The background stays as it is.

    Args:
        frame: the drawn views, whose colours count as albedo.
        lamps: one for each view.
        background: what the frame was drawn over.
    """
    diffuse = torch.einsum("bchw,bc->bhw", frame.normal, lamps.towards.to(frame.normal))[:, None]
    diffuse = ((1 - WRAP) * diffuse + WRAP).clamp(0, 1)
    above = 0.5 + 0.5 * frame.normal[:, 1:2]
    level = lamps.ambient.to(diffuse).view(-1, 1, 1, 1) * (0.6 + 0.4 * above) + 0.9 * diffuse
    behind = (1 - frame.opacity) * background.view(3, 1, 1)
    # The light multiplies linear colours; those of a frame are for display.
    return replace(frame, color=(behind + (frame.color - behind) * level.clamp(min=DARKEST) ** (1 / GAMMA)).clamp(0, 1))
