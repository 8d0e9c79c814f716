"""The judge: frozen diffusion models that say which way a picture should change."""

from headartist.priors.files.sources import PriorSource, resolve
from headartist.priors.load import load_prior
from headartist.priors.prior import PerceptivePrior, Query, ScorePrior, Trainable
from headartist.priors.stable_diffusion import StableDiffusionPrior

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
