"""Finding the folders of a prior's parts: local ones, then the hub's cache, and last the network, within seconds."""

import shutil
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from textwrap import shorten
from typing import cast

from headartist.priors.files.hub_cache import take_out_damaged
from headartist.priors.files.hub_client import cache_folder, snapshot
from headartist.priors.files.hub_process import HubError, HubProcess
from headartist.priors.files.layout import WEIGHTS
from headartist.priors.files.sources import FACE_CONTROLNET, WITHOUT_CONTROLNET, PriorSource
from headartist.system.errors import HeadArtistError

_NETWORKS = ("unet", "vae", "text_encoder")
_SETTINGS = (
    "scheduler/scheduler_config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
)


@dataclass(frozen=True)
class Wanted:
    """Files of one of several equal repositories.

    Attributes:
        ids: hub ids "owner/name", best first.
        weights: weight files, without their ending: "unet/diffusion_pytorch_model".
        others: the other files without which it is not whole: "scheduler/scheduler_config.json".
        besides: patterns of what else is fetched where it is there.
        otherwise: the option by which the user can give a folder instead.
    """

    ids: tuple[str, ...]
    weights: tuple[str, ...]
    others: tuple[str, ...]
    otherwise: str
    besides: tuple[str, ...] = ()


def locate(source: PriorSource, *, half: bool, offline: bool, progress: bool = True) -> dict[str, Path]:
    """Find the folder of every part of a prior, downloaded where needed; one without a ControlNet has none for it.

    Args:
        source: which prior.
        half: whether half-precision files are preferred in a download.
        offline: never touch the network.
        progress: whether a download shows a bar on the terminal.

    Raises:
        HeadArtistError: not here, and not to be had.
    """
    wanted = {"base": _wanted_base(source.bases)}
    if source.controlnet is not None:
        wanted["controlnet"] = _wanted_controlnet(source.controlnet, source.controlnet_subfolder)
    local = {"base": _local(source.bases[0]), "controlnet": _local_controlnet(source)}
    missing = {part: want for part, want in wanted.items() if local[part] is None}
    found = dict(
        zip(missing, fetch(tuple(missing.values()), half=half, offline=offline, progress=progress), strict=True)
    )
    base = local["base"] or found["base"]
    folders = {part: base / part for part in (*_NETWORKS, "scheduler", "tokenizer")}
    if source.controlnet is not None:
        folders["controlnet"] = local["controlnet"] or found["controlnet"] / source.controlnet_subfolder
    return folders


def _wanted_base(ids: tuple[str, ...]) -> Wanted:
    return Wanted(
        ids,
        weights=tuple(f"{part}/{WEIGHTS[part]}" for part in _NETWORKS),
        others=(*_SETTINGS, *(f"{part}/config.json" for part in _NETWORKS)),
        otherwise="--prior DIR (which holds controlnet/, or add --controlnet DIR)",
        besides=("tokenizer/*.json",),
    )


def _wanted_controlnet(place: str, subfolder: str) -> Wanted:
    prefix = f"{subfolder}/" if subfolder else ""
    return Wanted((place,), (prefix + WEIGHTS["controlnet"],), (f"{prefix}config.json",), "--controlnet DIR")


def _local_controlnet(source: PriorSource) -> Path | None:
    local = None if source.controlnet is None else _local(source.controlnet)
    if local is None or (local / source.controlnet_subfolder).is_dir():
        return local and local / source.controlnet_subfolder
    raise HeadArtistError(
        f"prior folder {local} has no {source.controlnet_subfolder}/: give --controlnet DIR (such as "
        f"{FACE_CONTROLNET}), or --controlnet {WITHOUT_CONTROLNET} to judge without landmarks"
    )


def _local(place: str) -> Path | None:
    path = Path(place)
    return path if path.is_absolute() or path.is_dir() else None


def fetch(wanted: Sequence[Wanted], *, half: bool, offline: bool, progress: bool = True) -> list[Path]:
    """Find the local folder of each repository wanted, downloading what is not cached.

    Everything is looked for before anything is downloaded.

    Args:
        wanted: what is wanted.
        half: whether half-precision files are preferred, where a repository has both.
        offline: look into the cache only.
        progress: whether a download shows a bar on the terminal.

    Raises:
        HeadArtistError: none of the repositories is cached, reachable and complete, or what came is damaged.
    """
    if wanted and cache_folder().parts[:1] == ("~",):
        raise HeadArtistError("there is no home folder to keep a download in: set HF_HOME to a folder of yours")
    cached = [_cached(want) for want in wanted]
    for want, folder in zip(wanted, cached, strict=True):
        if folder is None and offline:
            raise _refusal(want, ("offline", want.ids[-1], ""))
    if all(cached):
        return [folder for folder in cached if folder]
    wants = list(zip(wanted, cached, strict=True))
    try:
        with HubProcess(progress=progress) as hub:
            plans = [None if folder else _plan(hub, want, half) for want, folder in wants]
            return [
                folder or _download(hub, want, cast("_Plan", plan), half)
                for plan, (want, folder) in zip(plans, wants, strict=True)
            ]
    except HubError as error:  # the process itself
        raise HeadArtistError(f"the hub cannot be asked ({error}): run the same command again") from error


def _cached(want: Wanted) -> Path | None:
    """The folder of the first repository of which all files are here."""
    for repository in want.ids:
        folder = snapshot(repository)
        if folder is not None and not _lacks(_file_names(folder), want) and not _has_lost(folder, want):
            return folder
    return None


