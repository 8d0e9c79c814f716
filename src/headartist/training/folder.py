"""The Head folder on disk: who may write into it, and what lies where. Nothing here needs torch.

Every file is replaced whole, by a rename, so that a killed run leaves the old one.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headartist.config.config import Config
from headartist.config.text import differences, from_json, to_json
from headartist.system.claim import LOCK, alone_in
from headartist.system.errors import HeadArtistError, shown
from headartist.system.files import check_regular, is_draft, naming, replacing, sweep, write_text
from headartist.system.json_files import parse_json, read_text
from headartist.training.belongings import PAGE, is_old_draft, mesh_names, noted

DIFFERENCES_SHOWN = 3
_LONGEST_NAME = 255  # bytes
_ROOM = "previews/0-a-stage-of-a-long-name-00000.png"  # what fits beside it fits for every file within
_PARTS: Mapping[str, Any] = {
    "template": {},
    "prior": {"sha256": {}},
    "parent": {},
    "objectives": {},
    "edit_fidelity": {},
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
        return self.path / PAGE

    def read_config(self) -> Config:
        """Return the config the head was made with.

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
        """Tell where the head comes from; nothing when that was not written down.

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
        whole: dict[str, Any] = record
        return whole

    def write_provenance(self, record: dict[str, Any]) -> None:
        """Replace `provenance.json`; the head's own files stay noted in it."""
        record = {**record, "files": sorted(noted(self.path, self.read_provenance()))}
        write_text(self.provenance, json.dumps(record, indent=2) + "\n")

    @contextmanager
    def owning(self, names: Iterable[str]) -> Iterator[list[Path]]:
        """Note the files that are written meanwhile, which the caller lists, as the head's own in the provenance.

        What `--overwrite` may remove is known even where a kill comes between: of the `names` that may be written,
        those of which nothing is there yet are noted before.

        Args:
            names: of files in this folder.
        """
        written: list[Path] = []
        before = noted(self.path, self.read_provenance())
        self._note(before | {name for name in names if not os.path.lexists(self.path / name)})
        yield written
        self._note(before | {path.name for path in written})

    def own_files(self) -> list[Path]:
        """Files of the head that are there: those that every Head folder has, and those that the provenance notes."""
        try:
            record = self.read_provenance()
        except HeadArtistError:  # damaged: as if it had noted none
            record = {"files": None}
        places = [self.weights, self.video, self.contact_sheet, self.metrics]
        if not self.checkpoint.parent.is_symlink():
            places.append(self.checkpoint)
        # The provenance last: it says which other files are to go.
        places = [self.path / name for name in sorted(noted(self.path, record))] + self._previews() + places
        return [path for path in (*places, self.provenance) if os.path.lexists(path)]

    def _note(self, names: set[str]) -> None:
        record = self.read_provenance()
        if record and set(record.get("files", ())) != names:
            write_text(self.provenance, json.dumps({**record, "files": sorted(names)}, indent=2) + "\n")

    def _previews(self) -> list[Path]:
        """Pictures of the stages that the config names."""
        try:
            stages = self.read_config().stages
        except HeadArtistError:
            return []
        names = "|".join(f"{index}-{re.escape(stage.name)}" for index, stage in enumerate(stages))
        pictures = [] if self.previews.is_symlink() else _listed(self.previews)
        return [path for path in pictures if re.fullmatch(rf"({names})-\d{{5,}}\.png", path.name)]

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add a line to `metrics.jsonl`."""
        with naming(self.metrics), self.metrics.open("a", encoding="utf-8") as lines:
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
    """Tell whether `keep` wants a line; not one that is no JSON object, or lacks what `keep` looks at."""
    try:
        return keep(json.loads(line))
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def _has_form(record: Any, parts: Mapping[str, Any]) -> bool:
    """Whether it maps names to plain values, "files" to a list, and those in `parts` to mappings of their own forms."""
    return isinstance(record, dict) and all(
        _has_form(value, parts[name]) if name in parts else name == "files" or not isinstance(value, dict | list)
        for name, value in record.items()
    )


@contextmanager
def claimed(path: Path) -> Iterator[HeadFolder]:
    """Hold a Head folder, there or still to be made, against all other commands; a thread may do so again within.

    What a killed run left half-written in it is removed.

    Raises:
        HeadArtistError: another command is at work there, or it is no place to write a head to.
    """
    folder = HeadFolder(path)
    _check_place(folder)
    with alone_in(path):
        for place in (folder.path, folder.checkpoint.parent, folder.previews):
            sweep(place)
            for old in filter(is_old_draft, _listed(place)):
                old.unlink()
        yield folder


def check_folder(path: Path, config: Config, *, overwrite: bool = False) -> HeadFolder:
    """Return the folder for a run, when the run may write there; changes nothing on disk.

    Raises:
        HeadArtistError: when a head with other settings, or something else, is there, or it cannot be written to.
    """
    folder = HeadFolder(path)
    _check_place(folder)
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

    Only files of that head are removed, never a folder or what else a user keeps there. The config is written before
    the rest, because it is what makes the folder known as ours.
    """
    if overwrite:
        for old in folder.own_files():
            old.unlink()
    folder.write_config(config)
    for place in (folder.checkpoint.parent, folder.previews):
        place.mkdir(exist_ok=True)


def check_length(path: Path) -> None:
    """Find out early that no file system takes a path.

    Raises:
        HeadArtistError: in that case.
    """
    for part in path.parts:
        if os.name != "nt" and (size := len(os.fsencode(part))) > _LONGEST_NAME:
            raise HeadArtistError(
                f"The name {part[:20]}... is {size} bytes long, and a file system allows {_LONGEST_NAME}: choose a "
                "shorter --out."
            )
    try:
        (path / _ROOM).lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            start = str(path)[:40]
            raise HeadArtistError(f"The path {start}... is too long for this system: choose a shorter --out.") from None


def _check_place(folder: HeadFolder) -> None:
    """Find out what keeps a head from being written to a folder."""
    path = folder.path
    check_length(path)
    if path.exists() and not path.is_dir():
        raise HeadArtistError(f"{path} is a file: choose another --out.")
    # A run that was killed before its first file was whole leaves nothing but that file's draft.
    if path.exists() and not folder.config.exists() and not all(_is_passing(child) for child in path.iterdir()):
        raise HeadArtistError(f"{path} is not empty and not a Head folder: choose another --out.")
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise HeadArtistError(f"{existing} cannot be written to: choose another --out, or change its permissions.")
    for place in (folder.checkpoint.parent, folder.previews):
        if os.path.lexists(place) and not stat.S_ISDIR(place.lstat().st_mode):
            raise HeadArtistError(f"{place} is no folder of its own: move away what is there, or choose another --out.")
    for own in (folder.config, *folder.own_files(), *(path / name for name in mesh_names())):
        check_regular(own)


def _is_passing(path: Path) -> bool:
    """Tell whether a file is a command's that is at work, or was when it was killed, and no one's content."""
    return path.name == LOCK or is_draft(path) or is_old_draft(path)


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
