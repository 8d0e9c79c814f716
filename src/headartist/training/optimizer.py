"""The optimizer of a stage: AdamW over the parts that learn, a rate for every kind of parameter."""

import torch
from torch import Tensor

from headartist.avatars.avatar import Kind, TrainableAvatar
from headartist.config.stage import Stage
from headartist.system.errors import HeadArtistError

BETAS, EPS = (0.9, 0.99), 1e-15  # of the released code


def make_optimizer(avatar: TrainableAvatar, stage: Stage) -> torch.optim.AdamW:
    """Make AdamW over the parts that the stage trains, and hold every other part still.

    Raises:
        HeadArtistError: when the avatar lacks one of the parts.
    """
    parts = avatar.parameters_by_part()
    missing = [name for name in stage.trains if name not in parts]
    if missing:
        raise HeadArtistError(
            f"Stage {stage.name} trains {', '.join(missing)}, but the head has only {', '.join(parts)}."
        )
    avatar.train_parts(stage.trains)
    groups: dict[Kind, list[Tensor]] = {"grid": [], "mlp": [], "coefficients": []}
    for name, kinds in parts.items():
        if name in stage.trains:
            for kind, parameters in kinds.items():
                groups[kind] += parameters
    settings = [{"params": params, "rate": stage.rates.of(kind)} for kind, params in groups.items() if params]
    return torch.optim.AdamW(settings, lr=0.0, betas=BETAS, eps=EPS, weight_decay=stage.weight_decay, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, progress: int | float) -> None:
    """Set every group's learning rate to its schedule's."""
    for group in optimizer.param_groups:
        group["lr"] = group["rate"](progress)


def gradient_norm(optimizer: torch.optim.Optimizer) -> float:
    """Return the length of all gradients as one vector."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    norms = [torch.linalg.vector_norm(parameter.grad) for parameter in parameters if parameter.grad is not None]
    return float(torch.linalg.vector_norm(torch.stack(norms)))
