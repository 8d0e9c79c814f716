"""Warp at arm's length: start it quietly, and run a kernel on torch tensors where they live."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import warp as wp
from torch import Tensor


@contextmanager
def _native_stderr_muted() -> Iterator[None]:
    """Drop what native code writes to file descriptor 2 meanwhile."""
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


@functools.cache
def _start_warp() -> None:
    """Initialise Warp once, without its banner, compile messages, or its complaint that a CPU machine has no GPU."""
    if not hasattr(wp.config, "log_level"):  # older releases have a switch in its place
        wp.config.quiet = True  # type: ignore[attr-defined]
    elif wp.config.log_level == wp.LOG_INFO:  # a level that the user chose stands
        wp.config.log_level = wp.LOG_WARNING
    if torch.cuda.is_available():
        wp.init()
        return
    with _native_stderr_muted():
        wp.init()


def _argument(tensor: Tensor, dtype: type) -> object:
    _start_warp()
    return wp.from_torch(tensor, dtype=dtype, requires_grad=False, return_ctype=True)


def vec4(tensor: Tensor) -> object:
    """A contiguous float tensor `... 4` as a kernel argument of `wp.vec4`."""
    return _argument(tensor, wp.vec4)


def vec3(tensor: Tensor) -> object:
    """A contiguous float tensor `... 3` as a kernel argument of `wp.vec3`."""
    return _argument(tensor, wp.vec3)


def vec3i(tensor: Tensor) -> object:
    """A contiguous 32-bit integer tensor `... 3` as a kernel argument of `wp.vec3i`."""
    return _argument(tensor, wp.vec3i)


_SCALARS = {torch.float32: wp.float32, torch.int32: wp.int32, torch.int64: wp.int64, torch.uint8: wp.uint8}


def launch(kernel: wp.Kernel, dim: int | tuple[int, ...], device: torch.device, *arguments: object) -> None:
    """Run `kernel` over `dim` threads on `device`, in torch's current stream there.

    Tensors among `arguments` become arrays of their scalar type and are read and written in place, so they must be
    contiguous and live on `device`.
    """
    inputs = [_argument(a, _SCALARS[a.dtype]) if isinstance(a, Tensor) else a for a in arguments]
    if device.type == "cpu":
        wp.launch(kernel, dim=dim, inputs=inputs, device="cpu", record_tape=False)
        return
    stream = wp.stream_from_torch(torch.cuda.current_stream(device))
    wp.launch(kernel, dim=dim, inputs=inputs, stream=stream, record_tape=False)
