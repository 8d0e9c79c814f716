"""Image-space refinement (supplement D): pictures against what the prior makes of them, after HiFA (Zhu et al. 2023).

Distillation in the latent leaves what the latent cannot hold: speckles of the color field that the encoder averages
away are never seen. Here the noised picture is denoised, decoded, and compared pixel by pixel, so that they are.
"""

import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import assert_never

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from headartist.config.objectives import Features, Refine
from headartist.guidance import Guided, predict
from headartist.objectives.distillation import add_noise, x0_estimate
from headartist.objectives.objective import Shot, Sight, Stateless
from headartist.priors.prior import PerceptivePrior, ScorePrior, resized
from headartist.system.errors import HeadArtistError

AT_ONCE = 8  # views; more would only take memory, with Stable Diffusion gigabytes of it
LEAST_SIGNAL = 1e-3  # of alpha_bar: below it an estimate of the clean latent is the prior's error, hugely enlarged


class RefineObjective(Stateless):
    """Fit the avatar to what the prior makes of its pictures, by many optimizer steps for one set of estimates."""

    def __init__(self, config: Refine, prior: ScorePrior) -> None:
        self._config, self._prior = config, prior
        self.inner_steps = config.inner_steps

    def losses(self, shot: Shot) -> Iterator[Tensor]:
        """Yield one loss for each fit, of a few of the shot's views drawn at random."""
        config, views = self._config, len(shot.t)
        guided = shot.target(config.cfg_scale, landmark_scale=config.landmark_scale)
        with torch.no_grad():
            picture = shot.look().picture
        target = clean_picture(
            self._prior,
            picture,
            guided,
            shot.t,
            shot.noise,
            pose=shot.pose,
            ddim_steps=config.ddim_steps,
            residual=config.residual,
        )
        for _ in range(config.inner_steps):
            rows = torch.randperm(views, generator=shot.generator)[: config.views_per_inner_step or views]
            sight = shot.look(rows)
            yield difference(
                self._prior,
                sight.picture,
                target[rows],
                perceptual=config.perceptual,
                features=config.features,
                weight=self._weight(sight) if config.facing_power else None,
            )

    def _weight(self, sight: Sight) -> Float[Tensor, "b 1 h w"]:
        """Tell how much pixels count: as they face the camera."""
        return (sight.opacity * sight.facing.clamp(min=0) ** self._config.facing_power).detach()


