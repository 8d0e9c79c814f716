"""The judge: frozen diffusion models that say which way a picture should change."""

from headartist.priors.load import load_prior
from headartist.priors.prior import Conditions, Noise, OtherViews, PerceptivePrior, ScorePrior
from headartist.priors.sources import PriorSource, resolve
from headartist.priors.stable_diffusion import StableDiffusionPrior

__all__ = [
    "Conditions",
    "Noise",
    "OtherViews",
    "PerceptivePrior",
    "PriorSource",
    "ScorePrior",
    "StableDiffusionPrior",
    "load_prior",
    "resolve",
]
