"""Writing a file whole or not at all, and telling files apart by their content."""

import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headartist.system.errors import HeadArtistError

ABANDONED_S = 3600.0  # no writer leaves a draft alone for so long
_DRAFT = re.compile(r"\.headartist-[0-9a-f]{16}\.part(\.\w+)?")
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Lend a draft's path beside `path`, and move what was written there into place only if nothing was raised.

    A reader thus sees the old file or the new one, never half of one, even after a power cut. The suffix is kept
    because writers such as ffmpeg choose their format by it; an old file's permissions are kept too.

    Raises:
        HeadArtistError: what is there is no regular file: a link is not followed, a device not replaced.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = check_regular(path)
    sweep(path.parent, untouched_s=ABANDONED_S)
    with naming(path):
        draft = _new_draft(path)
        try:
            yield draft
            _flush(draft)
            if mode is not None:
                draft.chmod(mode)
            os.replace(draft, path)
            _flush(path.parent)
        finally:
            draft.unlink(missing_ok=True)


def check_regular(path: Path) -> int | None:
    """Read the permissions of the file at `path`; None where there is nothing yet.

    Raises:
        HeadArtistError: something else is there, which is not for us to replace.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "a device")
        raise HeadArtistError(f"{path} is {kind}, and only regular files are replaced: name another, or move it away.")
    return stat.S_IMODE(mode)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let the system's errors name `path` where they name no file, as those of writing do, or only its draft."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and (error.filename is None or is_draft(Path(os.fsdecode(error.filename)))):
            error.filename, error.filename2 = str(path), None
        raise


def is_draft(path: Path) -> bool:
    """Whether a path is of a draft, by its name, which nobody else gives."""
    return _DRAFT.fullmatch(path.name) is not None


def sweep(folder: Path, *, untouched_s: float = 0.0) -> None:
    """Remove the drafts in a folder that were left alone for so long: their processes were killed.

    Args:
        folder: where to look; nothing below it, and nothing where it cannot be read.
        untouched_s: 0 only where nobody else can be writing.
    """
    with suppress(OSError):
        for path in filter(is_draft, folder.iterdir()):
            with suppress(OSError):
                if time.time() - path.lstat().st_mtime >= untouched_s:
                    path.unlink()


def write_text(path: Path, text: str) -> None:
    """Replace a text file whole."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def content_hash(path: Path) -> str:
    """Compute the sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _new_draft(path: Path) -> Path:
    """Make an empty file beside `path` under a name that nobody can foresee, with the permissions of any new file."""
    draft = path.with_name(f".headartist-{secrets.token_hex(8)}.part{path.suffix}")
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return draft


def _flush(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
