"""What the hub's cache holds against what it should hold: it keeps each file under the hash of its content."""

import hashlib
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open

from headartist.priors.files.hub_client import cache_folder
from headartist.system.errors import HeadArtistError

_SMALL = 4 << 20


def mend(folder: Path, *, whole: bool) -> None:
    """Take damaged files out of a folder of the hub's cache, so that they are fetched again; others are left alone.

    Args:
        folder: of a part, or of a whole repository; nothing is touched that lies outside the cache.
        whole: whether large files are read too, a second or more for each GB.

    Raises:
        HeadArtistError: there was damage.
    """
    if _is_cached(folder):
        files = [path for path in folder.rglob("*") if path.is_file()]
        take_out_damaged([path for path in files if whole or path.stat().st_size < _SMALL])


def take_out_damaged(files: list[Path]) -> None:
    """Compare files of the hub's cache with what they were fetched as.

    Raises:
        HeadArtistError: some are damaged; they are no longer in the cache.
    """
    _take_out([path for path in files if _is_damaged(path)])


def check_content(file: Path, sha256: str) -> None:
    """Compare the hash of a weights file with the one it was fetched under, where the hub's cache holds it.

    Raises:
        HeadArtistError: they differ; the file is no longer in the cache.
    """
    expected = _kept_as(file)
    if len(expected) == len(sha256) and expected != sha256 and _is_cached(file):
        _take_out([file])


def _is_cached(path: Path) -> bool:
    cache = cache_folder().absolute()
    return any(path.absolute().is_relative_to(place) for place in (cache, cache.resolve()))


def _kept_as(file: Path) -> str:
    """The name of what a file of a snapshot links to; none where the system has no links."""
    return Path(os.readlink(file)).name if file.is_symlink() else ""


def _is_damaged(file: Path) -> bool:
    """Whether the content has not the hash it should, or is no safetensors where no hash is known."""
    expected = _kept_as(file)
    if len(expected) == 64:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() != expected
    if len(expected) == 40:  # as git counts it, or, from some mirrors of the hub, the file alone
        alone, as_git = (hashlib.sha1(begin, usedforsecurity=False) for begin in (b"", b"blob %d\0" % _size(file)))
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                alone.update(block)
                as_git.update(block)
        return expected not in (alone.hexdigest(), as_git.hexdigest())
    return file.suffix == ".safetensors" and not _opens(file)


def _size(file: Path) -> int:
    return file.stat().st_size


def _opens(file: Path) -> bool:
    try:
        with safe_open(file, framework="pt"):
            return True
    except SafetensorError:
        return False


def _take_out(files: list[Path]) -> None:
    if not files:
        return
    more = f" and {len(files) - 1} more" if files[1:] else ""
    try:
        for file in files:
            _remove(file)
    except OSError as error:
        raise HeadArtistError(
            f"{files[0]}{more} in the hub's cache is damaged and cannot be removed ({error.strerror}): "
            "remove it, and run the same command again to fetch it"
        ) from error
    raise HeadArtistError(
        f"{files[0]}{more} was damaged and is no longer in the hub's cache: run the same command again to fetch it"
    )


def _remove(file: Path) -> None:
    """Remove what a link of the cache leads to, where that lies in the cache; the link stays and tells of the loss."""
    linked = file.is_symlink()
    while file.is_symlink():
        file = Path(os.path.normpath(file.parent / os.readlink(file)))
    if not linked or _is_cached(file):
        file.unlink(missing_ok=True)
