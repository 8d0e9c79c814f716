"""Warp at arm's length: start it quietly, and run a kernel on torch tensors where they live."""

import functools
import os
import re
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
import warp as wp
from torch import Tensor

_HALF_BUILT = re.compile(r"wp_headartist.+_p\d+_t\d+")  # what Warp calls the folder of a kernel of ours meanwhile
_ABANDONED_S = 3600.0  # no compiler takes so long
_COMPILING = threading.RLock()  # one thread at a time starts Warp, and compiles and loads a kernel
_launched: set[tuple[wp.Kernel, torch.device]] = set()


@contextmanager
def _native_stderr_muted() -> Iterator[None]:
    """Drop what native code writes to file descriptor 2 meanwhile."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
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
    if not _has_cache_home():
        wp.config.kernel_cache_dir = _passing_folder("no home folder is known")
    try:
        _initialise()
    except OSError as error:
        wp.config.kernel_cache_dir = _passing_folder(f"{error.filename}: {error.strerror}")
        _initialise()
    folder = Path(str(wp.config.kernel_cache_dir))
    if not os.access(folder, os.W_OK | os.X_OK):
        wp.config.kernel_cache_dir = _passing_folder(f"{folder} cannot be written to")
    sweep_half_built(folder)


def _initialise() -> None:
    start: Callable[[], None] = wp.init
    with _COMPILING:
        if torch.cuda.is_available():
            start()
            return
        with _native_stderr_muted():
            start()


def _has_cache_home() -> bool:
    """Whether Warp finds a place for its kernels; without one it would make a folder called `~` here."""
    if wp.config.kernel_cache_dir or os.environ.get("WARP_CACHE_PATH") or os.environ.get("XDG_CACHE_HOME"):
        return True
    try:
        Path.home()
    except RuntimeError:
        return False
    return True


def _passing_folder(reason: str) -> str:
    """Make a folder for this process's kernels, which goes when it ends."""
    warnings.warn(
        f"kernels are compiled anew for this run ({reason}): name a folder to keep them in WARP_CACHE_PATH",
        stacklevel=2,
    )
    return _passing().name


@functools.cache
def _passing() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="headartist-kernels-")


def sweep_half_built(folder: Path) -> None:
    """Remove from Warp's cache the folders of our kernels whose compiling was killed a while ago."""
    with suppress(OSError):
        for path in folder.iterdir():
            if _HALF_BUILT.fullmatch(path.name) and time.time() - path.stat().st_mtime >= _ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)


def _argument(tensor: Tensor, dtype: type) -> object:
    _start_warp()
    return wp.from_torch(tensor, dtype=dtype, requires_grad=False, return_ctype=True)


def vec4(tensor: Tensor) -> object:
    """Pass a contiguous float tensor `... 4` as a kernel argument of `wp.vec4`."""
    return _argument(tensor, wp.vec4)


def vec3(tensor: Tensor) -> object:
    """Pass a contiguous float tensor `... 3` as a kernel argument of `wp.vec3`."""
    return _argument(tensor, wp.vec3)


def vec3i(tensor: Tensor) -> object:
    """Pass a contiguous 32-bit integer tensor `... 3` as a kernel argument of `wp.vec3i`."""
    return _argument(tensor, wp.vec3i)


_SCALARS = {torch.float32: wp.float32, torch.int32: wp.int32, torch.int64: wp.int64, torch.uint8: wp.uint8}


def launch(kernel: wp.Kernel, dim: int | tuple[int, ...], device: torch.device, *arguments: object) -> None:
    """Run `kernel` over `dim` threads on `device`, in torch's current stream there.

    Tensors among `arguments` become arrays of their scalar type and are read and written in place, so they must be
    contiguous and live on `device`.
    """
    inputs = [_argument(a, _SCALARS[a.dtype]) if isinstance(a, Tensor) else a for a in arguments]
    if (kernel, device) in _launched:
        _launch(kernel, dim, device, inputs)
        return
    with _COMPILING:
        _launch(kernel, dim, device, inputs)
        _launched.add((kernel, device))


def _launch(kernel: wp.Kernel, dim: int | tuple[int, ...], device: torch.device, inputs: list[object]) -> None:
    if device.type == "cpu":
        wp.launch(kernel, dim=dim, inputs=inputs, device="cpu", record_tape=False)
        return
    wrapped: Callable[[torch.cuda.Stream], wp.Stream] = wp.stream_from_torch
    stream = wrapped(torch.cuda.current_stream(device))
    wp.launch(kernel, dim=dim, inputs=inputs, stream=stream, record_tape=False)
