"""Score distillation: what a prior says of a picture, as a loss. Eq. 6 (SSD), Eq. 1 (SDS) and Eq. 3 (VSD).

All three noise a latent z to z_t, let the frozen prior predict the noise and push z along `w(t) direction`, with
`w(t) = 1 - alpha_bar(t)`; they differ in the direction alone. Each returns a scalar whose gradient with respect to z
is exactly `w(t) direction / b` for `b` views; its value is half the mean, over views, of that vector's squared norm.

Entries of the direction that are not finite count as zero: a half-precision prior may overflow in a pixel, one lost
pixel of one step is harmless, and a single NaN in the optimiser's moments would end the run. Where no entry at all is
finite the prior is broken, and the gradient says so.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headartist.errors import HeadArtistError
from headartist.priors.prior import Conditions, Noise, ScorePrior


def ssd(
    prior: ScorePrior,
    z: Float[Tensor, "b c y x"],
    conditions: Conditions,
    t: Int[Tensor, "b"],
    noise: Float[Tensor, "b c y x"],
    *,
    cfg_scale: float,
    anchor: float = 0.0,
) -> Float[Tensor, ""]:
    """Self score distillation (Eq. 6): direction `guided(W) - e_plain + anchor (e_plain - noise)`.

    With W = `cfg_scale` the first two terms are `(W - 1)(e_view - e_neg) + (e_view - e_plain)`. Anchor 0 is the paper's
    SSD, and anchor 1 is SDS.
    """
    predicted = predict(prior, add_noise(z.detach(), noise, t, prior.alpha_bar), t, conditions)
    direction = predicted.guided(cfg_scale) - predicted.plain + anchor * (predicted.plain - noise)
    return _loss(z, direction, t, prior.alpha_bar)


def sds(
    prior: ScorePrior,
    z: Float[Tensor, "b c y x"],
    conditions: Conditions,
    t: Int[Tensor, "b"],
    noise: Float[Tensor, "b c y x"],
    *,
    cfg_scale: float,
) -> Float[Tensor, ""]:
    """Score distillation sampling (Eq. 1): direction `guided(W) - noise`; `conditions.plain` is not needed."""
    predicted = predict(prior, add_noise(z.detach(), noise, t, prior.alpha_bar), t, conditions)
    return _loss(z, predicted.guided(cfg_scale) - noise, t, prior.alpha_bar)


def vsd(
    prior: ScorePrior,
    z: Float[Tensor, "b c y x"],
    conditions: Conditions,
    t: Int[Tensor, "b"],
    noise: Float[Tensor, "b c y x"],
    *,
    cfg_scale: float,
    eps_lora: Float[Tensor, "b c y x"],
) -> Float[Tensor, ""]:
    """Variational score distillation (Eq. 3): direction `guided(W) - eps_lora`.

    Args:
        prior: the frozen prior.
        z: the latent of the picture.
        conditions: texts and landmarks; `plain` is not needed.
        t: the diffusion step of each view.
        noise: the standard normal draw that noises z.
        cfg_scale: W.
        eps_lora: what the model of the drawn pictures predicts for `add_noise(z, noise, t, prior.alpha_bar)`.
    """
    predicted = predict(prior, add_noise(z.detach(), noise, t, prior.alpha_bar), t, conditions)
    return _loss(z, predicted.guided(cfg_scale) - eps_lora, t, prior.alpha_bar)


def predict(prior: ScorePrior, z_t: Float[Tensor, "b c y x"], t: Int[Tensor, "b"], conditions: Conditions) -> Noise:
    """What the prior predicts, moved away from other views by `perp_neg` where the conditions name some.

    A prior that knows nothing of `Conditions.blind` is asked again, before a black landmark map.
    """
    predicted = prior.predict_noise(z_t, t, conditions)
    if conditions.blind and predicted.blind is None and conditions.landmark_map is not None:
        black = torch.zeros_like(conditions.landmark_map)
        asked = replace(conditions, plain=None, others=None, landmark_map=black, blind=False)
        predicted = replace(predicted, blind=prior.predict_noise(z_t, t, asked).cond)
    return predicted if conditions.others is None else perp_neg(predicted, conditions.others.weight)


def perp_neg(predicted: Noise, weight: Float[Tensor, "n b"]) -> Noise:
    """Perp-Neg (Armandpour et al. 2023): `cond + sum over i of w_i perp(other_i - uncond; cond - uncond)` as `cond`.

    `perp(a; b)` is what of `a` stands at right angles to `b`, so that moving away from another view (w_i < 0) takes
    nothing from the text. `guided(W)` of the result is the method's `uncond + W (cond - uncond + sum)`; all weights 0
    leave classifier-free guidance.

    Raises:
        HeadArtistError: when the prior said nothing of other views.
    """
    if predicted.others is None:
        raise HeadArtistError("The prior does not answer for other views: use view_text=append.")
    # An entry that is not finite must not spoil the inner products, and with them every other entry.
    text = (predicted.cond - predicted.uncond).nan_to_num(0.0, 0.0, 0.0)
    away = (predicted.others - predicted.uncond).nan_to_num(0.0, 0.0, 0.0)
    everywhere = (-3, -2, -1)
    length = text.square().sum(everywhere, keepdim=True).clamp(min=torch.finfo(text.dtype).tiny)
    away = away - (away * text).sum(everywhere, keepdim=True) / length * text
    shift = (weight[..., None, None, None] * away).sum(0)
    # What tells the landmarks' part from the text's stays the difference it was.
    blind = None if predicted.blind is None else predicted.blind + shift
    return replace(predicted, cond=predicted.cond + shift, blind=blind)


def add_noise(
    z: Float[Tensor, "b c y x"],
    noise: Float[Tensor, "b c y x"],
    t: Int[Tensor, "b"],
    alpha_bar: Float[Tensor, "steps"],
) -> Float[Tensor, "b c y x"]:
    """The forward diffusion: `z_t = sqrt(alpha_bar(t)) z + sqrt(1 - alpha_bar(t)) noise`."""
    signal = alpha_bar[t].view(-1, 1, 1, 1)
    return signal.sqrt() * z + (1 - signal).sqrt() * noise


def x0_estimate(
    z_t: Float[Tensor, "b c y x"],
    noise: Float[Tensor, "b c y x"],
    t: Int[Tensor, "b"],
    alpha_bar: Float[Tensor, "steps"],
) -> Float[Tensor, "b c y x"]:
    """The clean latent that a noise prediction implies, the inverse of `add_noise`.

    Wants `alpha_bar(t) > 0`: at the last step of a clock with zero terminal signal there is nothing left to estimate.
    """
    signal = alpha_bar[t].view(-1, 1, 1, 1)
    return (z_t - (1 - signal).sqrt() * noise) / signal.sqrt()


def _loss(
    z: Float[Tensor, "b c y x"],
    direction: Float[Tensor, "b c y x"],
    t: Int[Tensor, "b"],
    alpha_bar: Float[Tensor, "steps"],
) -> Float[Tensor, ""]:
    weight = (1 - alpha_bar[t]).view(-1, 1, 1, 1)
    grad = weight * direction.detach()
    finite = grad.isfinite()
    grad = torch.where(finite | ~finite.any(), grad, 0.0)
    # The target z - grad of the usual form `0.5 |z - target|^2`, written so that rounding cannot touch the gradient.
    return 0.5 * (z - z.detach() + grad).square().sum() / len(z)
