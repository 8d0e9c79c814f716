"""The judge: frozen diffusion models that say which way a picture should change."""

from headartist.priors.prior import PerceptivePrior, Query, ScorePrior, Trainable
from headartist.priors.sources import PriorSource, resolve
from headartist.priors.stable_diffusion import StableDiffusionPrior, load_prior

__all__ = [
    "PerceptivePrior",
    "PriorSource",
    "Query",
    "ScorePrior",
    "StableDiffusionPrior",
    "Trainable",
    "load_prior",
    "resolve",
]