@dataclass(frozen=True)
class _Plan:
    """What is to be downloaded, group by group, with the sizes in bytes, and why nothing of the repositories before."""

    repository: str
    files: tuple[list[str], list[str]]
    sizes: Mapping[str, int]
    tried: tuple["_Fault", ...]


# What is said of a fault, and the way on; where several repositories fail, of the first of these.
_ELSEWHERE = "fetch it with `hf download {last}` where there is a network and run this command again"
_FAULTS = {
    "unreachable": ("the hub cannot be reached ({reason})", _ELSEWHERE),
    "silent": ("the hub does not answer ({reason})", _ELSEWHERE),
    "forbidden": ("HF_HUB_OFFLINE forbids a download", "unset that variable and run this command again"),
    "disk": ("cannot be written there ({reason})", "set HF_HOME to a folder of yours and run this command again"),
    "token": (
        "the hub refuses your token",
        "log in again with `hf auth login`, or unset HF_TOKEN, and run this command again",
    ),
    "gated": (
        "the hub gives {repository} only to those who accepted its terms",
        "accept them on its page there, log in with `hf auth login` and run this command again",
    ),
    "incomplete": ("{repository} on the hub has no {reason}", "choose one in the diffusers layout with safetensors"),
    "missing": (
        "the hub does not have it, or not for everybody",
        "check the name, or log in with `hf auth login` where it is private, and run this command again",
    ),
    "offline": ("no download was allowed", _ELSEWHERE),
}
_Fault = tuple[str, str, str]  # its name above, the repository, the reason


def _plan(hub: HubProcess, want: Wanted, half: bool, tried: tuple[_Fault, ...] = ()) -> _Plan:
    """Choose the repository and its files to download, among those that were not tried.

    Raises:
        HeadArtistError: none will do.
    """
    faults = list(tried)
    for repository in want.ids[len(tried) :]:
        try:
            sizes = hub.sizes(repository)
        except HubError as error:
            faults.append((error.fault, repository, str(error)))
            if error.fault not in ("missing", "gated"):
                break  # the other repositories lie on the same hub
            continue
        if lacking := _lacks(sizes.keys(), want):
            faults.append(("incomplete", repository, lacking))
            continue
        besides = {name for name in sizes if any(fnmatchcase(name, pattern) for pattern in want.besides)}
        weights = [_with_ending(stem, sizes.keys())[-1 if half else 0] for stem in want.weights]
        # Weights come last: where they are all there, so is what else was to be fetched.
        return _Plan(repository, (sorted({*want.others, *besides}), weights), sizes, tuple(faults))
    raise _refusal(want, min(faults, key=lambda fault: list(_FAULTS).index(fault[0])))


def _download(hub: HubProcess, want: Wanted, plan: _Plan, half: bool) -> Path:
    place = snapshot(plan.repository)
    here = _file_names(place) if place else frozenset()
    new = [name for group in plan.files for name in group if name not in here]
    size = sum(plan.sizes[name] for name in new)
    _check_room(size, plan.repository)
    try:
        folder = hub.download(plan.repository, plan.files, size)
    except HubError as error:
        tried = (*plan.tried, (error.fault, plan.repository, str(error)))
        if error.fault in ("missing", "gated"):  # of the files, where the list is for everybody
            return _download(hub, want, _plan(hub, want, half, tried), half)
        if error.fault in ("token", "disk"):
            raise _refusal(want, tried[-1]) from error
        raise HeadArtistError(
            f"the download of {plan.repository} broke off ({error}): run the same command again, finished files are "
            "kept"
        ) from error
    take_out_damaged([folder / name for name in new])
    return folder


def _check_room(size: int, repository: str) -> None:
    cache = cache_folder().absolute()
    place = next(place for place in (cache, *cache.parents) if place.exists())
    free = shutil.disk_usage(place).free
    if size > free:
        raise HeadArtistError(
            f"{repository} needs {size / 1e9:.1f} GB and {place} has {free / 1e9:.1f} GB free: make room there, or set "
            "HF_HOME to a folder on another disk"
        )


def _refusal(want: Wanted, fault: _Fault) -> HeadArtistError:
    name, repository, reason = fault
    reason = shorten(reason, 80, placeholder=" ...")
    why, advice = (words.format(repository=repository, reason=reason, last=want.ids[-1]) for words in _FAULTS[name])
    first, *mirrors = want.ids
    named = f"{first} (or one of its {len(mirrors)} mirrors)" if mirrors else first
    return HeadArtistError(
        f"{named} is not in the local cache and {why}: {advice}, or give a folder with {want.otherwise}, or use "
        "--prior embedded"
    )


def _lacks(listing: Set[str], want: Wanted) -> str:
    """What of the files wanted is missing first; nothing where all weights and others are there."""
    lacking = [name for name in want.others if name not in listing]
    lacking += [f"{stem}.safetensors" for stem in want.weights if not _with_ending(stem, listing)]
    return lacking[0] if lacking else ""


def _with_ending(stem: str, listing: Set[str]) -> list[str]:
    """The files that hold some weights: in full precision, in half."""
    return [stem + end for end in (".safetensors", ".fp16.safetensors") if stem + end in listing]


def _file_names(folder: Path) -> Set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _has_lost(folder: Path, want: Wanted) -> bool:
    """Whether one of the files besides was taken out of the cache because it was damaged."""
    besides = (path for pattern in want.besides for path in folder.glob(pattern))
    return any(path.is_symlink() and not path.exists() for path in besides)
