"""Fixtures that several test files share, and a quiet machine: one thread, no network."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_prior_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from "sd21", "sd15" or "embedded" to the folder of a tiny random prior of that shape."""

    @cache
    def build(kind: str) -> Path:
        import tiny_diffusion

        return tiny_diffusion.build(tmp_path_factory.mktemp("priors") / kind, kind)

    return build
