"""A training's state in safetensors and JSON, replaced atomically."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from headartist.system.files import replacing
from headartist_foundry.data.traits import renamed_trait


def save_state(path: Path, modules: dict[str, nn.Module], optimizer: Optimizer, numbers: dict[str, Any]) -> None:
    """Write weights, optimiser moments and numbers into one file.

    `numbers` may hold anything that JSON can.
    """
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            tensors[f"{name}/{key}"] = value.detach().contiguous().clone()
    for index, moments in optimizer.state_dict()["state"].items():
        for key, value in moments.items():
            tensors[f"optimizer/{index}/{key}"] = torch.as_tensor(value).detach().contiguous().clone()
    with replacing(path) as draft:
        save_file(tensors, draft, metadata={"numbers": json.dumps(numbers)})


def load_state(path: Path, modules: dict[str, nn.Module], optimizer: Optimizer) -> dict[str, Any]:
    """Read what `save_state` wrote and return its numbers.

    Names of traits may be those of older files.
    """
    tensors = {renamed_trait(key): value for key, value in load_file(path).items()}
    for name, module in modules.items():
        prefix = f"{name}/"
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    state = optimizer.state_dict()
    moments: dict[int, dict[str, Tensor]] = {}
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/")
            # In the weight's own memory layout: the fused optimiser goes through both in the order of their bytes.
            weight = weights[int(index)]
            like = weight if value.shape == weight.shape else value
            moments.setdefault(int(index), {})[name] = torch.empty_like(like, dtype=value.dtype).copy_(value)
    optimizer.load_state_dict({"state": moments, "param_groups": state["param_groups"]})
    with safe_open(path, framework="pt") as file:
        numbers: dict[str, Any] = json.loads(file.metadata()["numbers"])
    return numbers