def clean_picture(
    prior: ScorePrior,
    image: Float[Tensor, "b 3 h w"],
    guided: Guided,
    t: Int[Tensor, "b"],
    noise: Float[Tensor, "b c y x"],
    *,
    pose: Float[Tensor, "b 4 4"] | None = None,
    ddim_steps: int = 1,
    residual: bool = False,
) -> Float[Tensor, "b 3 n n"]:
    """Return what the prior makes of pictures x, at its own size and without gradient: `x_hat = decode(x0_hat)`.

    With `residual`, `x_hat = x + decode(x0_hat) - decode(encode(x))`: Adam makes the slightest error of the decoder a
    drift, and a small one's colors are always a little off.

    Args:
        prior: the frozen prior.
        image: the pictures x, in [0, 1].
        guided: what the estimate is guided by.
        t: the diffusion step of each view; steps that leave no signal count as the last that does.
        noise: the standard normal draw that noises the latent of x.
        pose: `T_camera_world` of each view.
        ddim_steps: denoising steps of the estimate.
        residual: leave out what encoding and decoding alone do to the picture.
    """
    t = t.clamp(max=int((prior.alpha_bar >= LEAST_SIGNAL).sum()) - 1)
    targets = []
    with torch.no_grad():
        for start in range(0, len(image), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            picture = resized(image[rows], prior.picture_size)
            z = prior.encode(picture)
            z_t = add_noise(z, noise[rows], t[rows], prior.alpha_bar)
            some = None if pose is None else pose[rows]
            x0 = denoised(prior, z_t, t[rows], guided.of(rows), pose=some, steps=ddim_steps)
            # As in distillation: an entry that a half-precision prior lost moves nothing.
            finite = x0.isfinite()
            target = prior.decode(torch.where(finite | ~finite.any(), x0, z))
            targets.append((picture + target - prior.decode(z)).clamp(0, 1) if residual else target)
    return torch.cat(targets)


def difference(
    prior: ScorePrior,
    image: Float[Tensor, "b 3 h w"],
    target: Float[Tensor, "b 3 n n"],
    *,
    perceptual: float = 0.0,
    features: Features = "prior",
    weight: Float[Tensor, "b 1 h w"] | None = None,
) -> Float[Tensor, ""]:
    """`mean(w (x - x_hat)^2) + perceptual * d(x, x_hat)`, at the prior's size.

    Args:
        prior: whose size that is, and whose features d compares.
        image: the pictures x.
        target: `clean_picture` of them.
        perceptual: weight of the distance of features, `feature_distance` or `lpips_distance`; 0 costs nothing.
        features: whose features d compares.
        weight: w, how much each pixel counts; None is 1.

    Raises:
        HeadArtistError: when features are wanted of a prior that has none, or LPIPS cannot be had.
    """
    picture = resized(image, prior.picture_size)
    error = (picture - target).square()
    loss = error.mean() if weight is None else (resized(weight, prior.picture_size) * error).mean()
    if not perceptual:
        return loss
    match features:
        case "prior":
            return loss + perceptual * feature_distance(prior, picture, target)
        case "lpips":
            return loss + perceptual * lpips_distance(picture, target)
        case _:
            assert_never(features)


def denoised(
    prior: ScorePrior,
    z_t: Float[Tensor, "b c y x"],
    t: Int[Tensor, "b"],
    guided: Guided,
    *,
    pose: Float[Tensor, "b 4 4"] | None = None,
    steps: int = 1,
) -> Float[Tensor, "b c y x"]:
    """Return the clean latent that the guided prior sees in z_t: `x0_estimate`, or DDIM in even steps towards t = 0."""
    x0 = z_t
    for k in range(steps):
        now = t * (steps - k) // steps
        (eps,) = predict(prior, z_t, now, guided, pose=pose)
        x0 = x0_estimate(z_t, eps, now, prior.alpha_bar)
        z_t = add_noise(x0, eps, t * (steps - k - 1) // steps, prior.alpha_bar)
    return x0


def feature_distance(
    prior: ScorePrior, image: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, ""]:
    """Tell how differently two pictures look to the prior's own encoder: LPIPS's form with its features.

    At every level features are normalised along their channels, and their squared difference is averaged over places;
    the levels' mean is returned: 0 for equal pictures, 4 at most.

    Raises:
        HeadArtistError: when the prior has no features.
    """
    sees = perceptive(prior)
    with torch.no_grad():
        wanted = sees.features(target)
    pairs = zip(sees.features(image), wanted, strict=True)
    levels = [(normalize(seen) - normalize(aim)).square().sum(dim=1).mean() for seen, aim in pairs]
    return torch.stack(levels).mean()


def perceptive(prior: ScorePrior) -> PerceptivePrior:
    """Return the prior as one that has features.

    Raises:
        HeadArtistError: when it has none.
    """
    if not isinstance(prior, PerceptivePrior):
        raise HeadArtistError(f"{type(prior).__name__} has no features to compare pictures by: use perceptual=0.")
    return prior


def lpips_distance(image: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
    """Return the mean LPIPS distance (Zhang et al. 2018) of pictures in [0, 1], of at least 16 pixels a side.

    Raises:
        HeadArtistError: when LPIPS cannot be had.
    """
    distance: Tensor = lpips_network(image.device)(image, target, normalize=True).mean()
    return distance


@lru_cache(maxsize=1)
def lpips_network(device: torch.device) -> torch.nn.Module:
    """LPIPS on VGG-16, frozen.

    Its packages are the user's own, and no extra of ours: `lpips` brings torchvision, and a torchvision that was built
    for another build of torch keeps transformers from being imported, and with it every prior.

    Raises:
        HeadArtistError: when they, or VGG's weights, cannot be had.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips speaks to torchvision in a way of the past
            import lpips

            network = lpips.LPIPS(net="vgg", verbose=False)
    except Exception as error:  # a package that is missing or unfit, no network, a full disk
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise HeadArtistError(
            f"LPIPS cannot be had ({reason}): install lpips with the torchvision of this torch ({torch.__version__}) "
            "and let it fetch VGG-16's weights once, or use features=prior."
        ) from error
    frozen: torch.nn.Module = network.to(device).requires_grad_(False)
    return frozen
