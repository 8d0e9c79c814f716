"""The Head folder on disk: who may write into it, and what lies where. Nothing here needs torch.

Every file is replaced whole, by a rename, so that a killed run leaves the old one.
"""

import hashlib
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headartist.config import Config
from headartist.config_text import differences, from_json, to_json
from headartist.errors import HeadArtistError, shown
from headartist.files import drafts, replacing, write_text
from headartist.json_files import parse_json, read_text

DIFFERENCES_SHOWN = 3
SLUG_LETTERS, SLUG_BYTES = 60, 120
"""The longest part that a text has in a file's name; file systems allow a name 255 bytes, suffixes included."""
MARK = 8  # hexadecimal digits that tell apart what is cut alike
_PARTS: Mapping[str, Any] = {
    "template": {},
    "prior": {"sha256": {}},
    "parent": {},
    "likeness": {},
}  # mappings within `provenance.json`
LONGEST_LINE = 1 << 16
"""Bytes of a line of `metrics.jsonl`; ours have some hundreds."""


@dataclass(frozen=True)
class HeadFolder:
    """One Head folder by its path; every command takes it, and never a path within."""

    path: Path

    def __post_init__(self) -> None:
        if "\0" in str(self.path):
            raise HeadArtistError(f"{shown(str(self.path))} is no path: leave out its zero bytes.")

    @property
    def config(self) -> Path:
        """What was asked, as JSON."""
        return self.path / "config.json"

    @property
    def weights(self) -> Path:
        """The finished avatar."""
        return self.path / "head.safetensors"

    @property
    def checkpoint(self) -> Path:
        """All that resuming needs; one file, so that it is replaced in one move."""
        return self.path / "checkpoint" / "state.safetensors"

    @property
    def previews(self) -> Path:
        """Pictures of the head as it grew."""
        return self.path / "previews"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def provenance(self) -> Path:
        """Where the head comes from: versions, prior, seed, device, time."""
        return self.path / "provenance.json"

    @property
    def template(self) -> Path:
        """The template the head began with, where that is a user's: it stays when the user's file has gone."""
        return self.path / "template.safetensors"

    @property
    def video(self) -> Path:
        """The turntable."""
        return self.path / "turntable.mp4"

    @property
    def contact_sheet(self) -> Path:
        """Eight views with their normals."""
        return self.path / "contact.png"

    @property
    def glb(self) -> Path:
        """The mesh with its texture, as other programs read it."""
        return self.path / "head.glb"

    @property
    def viewer(self) -> Path:
        """The page that shows the head."""
        return self.path / "viewer.html"

    def read_config(self) -> Config:
        """The config the head was made with.

        Raises:
            HeadArtistError: when this is not a Head folder, or its config is damaged.
        """
        try:
            text = read_text(self.config)
        except PermissionError:
            raise HeadArtistError(f"{self.config} cannot be read: change its permissions.") from None
        except OSError:
            raise HeadArtistError(
                f"{self.path} is not a Head folder (it has no config.json): give the --out of `headartist generate`."
            ) from None
        return from_json(text, source=str(self.config))

    def write_config(self, config: Config) -> None:
        """Replace `config.json`."""
        write_text(self.config, to_json(config))

    def read_provenance(self) -> dict[str, Any]:
        """Where the head comes from; nothing when that was not written down.

        Raises:
            HeadArtistError: when the file is damaged.
        """
        if not self.provenance.exists():
            return {}
        try:
            record = parse_json(read_text(self.provenance), str(self.provenance))
        except (HeadArtistError, OSError):  # not JSON, or not text
            record = None
        if not _has_form(record, _PARTS):
            raise HeadArtistError(f"{self.provenance} is damaged: remove it, or bring it back.")
        return record

    def write_provenance(self, record: dict[str, Any]) -> None:
        """Replace `provenance.json`."""
        write_text(self.provenance, json.dumps(record, indent=2) + "\n")

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add a line to `metrics.jsonl`."""
        with self.metrics.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")

    def trim_metrics(self, keep: Callable[[dict[str, Any]], bool]) -> None:
        """Drop the lines that `keep` refuses, and damaged ones, such as a last line that a kill cut short."""
        if not self.metrics.exists():
            return
        if not self.metrics.is_file():
            raise HeadArtistError(f"{self.metrics} is no regular file: remove it.")
        with replacing(self.metrics) as draft, self.metrics.open("rb") as lines, draft.open("wb") as kept:
            for line in iter(lambda: lines.readline(LONGEST_LINE), b""):
                if line.endswith(b"\n") and _keeps(keep, line):
                    kept.write(line)


def _keeps(keep: Callable[[dict[str, Any]], bool], line: bytes) -> bool:
    """Whether `keep` wants a line; not one that is no JSON object, or lacks what `keep` looks at."""
    try:
        return keep(json.loads(line))
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def _has_form(record: Any, parts: Mapping[str, Any]) -> bool:
    """Whether it maps names to plain values, and those in `parts` to mappings of their own forms."""
    return isinstance(record, dict) and all(
        _has_form(value, parts[name]) if name in parts else not isinstance(value, dict | list)
        for name, value in record.items()
    )


def check_folder(path: Path, config: Config, *, overwrite: bool = False) -> HeadFolder:
    """The folder for a run, when the run may write there; changes nothing on disk.

    Raises:
        HeadArtistError: when a head with other settings, or something else, is there, or it cannot be written to.
    """
    folder = HeadFolder(path)
    if path.exists() and not path.is_dir():
        raise HeadArtistError(f"{path} is a file: choose another --out.")
    # A run that was killed before its first file was whole leaves nothing but that file's draft.
    if path.exists() and not folder.config.exists() and not set(path.iterdir()) <= set(drafts(path)):
        raise HeadArtistError(f"{path} is not empty and not a Head folder: choose another --out.")
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise HeadArtistError(f"{existing} cannot be written to: choose another --out, or change its permissions.")
    if folder.config.exists() and not overwrite:
        changed = differences(folder.read_config(), config)
        if changed:
            more = f" and {len(changed) - DIFFERENCES_SHOWN} more" if len(changed) > DIFFERENCES_SHOWN else ""
            raise HeadArtistError(
                f"{path} exists with other settings ({', '.join(changed[:DIFFERENCES_SHOWN])}{more}): "
                "use --overwrite or another --out."
            )
    return folder


def open_folder(folder: HeadFolder, config: Config, *, overwrite: bool = False) -> None:
    """Make the folder and write its config; with `overwrite`, first remove what an earlier head left.

    Only files that a Head folder is made of are removed; drafts that a killed run left are so in any case. The config
    is written first, because it is what makes the folder known as ours.
    """
    if overwrite:
        meshes = ("head.*", "head_usd.*", "head_game.*", "head_game_usd.*")
        for name in (*meshes, "checkpoint", "previews", "metrics.jsonl", "provenance.json"):
            for old in folder.path.glob(name):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        folder.video.unlink(missing_ok=True)
        folder.contact_sheet.unlink(missing_ok=True)
        folder.viewer.unlink(missing_ok=True)
        folder.template.unlink(missing_ok=True)
    folder.write_config(config)
    for place in (folder.path, folder.checkpoint.parent, folder.previews):
        place.mkdir(exist_ok=True)
        for draft in drafts(place):
            draft.unlink()


def default_path(prompt: str, seed: int) -> Path:
    """`heads/<slug of the prompt>-<seed>`, as in `heads/a-dslr-portrait-of-a-clown-0`."""
    return Path("heads") / f"{slug(prompt)}-{seed}"


def slug(text: str) -> str:
    """A text as part of a file's name: its first words in small letters, joined by hyphens.

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
    """A few digits that another text does not have."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:MARK]


def shortened(name: str, letters: int, size: int) -> str:
    """The beginning of a name, of so many letters and so many bytes at most, without a hyphen at its end."""
    cut = name[:letters].encode()[: max(size, 0)].decode(errors="ignore")
    return name if cut == name else cut.rstrip("-_")


def _beyond_ascii(text: str) -> list[str]:
    return [letter for letter in text if not letter.isascii()]


def _has_a_twin(letter: str) -> bool:
    """Whether a file system that ignores case takes a small letter for another one, as a final sigma for a sigma."""
    capital = letter.upper()
    return len(capital) == 1 and capital.lower() != letter
