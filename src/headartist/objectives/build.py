"""The one choice of an objective, by its config's type."""

from typing import assert_never

import torch

from headartist.config.objectives import ObjectiveConfig, Refine, Sds, Ssd, Vsd
from headartist.objectives.objective import Objective
from headartist.objectives.refine import RefineObjective
from headartist.objectives.score import SdsObjective, SsdObjective, VsdObjective
from headartist.priors.prior import ScorePrior


def build_objective(config: ObjectiveConfig, prior: ScorePrior, generator: torch.Generator) -> Objective:
    """Make the objective of a config.

    Args:
        config: which, and its knobs.
        prior: the judge.
        generator: draws the first parameters of one that learns, on the CPU.

    Raises:
        HeadArtistError: the prior cannot serve it.
    """
    match config:
        case Ssd():
            return SsdObjective(config, prior)
        case Sds():
            return SdsObjective(config, prior)
        case Vsd():
            return VsdObjective(config, prior, generator)
        case Refine():
            return RefineObjective(config, prior)
        case _:
            assert_never(config)
