"""The judge: frozen diffusion models that say which way a picture should change."""

from headartist.priors.prior import Conditions, Noise, ScorePrior
from headartist.priors.sources import PriorSource, resolve
from headartist.priors.stable_diffusion import StableDiffusionPrior, load_prior

__all__ = ["Conditions", "Noise", "PriorSource", "ScorePrior", "StableDiffusionPrior", "load_prior", "resolve"]
