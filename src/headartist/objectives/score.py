"""Objectives by score distillation: SSD, SDS, and VSD with a second model that learns."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from headartist.config.objectives import Sds, Ssd, Vsd
from headartist.guidance import predict
from headartist.objectives.distillation import add_noise, distilled, sds, ssd, vsd
from headartist.objectives.objective import Shot, Stateless
from headartist.priors.prior import ScorePrior, Trainable
from headartist.system.errors import HeadArtistError


class SsdObjective(Stateless):
    """Self score distillation (Eq. 6)."""

    def __init__(self, config: Ssd, prior: ScorePrior) -> None:
        self._config, self._prior = config, prior

    def losses(self, shot: Shot) -> Iterator[Tensor]:
        """Yield the one loss of a shot."""
        prior, z = self._prior, shot.latent(self._prior)
        z_t = add_noise(z.detach(), shot.noise, shot.t, prior.alpha_bar)
        guided = shot.target(self._config.cfg_scale)
        target, own = predict(prior, z_t, shot.t, guided, shot.cond_no_view(guided), pose=shot.pose)
        direction = ssd(target, own, shot.noise, anchor=self._config.anchor)
        yield distilled(z, direction, shot.t, prior.alpha_bar)


class SdsObjective(Stateless):
    """Score distillation sampling (Eq. 1)."""

    def __init__(self, config: Sds, prior: ScorePrior) -> None:
        self._config, self._prior = config, prior

    def losses(self, shot: Shot) -> Iterator[Tensor]:
        """Yield the one loss of a shot."""
        prior, z = self._prior, shot.latent(self._prior)
        z_t = add_noise(z.detach(), shot.noise, shot.t, prior.alpha_bar)
        (target,) = predict(prior, z_t, shot.t, shot.target(self._config.cfg_scale), pose=shot.pose)
        yield distilled(z, sds(target, shot.noise), shot.t, prior.alpha_bar)


class VsdObjective:
    """Variational score distillation (Eq. 3): a trainable copy of the prior learns the score of what is drawn.

    After every step of the avatar the copy takes one of its own, on the picture that was just judged, at a noise level
    drawn from the whole clock.
    """

    inner_steps = 1

    def __init__(self, config: Vsd, prior: ScorePrior, generator: torch.Generator) -> None:
        """Make the copy.

        Raises:
            HeadArtistError: the prior gives no trainable copy.
        """
        if not isinstance(prior, Trainable):
            raise HeadArtistError(
                f"Vsd trains a copy of its prior, and {type(prior).__name__} gives none: use objective=Ssd or "
                "objective=Sds."
            )
        self._config, self._prior = config, prior
        self._score = prior.trainable_copy(config.rank, posed=True, generator=generator)
        learns = [parameter for parameter in self._score.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(learns, lr=config.rate)

    def losses(self, shot: Shot) -> Iterator[Tensor]:
        """Yield the one loss of a shot, then let the copy learn from the shot's picture."""
        prior, z = self._prior, shot.latent(self._prior)
        z_t = add_noise(z.detach(), shot.noise, shot.t, prior.alpha_bar)
        guided = shot.target(self._config.cfg_scale)
        own = shot.cond_no_view(guided)
        (target,) = predict(prior, z_t, shot.t, guided, pose=shot.pose)
        with torch.no_grad():
            eps_lora = self._score(z_t, shot.t, own, shot.pose)
        yield distilled(z, vsd(target, eps_lora), shot.t, prior.alpha_bar)

        z = z.detach()
        t = torch.randint(len(prior.alpha_bar), shot.t.shape, generator=shot.generator).to(shot.t)
        noise = torch.randn(z.shape, generator=shot.generator).to(z)
        error = self._score(add_noise(z, noise, t, prior.alpha_bar), t, own, shot.pose) - noise
        self._optimizer.zero_grad(set_to_none=True)
        error.square().mean().backward()
        self._optimizer.step()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the copy's learned weights, and its optimizer's moments."""
        learned = {name for name, parameter in self._score.named_parameters() if parameter.requires_grad}
        weights = {f"score.{k}": tensor for k, tensor in self._score.state_dict().items() if k in learned}
        for index, moments in self._optimizer.state_dict()["state"].items():
            weights |= {f"optimizer.{index}.{name}": torch.as_tensor(moment) for name, moment in moments.items()}
        return weights

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state_dict`."""
        weights = {name.removeprefix("score."): tensor for name, tensor in state.items() if name.startswith("score.")}
        self._score.load_state_dict(weights, strict=False)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in state.items():
            if name.startswith("optimizer."):
                _, index, moment = name.split(".")
                moments.setdefault(int(index), {})[moment] = tensor
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": moments})
