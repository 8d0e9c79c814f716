"""The folders of a prior's parts: local ones, the hub's cache, and last one quick try of the network."""

from collections.abc import Set
from fnmatch import fnmatchcase
from pathlib import Path

from headartist.errors import HeadArtistError
from headartist.priors.layout import WEIGHTS
from headartist.priors.sources import FACE_CONTROLNET, WITHOUT_CONTROLNET, PriorSource

ANSWER_SECONDS = 5.0
_NETWORKS = ("unet", "vae", "text_encoder")
_SETTINGS = ("scheduler", "tokenizer")


def locate(source: PriorSource, *, half: bool, offline: bool) -> dict[str, Path]:
    """The folder of every part of a prior, downloaded where needed; "controlnet" is absent for a prior without one.

    Args:
        source: which prior.
        half: whether half-precision files are preferred in a download.
        offline: never touch the network.

    Raises:
        HeadArtistError: not here, and not to be had.
    """
    base = _local(source.bases[0]) or fetch(
        source.bases,
        weights=tuple(f"{part}/{WEIGHTS[part]}" for part in _NETWORKS),
        others=(*(f"{part}/*" for part in _SETTINGS), *(f"{part}/config.json" for part in _NETWORKS)),
        half=half,
        offline=offline,
        otherwise="--prior DIR (which holds controlnet/, or add --controlnet DIR)",
    )
    folders = {part: base / part for part in (*_NETWORKS, *_SETTINGS)}
    if source.controlnet is not None:
        folders["controlnet"] = _controlnet_folder(source.controlnet, source.controlnet_subfolder, half, offline)
    return folders


def _controlnet_folder(place: str, subfolder: str, half: bool, offline: bool) -> Path:
    if local := _local(place):
        if not (local / subfolder).is_dir():
            raise HeadArtistError(
                f"prior folder {local} has no {subfolder}/: give --controlnet DIR (such as {FACE_CONTROLNET}), "
                f"or --controlnet {WITHOUT_CONTROLNET} to judge without landmarks"
            )
        return local / subfolder
    prefix = f"{subfolder}/" if subfolder else ""
    found = fetch(
        (place,),
        weights=(prefix + WEIGHTS["controlnet"],),
        others=(f"{prefix}config.json",),
        half=half,
        offline=offline,
        otherwise="--controlnet DIR",
    )
    return found / subfolder


def _local(place: str) -> Path | None:
    path = Path(place)
    return path if path.is_absolute() or path.is_dir() else None


def fetch(
    ids: tuple[str, ...],
    *,
    weights: tuple[str, ...],
    others: tuple[str, ...],
    half: bool,
    offline: bool,
    otherwise: str,
) -> Path:
    """The local folder of the first of several equal repositories that can be had.

    Args:
        ids: hub ids "owner/name", best first.
        weights: weight files wanted, without their ending: "unet/diffusion_pytorch_model".
        others: patterns of the other files wanted: "scheduler/*".
        half: whether half-precision files are preferred, where the repository has both.
        offline: look into the cache only.
        otherwise: the option by which the user can give a folder instead.

    Raises:
        HeadArtistError: none of the repositories is cached, reachable and complete.
    """
    for repository in ids:
        cached = _cached(repository)
        if cached is not None and _is_whole(_file_names(cached), weights, others):
            return cached
    why = "no download was allowed"
    for repository in () if offline else ids:
        try:
            listing = _listing(repository)
        except ConnectionError as error:
            why = f"the hub cannot be reached ({error})"
            break  # the other repositories lie on the same hub
        files = _choose(weights, half, listing)
        if files is not None:
            return _download(repository, [*others, *files])
        why = "the hub has it no more, or not in safetensors"
    raise HeadArtistError(
        f"{' or '.join(ids)} is not in the local cache and {why}: fetch it with `hf download {ids[-1]}` where there is "
        f"a network and run this command again, or give a folder with {otherwise}, or use --prior embedded"
    )


def _is_whole(listing: Set[str], weights: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether all weights are there, and something for each pattern of the other files."""
    found = (any(fnmatchcase(name, pattern) for name in listing) for pattern in others)
    return _choose(weights, False, listing) is not None and all(found)


def _choose(weights: tuple[str, ...], half: bool, listing: Set[str]) -> list[str] | None:
    """The names of all weight files, in the preferred precision where there is a choice; None where one is missing."""
    endings = (".fp16.safetensors", ".safetensors") if half else (".safetensors", ".fp16.safetensors")
    found = [next((stem + end for end in endings if stem + end in listing), None) for stem in weights]
    names = [name for name in found if name is not None]
    return names if len(names) == len(weights) else None


def _cached(repository: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _file_names(folder: Path) -> Set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _listing(repository: str) -> Set[str]:
    """The names of a repository's files; none where it is removed or gated.

    Asked before any download, because a download retries for minutes where nobody answers.

    Raises:
        ConnectionError: no answer.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        siblings = HfApi().model_info(repository, timeout=ANSWER_SECONDS).siblings
    except RepositoryNotFoundError:  # gated ones among them
        return frozenset()
    except Exception as error:  # each version of the library lets another network library's errors through
        raise ConnectionError((str(error).strip() or type(error).__name__).splitlines()[0]) from error
    return frozenset(sibling.rfilename for sibling in siblings or ())


def _download(repository: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except Exception as error:  # as above; also a full disk
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise HeadArtistError(
            f"the download of {repository} broke off ({reason}): run the command again, finished files are kept"
        ) from error
