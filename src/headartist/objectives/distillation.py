"""Score distillation on one page: Eq. 6 (SSD), Eq. 1 (SDS) and Eq. 3 (VSD).

All three noise a latent z to z_t, let the frozen prior predict the noise and push z along `w(t) direction`, with
`w(t) = 1 - alpha_bar(t)`; they differ in the direction alone. `target` is the guided prediction (`guidance.Guided`).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def ssd(
    target: Float[Tensor, "b c y x"],
    own: Float[Tensor, "b c y x"],
    noise: Float[Tensor, "b c y x"],
    *,
    anchor: float = 0.0,
) -> Float[Tensor, "b c y x"]:
    """Self score distillation (Eq. 6): `target - own + anchor (own - noise)`.

    `own` is the prior's plain prediction, without guidance and view words. Anchor 0 is the paper's SSD, 1 is SDS.
    """
    return target - own + anchor * (own - noise)


def sds(target: Float[Tensor, "b c y x"], noise: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
    """Score distillation sampling (Eq. 1): `target - noise`."""
    return target - noise


def vsd(target: Float[Tensor, "b c y x"], eps_lora: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
    """Variational score distillation (Eq. 3): `target - eps_lora`, a model of the drawn pictures."""
    return target - eps_lora


def distilled(
    z: Float[Tensor, "b c y x"],
    direction: Float[Tensor, "b c y x"],
    t: Int[Tensor, "b"],
    alpha_bar: Float[Tensor, "steps"],
) -> Float[Tensor, ""]:
    """Return a loss whose gradient with respect to z is `w(t) direction / b`.

    Its value is half the mean, over views, of that vector's squared norm. Entries of the direction that are not finite
    count as zero: a half-precision prior may overflow in a pixel, one lost pixel of one step is harmless, and a single
    NaN in the optimizer's moments would end the run. Where no entry at all is finite the prior is broken, and the
    gradient says so.
    """
    weight = (1 - alpha_bar[t]).view(-1, 1, 1, 1)
    grad = weight * direction.detach()
    finite = grad.isfinite()
    grad = torch.where(finite | ~finite.any(), grad, 0.0)
    # The target z - grad of the usual form `0.5 |z - target|^2`, written so that rounding cannot touch the gradient.
    return 0.5 * (z - z.detach() + grad).square().sum() / len(z)


def add_noise(
    z: Float[Tensor, "b c y x"],
    noise: Float[Tensor, "b c y x"],
    t: Int[Tensor, "b"],
    alpha_bar: Float[Tensor, "steps"],
) -> Float[Tensor, "b c y x"]:
    """Return the forward diffusion: `z_t = sqrt(alpha_bar(t)) z + sqrt(1 - alpha_bar(t)) noise`."""
    signal = alpha_bar[t].view(-1, 1, 1, 1)
    return signal.sqrt() * z + (1 - signal).sqrt() * noise


def x0_estimate(
    z_t: Float[Tensor, "b c y x"],
    noise: Float[Tensor, "b c y x"],
    t: Int[Tensor, "b"],
    alpha_bar: Float[Tensor, "steps"],
) -> Float[Tensor, "b c y x"]:
    """Return the clean latent that a noise prediction implies, the inverse of `add_noise`.

    Wants `alpha_bar(t) > 0`: at the last step of a clock with zero terminal signal there is nothing left to estimate.
    """
    signal = alpha_bar[t].view(-1, 1, 1, 1)
    return (z_t - (1 - signal).sqrt() * noise) / signal.sqrt()
