"""What a Head folder is called: a name for every text, that every file system can tell from others."""

import hashlib
import re
import unicodedata
from pathlib import Path

SLUG_LETTERS, SLUG_BYTES = 60, 120
"""The longest part that a text has in a file's name; file systems allow a name 255 bytes, suffixes included."""
MARK = 8  # hexadecimal digits that tell apart what is cut alike


def default_path(prompt: str, seed: int) -> Path:
    """`heads/<slug of the prompt>-<seed>`, as in `heads/a-dslr-portrait-of-a-clown-0`."""
    return Path("heads") / f"{slug(prompt)}-{seed}"


def slug(text: str) -> str:
    """Make a text part of a file's name: its first words in small letters, joined by hyphens.

    Where words are cut off, or letters beyond ASCII are lost or a file system may take them for others, a mark of the
    whole text follows: another text has another name.
    """
    words = re.sub(r"[^\w]+", "-", unicodedata.normalize("NFC", text).lower()).strip("-_")
    short = shortened(words, SLUG_LETTERS, SLUG_BYTES)
    if short == words and _beyond_ascii(text) == _beyond_ascii(words) and not any(map(_has_a_twin, words)):
        return words or "head"
    room = MARK + 1
    return f"{shortened(words, SLUG_LETTERS - room, SLUG_BYTES - room) or 'head'}-{mark(text)}"


def mark(text: str) -> str:
    """Make a few digits that another text does not have."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:MARK]


def shortened(name: str, letters: int, size: int) -> str:
    """Cut a name to so many letters and so many bytes at most, without a hyphen at its end."""
    cut = name[:letters].encode()[: max(size, 0)].decode(errors="ignore")
    return name if cut == name else cut.rstrip("-_")


def _beyond_ascii(text: str) -> list[str]:
    return [letter for letter in text if not letter.isascii()]


def _has_a_twin(letter: str) -> bool:
    """Whether a file system that ignores case takes a small letter for another one, as a final sigma for a sigma."""
    capital = letter.upper()
    return len(capital) == 1 and capital.lower() != letter
