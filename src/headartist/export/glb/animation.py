"""The demonstration that a rigged head carries.

Three seconds of looking about, blinking, smiling and opening.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

FRAMES_PER_SECOND = 30


@dataclass(frozen=True)
class Animation:
    """Keys of shapes and joints, linear in between.

    Attributes:
        name: what players list it as.
        seconds: how long it lasts.
        weights: for each ARKit shape that moves, (second, weight) keys.
        turns: for each joint that moves, (second, degrees to its left, degrees up) keys.
    """

    name: str
    seconds: float
    weights: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    turns: Mapping[str, Sequence[tuple[float, float, float]]] = field(default_factory=dict)

    def times(self) -> Float[np.ndarray, "n"]:
        """Evenly spaced seconds from 0 to the end."""
        return np.linspace(0, self.seconds, round(self.seconds * FRAMES_PER_SECOND) + 1)

    def shape_weights(self, names: Sequence[str]) -> Float[np.ndarray, "n e"]:
        """Evaluate the named shapes' weights at `times()`.

        0 for one that is not animated.
        """
        columns = [_eased(self.times(), np.array(self.weights.get(name, [(0.0, 0.0)]))) for name in names]
        return np.concatenate(columns, axis=1) if columns else np.zeros((len(self.times()), 0))

    def rotations(self, joint: str) -> Float[np.ndarray, "n 4"]:
        """Evaluate a joint's rotations at `times()`.

        Unit quaternions (x, y, z, w): up about x, then to the left about y.
        """
        left, up = np.radians(_eased(self.times(), np.array(self.turns[joint]))).T / 2
        # y x: the turn to the left after the turn up. Looking up is a negative turn about x.
        x, y, c, d = -np.sin(up), np.sin(left), np.cos(up), np.cos(left)
        return np.stack([d * x, y * c, -y * x, d * c], axis=1)


def _eased(times: Float[np.ndarray, "n"], keys: Float[np.ndarray, "k c"]) -> Float[np.ndarray, "n d"]:
    """Ease between keys on half a cosine wave.

    So that every motion starts and ends at rest.
    """
    k = np.clip(np.searchsorted(keys[:, 0], times, side="right") - 1, 0, max(len(keys) - 2, 0))
    after = np.minimum(k + 1, len(keys) - 1)
    span = np.maximum(keys[after, 0] - keys[k, 0], 1e-9)
    share = np.clip((times - keys[k, 0]) / span, 0, 1)
    ease = (1 - np.cos(math.pi * share)) / 2
    eased: np.ndarray = keys[k, 1:] + ease[:, None] * (keys[after, 1:] - keys[k, 1:])
    return eased


_BLINK = ((0.9, 0.0), (1.0, 1.0), (1.1, 0.0), (2.8, 0.0), (2.9, 1.0), (3.0, 0.0))
_SMILE = ((1.0, 0.0), (1.4, 0.9), (1.7, 0.9), (2.0, 0.0))
_EYES = ((0.0, 0.0, 0.0), (0.2, 14.0, 2.0), (0.4, 14.0, 2.0), (0.6, -14.0, 0.0), (0.8, -14.0, 0.0), (1.0, 0.0, 0.0))
_NECK = (
    (0.0, 0.0, 0.0),
    (0.35, 9.0, 1.0),
    (0.8, -9.0, 0.0),
    (1.2, 0.0, 0.0),
    (2.0, 0.0, 0.0),
    (2.35, 0.0, 4.0),
    (2.8, 0.0, 0.0),
)

DEMONSTRATION = Animation(
    name="demonstration",
    seconds=3.0,
    weights={
        "eyeBlinkLeft": _BLINK,
        "eyeBlinkRight": _BLINK,
        "mouthSmileLeft": _SMILE,
        "mouthSmileRight": _SMILE,
        "jawOpen": ((1.9, 0.0), (2.3, 0.8), (2.5, 0.8), (2.8, 0.0)),
    },
    turns={"neck": _NECK, "eye_left": _EYES, "eye_right": _EYES},
)
