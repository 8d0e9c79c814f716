"""Folders from the Hugging Face hub: what lies in the local cache first, then one quick try of the network."""

from pathlib import Path

from headartist.errors import HeadArtistError

CONNECT_SECONDS = 5.0


def fetch(
    ids: tuple[str, ...], *, weights: tuple[str, ...], others: tuple[str, ...], half: bool, offline: bool
) -> Path:
    """The local folder of the first of several equal repositories that can be had.

    Args:
        ids: hub ids "owner/name", best first.
        weights: weight files wanted, without their ending: "unet/diffusion_pytorch_model".
        others: patterns of the other files wanted: "*/config.json".
        half: whether half-precision files are preferred, where the repository has both.
        offline: look into the cache only.

    Raises:
        HeadArtistError: none of the repositories is cached, reachable and complete.
    """
    for repository in ids:
        cached = _snapshot(repository, None, offline=True)
        if cached is not None and _complete(cached, weights):
            return cached
    if not offline:
        suffixes = (".fp16", "") if half else ("", ".fp16")
        for repository in ids:
            for suffix in suffixes:
                files = [f"{stem}{suffix}.safetensors" for stem in weights]
                folder = _snapshot(repository, [*others, *files], offline=False)
                if folder is not None and _complete(folder, weights):
                    return folder
    where = "in the local cache" if offline else "in the local cache, and could not be downloaded"
    raise HeadArtistError(
        f"{' or '.join(ids)} with {', '.join(weights)} is not {where}: download it where there is a network "
        f"(`hf download {ids[-1]}`) and give its folder with --prior DIR or --controlnet DIR, or use --prior embedded"
    )


def _snapshot(repository: str, patterns: list[str] | None, *, offline: bool) -> Path | None:
    """The repository's folder in the cache, downloading what `patterns` names unless offline; None where it fails."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            repository, allow_patterns=patterns, local_files_only=offline, etag_timeout=CONNECT_SECONDS
        )
    except (HfHubHTTPError, LocalEntryNotFoundError):
        return None  # removed, renamed, gated, not cached or not reachable: the caller tries the next
    return Path(str(folder))


def _complete(folder: Path, weights: tuple[str, ...]) -> bool:
    return all(any((folder / f"{stem}{suffix}.safetensors").is_file() for suffix in ("", ".fp16")) for stem in weights)
