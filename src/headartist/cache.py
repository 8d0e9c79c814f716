"""What was computed once is remembered on disk, by the content it follows from."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from headartist.files import replacing


def remembered(
    name: str, compute: Callable[[], dict[str, Tensor]], device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """The tensors that `compute` makes, read back from disk where they were made before.

    Kept in the folder `HEADARTIST_CACHE`, or in the user's cache folder.

    Args:
        name: of the file, without a suffix; it must name everything that the result follows from (see `fingerprint`).
        compute: makes them, on `device`.
        device: where they are wanted.
    """
    try:
        path = _folder() / f"{name}.safetensors"
    except RuntimeError:  # a user without a home
        return compute()
    # A damaged or unreadable file is no reason to stop: what it held is computed again.
    with suppress(OSError, SafetensorError):
        return load_file(path, device=str(device))
    tensors = compute()
    # A read-only home costs a repetition, not the run.
    with suppress(OSError), replacing(path) as draft:  # in one move: a second process never sees half a file
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, draft)
    return tensors


def fingerprint(words: str, *tensors: Tensor) -> str:
    """A short name for a text and the content of tensors; float tensors are compared as float32."""
    digest = hashlib.sha256(words.encode())
    for tensor in tensors:
        plain = tensor.detach().cpu()
        digest.update(repr(tuple(plain.shape)).encode())
        digest.update((plain.float() if plain.is_floating_point() else plain.long()).numpy().tobytes())
    return digest.hexdigest()[:32]


def _folder() -> Path:
    named = os.environ.get("HEADARTIST_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headartist"
