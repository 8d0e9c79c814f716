"""Writing a file whole or not at all, and telling files apart by their content."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Lend a draft's path beside `path`, and move what was written there into place only if nothing was raised.

    A reader thus sees the old file or the new one, never half of one, even after a power cut. The suffix is kept
    because writers such as ffmpeg choose their format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield draft
        _flush(draft)
        os.replace(draft, path)
        _flush(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def drafts(folder: Path) -> list[Path]:
    """The drafts in a folder: of files that are being written now, or were when their process was killed."""
    return sorted(folder.glob(".*.part*"))


def write_text(path: Path, text: str) -> None:
    """Replace a text file whole."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def content_hash(path: Path) -> str:
    """The sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
