"""What was computed once is cached on disk, by the content it follows from."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from headartist.system.errors import HeadArtistError
from headartist.system.files import replacing


def cached(
    name: str, compute: Callable[[], dict[str, Tensor]], device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """Read back from disk what `compute` made before, or make it now.

    Kept in the folder `HEADARTIST_CACHE`, or in the user's cache folder.

    Args:
        name: of the file, without a suffix; it must name everything that the result follows from (see `fingerprint`).
        compute: makes them, on `device`.
        device: where they are wanted.
    """
    folder = _folder()
    if folder is None:
        return compute()
    path = folder / f"{name}.safetensors"
    # A damaged or unreadable file is no reason to stop: what it held is computed again.
    with suppress(OSError, SafetensorError):
        return load_file(path, device=str(device))
    tensors = compute()
    # A read-only home or a full disk costs a repetition, not the run.
    with suppress(OSError, SafetensorError, HeadArtistError), replacing(path) as draft:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, draft)
    return tensors


def fingerprint(words: str, *tensors: Tensor) -> str:
    """Name a text and the content of tensors shortly; float tensors are compared as float32."""
    digest = hashlib.sha256(words.encode())
    for tensor in tensors:
        plain = tensor.detach().cpu()
        digest.update(repr(tuple(plain.shape)).encode())
        digest.update((plain.float() if plain.is_floating_point() else plain.long()).numpy().tobytes())
    return digest.hexdigest()[:32]


def _folder() -> Path | None:
    """Where to keep things; None where the system knows no home of the user."""
    if named := os.environ.get("HEADARTIST_CACHE"):
        return Path(named)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headartist"
    except RuntimeError:
        return None
