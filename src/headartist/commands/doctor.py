"""What this machine has for making heads, and what would stop a run. The network is not asked."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from headartist.config.limits import (
    export_needs,
    machine_memory,
    most_file_bytes,
    require_memory,
    size_words,
    training_needs,
)
from headartist.config.presets import EMBEDDED
from headartist.export.usd import find_usd
from headartist.export.video import find_ffmpeg
from headartist.priors.files.hub import locate
from headartist.priors.files.hub_client import cache_folder
from headartist.priors.files.sources import PRIOR_NAMES, resolve
from headartist.runs.generation import check_prior
from headartist.system.errors import HeadArtistError
from headartist.system.version import package_version
from headartist.training.folder import check_folder

LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "warp-lang",
    "xatlas",
    "trimesh",
    "opencv-python-headless",
)


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        subject: what was looked at.
        text: what was found.
        mend: what to do where something lacks; empty where all is well.
        stops: whether a run of the default preset would stop at it.
    """

    subject: str
    text: str
    mend: str = ""
    stops: bool = False


def findings() -> Iterator[Finding]:
    """Look at the machine, thing by thing; takes some seconds and changes nothing."""
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield Finding("headartist", f"{package_version()}, {system}")
    yield _libraries()
    yield Finding("processor", f"cores: {_cores()}, threads in use: {torch.get_num_threads()}")
    yield Finding("CUDA", _cuda())
    memory = _memory()
    yield _tried("memory", memory, _check_memory, otherwise=memory)
    yield _disk()
    yield _tried("heads/", "can be written to", _check_place, otherwise="cannot be written to")
    yield from map(_prior, PRIOR_NAMES)
    yield _tried("videos", "ffmpeg encodes H.264", find_ffmpeg)
    yield _tried("USD files", "usd-core is here", find_usd, stops=False)


def _tried(
    subject: str, well: str, check: Callable[[], object], *, otherwise: str = "missing", stops: bool = True
) -> Finding:
    """Tell how a thing is by whether its check refuses, and in that case what the check says."""
    try:
        check()
    except HeadArtistError as error:
        return Finding(subject, otherwise, str(error), stops)
    return Finding(subject, well)


def _check_memory() -> None:
    require_memory([*training_needs(EMBEDDED), *export_needs(EMBEDDED.exports)])


def _check_place() -> None:
    check_folder(Path("heads") / "head", EMBEDDED, overwrite=True)


def _libraries() -> Finding:
    found, missing = [], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    mend = f"Install what is missing: pip install {' '.join(missing)}" if missing else ""
    return Finding("libraries", ", ".join(found), mend, stops=bool(missing))


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cuda() -> str:
    if not torch.cuda.is_available():
        return "none; heads are made on the CPU"
    names = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return ", ".join(f"{each.name} with {size_words(each.total_memory)}" for each in names)


def _memory() -> str:
    there, free = machine_memory(), _available_memory()
    return f"{size_words(there)}, of which {size_words(min(free, there))} are free" if free else size_words(there)


def _available_memory() -> int:
    """Bytes that Linux could give a new process; 0 where the system does not tell."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return 0


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{size_words(free)} free here"
    needed = 2 * most_file_bytes(EMBEDDED.avatar)  # a checkpoint is written beside the one before
    if free >= needed:
        return Finding("disk", text)
    return Finding("disk", text, f"Checkpoints take up to {size_words(needed)}: make room.", stops=True)


def _prior(name: str) -> Finding:
    """Tell whether a prior's files are here: the shipped ones, or in the hub's cache."""
    subject = f"prior {name}"
    if name == EMBEDDED.prior.model:
        return _tried(subject, "ships with the package", lambda: check_prior(EMBEDDED))
    try:
        locate(resolve(name), half=False, offline=True, progress=False)
    except HeadArtistError:
        return Finding(subject, f"not in {cache_folder()}; fetched when it is first asked for")
    return Finding(subject, f"in {cache_folder()}")
