"""JSON that users may have changed or damaged: read within bounds, or refused in one sentence. Nothing needs torch."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from headartist.system.errors import HeadArtistError, shown

LARGEST = 1 << 20
"""Bytes of a file; a config has some thousands."""


def read_text(path: Path) -> str:
    """Read the text of a file, without a byte order mark.

    Raises:
        HeadArtistError: when it is no regular file, is too large or not UTF-8.
        OSError: when it cannot be opened.
    """
    if "\0" in str(path):
        raise HeadArtistError(f"{shown(str(path))} is no path: leave out its zero bytes.")
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise HeadArtistError(f"{path} is no regular file: give one that holds text.")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise HeadArtistError(f"{path} is larger than {LARGEST:,} bytes, so it is none of ours: mend or replace it.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise HeadArtistError(f"{path} is not UTF-8 text: mend or replace it.") from None


def parse_json(text: str, source: str) -> Any:
    """Read the value that a JSON text stands for.

    Args:
        text: what `json.dumps` wrote.
        source: what errors call it, such as the file's path.

    Raises:
        HeadArtistError: when it is not JSON, names a setting twice, is nested too deeply or too long.
    """
    if len(text) > LARGEST:
        raise HeadArtistError(f"{source} is longer than {LARGEST:,} characters: mend or replace it.")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise HeadArtistError(f"{source} says {shown(twice)} twice: leave one of them out.")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise HeadArtistError(f"{source} is not JSON (line {error.lineno}: {error.msg}): mend or replace it.") from None
    except RecursionError:
        raise HeadArtistError(f"{source} is nested too deeply: mend or replace it.") from None
    except ValueError:  # Python reads no integer of thousands of digits
        raise HeadArtistError(f"{source} holds a number of thousands of digits: mend or replace it.") from None


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for a writer, as a pipe would."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
