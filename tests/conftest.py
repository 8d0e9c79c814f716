"""Fixtures that several test files share, and a quiet machine: one thread, no network, nothing of the user's."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"

import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from headartist.training.interrupts import REQUESTS

torch.set_num_threads(1)
for _number in REQUESTS:  # a shell that starts the tests in the background has some ignored
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)
settings.register_profile("laws", deadline=None)  # a busy machine breaks no law
settings.load_profile("laws")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a run remembers for the next one goes to a folder of this session, not to the user's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HEADARTIST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_prior_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from "sd21", "sd15" or "embedded" to the folder of a tiny random prior of that shape."""

    @cache
    def build(kind: str) -> Path:
        import tiny_diffusion

        return tiny_diffusion.build(tmp_path_factory.mktemp("priors") / kind, kind)

    return build
